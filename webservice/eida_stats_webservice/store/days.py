"""The days of payloads: which of them share some, and which of them one replaces. It knows no database."""

import datetime
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from eida_statistics.errors import AmbiguousReplacement
from eida_stats_webservice.store.records import PayloadDays

# By their numbers.
Days = dict[int, set[datetime.date]]


def to_replace(days: Collection[datetime.date], others: Days) -> list[int]:
    """Choose which of the payloads that share days with one are replaced by it, if it names none.

    Raises:
        AmbiguousReplacement: if one of them has other days, too, or two of them have the same day.
    """
    beyond = {number: known for number, known in others.items() if not known <= set(days)}
    if beyond:
        raise AmbiguousReplacement(
            beyond,
            hint="They have other days, too. Send these as well, or name what is replaced: ?replaces=NUMBER,…",
        )
    counts = Counter(day for known in others.values() for day in known)
    if twice := {day for day, count in counts.items() if count > 1}:
        sharing = {number: known for number, known in others.items() if not twice.isdisjoint(known)}
        raise AmbiguousReplacement(
            sharing,
            hint="They share days, as those of several servers do. Name what is replaced: ?replaces=NUMBER,…",
        )
    return sorted(others)


def overlaps_of(days: Collection[datetime.date], others: Days) -> list[PayloadDays]:
    """Tell on which of some days other payloads count, too."""
    return [PayloadDays(number, sorted(known.intersection(days))) for number, known in others.items()]


def by_payload(rows: Iterable[tuple[int, Any]]) -> Days:
    """Gather the days of payloads; SQLite gives them as text."""
    days: defaultdict[int, set[datetime.date]] = defaultdict(set)
    for number, day in rows:
        days[number].add(msgspec.convert(day, datetime.date))
    return days


def months_of(days: Iterable[datetime.date]) -> set[datetime.date]:
    """Give the first days of the months."""
    return {day.replace(day=1) for day in days}


def last_day_of(month: datetime.date) -> datetime.date:
    """Give the last day of a month, by its first one."""
    return (month + datetime.timedelta(days=31)).replace(day=1) - datetime.timedelta(days=1)
