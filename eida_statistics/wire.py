"""The wire format: what nodes send, read and checked in full."""

import contextlib
import datetime
from collections.abc import Iterator
from itertools import chain, islice
from operator import attrgetter, lt
from typing import Annotated, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eida_statistics import hll
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


_DECODER = msgspec.json.Decoder(_WirePayload)


def decode(body: bytes | bytearray, *, today: datetime.date) -> Payload:
    """Return a payload that was read and checked, without the changes; see `decode_with_changes`."""
    return decode_with_changes(body, today=today).payload


class Decoded(NamedTuple):
    """A payload, and the number of its rows as they were sent whose country is not as it was sent."""

    payload: Payload
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
    days = sorted(set(wire.days_coverage))
    months = {day.replace(day=1) for day in days}
    errors = _first(chain(_bad_days(wire, today), _bad_period(wire, today)))
    sketches = [row.clients.lower() for row in wire.stats]
    canonical = hll.all_canonical(sketches)
    if errors or not canonical or not _values_fit(wire.stats, months):
        errors = _first(chain(errors, _bad_rows(wire.stats, months)))
    if errors:
        raise InvalidPayload(errors)
    if not canonical:
        sketches = [hll.to_hex(hll.canonical(hll.from_hex(sketch))) for sketch in sketches]
    rows = _sorted_and_merged([_completed(row, sketch) for row, sketch in zip(wire.stats, sketches, strict=True)])
    if too_large := _first(_bad_sums(rows)):
        raise InvalidPayload(too_large)
    payload = Payload(
        generated_at=wire.generated_at or "",
        version=wire.version or "",
        days_coverage=days,
        aggregation_score=round(wire.aggregation_score or 0),
        stats=rows,
        excluded=wire.excluded,
        source=wire.source or "",
        period=wire.period,
    )
    return Decoded(payload, changed)


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
            raise InvalidPayload(_first(_bad_fields(body)) or [("$", str(error))]) from error
    # A validation error may come before the place where the document stops being JSON.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSON(str(error)) from error


def _values_fit(rows: list[_WireRow], months: set[datetime.date]) -> bool:
    return {row.month for row in rows} <= months and all(
        _is_code(field, code) for field in _CODES for code in set(map(attrgetter(field), rows))
    )


def _bad_rows(rows: list[_WireRow], months: set[datetime.date]) -> Iterator[tuple[str, str]]:
    """Name each field whose value does not do, though its type does."""
    for number, row in enumerate(rows):
        for field in _CODES:
            if not _is_code(field, getattr(row, field)):
                yield f"stats[{number}].{field}", f"not {_EXPECTED[field]}"
        if row.month.day != 1:
            yield f"stats[{number}].month", f"not {_EXPECTED['month']}"
        elif row.month not in months:
            yield f"stats[{number}].month", f"{row.month:%Y-%m} has no day in days_coverage"
        yield from _bad_sketch(row.clients, f"stats[{number}].clients")


def _bad_sketch(text: str, path: str) -> Iterator[tuple[str, str]]:
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


def _sorted_and_merged(rows: list[Row]) -> list[Row]:
    keys = [row.key for row in rows]
    if all(map(lt, keys, islice(keys, 1, None))):
        return rows
    by_key: dict[Key, Row] = {}
    for key, row in zip(keys, rows, strict=True):
        known = by_key.get(key)
        by_key[key] = row if known is None else merge_rows((known, row))
    return [by_key[key] for key in sorted(by_key)]


def _bad_sums(rows: list[Row]) -> Iterator[tuple[str, str]]:
    """Name rows in which what was filled in or merged is more than can be read again."""
    for field in COUNTS:
        if max(map(attrgetter(field), rows), default=0) > MAX_COUNT:
            for row in rows:
                if getattr(row, field) > MAX_COUNT:
                    stream = ".".join((row.network, row.station, row.location, row.channel))
                    told = f"those of {stream} of country {row.country or '(none)'} in {row.month:%Y-%m}"
                    yield "stats", f"{told} have more than 2^53-1 {field} together"


def _completed(sent: _WireRow, clients: str) -> Row:
    """Fill in what older aggregators leave out."""
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


def _bad_days(wire: _WirePayload, today: datetime.date) -> Iterator[tuple[str, str]]:
    if not wire.days_coverage and wire.period is None:
        yield "days_coverage", "no day"
    for day in sorted(set(wire.days_coverage)):
        yield from _bad_day("days_coverage", day, today)


def _bad_period(wire: _WirePayload, today: datetime.date) -> Iterator[tuple[str, str]]:
    period = wire.period
    if period is None:
        if wire.source:
            yield "source", "needs a period"
        return
    if period.start > period.end:
        yield "period", "start is after end"
    for name in ("start", "end"):
        yield from _bad_day(f"period.{name}", getattr(period, name), today)


def _bad_day(path: str, day: datetime.date, today: datetime.date) -> Iterator[tuple[str, str]]:
    if day > today + datetime.timedelta(days=1):
        yield path, f"{day} is in the future"
    elif day < EARLIEST_DAY:
        yield path, f"{day} is before {EARLIEST_DAY}"


def _first(errors: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    return [error for error, _ in zip(errors, range(MAX_LISTED_ERRORS), strict=False)]


def _bad_fields(body: bytes | bytearray) -> Iterator[tuple[str, str]]:
    """Name each field of a payload that has a wrong type or value, in the order of the document's rows."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError:
        msgspec.json.decode(body, type=msgspec.Raw)  # raises for what only begins like JSON
        yield "$", "not a JSON object"
        return
    for field in msgspec.structs.fields(_WirePayload):
        raw = getattr(envelope, field.encode_name)
        if field.name != "stats":
            yield from _bad_value(raw, field, field.name)
            continue
        try:
            rows = msgspec.json.decode(raw, type=list[msgspec.Raw]) if raw is not UNSET else None
        except msgspec.ValidationError:
            rows = None
        if rows is None:
            yield "stats", "missing" if raw is UNSET else f"not {_EXPECTED['stats']}"
            continue
        for number, row in enumerate(rows):
            yield from _bad_row(row, f"stats[{number}]")


def _bad_row(raw: msgspec.Raw, path: str) -> Iterator[tuple[str, str]]:
    try:
        values = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        yield path, "not an object"
        return
    for field in msgspec.structs.fields(_WireRow):
        yield from _bad_value(values.get(field.encode_name, UNSET), field, f"{path}.{field.name}")
    if "clients" in values:
        with contextlib.suppress(msgspec.ValidationError):  # told already
            yield from _bad_sketch(msgspec.json.decode(values["clients"], type=str), f"{path}.clients")


def _bad_value(
    raw: msgspec.Raw | UnsetType, field: msgspec.structs.FieldInfo, path: str
) -> Iterator[tuple[str, str]]:
    if raw is UNSET:
        if field.required:
            yield path, "missing"
        return
    try:
        msgspec.json.decode(raw, type=_CODES.get(field.name, field.type))
    except msgspec.ValidationError:
        yield path, f"not {_EXPECTED[field.name]}"
