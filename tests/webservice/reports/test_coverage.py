"""Coverage: days received out of days due."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_stats_webservice.dataselect.models import ReceivedDays
from eida_stats_webservice.reports.coverage import compute_coverage, list_days

as_date = datetime.date.fromisoformat
START, END = as_date("2024-02-01"), as_date("2024-04-30")
LATER = as_date("2026-01-01")
DAYS = st.dates(as_date("2024-01-15"), as_date("2024-05-15"))
RECEIVED = st.builds(
    lambda node, one, other, has_period: ReceivedDays(node, min(one, other), max(one, other), has_period),
    *(st.sampled_from("AB"), DAYS, DAYS, st.booleans()),
)


@given(st.lists(RECEIVED, max_size=8), st.one_of(st.none(), DAYS), DAYS)
def test_coverage_equals_a_count_day_by_day(
    received: list[ReceivedDays], began: datetime.date | None, today: datetime.date
) -> None:
    for one in compute_coverage(received, {"A": began, "B": START}, START, END, today):
        first = began if one.node == "A" else START
        due = [day for day in list_days(START, END) if first is not None and first <= day < today]
        there = [
            day
            for day in due
            if any(got.node == one.node and got.first_day <= day <= got.last_day for got in received)
        ]
        assert (one.days_due, one.days_received) == (len(due), len(there))
        gaps = [day for first, last in one.not_received for day in list_days(first, last)]
        assert gaps == sorted(set(due) - set(there))
        # Neighbouring days are one gap.
        assert all(
            (after[0] - before[1]).days > 1
            for before, after in zip(one.not_received, one.not_received[1:], strict=False)
        )
        march = one.restrict(as_date("2024-03-01"), as_date("2024-03-31"))
        assert march.days_due == sum(day.month == 3 for day in due)
        assert march.days_received == sum(day.month == 3 for day in there)


def test_node_that_joined_is_not_missing_earlier_days() -> None:
    (one,) = compute_coverage(
        [ReceivedDays("A", as_date("2024-03-15"), END, True)], {"A": as_date("2024-03-15")}, START, END, LATER
    )
    assert (one.days_due, one.days_received, one.not_received) == (47, 47, [])
    assert not one.is_complete(START, as_date("2024-02-29"))
    assert one.is_complete(as_date("2024-04-01"), END)


def test_yesterday_is_due_and_today_is_not() -> None:
    today = as_date("2024-02-03")
    (one,) = compute_coverage([], {"A": START}, START, END, today)
    assert one.due == (START, as_date("2024-02-02"))
    assert one.not_received == [(START, as_date("2024-02-02"))]


def test_node_without_payloads_has_no_days_due() -> None:
    (one,) = compute_coverage([], {"A": None}, START, END, LATER)
    assert (one.due, one.days_due, one.not_received) == (None, 0, [])


@pytest.mark.parametrize(("has_period", "expected"), [(True, True), (False, False)])
def test_payload_without_period_hides_quiet_days(has_period: bool, expected: bool) -> None:
    received = [ReceivedDays("A", START, START, True), ReceivedDays("A", END, END, has_period)]
    (one,) = compute_coverage(received, {"A": START}, START, END, LATER)
    assert one.reports_quiet_days == expected
