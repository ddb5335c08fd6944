"""Months, as their first days."""

import calendar
import datetime
import re

_MONTHS_A_YEAR = 12
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}", re.ASCII)


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


def parse_month(text: str) -> datetime.date:
    """Return the first day of a month that is written as YYYY-MM.

    Raises:
        ValueError: if it is not.
    """
    if not _MONTH.fullmatch(text):
        raise ValueError("not a month as YYYY-MM")
    return datetime.date.fromisoformat(f"{text}-01")
