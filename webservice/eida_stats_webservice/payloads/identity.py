"""The identity of a payload: its statistics, and the logs for which they stand."""

import datetime
from collections.abc import Collection

import msgspec

from eida_statistics.payload import Period


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The properties that distinguish payloads of a node and kind; `days` are those of its requests."""

    hash: str
    content: str
    source: str
    period: Period | None
    days: frozenset[datetime.date]

    def covers(self, day: datetime.date) -> bool:
        """Return whether a day is in its period or, without one, among the days of its requests."""
        return day in self.days if self.period is None else self.period.start <= day <= self.period.end

    def first_and_last_day(self) -> tuple[datetime.date, datetime.date]:
        """Return the bounds of the days that it covers."""
        return (min(self.days), max(self.days)) if self.period is None else (self.period.start, self.period.end)

    def shared_days(self, other: "Identity") -> Collection[datetime.date]:
        """Return the days that both cover."""
        if self.period is None:
            return {day for day in self.days if other.covers(day)}
        if other.period is None:
            return other.shared_days(self)
        return Period(max(self.period.start, other.period.start), min(self.period.end, other.period.end)).days()

    def is_apart(self, other: "Identity") -> bool:
        """Return whether it is of another server of the node. An empty source stands for the whole node."""
        return bool(self.source and other.source) and self.source != other.source

    def has_content_of(self, other: "Identity") -> bool:
        """Return whether both are the same statistics, and one of them has no source and period."""
        return self.content == other.content and None in (self.period, other.period)


def touches(new: Identity, other: Identity) -> bool:
    """Return whether two payloads of a node and kind touch: they share a day and may be of the same source.

    The same statistics always touch, since all requests of a log may be of other days than its own.
    """
    if new.has_content_of(other):
        return True
    return not new.is_apart(other) and bool(new.shared_days(other))


def list_columns(new: Identity) -> dict[str, str | None]:
    """Return the columns of the table of payloads that hold an identity."""
    period = None if new.period is None else (new.period.start, new.period.end)
    # A stray request may be of a day outside of the period.
    bounds = [*new.days, *(period or ())]
    start, end = period or (None, None)
    return {
        "hash": new.hash,
        "content": new.content,
        "source": new.source,
        "period_start": start and start.isoformat(),
        "period_end": end and end.isoformat(),
        "starts_at": min(bounds).isoformat(),
        "ends_at": max(bounds).isoformat(),
    }
