"""Make reports without the command."""

import datetime
from typing import Any

from eida_statistics.networks import NetworkDescription
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.query.answer_cache import AnswerCache
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.models import Report, Scope
from eida_stats_webservice.reports.periods import list_comparisons, parse_months
from support.stores import Store

TODAY = datetime.date(2026, 11, 26)


def make_report(
    store: Store, start: str = "2024-01", end: str = "2024-12", *, min_clients: int = 0, **scope: Any
) -> Report:
    """Return the report of a period on a fixed day."""
    period = parse_months(start, end)
    maker = make_maker(store, min_clients=min_clients)
    return maker.make(Scope(**scope), period, list_comparisons(period), TODAY)


def make_maker(store: Store, *, min_clients: int = 0, cache: AnswerCache | None = None) -> ReportMaker:
    """Return a maker of reports."""
    settings = PrivacySettings(min_clients, 1000, 3)
    return ReportMaker(store.statistics, store.registry, store.payloads, settings, _describe, cache)


def _describe(code: str) -> NetworkDescription | None:
    return NetworkDescription("GEOFON", 1993, "10.14470/TR560404") if code == "GE" else None
