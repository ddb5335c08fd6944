"""Coverage: days received out of days due.

The days of a node are due from the first one that it ever sent to yesterday. A day is received if it lies in the
period of a payload in force. Payloads of older aggregators have no period. They stand for the days of their
requests, and a day without requests looks like one that was not sent.
"""

import datetime
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import msgspec

from eida_stats_webservice.dataselect.models import ReceivedDays

Days = tuple[datetime.date, datetime.date]
"""The first and the last of some consecutive days."""


class NodeCoverage(msgspec.Struct, frozen=True):
    """The coverage of one node.

    Attributes:
        due: the days due; None if there are none.
        received: the days received, among those due, in order.
        reports_quiet_days: whether days without requests count as received: all payloads state their periods.
    """

    node: str
    due: Days | None
    received: tuple[datetime.date, ...]
    reports_quiet_days: bool

    @property
    def days_due(self) -> int:
        """The number of days due."""
        return 0 if self.due is None else (self.due[1] - self.due[0]).days + 1

    @property
    def days_received(self) -> int:
        """The number of days received."""
        return len(self.received)

    @property
    def not_received(self) -> list[Days]:
        """The days due that were not received."""
        if self.due is None:
            return []
        received = set(self.received)
        return list(_join(day for day in list_days(*self.due) if day not in received))

    def restrict(self, first: datetime.date, last: datetime.date) -> "NodeCoverage":
        """Return the coverage of the days from `first` to `last`."""
        due = None if self.due is None else _intersect(self.due, (first, last))
        # Years have many months, so a month must not look at all days.
        received = self.received[bisect_left(self.received, first) : bisect_right(self.received, last)]
        return NodeCoverage(self.node, due, received, self.reports_quiet_days)

    def is_complete(self, first: datetime.date, last: datetime.date) -> bool:
        """Return whether every day from `first` to `last` was received."""
        return self.restrict(first, last).days_received == (last - first).days + 1


def compute_coverage(
    received: Iterable[ReceivedDays],
    first_days: dict[str, datetime.date | None],
    first: datetime.date,
    last: datetime.date,
    today: datetime.date,
) -> list[NodeCoverage]:
    """Return the coverage of each node from `first` to `last`, in the order of `first_days`.

    Args:
        received: the days of all payloads in force that share days with the period.
        first_days: the first day that each node ever sent; None if it has sent nothing.
        first: the first day.
        last: the last day.
        today: the present day in UTC, which is not due yet.
    """
    days: dict[str, set[datetime.date]] = {node: set() for node in first_days}
    states_periods = dict.fromkeys(first_days, True)
    for one in received:
        days[one.node].update(list_days(max(one.first_day, first), min(one.last_day, last)))
        states_periods[one.node] &= one.has_period
    found = []
    for node, began in first_days.items():
        due = None if began is None else _intersect((began, today - datetime.timedelta(days=1)), (first, last))
        due_days = set() if due is None else set(list_days(*due))
        found.append(NodeCoverage(node, due, tuple(sorted(days[node] & due_days)), states_periods[node]))
    return found


def list_days(first: datetime.date, last: datetime.date) -> Iterator[datetime.date]:
    """Yield the days from `first` to `last`."""
    for number in range((last - first).days + 1):
        yield first + datetime.timedelta(days=number)


def _intersect(one: Days, other: Days) -> Days | None:
    first, last = max(one[0], other[0]), min(one[1], other[1])
    return (first, last) if first <= last else None


def _join(days: Iterable[datetime.date]) -> Iterator[Days]:
    """Join sorted days that follow each other."""
    first = last = None
    for day in days:
        if last is not None and first is not None and (day - last).days > 1:
            yield first, last
            first = day
        first, last = first or day, day
    if first is not None and last is not None:
        yield first, last
