"""GET …/: the dashboard, its files, and the pages of errors."""

import datetime
from collections.abc import Callable, Mapping
from contextlib import suppress

from flask import Blueprint, Response, redirect, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as Redirection

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.texts import printable
from eida_stats_webservice.dashboard.assets import FOLDER, load_assets
from eida_stats_webservice.dashboard.form import list_names, make_form, make_mistake
from eida_stats_webservice.dashboard.pages import make_page_response, write_dashboard, write_error
from eida_stats_webservice.errors import BadParameter, RestrictedNetwork
from eida_stats_webservice.query.model import DataVersion
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.reports.kinds import DEFAULT, KINDS, ReportKind
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.validators import find_view_validators
from eida_stats_webservice.reports.view import PARAMETERS, parse_dashboard_view, parse_kind, read_values
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters
from eida_stats_webservice.web.problem_details import make_response, note_problem
from eida_stats_webservice.web.responses import add_validators, find_matching_etag
from eida_stats_webservice.web.route_options import RouteOptions, declare_options

ShowError = Callable[[EidaStatisticsError], Response]
_YEAR_SECONDS = 365 * 24 * 3600
# Of a value that cannot be used, the form has so many.
_FILLED_CHARACTERS = 100


def create_blueprint(
    maker: ReportMaker,
    registry: RegistryRepository,
    find_version: Callable[[], DataVersion],
    concurrency: ConcurrencyLimit,
    prefix: str,
    show_error: ShowError,
) -> Blueprint:
    """Create the routes.

    Args:
        maker: makes the reports.
        registry: the nodes and networks, for the form.
        find_version: returns the version of the data.
        concurrency: limits how many reports are made at once. All queries of a page take one place.
        prefix: the path of the service, which is empty or has no slash at its end.
        show_error: answers an error.
    """
    # Longer than other functions, because the routes are closures that share these parts.
    routes = Blueprint("dashboard", __name__)
    routes.register_error_handler(EidaStatisticsError, show_error)
    declare_options(routes, RouteOptions(paths=(f"/{FOLDER}",), logs_query=True))

    @routes.get("/")
    def dashboard() -> Response:
        """Return the dashboard."""
        today = _get_today()
        values = read_values(read_parameters(request))
        view = parse_dashboard_view(values, today)
        version = find_version()
        etag, changed_at = find_view_validators(request, version, maker, view, today)
        if (known := find_matching_etag(request, etag)) is not None:
            return add_validators(Response(status=304), changed_at, known)

        def write() -> bytes:
            with concurrency.slot():
                report = maker.make(view.scope, view.period, view.comparisons, today)
            countries = [row.country for row in report.select("country")]
            form = make_form(KINDS[view.scope.kind], values, list_names(registry, countries), view)
            return write_dashboard(report, view, values, form).encode()

        response = make_page_response(maker.find_page(version, (routes.name, etag), write))
        return add_validators(response, changed_at, etag)

    @routes.get(f"/{FOLDER}/<name>")
    def asset(name: str) -> Response:
        """Return a file of the page. It never changes, since its name has the hash of its content."""
        found = load_assets().find(name)
        if found is None:
            raise NotFound("The page has no such file. Load the page again.")
        response = Response(found.content, content_type=found.content_type)
        response.headers["Cache-Control"] = f"public, max-age={_YEAR_SECONDS}, immutable"
        return response

    if prefix:

        @routes.get("")
        def dashboard_without_slash() -> Redirection:
            """Redirect to the page. Without the slash, its relative links would be wrong."""
            # Flask would redirect to a URL with a scheme, which is wrong behind a proxy with TLS.
            query = request.query_string.decode("latin-1")
            return redirect(f"{prefix.rpartition('/')[2]}/{f'?{query}' if query else ''}")

    return routes


def make_error_answer(maker: ReportMaker, registry: RegistryRepository) -> ShowError:
    """Return a function that answers errors with a page, unless the request is for another format than HTML."""

    def answer(error: EidaStatisticsError) -> Response:
        if request.args.get("format", "") not in ("", "html"):
            return make_response(error)
        detail = note_problem(error)
        if isinstance(error, RestrictedNetwork):
            detail = f"Network {error.subject} is restricted. {error.hint}"
        form, mistake = None, None
        # The form has only the first value of a parameter that is there twice.
        given = {name: value for name, value in request.args.items() if name in PARAMETERS and value}
        values = {name: printable(value[:_FILLED_CHARACTERS]) for name, value in given.items()}
        kind = _find_kind(values)
        if error.http_status < 500:
            # The error may be one of many while the database is down.
            with suppress(EidaStatisticsError):
                is_country = isinstance(error, BadParameter) and error.parameter == "country"
                names = list_names(registry, maker.list_countries(kind.name, _get_today()) if is_country else ())
                mistake = make_mistake(error, values, names) if isinstance(error, BadParameter) else None
                form = make_form(kind, values, names, None, mistake)
        response = make_page_response(write_error(error, kind, values, detail, form, mistake), error.http_status)
        response.headers.update(error.headers)
        return response

    return answer


def _find_kind(values: Mapping[str, str]) -> ReportKind:
    """Return the kind that the parameters name. If there is no such kind, the form is of the default one."""
    with suppress(BadParameter):
        return parse_kind(values)
    return KINDS[DEFAULT]


def _get_today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()
