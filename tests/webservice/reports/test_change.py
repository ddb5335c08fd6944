"""Changes compare like with like."""

import datetime

import pytest

from eida_stats_webservice.dataselect.models import ReceivedDays
from eida_stats_webservice.reports.change import Pair, Sums, compare, compute_change, find_complete_nodes
from eida_stats_webservice.reports.coverage import compute_coverage
from eida_stats_webservice.reports.periods import MonthRange

NOW, BEFORE = MonthRange.of_year(2024), MonthRange.of_year(2023)
LATER = datetime.date(2026, 1, 1)


def fill(period: MonthRange, **bytes_by_node: int) -> dict[Pair, Sums]:
    return {
        (node, month): Sums(size, size // 10) for node, size in bytes_by_node.items() for month in period.months
    }


def test_change_is_over_months_complete_in_both() -> None:
    now, then = fill(NOW, A=120, B=50), fill(BEFORE, A=100, B=500)
    # B is complete in both years in December only.
    december = (("B", NOW.last), ("B", BEFORE.last))
    complete = {pair for pair in now if pair[0] == "A"} | {december[0]}
    before = {pair for pair in then if pair[0] == "A"} | {december[1]}
    base = compare(now, complete | {("B", NOW.first)}, NOW, then, before, BEFORE)
    # The base holds 1,700 of 7,200 bytes of the earlier year.
    assert (base.bytes_change, base.nodes, base.share) == (None, 2, pytest.approx(1700 / 7200))
    then = fill(BEFORE, A=100, B=60)
    base = compare(now, complete, NOW, then, before, BEFORE)
    assert base.bytes_change == pytest.approx((12 * 120 + 50) / (12 * 100 + 60) - 1)
    assert base.streams_change == pytest.approx((12 * 12 + 5) / (12 * 10 + 6) - 1)


def test_complete_month_without_requests_counts_as_zero() -> None:
    now = fill(NOW, A=100)
    complete = {("A", month) for month in NOW.months}
    then = {pair: sums for pair, sums in fill(BEFORE, A=100).items() if pair[1].month > 6}
    base = compare(now, complete, NOW, then, {("A", month) for month in BEFORE.months}, BEFORE)
    assert base.bytes_change == pytest.approx(1.0)


@pytest.mark.parametrize(("now", "then"), [({}, {"A": 5}), ({"A": 5}, {}), ({}, {})])
def test_period_without_bytes_is_not_comparable(now: dict[str, int], then: dict[str, int]) -> None:
    complete = {("A", month) for month in NOW.months}
    before = {("A", month) for month in BEFORE.months}
    base = compare(fill(NOW, **now), complete, NOW, fill(BEFORE, **then), before, BEFORE)
    assert (base.bytes_change, base.streams_change, base.share) == (None, None, None)


def test_change_from_zero_is_unknown() -> None:
    assert compute_change(5, 0) is None
    assert compute_change(None, 5) is None
    assert compute_change(0, 5) == -1


def test_clients_are_compared_over_complete_nodes() -> None:
    def cover(period: MonthRange, missing: str) -> list[ReceivedDays]:
        day = period.start + datetime.timedelta(days=40)
        return [
            received
            for node in "ABC"
            for received in (
                [ReceivedDays(node, period.start, period.end, True)]
                if node != missing
                else [
                    ReceivedDays(node, period.start, day, True),
                    ReceivedDays(node, day + datetime.timedelta(days=2), period.end, True),
                ]
            )
        ]

    began = dict.fromkeys("ABC", BEFORE.start)
    now, before = (
        compute_coverage(cover(period, missing), began, period.start, period.end, LATER)
        for period, missing in ((NOW, "A"), (BEFORE, "C"))
    )
    assert find_complete_nodes(now, NOW, before, BEFORE) == ["B"]
