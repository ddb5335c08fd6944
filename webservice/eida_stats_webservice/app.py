"""Create the web service from its parts."""

from functools import partial
from pathlib import Path

from flask import Flask
from flask_compress import Compress
from flask_cors import CORS

from eida_statistics.errors import ConfigurationError, InvalidRegistry, RegistryUnavailable
from eida_statistics.ringserver.payload import DayPayload
from eida_stats_webservice import config as configuration
from eida_stats_webservice.archive.reading import INCOMPLETE_HEADER
from eida_stats_webservice.archive.wiring import create_archive
from eida_stats_webservice.auth.authenticator import Authenticator
from eida_stats_webservice.auth.eas import Verifier
from eida_stats_webservice.config import Config
from eida_stats_webservice.connections.wiring import create_parts
from eida_stats_webservice.dashboard import live_routes
from eida_stats_webservice.dashboard import routes as dashboard
from eida_stats_webservice.database import open_database
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.dataselect.repository import DataselectRepository
from eida_stats_webservice.dataselect.submit import FORM as DATASELECT_FORM
from eida_stats_webservice.payloads import routes as payloads
from eida_stats_webservice.payloads import submission
from eida_stats_webservice.payloads.intake import PayloadIntake
from eida_stats_webservice.payloads.repository import PayloadRepository
from eida_stats_webservice.query import routes as query
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.renewal import Renewal
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.registry import routes as registry
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.reports import routes as reports
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.networks import Describe, make_describe
from eida_stats_webservice.ringserver.cube import RINGSERVER
from eida_stats_webservice.ringserver.raw_logs.receiver import PARAMETERS, RawLogReceiver
from eida_stats_webservice.ringserver.raw_logs.routes import make_interceptor
from eida_stats_webservice.ringserver.raw_logs.settings import prepare
from eida_stats_webservice.ringserver.raw_logs.store import RawLogStore
from eida_stats_webservice.ringserver.repository import RingserverRepository
from eida_stats_webservice.ringserver.submit import FORM as RINGSERVER_FORM
from eida_stats_webservice.usage import routes as usage
from eida_stats_webservice.web import (
    api_docs,
    background,
    headers,
    health,
    hooks,
    metrics,
    problem_details,
    rate_limit,
)
from eida_stats_webservice.web.body import Budget
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from eida_stats_webservice.web.route_options import match_open_paths

# All HTTP clients know gzip. Streamed answers are compressed piece by piece.
_COMPRESSION = {
    "COMPRESS_ALGORITHM": ["gzip"],
    "COMPRESS_ALGORITHM_STREAMING": ["gzip"],
    # The default, 6, takes three times as long for a page, and saves a twentieth.
    "COMPRESS_LEVEL": 4,
    "COMPRESS_MIMETYPES": [
        "text/csv",
        "text/plain",
        "text/html",
        "text/css",
        "text/javascript",
        "application/json",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
    ],
    # The views do that themselves, before they query the database.
    "COMPRESS_EVALUATE_CONDITIONAL_REQUEST": False,
}
# How many payloads of the largest size a process may hold at once.
_BODIES_AT_ONCE = 2
# For web pages of other sites. No answer depends on cookies.
_CORS = {
    "origins": "*",
    "send_wildcard": True,
    "methods": ["GET", "POST"],
    "allow_headers": ["Authorization", "Content-Type"],
    "expose_headers": ["ETag", "Last-Modified", "Retry-After", INCOMPLETE_HEADER, "X-Request-ID"],
}


