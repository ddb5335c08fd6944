"""The wire format of payloads, parsed and checked in full."""

import datetime
import re
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np

from eida_statistics import hll
from eida_statistics.canonical_sketches import are_canonical
from eida_statistics.encoding import EncodedPayload, Encoder, encode
from eida_statistics.errors import InvalidPayload, InvalidSketch, NotJSON
from eida_statistics.payload import Key, Payload, Row, normalize_country
from eida_statistics.rows import is_sorted, sort_and_merge
from eida_statistics.validation import ROOT
from eida_statistics.wire_faults import (
    do_values_fit,
    find_bad_days,
    find_bad_fields,
    find_bad_period,
    find_bad_rows,
    find_bad_sums,
    take_first,
)
from eida_statistics.wire_records import WirePayload, WireRow


class _OnlyRows(msgspec.Struct):
    stats: msgspec.Raw


_DECODER = msgspec.json.Decoder(WirePayload)
_ROWS_DECODER = msgspec.json.Decoder(list[WireRow])

# Probably between two objects of an array.
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\n\r]*+,[ \t\n\r]*+(?=\{)")
# At most as much is copied of the fields beside the rows, or of rows without a place to cut.
_MAX_UNCUT_BYTES = 4 << 20


class Slices(NamedTuple):
    """The smallest body that is read in slices, and the size of a slice, in bytes."""

    threshold: int
    size: int


SLICES = Slices(8 << 20, 1 << 20)


def decode(body: bytes | bytearray, *, today: datetime.date) -> Payload:
    """Return a payload that was read and checked, without the changes; see `decode_with_changes`."""
    return decode_with_changes(body, today=today).payload


class Decoded(NamedTuple):
    """A payload, and the number of its rows as they were sent whose country is not as it was sent."""

    payload: Payload
    countries_changed: int


class Received(NamedTuple):
    """A payload in its canonical form, and the number of its rows whose country is not as it was sent."""

    payload: EncodedPayload
    countries_changed: int


def decode_with_changes(body: bytes | bytearray, *, today: datetime.date) -> Decoded:
    """Read and check a payload; equal keys are merged, defaults filled in, sketches re-encoded.

    Countries are normalised: see `normalize_country`. Deployed aggregators send what the log has.

    Args:
        body: the wire format, not compressed.
        today: the UTC day on which it is received; statistics of later days are refused, but for one day
            of grace for clocks that disagree.

    Raises:
        NotJSON: if it is not JSON.
        InvalidPayload: with the path to each bad field.
    """
    wire = _decode_wire(body)
    changed = _normalize_countries(wire.stats)
    months = _find_months(wire)
    errors = take_first(chain(find_bad_days(wire, today), find_bad_period(wire, today)))
    rows = _complete_rows(wire.stats, months)
    if errors or rows is None:
        raise InvalidPayload(take_first(chain(errors, find_bad_rows(wire.stats, months))))
    rows = sort_and_merge(rows)
    if too_large := take_first(find_bad_sums(rows)):
        raise InvalidPayload(too_large)
    return Decoded(_make_payload(wire, rows), changed)


def receive(body: bytes | bytearray, *, today: datetime.date, slices: Slices = SLICES) -> Received:
    """Read and check a payload as `decode_with_changes` does, and return it in its canonical form.

    A large body whose rows are sorted is read in slices, so that only the rows of one slice are in memory at once.
    Any other one is decoded as a whole.

    Raises:
        NotJSON: if it is not JSON.
        InvalidPayload: with the path to each bad field.
    """
    is_large = len(body) >= slices.threshold
    received = _receive_sorted(body, today, slices.size) if is_large else None
    if received is not None:
        return received
    decoded = decode_with_changes(body, today=today)
    payload = encode(decoded.payload)
    return Received(payload.stream_rows() if is_large else payload, decoded.countries_changed)


def _receive_sorted(body: bytes | bytearray, today: datetime.date, slice_bytes: int) -> Received | None:
    """Read a payload in slices; return None if it is not valid, its rows are not sorted, or it cannot be cut."""
    try:
        opened = _decode_envelope(body)
        if opened is None:
            return None
        wire, stats = opened
        if any(find_bad_days(wire, today)) or any(find_bad_period(wire, today)):
            return None
        months = _find_months(wire)
        encoder = Encoder(_make_payload(wire, []))
        last: Key | None = None
        changed = 0
        for piece in _cut(stats, slice_bytes):
            if len(piece) > slice_bytes + _MAX_UNCUT_BYTES:
                return None
            sent = _ROWS_DECODER.decode(b"".join((b"[", piece, b"]")))
            changed += _normalize_countries(sent)
            rows = _complete_rows(sent, months)
            if rows is None or not is_sorted(rows, after=last) or any(find_bad_sums(rows)):
                return None
            encoder.add(rows)
            last = rows[-1].key if rows else last
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Received(encoder.finish(), changed)


def _decode_envelope(body: bytes | bytearray) -> tuple[WirePayload, memoryview] | None:
    """Return a payload without its rows, and the JSON of these, not copied.

    The rest is decoded with all keys that it has, so that a second `stats` is checked as well. Return None if the
    rest is large, or `stats` is no list.
    """
    stats = msgspec.json.decode(body, type=_OnlyRows).stats
    start = _find_address(stats) - _find_address(body)
    end = start + len(memoryview(stats))
    if body[start] != ord("[") or len(body) - (end - start) > _MAX_UNCUT_BYTES:
        return None
    view = memoryview(body)
    return _DECODER.decode(b"".join((view[:start], b"[]", view[end:]))), memoryview(stats)


def _find_address(buffer: bytes | bytearray | msgspec.Raw) -> int:
    return np.frombuffer(buffer, dtype=np.uint8).ctypes.data


def _cut(array: memoryview, slice_bytes: int) -> Iterator[memoryview]:
    """Cut the elements of a JSON array of objects into slices of about this size.

    A place within a text or a nested array can look like one between objects. The slice before it is no JSON then,
    since its quotes or brackets are not balanced.
    """
    start = 1
    while between := _BETWEEN_OBJECTS.search(array, start + slice_bytes):
        yield array[start : between.start() + 1]
        start = between.end()
    yield array[start:-1]


def _find_months(wire: WirePayload) -> set[datetime.date]:
    return {day.replace(day=1) for day in wire.days_coverage}


def _make_payload(wire: WirePayload, rows: list[Row]) -> Payload:
    return Payload(
        generated_at=wire.generated_at or "",
        version=wire.version or "",
        days_coverage=sorted(set(wire.days_coverage)),
        aggregation_score=round(wire.aggregation_score or 0),
        stats=rows,
        excluded=wire.excluded,
        source=wire.source or "",
        period=wire.period,
    )


def _normalize_countries(rows: list[WireRow]) -> int:
    """Normalise the countries of rows in place, and return the number of changed rows."""
    countries = {country: normalize_country(country or "") for country in {row.country for row in rows}}
    if all(normal == (country or "") for country, normal in countries.items()):
        return 0
    changed = 0
    for row in rows:
        normal = countries[row.country]
        changed += normal != (row.country or "")
        row.country = normal
    return changed


def _decode_wire(body: bytes | bytearray) -> WirePayload:
    try:
        try:
            return _DECODER.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidPayload(take_first(find_bad_fields(body)) or [(ROOT, "not valid")]) from error
    # A validation error may come before the place where the document stops being JSON.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSON(str(error)) from error


def _complete_rows(sent: list[WireRow], months: set[datetime.date]) -> list[Row] | None:
    """Return rows with defaults filled in and sketches in canonical form, or None if a value is bad."""
    if not do_values_fit(sent, months):
        return None
    sketches = [row.clients.lower() for row in sent]
    if not are_canonical(sketches):
        try:
            sketches = [hll.to_hex(hll.canonicalize(hll.from_hex(sketch))) for sketch in sketches]
        except InvalidSketch:
            return None
    return [_complete_row(row, sketch) for row, sketch in zip(sent, sketches, strict=True)]


def _complete_row(sent: WireRow, clients: str) -> Row:
    """Fill in fields that older aggregators omit."""
    unsuccessful = sent.nb_unsuccessful_requests
    if unsuccessful is None:
        unsuccessful = max((sent.nb_requests or 0) - sent.nb_successful_requests, 0)
    requests = sent.nb_requests
    if requests is None:
        requests = sent.nb_successful_requests + unsuccessful
    return Row(
        sent.month,
        sent.network,
        sent.station,
        sent.location,
        sent.channel,
        sent.country or "",
        sent.bytes,
        requests,
        sent.nb_successful_requests,
        unsuccessful,
        clients,
    )
