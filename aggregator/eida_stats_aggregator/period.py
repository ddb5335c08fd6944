"""The period for which logs stand, from their names, from options or from their requests."""

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from eida_statistics.payload import Period

# SeisComP adds the day of the records when it begins a new log; packers add their own suffix.
_DAY_IN_NAME = re.compile(r"\.log\.(\d{4}-\d\d-\d\d)(?![0-9-])", re.ASCII)
# Days at either end with less than this share of the mean of the others are strays.
_STRAY_SHARE = 0.1

Origin = Literal["names", "options", "requests"]


class LogPeriod(NamedTuple):
    """The period of some logs, its origin, and the days in it without a log."""

    period: Period
    origin: Origin
    gaps: Sequence[datetime.date] = ()


def parse_day(name: str) -> datetime.date | None:
    """Return the day of a log by its name, `….log.YYYY-MM-DD…`, None if it has no day.

    SeisComP begins a new log at the first record after midnight UTC, so a log can hold records of the day before.
    """
    found = _DAY_IN_NAME.search(Path(name).name)
    if found is None:
        return None
    try:
        return datetime.date.fromisoformat(found[1])
    except ValueError:
        return None


def find_period(
    names: Sequence[str], counts: Mapping[datetime.date, int], stated: Period | None = None
) -> LogPeriod | None:
    """Return the period of logs, None if nothing says which it is.

    Names count first, then the period that the operator has `stated`, then the numbers of requests by day.
    """
    days = [parse_day(name) for name in names]
    named = {day for day in days if day is not None}
    if named and None not in days:
        period = Period(min(named), max(named))
        return LogPeriod(period, "names", [day for day in period.days() if day not in named])
    found = named | set(drop_strays(counts))
    if not found:
        return None
    if stated is not None:
        return LogPeriod(stated, "options")
    return LogPeriod(Period(min(found), max(found)), "requests")


def drop_strays(counts: Mapping[datetime.date, int]) -> list[datetime.date]:
    """Return days with requests, without those at either end that have few: a log was rotated late or early."""
    days = sorted(day for day, count in counts.items() if count)
    while len(days) > 1:
        weakest = min((days[0], days[-1]), key=lambda day: counts[day])
        others = [counts[day] for day in days if day != weakest]
        if counts[weakest] >= _STRAY_SHARE * sum(others) / len(others):
            break
        days.remove(weakest)
    return days
