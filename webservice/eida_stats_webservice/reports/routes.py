"""GET report: a report in HTML, CSV, JSON or Markdown."""

import datetime
from collections.abc import Callable, Iterable

import msgspec
from flask import Blueprint, Request, Response, request

from eida_statistics.payload import EARLIEST_DAY
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.errors import BadParameter, ForbiddenNetwork
from eida_stats_webservice.query.model import DataVersion
from eida_stats_webservice.query.parameters import parse_query
from eida_stats_webservice.query.validators import find_validators
from eida_stats_webservice.reports.answers import make_query
from eida_stats_webservice.reports.formats import FORMATS, Format
from eida_stats_webservice.reports.html import make_policy
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.models import Scope
from eida_stats_webservice.reports.periods import MonthRange, list_comparisons
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import quote_parameter, read_parameters, require_parameters
from eida_stats_webservice.web.responses import add_validators, find_matching_etag
from eida_stats_webservice.web.route_options import RouteOptions, declare_options


def create_blueprint(
    maker: ReportMaker,
    find_version: Callable[[], DataVersion],
    find_network: Callable[[Request], str | None],
    concurrency: ConcurrencyLimit,
) -> Blueprint:
    """Create the route.

    Args:
        maker: makes the reports.
        find_version: returns the version of the data.
        find_network: returns the network of the token in the header of a request, if there is one.
        concurrency: limits how many reports are made at once. All queries of a report take one place.
    """
    routes = Blueprint("reports", __name__)
    declare_options(routes, RouteOptions(paths=("/report",), logs_query=True))

    @routes.get("/report")
    def report() -> Response:
        """Return the report of a period."""
        # The token comes first: without a valid one, no parameter matters.
        network = find_network(request)
        today = datetime.datetime.now(tz=datetime.UTC).date()
        scope, period, form = parse_report(read_parameters(request), today)
        if network is not None:
            scope = _restrict(scope, network)
        version = find_version()
        # If its period is not over, a report changes every day, with the days due.
        day = today.isoformat() if period.days.end >= today else ""
        described = str(maker.describe(scope.network))
        query = make_query(scope, period)
        etag, changed_at = find_validators(request, version, maker.settings, query, today, day, described)
        if network is None and (known := find_matching_etag(request, etag)) is not None:
            return add_validators(Response(status=304), changed_at, known)
        with concurrency.slot():
            made = maker.make(scope, period, list_comparisons(period), today)
        response = Response(form.write(made), content_type=form.content_type)
        if form is FORMATS["html"]:
            response.headers["Content-Security-Policy"] = f"{make_policy()}; frame-ancestors 'none'"
        if network is not None:
            response.headers["Cache-Control"] = "no-store"
            return response
        return add_validators(response, changed_at, etag)

    return routes


def parse_report(parameters: Iterable[tuple[str, str]], today: datetime.date) -> tuple[Scope, MonthRange, Format]:
    """Parse the parameters of a report. Empty ones count as not given, since browsers send them.

    Raises:
        BadParameter: naming a parameter that is missing, unknown, repeated or has a bad value.
    """
    given = [(name, value) for name, value in parameters if value]
    values = require_parameters(given, "start", optional=("end", "node", "network", "country", "format"))
    form = values.pop("format", "html")
    if form not in FORMATS:
        raise BadParameter(quote_parameter("format", form), hint=f"Use {', '.join(FORMATS)}.")
    query, _ = parse_query(DATASELECT, values.items(), today, restricted=False)
    if "" in query.filters.get("network", ()):
        raise BadParameter(quote_parameter("network", values["network"]), hint="Name a network.")
    if query.end < query.start:
        raise BadParameter(quote_parameter("start", values["start"]), hint="It is in the future.")
    if query.end < EARLIEST_DAY:
        raise BadParameter(quote_parameter("end", values["end"]), hint=f"Statistics begin in {EARLIEST_DAY.year}.")
    scope = Scope(
        node=query.filters.get("node", ()),
        network=next(iter(query.filters.get("network", ())), None),
        country=query.filters.get("country", ()),
    )
    period = MonthRange(max(query.start, EARLIEST_DAY), query.end.replace(day=1))
    return scope, period, FORMATS[form]


def _restrict(scope: Scope, network: str) -> Scope:
    """Return the scope of the restricted report of a network.

    Raises:
        ForbiddenNetwork: if the report is about another network.
    """
    if scope.network not in (None, network):
        raise ForbiddenNetwork(scope.network or "", hint=f"The token is for network {network}.")
    return msgspec.structs.replace(scope, network=network, restricted=True)
