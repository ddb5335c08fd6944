"""Create the web application `ringserverstats`, which takes raw logs into a node's own database."""

from functools import partial

from flask import Flask

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import open_database
from eida_stats_webservice.payloads.submission import SubmissionLimits
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.ringserver.raw_logs.node import find_or_add_node
from eida_stats_webservice.ringserver.raw_logs.receiver import RawLogReceiver
from eida_stats_webservice.ringserver.raw_logs.routes import create_blueprint
from eida_stats_webservice.ringserver.raw_logs.settings import prepare
from eida_stats_webservice.ringserver.raw_logs.store import RawLogStore
from eida_stats_webservice.ringserver.repository import RingserverRepository
from eida_stats_webservice.web import headers, hooks, problem_details, rate_limit
from eida_stats_webservice.web.body import Budget
from eida_stats_webservice.web.concurrency import ConcurrencyLimit

# How many logs of the largest size a process may hold at once.
_BODIES_AT_ONCE = 2


def create_app(config: Config) -> Flask:
    """Create the WSGI application.

    Raises:
        ConfigurationError: if RAW_LOGS is off, or a setting for raw logs cannot be used.
    """
    if config.raw_logs == "off":
        raise ConfigurationError("RAW_LOGS must be token, loopback or any here", hint="The default is loopback.")
    database = open_database(config.database_uri)
    registry = RegistryRepository(database)
    store = RawLogStore(database, registry, RingserverRepository(database))
    app = Flask(__name__, static_folder=None)
    headers.register(app)
    problem_details.register(app)
    headers.require_host(app)
    failures = rate_limit.FailureLimit(app, config.max_failures_per_minute)
    routes = create_blueprint(
        RawLogReceiver(store, prepare(config), config.max_payload_bytes),
        registry,
        SubmissionLimits(
            ConcurrencyLimit(at_once=4, waiting=8),
            Budget(_BODIES_AT_ONCE * config.max_payload_bytes),
            config.max_payload_bytes,
        ),
        partial(find_or_add_node, registry, config.ringserver_node),
        trusted=config.raw_logs,
    )
    failures.apply_to([routes])
    app.register_blueprint(routes)
    hooks.contain_failures(app)
    return app
