"""Days of payloads, and the months in which their statistics are added up."""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec


def group_by_payload(rows: Iterable[tuple[int, Any]]) -> dict[int, list[datetime.date]]:
    """Gather the days of payloads by their numbers; SQLite returns days as text."""
    days: defaultdict[int, list[datetime.date]] = defaultdict(list)
    for number, day in rows:
        days[number].append(msgspec.convert(day, datetime.date))
    return days


def find_months(days: Iterable[datetime.date]) -> set[datetime.date]:
    """Return the first days of the months of some days."""
    return {day.replace(day=1) for day in days}
