"""GET report: a report in HTML, PDF, CSV, JSON or Markdown."""

import datetime
from collections.abc import Callable, Iterable

import msgspec
from flask import Blueprint, Request, Response, request

from eida_statistics.months import format_month
from eida_stats_webservice.errors import BadParameter, ForbiddenNetwork
from eida_stats_webservice.query.model import DataVersion
from eida_stats_webservice.reports.formats import FORMATS
from eida_stats_webservice.reports.html import make_policy
from eida_stats_webservice.reports.kinds import KINDS
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.models import Scope
from eida_stats_webservice.reports.validators import find_view_validators
from eida_stats_webservice.reports.view import View, parse_report_view, read_values
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import quote_parameter, read_parameters
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
        view, name = parse_report(read_parameters(request), today)
        form = FORMATS[name]
        if network is not None:
            view = msgspec.structs.replace(view, scope=_restrict(view.scope, network))
        version = find_version()
        etag, changed_at = find_view_validators(request, version, maker, view, today)
        if network is None and (known := find_matching_etag(request, etag)) is not None:
            return add_validators(Response(status=304), changed_at, known)

        def write() -> bytes:
            with concurrency.slot():
                made = maker.make(view.scope, view.period, view.comparisons, today)
            return form.write(made, view.layout)

        text = write() if network is not None else maker.find_page(version, (routes.name, etag), write)
        response = Response(text, content_type=form.content_type)
        # The name with which a browser saves the report.
        response.headers["Content-Disposition"] = f'inline; filename="{_name_file(view)}.{name}"'
        if name == "html":
            response.headers["Content-Security-Policy"] = f"{make_policy()}; frame-ancestors 'none'"
        if network is not None:
            response.headers["Cache-Control"] = "no-store"
            return response
        return add_validators(response, changed_at, etag)

    return routes


def _name_file(view: View) -> str:
    prefix = KINDS[view.scope.kind].prefix
    return f"{prefix}report-{format_month(view.period.first)}-{format_month(view.period.last)}"


def parse_report(parameters: Iterable[tuple[str, str]], today: datetime.date) -> tuple[View, str]:
    """Parse the parameters of a report: its view and the name of its format.

    Raises:
        BadParameter: naming a parameter that is missing, unknown, repeated or has a bad value.
    """
    values = read_values(parameters, "format")
    form = values.pop("format", "html")
    if form not in FORMATS:
        raise BadParameter(quote_parameter("format", form), hint=f"Use {', '.join(FORMATS)}.", parameter="format")
    return parse_report_view(values, today), form


def _restrict(scope: Scope, network: str) -> Scope:
    """Return the scope of the restricted report of a network.

    Raises:
        ForbiddenNetwork: if the report is about another network.
    """
    if scope.network not in (None, network):
        raise ForbiddenNetwork(scope.network or "", hint=f"The token is for network {network}.")
    return msgspec.structs.replace(scope, network=network, restricted=True)
