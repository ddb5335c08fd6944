"""GET …/usage: the public statistics of all services, in one answer."""

import datetime
from collections.abc import Generator
from contextlib import ExitStack, closing

from flask import Blueprint, Response, request

from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import Statistic, StatisticsQuery
from eida_stats_webservice.query.order import sort_and_limit
from eida_stats_webservice.query.parameters import parse_query
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.responses import respond, respond_conditionally, wants_text_errors
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.query.validators import find_validators
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.usage.cube import PARTS, USAGE
from eida_stats_webservice.usage.union import unite_answers
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters
from eida_stats_webservice.web.route_options import RouteOptions, declare_options


def create_blueprint(
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    concurrency: ConcurrencyLimit,
    settings: PrivacySettings,
    decisions: Decisions,
) -> Blueprint:
    """Create the route.

    Args:
        statistics: the statistics.
        registry: the nodes and networks.
        concurrency: limits how many queries run at once.
        settings: how small groups of clients are protected.
        decisions: keeps which groups are small.
    """
    routes = Blueprint("usage", __name__)
    declare_options(routes, RouteOptions(paths=("/usage",), wants_text_errors=wants_text_errors, logs_query=True))

    def find_rows(query: StatisticsQuery, today: datetime.date) -> Generator[Statistic]:
        with statistics.snapshot() as snapshot, ExitStack() as stack:
            usage = Usage(snapshot, registry.read_from(snapshot.connection), settings, decisions=decisions)
            answers = [
                stack.enter_context(closing(usage.stream_public(part.select(query), today))) for part in PARTS
            ]
            yield from sort_and_limit(unite_answers(answers), query)

    @routes.get("/usage")
    def usage() -> Response:
        """Return the usage of all services."""
        today = datetime.datetime.now(tz=datetime.UTC).date()
        query, options = parse_query(USAGE, read_parameters(request), today, restricted=False)
        validators = find_validators(request, statistics.data_version(), settings, query, today)

        def check() -> None:
            # Hints name the restricted statistics of the parts; usage has none.
            first, *others = PARTS
            checking = Usage(statistics, registry, settings)
            checking.check_public_names(first.select(query), *(part.cube for part in others))

        def write() -> Response:
            return respond(USAGE, concurrency, find_rows(query, today), options)

        return respond_conditionally(validators, check, write)

    return routes
