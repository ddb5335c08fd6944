"""The central web service; `create_app` wires it and does nothing else."""

from flask import Flask

from eida_stats_webservice import config as configuration
from eida_stats_webservice import dataselect, health, problems, submit
from eida_stats_webservice.config import Config
from eida_stats_webservice.store import open_store


def create_app(config: Config | None = None) -> Flask:
    """Make the WSGI application.

    Args:
        config: what is configured; read from the environment if it is not given.
    """
    config = configuration.read() if config is None else config
    store = open_store(config.database_uri)
    app = Flask(__name__, static_folder=None)
    prefix = config.url_prefix or None
    app.register_blueprint(submit.blueprint(store, config.max_payload_bytes), url_prefix=prefix)
    app.register_blueprint(dataselect.blueprint(store), url_prefix=prefix)
    app.register_blueprint(health.blueprint(store), url_prefix=prefix)
    problems.register(app)
    return app
