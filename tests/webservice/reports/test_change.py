"""Changes compare like with like."""

import datetime

import pytest

from eida_statistics.payload import Period
from eida_stats_webservice.payloads.models import ReceivedDays
from eida_stats_webservice.reports.change import (
    Pair,
    Side,
    compare,
    compute_change,
    find_complete_nodes,
    hold_enough_bytes,
)
from eida_stats_webservice.reports.coverage import compute_coverage
from eida_stats_webservice.reports.models import Sums
from eida_stats_webservice.reports.periods import MonthRange

NOW, BEFORE = MonthRange.of_year(2024), MonthRange.of_year(2023)
LATER = datetime.date(2026, 1, 1)


def fill(period: MonthRange, **bytes_by_node: int) -> dict[Pair, Sums]:
    return {
        (node, month): {"bytes": size, "packets": size // 10}
        for node, size in bytes_by_node.items()
        for month in period.months
    }


def make_complete_side(period: MonthRange, sums: dict[Pair, Sums], nodes: str = "A", *others: Pair) -> Side:
    """Return a side on which all months of some nodes are complete, and some others."""
    return Side(period, sums, {(node, month) for node in nodes for month in period.months} | set(others))


def test_change_is_over_months_complete_in_both() -> None:
    # B is complete in both years in December only, and this year in January as well.
    now = make_complete_side(NOW, fill(NOW, A=120, B=50), "A", ("B", NOW.last), ("B", NOW.first))
    base = compare(now, make_complete_side(BEFORE, fill(BEFORE, A=100, B=500), "A", ("B", BEFORE.last)))
    # The base holds 1,700 of 7,200 bytes of the earlier year.
    assert (base.changes, base.nodes, base.share) == ({}, 2, pytest.approx(1700 / 7200))
    base = compare(now, make_complete_side(BEFORE, fill(BEFORE, A=100, B=60), "A", ("B", BEFORE.last)))
    assert base.changes == {
        "bytes": pytest.approx((12 * 120 + 50) / (12 * 100 + 60) - 1),
        "packets": pytest.approx((12 * 12 + 5) / (12 * 10 + 6) - 1),
    }


def test_complete_month_without_requests_counts_as_zero() -> None:
    then = {pair: sums for pair, sums in fill(BEFORE, A=100).items() if pair[1].month > 6}
    base = compare(make_complete_side(NOW, fill(NOW, A=100)), make_complete_side(BEFORE, then))
    assert base.changes["bytes"] == pytest.approx(1.0)


@pytest.mark.parametrize(("now", "then"), [({}, {"A": 5}), ({"A": 5}, {}), ({}, {})])
def test_period_without_bytes_is_not_comparable(now: dict[str, int], then: dict[str, int]) -> None:
    base = compare(make_complete_side(NOW, fill(NOW, **now)), make_complete_side(BEFORE, fill(BEFORE, **then)))
    assert (base.changes, base.share) == ({}, None)


@pytest.mark.parametrize(
    ("nodes", "expected"), [("", False), ("A", True), ("B", False), ("C", False), ("AB", True), ("BC", True)]
)
def test_nodes_stand_for_all_with_half_of_the_bytes(nodes: str, expected: bool) -> None:
    now = make_complete_side(NOW, fill(NOW, A=50, B=10, C=40))
    before = make_complete_side(BEFORE, fill(BEFORE, A=60, B=0, C=60))
    assert hold_enough_bytes(nodes, now, before) == expected


def test_change_from_zero_is_unknown() -> None:
    assert compute_change(5, 0) is None
    assert compute_change(None, 5) is None
    assert compute_change(0, 5) == -1


def test_clients_are_compared_over_complete_nodes() -> None:
    def cover(period: MonthRange, missing: str) -> list[ReceivedDays]:
        day = period.first + datetime.timedelta(days=40)
        return [
            received
            for node in "ABC"
            for received in (
                [ReceivedDays(node, period.days, True)]
                if node != missing
                else [
                    ReceivedDays(node, Period(period.first, day), True),
                    ReceivedDays(node, Period(day + datetime.timedelta(days=2), period.days.end), True),
                ]
            )
        ]

    began = dict.fromkeys("ABC", BEFORE.first)
    now, before = (
        compute_coverage(cover(period, missing), began, period.days, LATER)
        for period, missing in ((NOW, "A"), (BEFORE, "C"))
    )
    assert find_complete_nodes(now, NOW, before, BEFORE) == ["B"]
