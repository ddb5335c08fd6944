"""gunicorn's settings, for `eida_statsman serve` and webservice/gunicorn.conf.py alike."""

import importlib
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.gthread import ThreadWorker

# Set before prometheus_client is imported, it has all processes count together, in files there.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "eida-statistics-metrics-"

bind = "127.0.0.1:8000"
worker_class = "eida_stats_webservice.workers.Worker"
workers = 2
# More than `create_app` lets take long or wait, so that what is quick has one. They are made when they are needed.
threads = 72
# A process that gives no sign of life for so long is replaced; requests have bounds of their own.
timeout = 120
# The most that gunicorn allows, but for no limit at all.
limit_request_line = 8190
control_socket_disable = True
# No header decides which path is asked for, wherever it comes from.
forwarder_headers = ""
accesslog = "-"
logger_class = "eida_stats_webservice.workers.Log"


def child_exit(_arbiter: object, worker: "ThreadWorker") -> None:
    """Let what a worker has counted stay, but not what it only measured."""
    if os.environ.get(METRICS_VARIABLE):
        from prometheus_client import multiprocess  # noqa: PLC0415 - `eida_statsman serve` reads the settings only

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_arbiter: object) -> None:
    """Remove the files in which the workers have counted, if `eida_statsman serve` has made their directory."""
    if _is_directory_ours():
        shutil.rmtree(os.environ[METRICS_VARIABLE], ignore_errors=True)


def make_metrics_directory() -> None:
    """Have the workers of this process, which will be gunicorn's master, count together."""
    os.environ[METRICS_VARIABLE] = tempfile.mkdtemp(prefix=f"{METRICS_PREFIX}{os.getpid()}-")


def remove_abandoned_metrics() -> None:
    """Remove what masters that were killed have left; other users' stays."""
    for directory in Path(tempfile.gettempdir()).glob(f"{METRICS_PREFIX}*-*"):
        owner = directory.name.removeprefix(METRICS_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(directory, ignore_errors=True)


def on_starting(arbiter: "Arbiter") -> None:
    """Prepare what the workers inherit."""
    # The one that started this one (USR2) removes its own directory when it ends.
    if arbiter.master_pid and _is_directory_ours():
        make_metrics_directory()
    # Imported once, it is there at once when a worker is replaced.
    importlib.import_module("eida_stats_webservice.app")
    # gunicorn tells of requests that it refuses itself; not from where.
    logging.getLogger("gunicorn.error").addFilter(_without_address)


def _is_directory_ours() -> bool:
    return Path(os.environ.get(METRICS_VARIABLE, "")).name.startswith(METRICS_PREFIX)


def _without_address(record: logging.LogRecord) -> bool:
    # What follows is a piece of what was sent, and so may be anything.
    record.msg = re.sub(r"^(Invalid request) from ip=.*", r"\1", str(record.msg), flags=re.DOTALL)
    return True
