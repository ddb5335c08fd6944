"""gunicorn's settings, for `eida_statsman serve` and webservice/gunicorn.conf.py alike."""

import importlib
import logging
import os
import re
import shutil
from typing import TYPE_CHECKING

from eida_stats_webservice.web.metrics_directory import METRICS_VARIABLE, is_directory_ours, make_metrics_directory

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter


bind = "127.0.0.1:8000"
worker_class = "eida_stats_webservice.server.worker.Worker"
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
logger_class = "eida_stats_webservice.server.access_log.Log"


def on_exit(_arbiter: object) -> None:
    """Remove the directory of the metrics, if `eida_statsman serve` has created it."""
    if is_directory_ours():
        shutil.rmtree(os.environ[METRICS_VARIABLE], ignore_errors=True)


def on_starting(arbiter: "Arbiter") -> None:
    """Prepare the process that the workers are copied from."""
    # The one that started this one (USR2) removes its own directory when it ends.
    if arbiter.master_pid and is_directory_ours():
        make_metrics_directory()
    # Workers are copies of this process and start faster with the modules imported. `preload_app` would also create
    # the application here, and after HUP the workers would keep old secrets.
    importlib.import_module("eida_stats_webservice.app")
    # gunicorn logs requests that it refuses itself. Addresses are left out.
    logging.getLogger("gunicorn.error").addFilter(_without_address)


def _without_address(record: logging.LogRecord) -> bool:
    # The rest is a piece of the request, and may be anything.
    record.msg = re.sub(r"^(Invalid request) from ip=.*", r"\1", str(record.msg), flags=re.DOTALL)
    return True
