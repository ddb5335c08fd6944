"""The wire format of a day's payload, parsed and checked in full, and the form in which payloads are kept."""

import datetime
from collections.abc import Iterable, Iterator

import msgspec

from eida_statistics import hll
from eida_statistics.canonical_sketches import are_canonical
from eida_statistics.encoding import UnreadablePayload, compress, decompress
from eida_statistics.errors import InvalidPayload, NotJSON
from eida_statistics.ringserver.payload import LISTS, DayPayload
from eida_statistics.ringserver.payload_faults import (
    WIRE_FORMAT,
    find_bad_day,
    find_bad_rows,
    find_bad_sketches,
    find_large_rows,
)
from eida_statistics.ringserver.payload_sums import find_wrong_sums
from eida_statistics.rows import sort_and_merge
from eida_statistics.validation import ROOT, Fault
from eida_statistics.wire_faults import find_bad_fields, take_first

_DECODER = msgspec.json.Decoder(DayPayload)


def decode(body: bytes | bytearray, *, today: datetime.date) -> DayPayload:
    """Read and check a payload; equal keys are merged, sketches re-encoded, rows sorted.

    Args:
        body: the wire format, not compressed.
        today: the UTC day on which it is received; later days are refused, but for one day of grace for clocks that
            disagree.

    Raises:
        NotJSON: if it is not JSON.
        InvalidPayload: with the path to each bad field.
    """
    sent = _decode_fields(body)
    _refuse(find_bad_day(sent, today))
    _refuse(find_bad_rows(sent))
    if not are_canonical(row.clients for rows in sent.lists.values() for row in rows):
        _refuse(find_bad_sketches(sent))
        _canonicalize_sketches(sent)
    _refuse(find_wrong_sums(sent))
    payload = msgspec.structs.replace(sent, **{name: sort_and_merge([*sent.lists[name]]) for name in LISTS})
    _refuse(find_large_rows(payload))
    return payload


def encode(payload: DayPayload) -> bytes | bytearray:
    """Return a payload in the form in which it is kept: its JSON, compressed with zstd."""
    return compress(payload.to_json())


def read(body: Iterable[bytes | bytearray]) -> DayPayload:
    """Return a payload that was kept, checked row by row, but not its sums.

    Args:
        body: the result of `encode`, in pieces of any size.

    Raises:
        UnreadablePayload: if the bytes are not a payload.
    """
    try:
        return _DECODER.decode(b"".join(decompress(body)))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadablePayload(str(error)) from error


def _decode_fields(body: bytes | bytearray) -> DayPayload:
    try:
        try:
            return _DECODER.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidPayload(take_first(find_bad_fields(body, WIRE_FORMAT)) or [(ROOT, "not valid")]) from error
    # A validation error may come before the place where the document stops being JSON.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSON(str(error)) from error


def _refuse(faults: Iterator[Fault]) -> None:
    if listed := take_first(faults):
        raise InvalidPayload(listed)


def _canonicalize_sketches(payload: DayPayload) -> None:
    for rows in payload.lists.values():
        for row in rows:
            row.clients = hll.to_hex(hll.canonicalize(hll.from_hex(row.clients)))
