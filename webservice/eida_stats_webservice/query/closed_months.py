"""Closed months. If MIN_CLIENTS is set, public answers divide only these by network or country.

While payloads of a month still arrive, the answers of two days differ by a few clients. So a month is closed, and
its answers are final, some days after its end (UTC).
"""

import datetime

import msgspec

from eida_statistics.months import add_months
from eida_stats_webservice.query.model import StatisticsQuery


def find_first_open_month(today: datetime.date, days: int) -> datetime.date:
    """Return the first day of the earliest month that ended fewer than `days` days ago, or has not ended."""
    return (today - datetime.timedelta(days=days)).replace(day=1)


def keep_closed_months(query: StatisticsQuery, first_open: datetime.date) -> StatisticsQuery:
    """Return the query about its closed months only. If it has none, its end is before its start."""
    return msgspec.structs.replace(query, end=min(query.end, first_open - datetime.timedelta(days=1)))


def make_open_totals(query: StatisticsQuery, first_open: datetime.date) -> StatisticsQuery:
    """Return the query for the totals of the open months, divided by date only."""
    return msgspec.structs.replace(
        query,
        start=max(query.start, first_open),
        filters={"node": query.filters.get("node", ())},
        level=None,
        details=query.date_details,
        merge_nodes=False,
        sort=None,
        limit=None,
    )


def find_last_closed_month(query: StatisticsQuery, first_open: datetime.date) -> datetime.date | None:
    """Return the first day of the last closed month of the query, if it has any."""
    end = keep_closed_months(query, first_open).end
    return end.replace(day=1) if end >= query.start else None


def find_closing_time(month: datetime.date, days: int) -> datetime.datetime:
    """Return the time from which on a month is closed."""
    day = add_months(month, 1) + datetime.timedelta(days=days)
    return datetime.datetime.combine(day, datetime.time(), tzinfo=datetime.UTC)
