"""The faults of payloads in the wire format, each with its path."""

import datetime
from collections.abc import Iterator
from operator import attrgetter

import msgspec
from msgspec import UNSET, UnsetType

from eida_statistics import hll
from eida_statistics.errors import InvalidSketch
from eida_statistics.months import format_month
from eida_statistics.payload import COUNTS, EARLIEST_DAY, MAX_COUNT, Row
from eida_statistics.validation import ROOT, Fault, find_faults
from eida_statistics.wire_records import CODES, EXPECTED, CheckedWireRow, WirePayload, WireRow

MAX_LISTED_ERRORS = 100

# A payload whose fields are checked one by one.
_Envelope = msgspec.defstruct(
    "_Envelope", [(name, msgspec.Raw | UnsetType, UNSET) for name in WirePayload.__struct_fields__]
)


def find_bad_rows(rows: list[WireRow], months: set[datetime.date]) -> Iterator[Fault]:
    """Yield a fault for each value that has the right type but is not allowed."""
    for number, row in enumerate(rows):
        for field in CODES:
            if not _is_code(field, getattr(row, field)):
                yield f"stats[{number}].{field}", f"not {EXPECTED[field]}"
        if row.month.day != 1:
            yield f"stats[{number}].month", f"not {EXPECTED['month']}"
        elif row.month not in months:
            yield f"stats[{number}].month", f"{format_month(row.month)} has no day in days_coverage"
        yield from _check_sketch(row.clients, f"stats[{number}].clients")


def _check_sketch(text: str, path: str) -> Iterator[Fault]:
    try:
        hll.check(hll.from_hex(text.lower()))
    except InvalidSketch as error:
        yield path, f"{error.title[0].lower()}{error.title[1:]} ({error.subject})"


def _is_code(field: str, code: str | None) -> bool:
    try:
        msgspec.convert(code, CODES[field])
    except msgspec.ValidationError:
        return False
    return True


def find_bad_sums(rows: list[Row]) -> Iterator[Fault]:
    """Yield a fault for each row whose filled-in or merged counts are too large."""
    for field in COUNTS:
        if max(map(attrgetter(field), rows), default=0) > MAX_COUNT:
            for row in rows:
                if getattr(row, field) > MAX_COUNT:
                    stream = ".".join((row.network, row.station, row.location, row.channel))
                    rows_of_key = (
                        f"those of {stream} of country {row.country or '(none)'} in {format_month(row.month)}"
                    )
                    yield "stats", f"{rows_of_key} have more than 2^53-1 {field} together"


def find_bad_days(wire: WirePayload, today: datetime.date) -> Iterator[Fault]:
    """Yield a fault for each day that no payload can have."""
    if not wire.days_coverage and wire.period is None:
        yield "days_coverage", "no day"
    for day in sorted(set(wire.days_coverage)):
        yield from _check_day("days_coverage", day, today)


def find_bad_period(wire: WirePayload, today: datetime.date) -> Iterator[Fault]:
    """Yield the faults of the period, or of a source without one."""
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


def take_first(errors: Iterator[Fault]) -> list[Fault]:
    """Return as many faults as an error lists."""
    return [error for error, _ in zip(errors, range(MAX_LISTED_ERRORS), strict=False)]


def find_bad_fields(body: bytes | bytearray) -> Iterator[Fault]:
    """Yield a fault for each field with a wrong type or value, rows in their order."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError:
        msgspec.json.decode(body, type=msgspec.Raw)  # raises if it only begins like JSON
        yield ROOT, "not a JSON object"
        return
    for field in msgspec.structs.fields(WirePayload):
        raw = getattr(envelope, field.encode_name)
        if field.name != "stats":
            if raw is not UNSET:
                yield from find_faults(msgspec.json.decode(raw), field.type, EXPECTED, field.name)
            elif field.required:
                yield field.name, "missing"
            continue
        try:
            rows = msgspec.json.decode(raw, type=list[msgspec.Raw]) if raw is not UNSET else None
        except msgspec.ValidationError:
            rows = None
        if rows is None:
            yield "stats", "missing" if raw is UNSET else f"not {EXPECTED['stats']}"
            continue
        for number, row in enumerate(rows):
            yield from _find_bad_row(row, f"stats[{number}]")


def _find_bad_row(raw: msgspec.Raw, path: str) -> Iterator[Fault]:
    row = msgspec.json.decode(raw)
    yield from find_faults(row, CheckedWireRow, EXPECTED, path)
    if isinstance(row, dict) and isinstance(row.get("clients"), str):
        yield from _check_sketch(row["clients"], f"{path}.clients")


def do_values_fit(rows: list[WireRow], months: set[datetime.date]) -> bool:
    """Return whether all codes and months are valid; `find_bad_rows` names those that are not."""
    return {row.month for row in rows} <= months and all(
        _is_code(field, code) for field in CODES for code in set(map(attrgetter(field), rows))
    )
