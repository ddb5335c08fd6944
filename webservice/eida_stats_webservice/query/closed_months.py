"""Closed months: with MIN_CLIENTS set, only these are divided by network or country in public answers.

While payloads of a month still arrive, two answers of different days differ by a few clients. So a month counts as
closed, and its answers as final, only some days after its end (UTC).
"""

import datetime

import msgspec

from eida_stats_webservice.query.model import Question

_DATES = frozenset({"month", "year"})


def first_open_month(today: datetime.date, days: int) -> datetime.date:
    """Return the first day of the earliest month since whose end fewer than `days` days have passed."""
    return (today - datetime.timedelta(days=days)).replace(day=1)


def closed_part(question: Question, first_open: datetime.date) -> Question:
    """Return the question about its closed months only; if it has none, its end is before its start."""
    return msgspec.structs.replace(question, end=min(question.end, _previous_month(first_open)))


def open_totals(question: Question, first_open: datetime.date) -> Question:
    """Return the question for the totals of the open months, which are divided by date only."""
    return msgspec.structs.replace(
        question,
        start=max(question.start, first_open),
        networks=(),
        countries=(),
        level=None,
        details=question.details & _DATES,
        merge_nodes=False,
        sort=None,
        limit=None,
    )


def last_closed_month(question: Question, first_open: datetime.date) -> datetime.date | None:
    """Return the last month of the question that is closed, if any is."""
    end = closed_part(question, first_open).end
    return end if end >= question.start else None


def closing_time(month: datetime.date, days: int) -> datetime.datetime:
    """Return when a month became closed, or will."""
    day = _next_month(month) + datetime.timedelta(days=days)
    return datetime.datetime.combine(day, datetime.time(), tzinfo=datetime.UTC)


def _previous_month(month: datetime.date) -> datetime.date:
    return (month.replace(day=1) - datetime.timedelta(days=1)).replace(day=1)


def _next_month(month: datetime.date) -> datetime.date:
    return (month.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)
