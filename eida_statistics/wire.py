"""The wire format of payloads, parsed and checked in full."""

import datetime
import re
from collections.abc import Iterator
from itertools import chain, islice
from operator import attrgetter, lt
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from eida_statistics import hll
from eida_statistics.encoding import EncodedPayload, Encoder, encode
from eida_statistics.errors import InvalidPayload, InvalidSketch, NotJSON
from eida_statistics.payload import (
    MAX_COUNT,
    Channel,
    Count,
    Exclusions,
    Key,
    Location,
    Network,
    Payload,
    Period,
    Row,
    Source,
    Station,
    merge_rows,
    normalize_country,
)
from eida_statistics.validation import ROOT, Fault, find_faults

EARLIEST_DAY = datetime.date(1990, 1, 1)
MAX_LISTED_ERRORS = 100

_Label = Annotated[str, Meta(pattern=r"^[ -~]{0,64}\Z")]

COUNTS = ("bytes", "nb_requests", "nb_successful_requests", "nb_unsuccessful_requests")
_Score = Annotated[float, Meta(ge=0, le=2**53)]

_CODES = {
    "network": Network,
    "station": Station,
    "location": Location,
    "channel": Channel,
}

_EXPECTED = {
    "generated_at": "up to 64 printable ASCII characters",
    "version": "up to 64 printable ASCII characters",
    "days_coverage": "a list of days, YYYY-MM-DD",
    "aggregation_score": "a number",
    "stats": "a list of objects",
    "source": "up to 64 letters, digits, dots or hyphens",
    "period": 'an object with the days "start" and "end"',
    "excluded": "an object with client_classes and client_patterns, lists of up to 100 texts",
    "month": "the first day of a month, YYYY-MM-01",
    "network": "a code of up to 8 letters, digits, - or _",
    "station": "a code of up to 8 letters, digits, - or _",
    "location": "a code of up to 8 letters, digits, blanks, - or _",
    "channel": "a code of up to 16 letters, digits, - or _",
    "country": "a text",
    "bytes": "an integer from 0 to 2^53-1",
    "nb_requests": "an integer from 0 to 2^53-1",
    "nb_successful_requests": "an integer from 0 to 2^53-1",
    "nb_unsuccessful_requests": "an integer from 0 to 2^53-1",
    "clients": "\\x and the hexadecimal digits of a sketch",
}


class _WireRow(msgspec.Struct, gc=False):
    """A row as nodes send it: older aggregators leave some keys out, or null.

    The codes are checked once for each that occurs, not once for each row.
    """

    month: datetime.date
    network: str
    station: str
    location: str
    channel: str
    bytes: Count
    nb_successful_requests: Count
    clients: str
    country: str | None = None
    nb_requests: Count | None = None
    nb_unsuccessful_requests: Count | None = None


class _CheckedWireRow(_WireRow):
    """A row whose codes are checked when it is decoded."""

    network: Network
    station: Station
    location: Location
    channel: Channel


class _WirePayload(msgspec.Struct):
    days_coverage: list[datetime.date]
    stats: list[_WireRow]
    generated_at: _Label | None = None
    version: _Label | None = None
    aggregation_score: _Score | None = None
    excluded: Exclusions | None = None
    source: Source | None = None
    period: Period | None = None


class _Envelope(msgspec.Struct):
    """A payload whose fields are looked at one by one, to name each one that is bad."""

    days_coverage: msgspec.Raw | UnsetType = UNSET
    stats: msgspec.Raw | UnsetType = UNSET
    generated_at: msgspec.Raw | UnsetType = UNSET
    version: msgspec.Raw | UnsetType = UNSET
    aggregation_score: msgspec.Raw | UnsetType = UNSET
    excluded: msgspec.Raw | UnsetType = UNSET
    source: msgspec.Raw | UnsetType = UNSET
    period: msgspec.Raw | UnsetType = UNSET


class _OnlyRows(msgspec.Struct):
    stats: msgspec.Raw


_DECODER = msgspec.json.Decoder(_WirePayload)
_ROWS_DECODER = msgspec.json.Decoder(list[_WireRow])

