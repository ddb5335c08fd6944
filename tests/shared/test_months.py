"""Months, as their first days."""

import calendar
import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.months import add_months, find_last_day, format_month, list_months, parse_month

DATES = st.dates(datetime.date(1800, 1, 1), datetime.date(2200, 1, 1))


@given(DATES, st.integers(-500, 500))
def test_months_are_added(day: datetime.date, months: int) -> None:
    found = add_months(day, months)
    assert found.day == 1
    assert (found.year - day.year) * 12 + found.month - day.month == months


@given(DATES, st.integers(-5, 200))
def test_listed_months_follow_each_other(start: datetime.date, count: int) -> None:
    months = list_months(start, add_months(start, count))
    assert len(months) == max(0, count + 1)
    assert months[:1] in ([], [start.replace(day=1)])
    assert all(add_months(one, 1) == other for one, other in itertools.pairwise(months))


@given(DATES)
def test_day_after_the_last_one_begins_a_month(day: datetime.date) -> None:
    assert find_last_day(day).day == calendar.monthrange(day.year, day.month)[1]
    assert find_last_day(day) + datetime.timedelta(days=1) == add_months(day, 1)


@pytest.mark.parametrize("day", [datetime.date(9999, 12, 1), datetime.date.max])
def test_year_10000_is_an_error(day: datetime.date) -> None:
    with pytest.raises(ValueError, match="year"):
        add_months(day, 1)


@given(st.dates())
def test_month_has_four_digits_of_the_year(day: datetime.date) -> None:
    assert format_month(day) == f"{day.year:04}-{day.month:02}"


@given(DATES)
def test_written_months_are_parsed(day: datetime.date) -> None:
    assert parse_month(format_month(day)) == day.replace(day=1)


@pytest.mark.parametrize(
    "text", ["2024", "2024-1", "2024-13", "2024-00", "0000-01", "2024-01-01", "２０２４-01", " 2024-01", ""]
)
def test_other_texts_are_no_months(text: str) -> None:
    with pytest.raises(ValueError, match=r"month|year"):
        parse_month(text)
