"""Periods of whole months, and their names."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.payload import Period
from eida_stats_webservice.reports.periods import MonthRange, name_days, name_period

as_date = datetime.date.fromisoformat
MONTHS = st.dates(datetime.date(1990, 1, 1), datetime.date(2090, 1, 1)).map(lambda day: day.replace(day=1))


def make_period(first: str, last: str) -> MonthRange:
    return MonthRange(as_date(f"{first}-01"), as_date(f"{last}-01"))


@given(MONTHS, MONTHS)
def test_previous_period_ends_where_this_one_begins(one: datetime.date, other: datetime.date) -> None:
    period = MonthRange(min(one, other), max(one, other))
    previous = period.previous()
    assert previous.days.end + datetime.timedelta(days=1) == period.first
    assert len(previous.months) == len(period.months)
    before = period.year_before()
    assert [(month.year + 1, month.month) for month in before.months] == [
        (month.year, month.month) for month in period.months
    ]


def test_leap_year_has_its_day() -> None:
    assert make_period("2024-02", "2024-02").days.end == as_date("2024-02-29")
    assert make_period("2024-02", "2024-02").year_before().days.end == as_date("2023-02-28")


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        ("2024-01", "2024-12", "2024"),
        ("2024-03", "2024-03", "March 2024"),
        ("2024-04", "2024-06", "April to June 2024"),
        ("2023-05", "2024-04", "May 2023 to April 2024"),
    ],
)
def test_period_has_a_name(first: str, last: str, name: str) -> None:
    assert name_period(make_period(first, last)) == name


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        ("2024-11-11", "2024-11-11", "11 November 2024"),
        ("2024-03-10", "2024-03-19", "10 to 19 March 2024"),
        ("2024-03-30", "2024-04-02", "30 March to 2 April 2024"),
        ("2023-12-31", "2024-01-01", "31 December 2023 to 1 January 2024"),
    ],
)
def test_days_have_a_name(first: str, last: str, name: str) -> None:
    assert name_days(Period(as_date(first), as_date(last))) == name
