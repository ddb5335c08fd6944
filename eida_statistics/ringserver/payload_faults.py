"""The faults of a day's payload in the wire format, each with its path."""

import datetime
from collections.abc import Iterator
from itertools import chain

from eida_statistics.months import format_month
from eida_statistics.ringserver.payload import KIND, LISTS, DayPayload, DayRow, HourRow, PlaceRow, StatRow
from eida_statistics.rows import SumRow
from eida_statistics.validation import Fault
from eida_statistics.wire_faults import WireFormat, check_period, check_sketch, find_large_sums
from eida_statistics.wire_records import EXPECTED

_COUNT = EXPECTED["bytes"]
_DAY = "a day, YYYY-MM-DD"

WIRE_FORMAT = WireFormat(
    payload=DayPayload,
    rows={"stats": StatRow, "days": DayRow, "hours": HourRow, "places": PlaceRow},
    expected={
        **EXPECTED,
        **dict.fromkeys(LISTS, "a list of objects"),
        **dict.fromkeys(("packets", "records"), _COUNT),
        "kind": f'"{KIND}"',
        "day": _DAY,
        "hour": "the start of an hour in UTC, YYYY-MM-DDTHH:00:00Z",
        "direction": "TX or RX",
        "country": "a code of 2 capital letters or digits, or empty",
        "city": "a name of up to 100 characters",
        "geohash": "a geohash of up to 12 characters",
    },
)


def find_bad_day(payload: DayPayload, today: datetime.date) -> Iterator[Fault]:
    """Yield the faults of the period, which must be one day."""
    yield from check_period(payload.period, today)
    if payload.period.start < payload.period.end:
        yield "period", "not one day"


def find_bad_rows(payload: DayPayload) -> Iterator[Fault]:
    """Yield a fault for each row of another month, day or hour than those of the period."""
    day = payload.period.start
    month = day.replace(day=1)
    for number, stat in enumerate(payload.stats):
        if stat.month != month:
            yield f"stats[{number}].month", f"not {month}: the period is in {format_month(day)}"
    dated = (("days", [row.day for row in payload.days]), ("places", [row.day for row in payload.places]))
    for name, days in dated:
        for number, other in enumerate(days):
            if other != day:
                yield f"{name}[{number}].day", f"not {day}, the day of the period"
    for number, hour in enumerate(payload.hours):
        if not _is_hour_of(hour.hour, day):
            yield f"hours[{number}].hour", f"not an hour of {day}, such as {day}T02:00:00Z"


def _is_hour_of(moment: datetime.datetime, day: datetime.date) -> bool:
    is_full = not (moment.minute or moment.second or moment.microsecond)
    return is_full and moment.date() == day and not moment.utcoffset()


def find_bad_sketches(payload: DayPayload) -> Iterator[Fault]:
    """Yield a fault for each sketch that is not valid."""
    for name, rows in payload.lists.items():
        for number, row in enumerate(rows):
            yield from check_sketch(row.clients, f"{name}[{number}].clients")


def find_large_rows(payload: DayPayload) -> Iterator[Fault]:
    """Yield a fault for each merged row whose counts are too large."""
    return chain.from_iterable(find_large_sums(rows, name, _describe) for name, rows in payload.lists.items())


def _describe(row: SumRow) -> str:
    return "/".join(str(part) or "(none)" for part in row.key)
