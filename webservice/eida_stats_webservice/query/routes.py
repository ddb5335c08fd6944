"""GET …/public and POST …/restricted of a cube: statistics for everybody, and for the holders of tokens."""

import datetime

from flask import Blueprint, Response, request

from eida_stats_webservice.auth.authenticator import Authenticator
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.query.cube import Cube
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.parameters import parse_query
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.responses import respond, respond_conditionally, wants_text_errors
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.query.validators import find_validators
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters
from eida_stats_webservice.web.route_options import RouteOptions, declare_options


def create_blueprint(
    cube: Cube,
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    concurrency: ConcurrencyLimit,
    authenticator: Authenticator,
    settings: PrivacySettings,
    decisions: Decisions,
) -> Blueprint:
    """Create the routes of a cube.

    Args:
        cube: the cube, after which the routes are named.
        statistics: the statistics.
        registry: the nodes and networks.
        concurrency: limits how many queries run at once.
        authenticator: identifies clients.
        settings: how small groups of clients are protected.
        decisions: keeps which groups are small.
    """
    routes = Blueprint(cube.name, __name__)
    options = RouteOptions(
        paths=(f"/{cube.name}",),
        wants_text_errors=wants_text_errors,
        logs_query=True,
        wrong_method_hints={f"/{cube.name}/restricted": "POST your token here."},
    )
    declare_options(routes, options)
    usage = Usage(statistics, registry, settings, decisions=decisions)

    @routes.get(f"/{cube.name}/public")
    def public() -> Response:
        """Return public statistics."""
        # One day for the whole request, which may last past midnight.
        today = _get_today()
        query, options = parse_query(cube, read_parameters(request), today, restricted=False)
        usage.check_kept(query)
        validators = find_validators(request, statistics.data_version(), settings, query, today)

        def write() -> Response:
            rows = usage.answer_public(query, today, sketches=options.hllvalues)
            return respond(cube, concurrency, rows, options)

        return respond_conditionally(validators, lambda: usage.check_public_names(query), write)

    @routes.post(f"/{cube.name}/restricted")
    def restricted() -> Response:
        """Return the statistics that the holder of a token may see."""
        # The token comes first: without one, no parameter matters.
        viewer = authenticator.authenticate(request)
        today = _get_today()
        query, options = parse_query(cube, read_parameters(request), today, restricted=True)
        usage.check_kept(query)
        query = usage.resolve_names(query, viewer)
        rows = usage.answer_restricted(query, viewer, today, sketches=options.hllvalues)
        # The token may be revoked while the query waits.
        return respond(cube, concurrency, rows, options, lambda: authenticator.check_token(request))

    return routes


def _get_today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()
