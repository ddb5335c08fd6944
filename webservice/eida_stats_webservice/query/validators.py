"""The ETag of an answer, and the time of its last change."""

import datetime
import hashlib

from flask import Request

from eida_statistics import __version__
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.query import closed_months
from eida_stats_webservice.query.model import DataVersion, StatisticsQuery


def find_validators(
    request: Request,
    version: DataVersion,
    settings: PrivacySettings,
    query: StatisticsQuery,
    today: datetime.date,
    *further: str,
) -> tuple[str, datetime.datetime]:
    """Return the ETag of the answer to a public query, and the time of its last change.

    Without `end` the answer changes when a month begins, or a day if the query is daily; with MIN_CLIENTS, also
    when one of its months becomes closed.

    Args:
        request: the request.
        version: the version of the data.
        settings: how small groups of clients are protected.
        query: the query.
        today: the present day in UTC.
        further: other texts on which the answer depends.
    """
    begun = today if query.is_daily else today.replace(day=1)
    changes = [version.changed_at.replace(microsecond=0), _begin_of(begun)]
    # A restored database may reach the same revision in another way.
    revision = f"{version.revision} {version.changed_at.isoformat()}"
    # Without `end`, the same parameters are another query in the next month, or on the next day.
    parts = [__version__, revision, request.query_string.decode("latin-1"), query.end.isoformat(), *further]
    if settings.min_clients:
        first_open = closed_months.find_first_open_month(today, settings.closed_after_days)
        closed = closed_months.find_last_closed_month(query, first_open)
        parts += [str(settings), f"closed until {closed}"]
        if closed is not None:
            changes.append(closed_months.find_closing_time(closed, settings.closed_after_days))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32], max(changes)


def _begin_of(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), tzinfo=datetime.UTC)
