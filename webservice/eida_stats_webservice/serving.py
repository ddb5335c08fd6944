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

# If it is set before prometheus_client is imported, all processes count together, in files of this directory.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "eida-statistics-metrics-"

bind = "127.0.0.1:8000"
worker_class = "eida_stats_webservice.workers.Worker"
workers = 2
# More than the slow requests that `create_app` lets run or wait, so that quick ones find one. Created on demand.
threads = 72
# A process that shows no sign of life for so long is replaced. Requests have limits of their own.
timeout = 120
# The most that gunicorn allows, but for no limit at all.
limit_request_line = 8190
control_socket_disable = True
# No header decides which path is asked for, wherever it comes from.
forwarder_headers = ""
accesslog = "-"
logger_class = "eida_stats_webservice.workers.Log"


def on_exit(_arbiter: object) -> None:
    """Remove the directory of the metrics, if `eida_statsman serve` has created it."""
    if is_directory_ours():
        shutil.rmtree(os.environ[METRICS_VARIABLE], ignore_errors=True)


def make_metrics_directory() -> None:
    """Create the directory in which the workers count together; this process becomes their master."""
    os.environ[METRICS_VARIABLE] = tempfile.mkdtemp(prefix=f"{METRICS_PREFIX}{os.getpid()}-", dir=_parent())


def remove_abandoned_metrics() -> None:
    """Remove the directories of masters that were killed; other users' stay."""
    for directory in Path(_parent()).glob(f"{METRICS_PREFIX}*-*"):
        owner = directory.name.removeprefix(METRICS_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(directory, ignore_errors=True)


def is_directory_ours() -> bool:
    """Return whether `make_metrics_directory` has created the directory of the metrics."""
    return Path(os.environ.get(METRICS_VARIABLE, "")).name.startswith(METRICS_PREFIX)


def _parent() -> str:
    """Return the runtime directory of systemd, because nothing cleans it, or else the temporary directory."""
    runtime_directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return runtime_directory if os.access(runtime_directory, os.W_OK) else tempfile.gettempdir()


def on_starting(arbiter: "Arbiter") -> None:
    """Prepare the process that the workers are copied from."""
    # The one that started this one (USR2) removes its own directory when it ends.
    if arbiter.master_pid and is_directory_ours():
        make_metrics_directory()
    # Imported once, it is there at once when a worker is replaced.
    importlib.import_module("eida_stats_webservice.app")
    # gunicorn logs requests that it refuses itself. Addresses are left out.
    logging.getLogger("gunicorn.error").addFilter(_without_address)


def _without_address(record: logging.LogRecord) -> bool:
    # The rest is a piece of the request, and may be anything.
    record.msg = re.sub(r"^(Invalid request) from ip=.*", r"\1", str(record.msg), flags=re.DOTALL)
    return True