# Between two objects of an array, as far as can be seen there.
_BETWEEN_OBJECTS = re.compile(rb"\}[ \t\n\r]*+,[ \t\n\r]*+(?=\{)")
# As much may be copied of the fields beside the rows, or of rows between which no cut is found.
_MAX_UNCUT_BYTES = 4 << 20


class Slices(NamedTuple):
    """From which size on a body is read in slices, and how large these are, in bytes."""

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
    errors = _take_first(chain(_find_bad_days(wire, today), _find_bad_period(wire, today)))
    rows = _complete_rows(wire.stats, months)
    if errors or rows is None:
        raise InvalidPayload(_take_first(chain(errors, _find_bad_rows(wire.stats, months))))
    rows = _sort_and_merge(rows)
    if too_large := _take_first(_find_bad_sums(rows)):
        raise InvalidPayload(too_large)
    return Decoded(_make_payload(wire, rows), changed)


def receive(body: bytes | bytearray, *, today: datetime.date, slices: Slices = SLICES) -> Received:
    """Read and check a payload as `decode_with_changes` does, and return it in its canonical form.

    A large body whose rows are sorted is read in slices, so that only the rows of one slice are in memory at once.
    Any other one is decoded as a whole.

    Args:
        body: the wire format, not compressed.
        today: as for `decode_with_changes`.
        slices: sizes, for tests.

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
        if any(_find_bad_days(wire, today)) or any(_find_bad_period(wire, today)):
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
            if rows is None or not _is_sorted(rows, after=last) or any(_find_bad_sums(rows)):
                return None
            encoder.add(rows)
            last = rows[-1].key if rows else last
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Received(encoder.finish(), changed)


def _decode_envelope(body: bytes | bytearray) -> tuple[_WirePayload, memoryview] | None:
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


def _find_months(wire: _WirePayload) -> set[datetime.date]:
    return {day.replace(day=1) for day in wire.days_coverage}


def _make_payload(wire: _WirePayload, rows: list[Row]) -> Payload:
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


def _normalize_countries(rows: list[_WireRow]) -> int:
    """Normalise the countries of rows in place, and return of how many rows they have changed."""
    countries = {country: normalize_country(country or "") for country in {row.country for row in rows}}
    if all(normal == (country or "") for country, normal in countries.items()):
        return 0
    changed = 0
    for row in rows:
        normal = countries[row.country]
        changed += normal != (row.country or "")
        row.country = normal
    return changed


def _decode_wire(body: bytes | bytearray) -> _WirePayload:
    try:
        try:
            return _DECODER.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidPayload(_take_first(_find_bad_fields(body)) or [(ROOT, "not valid")]) from error
    # A validation error may come before the place where the document stops being JSON.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSON(str(error)) from error


def _values_fit(rows: list[_WireRow], months: set[datetime.date]) -> bool:
    return {row.month for row in rows} <= months and all(
        _is_code(field, code) for field in _CODES for code in set(map(attrgetter(field), rows))
    )


def _find_bad_rows(rows: list[_WireRow], months: set[datetime.date]) -> Iterator[Fault]:
    """Name each field whose value does not do, though its type does."""
    for number, row in enumerate(rows):
        for field in _CODES:
            if not _is_code(field, getattr(row, field)):
                yield f"stats[{number}].{field}", f"not {_EXPECTED[field]}"
        if row.month.day != 1:
            yield f"stats[{number}].month", f"not {_EXPECTED['month']}"
        elif row.month not in months:
            yield f"stats[{number}].month", f"{row.month:%Y-%m} has no day in days_coverage"
        yield from _check_sketch(row.clients, f"stats[{number}].clients")


def _check_sketch(text: str, path: str) -> Iterator[Fault]:
    try:
        hll.check(hll.from_hex(text.lower()))
    except InvalidSketch as error:
        yield path, f"{error.title[0].lower()}{error.title[1:]} ({error.subject})"


def _is_code(field: str, code: str | None) -> bool:
    try:
        msgspec.convert(code, _CODES[field])
    except msgspec.ValidationError:
        return False
    return True


def _is_sorted(rows: list[Row], *, after: Key | None = None) -> bool:
    """Return whether each row has a larger key than the one before, and the first one than `after`."""
    keys = [row.key for row in rows]
    begins_after = after is None or not keys or after < keys[0]
    return begins_after and all(map(lt, keys, islice(keys, 1, None)))


def _sort_and_merge(rows: list[Row]) -> list[Row]:
    if _is_sorted(rows):
        return rows
    by_key: dict[Key, Row] = {}
    for row in rows:
        known = by_key.get(row.key)
        by_key[row.key] = row if known is None else merge_rows((known, row))
    return [by_key[key] for key in sorted(by_key)]


def _find_bad_sums(rows: list[Row]) -> Iterator[Fault]:
    """Name rows in which what was filled in or merged is more than can be read again."""
    for field in COUNTS:
        if max(map(attrgetter(field), rows), default=0) > MAX_COUNT:
            for row in rows:
                if getattr(row, field) > MAX_COUNT:
                    stream = ".".join((row.network, row.station, row.location, row.channel))
                    told = f"those of {stream} of country {row.country or '(none)'} in {row.month:%Y-%m}"
                    yield "stats", f"{told} have more than 2^53-1 {field} together"


def _complete_rows(sent: list[_WireRow], months: set[datetime.date]) -> list[Row] | None:
    """Return rows with defaults filled in and sketches in canonical form, or None if a value is bad."""
    if not _values_fit(sent, months):
        return None
    sketches = [row.clients.lower() for row in sent]
    if not hll.are_canonical(sketches):
        try:
            sketches = [hll.to_hex(hll.canonicalize(hll.from_hex(sketch))) for sketch in sketches]
        except InvalidSketch:
            return None
    return [_complete_row(row, sketch) for row, sketch in zip(sent, sketches, strict=True)]


def _complete_row(sent: _WireRow, clients: str) -> Row:
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


def _find_bad_days(wire: _WirePayload, today: datetime.date) -> Iterator[Fault]:
    if not wire.days_coverage and wire.period is None:
        yield "days_coverage", "no day"
    for day in sorted(set(wire.days_coverage)):
        yield from _check_day("days_coverage", day, today)


def _find_bad_period(wire: _WirePayload, today: datetime.date) -> Iterator[Fault]:
    period = wire.period
    if period is None:
        if wire.source:
            yield "source", "needs a period"
        return
    if period.start > period.end:
        yield "period", "start is after end"
    for name in ("start", "end"):
        yield from _check_day(f"period.{name}", getattr(period, name), today)


def _check_day(path: str, day: datetime.date, today: datetime.date) -> Iterator[Fault]:
    if day > today + datetime.timedelta(days=1):
        yield path, f"{day} is in the future"
    elif day < EARLIEST_DAY:
        yield path, f"{day} is before {EARLIEST_DAY}"


def _take_first(errors: Iterator[Fault]) -> list[Fault]:
    return [error for error, _ in zip(errors, range(MAX_LISTED_ERRORS), strict=False)]


def _find_bad_fields(body: bytes | bytearray) -> Iterator[Fault]:
    """Name each field of a payload that has a wrong type or value, in the order of the document's rows."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError:
        msgspec.json.decode(body, type=msgspec.Raw)  # raises if it only begins like JSON
        yield ROOT, "not a JSON object"
        return
    for field in msgspec.structs.fields(_WirePayload):
        raw = getattr(envelope, field.encode_name)
        if field.name != "stats":
            if raw is not UNSET:
                yield from find_faults(msgspec.json.decode(raw), field.type, _EXPECTED, field.name)
            elif field.required:
                yield field.name, "missing"
            continue
        try:
            rows = msgspec.json.decode(raw, type=list[msgspec.Raw]) if raw is not UNSET else None
        except msgspec.ValidationError:
            rows = None
        if rows is None:
            yield "stats", "missing" if raw is UNSET else f"not {_EXPECTED['stats']}"
            continue
        for number, row in enumerate(rows):
            yield from _find_bad_row(row, f"stats[{number}]")


def _find_bad_row(raw: msgspec.Raw, path: str) -> Iterator[Fault]:
    row = msgspec.json.decode(raw)
    yield from find_faults(row, _CheckedWireRow, _EXPECTED, path)
    if isinstance(row, dict) and isinstance(row.get("clients"), str):
        yield from _check_sketch(row["clients"], f"{path}.clients")
