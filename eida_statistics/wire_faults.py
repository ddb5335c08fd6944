"""The faults of payloads in the wire format, each with its path."""

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from eida_statistics import hll
from eida_statistics.errors import InvalidSketch
from eida_statistics.months import format_month
from eida_statistics.payload import EARLIEST_DAY, MAX_COUNT, Period, Row
from eida_statistics.rows import AnyRow
from eida_statistics.validation import ROOT, Fault, find_faults
from eida_statistics.wire_records import CODES, EXPECTED, CheckedWireRow, WirePayload, WireRow, is_code

MAX_LISTED_ERRORS = 100


class WireFormat(NamedTuple):
    """The records of a kind of payload.

    Attributes:
        payload: the whole payload.
        rows: the records of its lists of rows, by their fields.
        expected: what is expected of a field, by its name.
    """

    payload: type[msgspec.Struct]
    rows: Mapping[str, type[msgspec.Struct]]
    expected: Mapping[str, str]


_DATASELECT = WireFormat(WirePayload, {"stats": CheckedWireRow}, EXPECTED)


def find_bad_rows(rows: list[WireRow], months: set[datetime.date]) -> Iterator[Fault]:
    """Yield a fault for each value that has the right type but is not allowed."""
    for number, row in enumerate(rows):
        for field in CODES:
            if not is_code(field, getattr(row, field)):
                yield f"stats[{number}].{field}", f"not {EXPECTED[field]}"
        if row.month.day != 1:
            yield f"stats[{number}].month", f"not {EXPECTED['month']}"
        elif row.month not in months:
            yield f"stats[{number}].month", f"{format_month(row.month)} has no day in days_coverage"
        yield from check_sketch(row.clients, f"stats[{number}].clients")


def check_sketch(text: str, path: str) -> Iterator[Fault]:
    """Yield the fault of a sketch in hexadecimal that is not valid."""
    try:
        hll.check(hll.from_hex(text.lower()))
    except InvalidSketch as error:
        yield path, f"{error.title[0].lower()}{error.title[1:]} ({error.subject})"


def find_bad_sums(rows: Sequence[Row]) -> Iterator[Fault]:
    """Yield a fault for each row whose filled-in or merged counts are too large."""
    return find_large_sums(rows, "stats", _describe_row)


def find_large_sums(rows: Sequence[AnyRow], path: str, describe: Callable[[AnyRow], str]) -> Iterator[Fault]:
    """Yield a fault for each row of a list that has too large a count; `describe` names the row."""
    for field in rows[0].counts if rows else ():
        if max(map(attrgetter(field), rows)) > MAX_COUNT:
            for row in rows:
                if getattr(row, field) > MAX_COUNT:
                    yield path, f"those of {describe(row)} have more than 2^53-1 {field} together"


def _describe_row(row: Row) -> str:
    stream = ".".join((row.network, row.station, row.location, row.channel))
    return f"{stream} of country {row.country or '(none)'} in {format_month(row.month)}"


def find_bad_days(wire: WirePayload, today: datetime.date) -> Iterator[Fault]:
    """Yield a fault for each day that no payload can have."""
    if not wire.days_coverage and wire.period is None:
        yield "days_coverage", "no day"
    for day in sorted(set(wire.days_coverage)):
        yield from _check_day("days_coverage", day, today)


def find_bad_period(wire: WirePayload, today: datetime.date) -> Iterator[Fault]:
    """Yield the faults of the period, or of a source without one."""
    if wire.period is not None:
        yield from check_period(wire.period, today)
    elif wire.source:
        yield "source", "needs a period"


def check_period(period: Period, today: datetime.date) -> Iterator[Fault]:
    """Yield the faults of a period."""
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


def find_bad_fields(body: bytes | bytearray, wire_format: WireFormat = _DATASELECT) -> Iterator[Fault]:
    """Yield a fault for each field with a wrong type or value, rows in their order."""
    # A payload whose fields are checked one by one.
    fields = wire_format.payload.__struct_fields__
    envelope_type = msgspec.defstruct("_Envelope", [(name, msgspec.Raw | UnsetType, UNSET) for name in fields])
    try:
        envelope = msgspec.json.decode(body, type=envelope_type)
    except msgspec.ValidationError:
        msgspec.json.decode(body, type=msgspec.Raw)  # raises if it only begins like JSON
        yield ROOT, "not a JSON object"
        return
    for field in msgspec.structs.fields(wire_format.payload):
        raw = getattr(envelope, field.encode_name)
        if raw is UNSET:
            if field.required:
                yield field.name, "missing"
        elif field.name in wire_format.rows:
            yield from _find_bad_rows(raw, field.name, wire_format)
        else:
            yield from find_faults(msgspec.json.decode(raw), field.type, wire_format.expected, field.name)


def _find_bad_rows(raw: msgspec.Raw, name: str, wire_format: WireFormat) -> Iterator[Fault]:
    try:
        rows = msgspec.json.decode(raw, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        yield name, f"not {wire_format.expected[name]}"
        return
    for number, one in enumerate(rows):
        row, path = msgspec.json.decode(one), f"{name}[{number}]"
        yield from find_faults(row, wire_format.rows[name], wire_format.expected, path)
        if isinstance(row, dict) and isinstance(row.get("clients"), str):
            yield from check_sketch(row["clients"], f"{path}.clients")


def do_values_fit(rows: list[WireRow], months: set[datetime.date]) -> bool:
    """Return whether all codes and months are valid; `find_bad_rows` names those that are not."""
    return {row.month for row in rows} <= months and all(
        is_code(field, code) for field in CODES for code in set(map(attrgetter(field), rows))
    )
