"""eida_statsman serve: the web service under gunicorn."""

import os
import sys
from importlib.util import find_spec

import click

from eida_stats_webservice.config import Config
from eida_stats_webservice.server import gunicorn_config
from eida_stats_webservice.web import metrics_directory


@click.command()
@click.option("--bind", default=gunicorn_config.bind, show_default=True, help="Address and port.")
@click.option(
    "--workers", type=click.IntRange(1), default=gunicorn_config.workers, show_default=True, help="Processes."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=gunicorn_config.threads,
    show_default=True,
    help="Threads of each process.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=gunicorn_config.timeout,
    show_default=True,
    help="Seconds after which a process that does not respond is replaced.",
)
@click.pass_obj
def serve(config: Config, bind: str, workers: int, threads: int, timeout: int) -> None:
    """Run the web service until it is interrupted."""
    # Check this first: after execv, this process could no longer print the error.
    if find_spec("gunicorn") is None:
        raise ModuleNotFoundError(name="gunicorn")
    if config.raw_logs != "off":
        # Checked here, since each worker would fail with a traceback. It is slow to import.
        from eida_stats_webservice.ringserver.raw_logs import settings as raw_logs  # noqa: PLC0415

        raw_logs.prepare(config)
    if config.redis_url:
        # Checked here for the same reason.
        from eida_stats_webservice.connections.live_counts import open_live_counts  # noqa: PLC0415
        from eida_stats_webservice.connections.tables import ConnectionTables  # noqa: PLC0415
        from eida_stats_webservice.database import open_database  # noqa: PLC0415

        database = open_database(config.database_uri)
        open_live_counts(config.redis_url, database, ConnectionTables(database))
    click.echo(f"serving at http://{bind}{config.url_prefix}/", err=True)
    command = [
        *(sys.executable, "-m", "gunicorn", "eida_stats_webservice.app:create_app()"),
        *("--bind", bind, "--workers", str(workers), "--threads", str(threads), "--timeout", str(timeout)),
        *("--config", "python:eida_stats_webservice.server.gunicorn_config"),
    ]
    metrics_directory.remove_abandoned_metrics()
    if metrics_directory.METRICS_VARIABLE not in os.environ:
        # The master will have this process id.
        metrics_directory.make_metrics_directory()
    # When gunicorn restarts itself (USR2), its own directory would come first in the search path of modules.
    os.environ["PYTHONSAFEPATH"] = "1"
    # gunicorn replaces this process, so that signals of process supervisors reach it.
    os.execv(sys.executable, command)  # noqa: S606 - no shell is meant
