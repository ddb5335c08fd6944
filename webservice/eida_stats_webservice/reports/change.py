"""Changes between two periods, over the parts that were received completely in both."""

import datetime
from collections.abc import Iterable, Mapping

import msgspec

from eida_statistics.months import find_last_day
from eida_stats_webservice.reports.coverage import NodeCoverage
from eida_stats_webservice.reports.periods import MonthRange

# The base of a change holds at least this share of the bytes.
_LEAST_SHARE = 0.5

Pair = tuple[str, datetime.date]
"""A node and the first day of a month."""


class Sums(msgspec.Struct, frozen=True):
    """The bytes and the streams delivered of a node in a month."""

    bytes: int
    streams: int


class Base(msgspec.Struct, frozen=True):
    """The change of bytes and streams, and the part of the statistics over which it was computed.

    Attributes:
        bytes_change: the relative change; None if the periods are not comparable.
        streams_change: likewise, of the streams delivered.
        nodes: the number of nodes in the base.
        share: the share of all bytes in the base, in the period in which it is smaller; None without any bytes.
    """

    bytes_change: float | None
    streams_change: float | None
    nodes: int
    share: float | None


def find_complete_months(coverage: Iterable[NodeCoverage], period: MonthRange) -> set[Pair]:
    """Return the nodes and months of which every day was received."""
    return {
        (one.node, month)
        for one in coverage
        for month in period.months
        if one.is_complete(month, find_last_day(month))
    }


def find_complete_nodes(
    coverage: Iterable[NodeCoverage], period: MonthRange, earlier: Iterable[NodeCoverage], before: MonthRange
) -> list[str]:
    """Return the nodes of which every day of both periods was received."""
    complete = {one.node for one in earlier if one.is_complete(before.start, before.end)}
    return [one.node for one in coverage if one.node in complete and one.is_complete(period.start, period.end)]


def compare(
    sums: Mapping[Pair, Sums],
    complete: set[Pair],
    period: MonthRange,
    earlier_sums: Mapping[Pair, Sums],
    earlier_complete: set[Pair],
    before: MonthRange,
) -> Base:
    """Return the change from the period `before` to `period`, which are equally long.

    Args:
        sums: the sums of each node and month of the period, complete or not.
        complete: its complete nodes and months.
        period: the period.
        earlier_sums: the sums of each node and month of the earlier period.
        earlier_complete: its complete nodes and months.
        before: the earlier period.
    """
    counterparts = dict(zip(period.months, before.months, strict=True))
    pairs = [
        ((node, month), (node, counterparts[month]))
        for node, month in sorted(complete)
        if (node, counterparts[month]) in earlier_complete
    ]
    nothing = Sums(0, 0)
    now = [sums.get(pair, nothing) for pair, _ in pairs]
    then = [earlier_sums.get(pair, nothing) for _, pair in pairs]
    share = _find_smallest_share((now, sums.values()), (then, earlier_sums.values()))
    is_comparable = share is not None and share >= _LEAST_SHARE
    return Base(
        bytes_change=compute_change(sum(one.bytes for one in now), sum(one.bytes for one in then))
        if is_comparable
        else None,
        streams_change=(
            compute_change(sum(one.streams for one in now), sum(one.streams for one in then))
            if is_comparable
            else None
        ),
        nodes=len({node for (node, _), _ in pairs}),
        share=share,
    )


def compute_change(value: int | None, earlier: int | None) -> float | None:
    """Return the relative change of a value; None if there is none, or the earlier one is zero."""
    return None if value is None or not earlier else value / earlier - 1


def _find_smallest_share(*periods: tuple[Iterable[Sums], Iterable[Sums]]) -> float | None:
    """Return the smallest share of the bytes of a period that its base holds."""
    shares = []
    for base, everything in periods:
        total = sum(one.bytes for one in everything)
        if not total:
            return None
        shares.append(sum(one.bytes for one in base) / total)
    return min(shares)
