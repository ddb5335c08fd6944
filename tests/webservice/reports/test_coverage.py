"""Coverage: days received out of days due."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.payload import Period
from eida_stats_webservice.payloads.models import ReceivedDays
from eida_stats_webservice.reports.coverage import compute_coverage

as_date = datetime.date.fromisoformat
START, END = as_date("2024-02-01"), as_date("2024-04-30")
SPRING = Period(START, END)
LATER = as_date("2026-01-01")
DAYS = st.dates(as_date("2024-01-15"), as_date("2024-05-15"))
RECEIVED = st.builds(
    lambda node, one, other, stated: ReceivedDays(node, Period(min(one, other), max(one, other)), stated),
    *(st.sampled_from("AB"), DAYS, DAYS, st.booleans()),
)


@given(st.lists(RECEIVED, max_size=8), st.one_of(st.none(), DAYS), DAYS)
def test_coverage_equals_a_count_day_by_day(
    received: list[ReceivedDays], began: datetime.date | None, today: datetime.date
) -> None:
    for one in compute_coverage(received, {"A": began, "B": START}, SPRING, today):
        first = began if one.node == "A" else START
        due = [day for day in SPRING.days() if first is not None and first <= day < today]
        there = [
            day
            for day in due
            if any(got.node == one.node and got.days.start <= day <= got.days.end for got in received)
        ]
        assert (one.days_due, one.days_received) == (len(due), len(there))
        gaps = [day for gap in one.not_received for day in gap.days()]
        assert gaps == sorted(set(due) - set(there))
        # Neighbouring days are one gap.
        assert all(
            (after.start - before.end).days > 1
            for before, after in zip(one.not_received, one.not_received[1:], strict=False)
        )
        march = one.restrict(Period(as_date("2024-03-01"), as_date("2024-03-31")))
        assert march.days_due == sum(day.month == 3 for day in due)
        assert march.days_received == sum(day.month == 3 for day in there)


def test_node_that_joined_is_not_missing_earlier_days() -> None:
    (one,) = compute_coverage(
        [ReceivedDays("A", Period(as_date("2024-03-15"), END), True)], {"A": as_date("2024-03-15")}, SPRING, LATER
    )
    assert (one.days_due, one.days_received, one.not_received) == (47, 47, [])
    assert not one.is_complete(Period(START, as_date("2024-02-29")))
    assert one.is_complete(Period(as_date("2024-04-01"), END))


def test_yesterday_is_due_and_today_is_not() -> None:
    today = as_date("2024-02-03")
    (one,) = compute_coverage([], {"A": START}, SPRING, today)
    assert one.due == Period(START, as_date("2024-02-02"))
    assert one.not_received == [Period(START, as_date("2024-02-02"))]


def test_node_without_payloads_has_no_days_due() -> None:
    (one,) = compute_coverage([], {"A": None}, SPRING, LATER)
    assert (one.due, one.days_due, one.not_received) == (None, 0, [])


@pytest.mark.parametrize(("has_period", "expected"), [(True, True), (False, False)])
def test_payload_without_period_hides_quiet_days(has_period: bool, expected: bool) -> None:
    received = [ReceivedDays("A", Period(START, START), True), ReceivedDays("A", Period(END, END), has_period)]
    (one,) = compute_coverage(received, {"A": START}, SPRING, LATER)
    assert one.reports_quiet_days == expected
