"""Months, as their first days."""

import calendar
import datetime

_MONTHS_A_YEAR = 12


def add_months(day: datetime.date, months: int) -> datetime.date:
    """Return the first day of the month that is some months after, or before, the one of a day.

    Raises:
        ValueError: if its year is not between 1 and 9999.
    """
    number = day.year * _MONTHS_A_YEAR + day.month - 1 + months
    return datetime.date(number // _MONTHS_A_YEAR, number % _MONTHS_A_YEAR + 1, 1)


def find_last_day(day: datetime.date) -> datetime.date:
    """Return the last day of the month of a day."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def list_months(start: datetime.date, end: datetime.date) -> list[datetime.date]:
    """Return the months from the one of `start` to the one of `end`."""
    count = (end.year - start.year) * _MONTHS_A_YEAR + end.month - start.month + 1
    return [add_months(start, number) for number in range(count)]


def format_month(day: datetime.date) -> str:
    """Return the month of a day as YYYY-MM. strftime writes the years before 1000 with fewer digits."""
    return day.isoformat()[:7]
