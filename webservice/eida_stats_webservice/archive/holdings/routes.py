"""GET …/holdings/public and POST …/holdings/restricted: bytes held by the nodes, beside bytes served."""

import datetime
from collections.abc import Callable, Generator

import msgspec
from flask import Blueprint, Response, request

from eida_stats_webservice.archive.holdings.answers import HoldingsAnswers
from eida_stats_webservice.archive.holdings.columns import list_columns, list_values
from eida_stats_webservice.archive.holdings.models import HoldingsQuery, HoldingsRow
from eida_stats_webservice.archive.holdings.parameters import parse_holdings_query
from eida_stats_webservice.archive.holdings.repository import HoldingsRepository
from eida_stats_webservice.auth.authenticator import Authenticator
from eida_stats_webservice.config import PrivacySettings
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.responses import (
    respond_conditionally,
    run_in_slot,
    wants_text_errors,
    write_rows,
)
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.query.validators import find_validators
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.parameters import read_parameters
from eida_stats_webservice.web.route_options import RouteOptions, declare_options


def create_blueprint(
    statistics: StatisticsRepository,
    registry: RegistryRepository,
    holdings: HoldingsRepository,
    concurrency: ConcurrencyLimit,
    authenticator: Authenticator,
    settings: PrivacySettings,
    decisions: Decisions,
) -> Blueprint:
    """Create the routes.

    Args:
        statistics: the statistics.
        registry: the nodes and networks.
        holdings: the rows that the nodes hold.
        concurrency: limits how many queries run at once.
        authenticator: identifies clients.
        settings: how small groups of clients are protected.
        decisions: keeps which groups are small.
    """
    routes = Blueprint("holdings", __name__)
    options = RouteOptions(
        paths=("/holdings",),
        wants_text_errors=wants_text_errors,
        logs_query=True,
        wrong_method_hints={"/holdings/restricted": "POST your token here."},
    )
    declare_options(routes, options)
    usage = Usage(statistics, registry, settings)
    answers = HoldingsAnswers(statistics, registry, holdings, settings, decisions)

    def write(
        parsed: HoldingsQuery, rows: Generator[HoldingsRow], check: Callable[[], object] = lambda: None
    ) -> Response:
        running = run_in_slot(concurrency, rows, check)
        response = write_rows(list_values(running, parsed), list_columns(parsed), parsed.options)
        response.call_on_close(running.close)
        return response

    @routes.get("/holdings/public")
    def public() -> Response:
        """Return what is held and served, for everybody."""
        today = _get_today()
        parsed = parse_holdings_query(read_parameters(request), today, restricted=False)
        # In the next month, the present state becomes that of a past month.
        validators = find_validators(
            request, statistics.data_version(), settings, parsed.selection, today, f"{today:%Y-%m}"
        )
        return respond_conditionally(
            validators,
            lambda: usage.check_public_names(parsed.selection),
            lambda: write(parsed, answers.answer(parsed, today)),
        )

    @routes.post("/holdings/restricted")
    def restricted() -> Response:
        """Return what is held and served, as far as the holder of a token may see it."""
        # The token comes first: without one, no parameter matters.
        viewer = authenticator.authenticate(request)
        today = _get_today()
        parsed = parse_holdings_query(read_parameters(request), today, restricted=True)
        parsed = msgspec.structs.replace(parsed, selection=usage.resolve_names(parsed.selection, viewer))
        # The token may be revoked while the query waits.
        return write(parsed, answers.answer(parsed, today, viewer), lambda: authenticator.check_token(request))

    return routes


def _get_today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.UTC).date()
