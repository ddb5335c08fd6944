"""Periods of whole months."""

import calendar
import datetime

import msgspec

from eida_statistics.months import add_months, find_last_day, list_months, parse_month
from eida_statistics.payload import Period
from eida_stats_webservice.reports.models import ComparisonName


class MonthRange(msgspec.Struct, frozen=True, order=True):
    """Whole months in UTC.

    Attributes:
        first: the first day of the first month.
        last: the first day of the last month, which is included.
    """

    first: datetime.date
    last: datetime.date

    @classmethod
    def of_year(cls, year: int) -> "MonthRange":
        """Return the months of a year."""
        return cls(datetime.date(year, 1, 1), datetime.date(year, 12, 1))

    @property
    def days(self) -> Period:
        """All days of the months."""
        return Period(self.first, find_last_day(self.last))

    @property
    def months(self) -> list[datetime.date]:
        """The first days of the months."""
        return list_months(self.first, self.last)

    def shift(self, months: int) -> "MonthRange":
        """Return the period that begins some months later, or earlier, and is as long."""
        return MonthRange(add_months(self.first, months), add_months(self.last, months))

    def year_before(self) -> "MonthRange":
        """Return the same months of the year before."""
        return self.shift(-12)

    def previous(self) -> "MonthRange":
        """Return the months just before, as many as these."""
        return self.shift(-len(self.months))


Comparisons = dict[ComparisonName, MonthRange]
"""Earlier periods of the same length, by name."""


def get_month_days(month: datetime.date) -> Period:
    """Return all days of a month, by its first one."""
    return MonthRange(month, month).days


def list_comparisons(period: MonthRange) -> Comparisons:
    """Return the earlier periods to compare with: a year before, and the one just before if that is another."""
    found: Comparisons = {"year": period.year_before()}
    if period.previous() != found["year"]:
        found["previous"] = period.previous()
    return found


def parse_months(start: str, end: str) -> MonthRange:
    """Return the period from one month to another, both as YYYY-MM."""
    return MonthRange(parse_month(start), parse_month(end))


def name_period(period: MonthRange) -> str:
    """Return the name of a period: `2024`, `March 2024`, `April to June 2024` or `May 2023 to April 2024`."""
    first, last = period.first, period.last
    if first == last:
        return _name_month(first)
    if first.year != last.year:
        return f"{_name_month(first)} to {_name_month(last)}"
    if period == MonthRange.of_year(first.year):
        return str(first.year)
    return f"{calendar.month_name[first.month]} to {_name_month(last)}"


def place_period(period: MonthRange) -> str:
    """Return the name of a period after its preposition: `in 2024` or `from May to July 2024`."""
    name = name_period(period)
    return f"{'from' if ' to ' in name else 'in'} {name}"


def name_days(days: Period) -> str:
    """Return the name of some days: `11 November 2024`, `10 to 19 March 2024` or `30 March to 2 April 2024`."""
    first, last = days.start, days.end
    if days.is_day:
        return _name_day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {_name_day(last)}"
    if first.year == last.year:
        return f"{first.day} {calendar.month_name[first.month]} to {_name_day(last)}"
    return f"{_name_day(first)} to {_name_day(last)}"


def _name_month(month: datetime.date) -> str:
    return f"{calendar.month_name[month.month]} {month.year}"


def _name_day(day: datetime.date) -> str:
    return f"{day.day} {_name_month(day)}"