def create_app(config: Config | None = None) -> Flask:
    """Create the WSGI application.

    Args:
        config: the configuration; by default it is read from the environment.
    """
    # Longer than other functions, because all parts are put together in one place.
    config = configuration.read() if config is None else config
    database = open_database(config.database_uri)
    nodes = RegistryRepository(database)
    dataselect = DataselectRepository(database)
    ringserver = RingserverRepository(database)
    stored = PayloadRepository(database, nodes, [dataselect, ringserver])
    statistics = StatisticsRepository(database)
    app = Flask(__name__, static_folder=None)
    # Flask would redirect a path with two slashes to a URL with a scheme, which is wrong behind a proxy with TLS.
    app.url_map.merge_slashes = False
    app.config.update(_COMPRESSION)
    Compress(app)
    # First, so that every refused request has an ID.
    headers.register(app)
    metrics.register(app)
    problem_details.register(app)
    headers.require_host(app)
    # Its own connections, so that the health check need not wait for a free one.
    health_database = open_database(config.database_uri)
    failures = rate_limit.FailureLimit(app, config.max_failures_per_minute)
    # All nodes of a federation may send in the same minute. The limits together leave some threads free.
    node_limit = ConcurrencyLimit(at_once=4, waiting=44)
    query_limit = ConcurrencyLimit(at_once=4, waiting=8)
    decisions = Decisions()
    budget = Budget(_BODIES_AT_ONCE * config.max_payload_bytes)
    submission_limits = submission.SubmissionLimits(node_limit, budget, config.max_payload_bytes)
    # gpg takes some milliseconds, or a second for a token that is made to keep it busy.
    eas_limit = ConcurrencyLimit(at_once=2, waiting=4, wait_seconds=5)
    authenticator = Authenticator(nodes, _create_verifier(config), eas_limit, failures.check)
    connections = create_parts(config, database, nodes, query_limit)
    archive = create_archive(config, database, nodes, statistics, authenticator, query_limit, decisions)
    maker = ReportMaker(statistics, nodes, stored, config.privacy, _create_describe(config))
    # Errors of reports and of the dashboard are pages.
    show_error = dashboard.make_error_answer(maker, nodes)
    report_routes = reports.create_blueprint(
        maker, statistics.data_version, authenticator.find_network, query_limit
    )
    live_page = live_routes.create_blueprint(connections.views, query_limit)
    failures.apply_to([report_routes], show_error)
    failures.apply_to([live_page], live_routes.show_error)
    with_tokens = [
        submission.create_blueprint(
            DATASELECT_FORM, PayloadIntake(database, nodes, dataselect), nodes, submission_limits
        ),
        submission.create_blueprint(
            _make_ringserver_form(config, RawLogStore(database, nodes, ringserver)),
            PayloadIntake(database, nodes, ringserver),
            nodes,
            submission_limits,
        ),
        payloads.create_blueprint(stored, nodes, node_limit),
        *(
            query.create_blueprint(cube, statistics, nodes, query_limit, authenticator, config.privacy, decisions)
            for cube in (DATASELECT, RINGSERVER)
        ),
        metrics.create_blueprint(stored.find_newest_days_by_kind, config.metrics_token, *connections.collectors),
        *connections.routes,
        *archive.routes,
    ]
    failures.apply_to([*with_tokens, *connections.at_root])
    for blueprint in (*connections.at_root, *archive.at_root):
        app.register_blueprint(blueprint)
    for blueprint in (
        *with_tokens,
        report_routes,
        live_page,
        usage.create_blueprint(statistics, nodes, query_limit, config.privacy, decisions),
        registry.create_blueprint(nodes),
        health.create_blueprint(
            partial(
                health_database.ping,
                nodes.has_rights,
                stored.has_rights,
                dataselect.has_rights,
                ringserver.has_rights,
                connections.tables.has_rights,
                *archive.rights,
            )
        ),
        api_docs.create_blueprint(),
        dashboard.create_blueprint(
            maker, nodes, statistics.data_version, query_limit, config.url_prefix, show_error
        ),
    ):
        app.register_blueprint(blueprint, url_prefix=config.url_prefix or None)
    CORS(app, resources={match_open_paths(app): _CORS})
    if config.privacy.min_clients:
        public = Usage(statistics, nodes, config.privacy, decisions=decisions)
        background.register(app, Renewal(public, decisions).start)
    hooks.contain_failures(app)
    return app


def _make_ringserver_form(config: Config, store: RawLogStore) -> submission.SubmissionForm[DayPayload]:
    """Return the form of payloads of ringservers, and of raw logs if the configuration takes them."""
    if config.raw_logs == "off":
        return RINGSERVER_FORM
    if config.raw_logs != "token":
        raise ConfigurationError("RAW_LOGS must be off or token here", hint="Other values are for ringserverstats.")
    receiver = RawLogReceiver(store, prepare(config), config.max_payload_bytes)
    intercept = make_interceptor(receiver, config.max_payload_bytes)
    return RINGSERVER_FORM._replace(parameters=PARAMETERS, intercept=intercept, refusal=None)


def _create_describe(config: Config) -> Describe:
    """Return a function that describes networks.

    Raises:
        ConfigurationError: if the registry in the configuration cannot be read.
    """
    try:
        return make_describe(Path(config.networks_file) if config.networks_file else None)
    except (RegistryUnavailable, InvalidRegistry) as error:
        raise ConfigurationError(f"NETWORKS_FILE {error.subject}") from error


def _create_verifier(config: Config) -> Verifier | None:
    """Return a verifier of EAS tokens, or None if no keys are configured."""
    if not (config.eas_keyring or config.eas_fingerprints):
        return None
    fingerprints = [fingerprint for fingerprint in config.eas_fingerprints.split(",") if fingerprint.strip()]
    return Verifier(Path(config.eas_keyring), fingerprints)
