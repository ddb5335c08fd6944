"""The ETag of a report or a dashboard, and the time of its last change."""

import datetime

import msgspec
from flask import Request

from eida_stats_webservice.query.model import DataVersion
from eida_stats_webservice.query.validators import find_validators
from eida_stats_webservice.reports.answers import make_query
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.view import View


def find_view_validators(
    request: Request, version: DataVersion, maker: ReportMaker, view: View, today: datetime.date
) -> tuple[str, datetime.datetime]:
    """Return the ETag of a view, and the time of its last change.

    If a period is not over, the view changes every day, with the days due.
    """
    ends = [period.days.end for period in (view.period, *view.comparisons.values())]
    query = msgspec.structs.replace(make_query(view.scope, view.period), end=max(ends))
    day = today.isoformat() if max(ends) >= today else ""
    described = str(maker.describe(view.scope.network))
    return find_validators(request, version, maker.settings, query, today, day, described, str(view))
