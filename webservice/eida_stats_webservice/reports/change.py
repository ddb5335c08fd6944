"""Changes between two periods, over the parts that were received completely in both."""

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import msgspec

from eida_stats_webservice.reports.coverage import NodeCoverage
from eida_stats_webservice.reports.models import Sums
from eida_stats_webservice.reports.periods import MonthRange, get_month_days

# The base of a change holds at least this share of the bytes.
_LEAST_SHARE = 0.5

Pair = tuple[str, datetime.date]
"""A node and the first day of a month."""


class Side(msgspec.Struct, frozen=True):
    """One of two periods that are compared.

    Attributes:
        period: the months.
        sums: the sums of each node and month, complete or not.
        complete: the nodes and months of which every day was received.
    """

    period: MonthRange
    sums: Mapping[Pair, Sums]
    complete: set[Pair]


class Base(msgspec.Struct, frozen=True):
    """The changes of sums, and the part of the statistics over which they were computed.

    Attributes:
        changes: the relative change of each sum; none if the periods are not comparable.
        nodes: the number of nodes in the base.
        share: the share of all bytes in the base, in the period in which it is smaller; None without any bytes.
    """

    changes: dict[str, float | None]
    nodes: int
    share: float | None


def make_side(period: MonthRange, sums: Mapping[Pair, Sums], coverage: Iterable[NodeCoverage]) -> Side:
    """Return one side of a comparison."""
    days = {month: get_month_days(month) for month in period.months}
    complete = {(one.node, month) for one in coverage for month in days if one.is_complete(days[month])}
    return Side(period, sums, complete)


def find_complete_nodes(
    coverage: Iterable[NodeCoverage], period: MonthRange, earlier: Iterable[NodeCoverage], before: MonthRange
) -> list[str]:
    """Return the nodes of which every day of both periods was received."""
    complete = {one.node for one in earlier if one.is_complete(before.days)}
    return [one.node for one in coverage if one.node in complete and one.is_complete(period.days)]


def compare(now: Side, then: Side) -> Base:
    """Return the changes of the sums between two periods of equal length."""
    counterparts = dict(zip(now.period.months, then.period.months, strict=True))
    pairs = [
        ((node, month), (node, counterparts[month]))
        for node, month in now.complete
        if (node, counterparts[month]) in then.complete
    ]
    nodes = {node for (node, _), _ in pairs}
    one, other = _find_share(now, {pair for pair, _ in pairs}), _find_share(then, {pair for _, pair in pairs})
    share = None if one is None or other is None else min(one, other)
    if share is None or share < _LEAST_SHARE:
        return Base({}, len(nodes), share)
    late, early = _add_up(now, [pair for pair, _ in pairs]), _add_up(then, [pair for _, pair in pairs])
    return Base({name: compute_change(value, early.get(name)) for name, value in late.items()}, len(nodes), share)


def _add_up(side: Side, pairs: Iterable[Pair]) -> Sums:
    """Return the sums over some nodes and months."""
    total: Counter[str] = Counter()
    for pair in pairs:
        total.update(side.sums.get(pair, {}))
    return total


def hold_enough_bytes(nodes: Collection[str], *sides: Side) -> bool:
    """Return whether some nodes have enough of the bytes of each period to stand for all nodes."""
    shares = [_find_share(side, {pair for pair in side.sums if pair[0] in nodes}) for side in sides]
    return all(share is not None and share >= _LEAST_SHARE for share in shares)


def _find_share(side: Side, pairs: Collection[Pair]) -> float | None:
    """Return the share of the bytes of a period that some nodes and months hold; None without any bytes."""
    total = sum(one["bytes"] for one in side.sums.values())
    return sum(side.sums[pair]["bytes"] for pair in pairs if pair in side.sums) / total if total else None


def compute_change(value: int | None, earlier: int | None) -> float | None:
    """Return the relative change of a value; None if there is none, or the earlier one is zero."""
    return None if value is None or not earlier else value / earlier - 1
