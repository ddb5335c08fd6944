"""GET connections/live: the page of live connections."""

import datetime

from flask import Blueprint, Response, request

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.connections.view import ViewFactory, set_cache
from eida_stats_webservice.dashboard.live import make_live_page
from eida_stats_webservice.dashboard.pages import make_page_response, write_live, write_live_error
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.problem_details import note_problem
from eida_stats_webservice.web.route_options import RouteOptions, declare_options


def create_blueprint(views: ViewFactory, concurrency: ConcurrencyLimit) -> Blueprint:
    """Create the route.

    Args:
        views: creates views of spaces.
        concurrency: limits how many long queries run at once.
    """
    routes = Blueprint("live", __name__)
    declare_options(routes, RouteOptions(exact_paths=("/connections/live",)))

    @routes.get("/connections/live")
    def live() -> Response:
        """Return the page."""
        require_parameters(read_parameters(request))
        with concurrency.slot(), views.open(request) as view:
            page = make_live_page(view, datetime.datetime.now(tz=datetime.UTC))
        return set_cache(make_page_response(write_live(page)), request)

    return routes


def show_error(error: EidaStatisticsError) -> Response:
    """Return the page of an error."""
    response = make_page_response(write_live_error(error, note_problem(error)), error.http_status)
    response.headers.update(error.headers)
    return response
