"""Coverage: days received out of days due.

The days of a node are due from the first one that it ever sent to yesterday. A day is received if it lies in the
period of a payload in force. Payloads of older aggregators have no period. They stand for the days of their
requests, and a day without requests looks like one that was not sent.
"""

import datetime
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping

import msgspec

from eida_statistics.payload import Period
from eida_stats_webservice.payloads.models import ReceivedDays

_DAY = datetime.timedelta(days=1)


class NodeCoverage(msgspec.Struct, frozen=True):
    """The coverage of one node.

    Attributes:
        due: the days due; None if there are none.
        received: the days received, among those due, in order.
        reports_quiet_days: whether days without requests count as received: all payloads state their periods.
    """

    node: str
    due: Period | None
    received: tuple[datetime.date, ...]
    reports_quiet_days: bool

    @property
    def days_due(self) -> int:
        """The number of days due."""
        return 0 if self.due is None else _count_days(self.due)

    @property
    def days_received(self) -> int:
        """The number of days received."""
        return len(self.received)

    @property
    def not_received(self) -> list[Period]:
        """The days due that were not received."""
        if self.due is None:
            return []
        # The days between two received ones, and those at both ends.
        edges = [self.due.start - _DAY, *self.received, self.due.end + _DAY]
        return [
            Period(before + _DAY, after - _DAY)
            for before, after in itertools.pairwise(edges)
            if (after - before) > _DAY
        ]

    def restrict(self, period: Period) -> "NodeCoverage":
        """Return the coverage of the days of a period."""
        due = None if self.due is None else _intersect(self.due, period)
        # Many years have many months, so a month must not look at all days.
        received = self.received[bisect_left(self.received, period.start) : bisect_right(self.received, period.end)]
        return NodeCoverage(self.node, due, received, self.reports_quiet_days)

    def is_complete(self, period: Period) -> bool:
        """Return whether every day of a period was received."""
        return self.restrict(period).days_received == _count_days(period)


def compute_coverage(
    received: Iterable[ReceivedDays],
    first_days: Mapping[str, datetime.date | None],
    period: Period,
    today: datetime.date,
) -> list[NodeCoverage]:
    """Return the coverage of each node in a period, in the order of `first_days`.

    Args:
        received: the days of all payloads in force that share days with the period.
        first_days: the first day that each node ever sent; None if it has sent nothing.
        period: the period.
        today: the present day in UTC, which is not due yet.
    """
    days: dict[str, set[datetime.date]] = {node: set() for node in first_days}
    states_periods = dict.fromkeys(first_days, True)
    for one in received:
        # Most payloads are of one day, and a year has thousands. The days outside the period do not matter below.
        if one.days.is_day:
            days[one.node].add(one.days.start)
        elif shared := _intersect(one.days, period):
            days[one.node].update(shared.days())
        states_periods[one.node] &= one.states_period
    found = []
    for node, began in first_days.items():
        due = None if began is None else _intersect(Period(began, today - _DAY), period)
        there = () if due is None else sorted(days[node].intersection(due.days()))
        found.append(NodeCoverage(node, due, tuple(there), states_periods[node]))
    return found


def _intersect(one: Period, other: Period) -> Period | None:
    # A node that sends today for the first time has no day before today: its period is reversed.
    start, end = max(one.start, other.start), min(one.end, other.end)
    return Period(start, end) if start <= end else None


def _count_days(period: Period) -> int:
    return (period.end - period.start).days + 1
