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


def list_months(days: Iterable[datetime.date]) -> set[datetime.date]:
    """Return the first days of the months of some days."""
    return {day.replace(day=1) for day in days}


def find_last_day(month: datetime.date) -> datetime.date:
    """Return the last day of a month, by its first one."""
    return (month + datetime.timedelta(days=31)).replace(day=1) - datetime.timedelta(days=1)
