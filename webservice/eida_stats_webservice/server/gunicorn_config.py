"""gunicorn's settings, for `eida_statsman serve` and webservice/gunicorn.conf.py alike."""

import importlib
import logging
import os
import re
import shutil
from typing import TYPE_CHECKING

from eida_stats_webservice.web import background
from eida_stats_webservice.web.metrics_directory import METRICS_VARIABLE, is_directory_ours, make_metrics_directory

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

bind = "127.0.0.1:8000"
worker_class = "eida_stats_webservice.server.worker.Worker"
workers = 2
# More than the slow requests that `create_app` lets run or wait, so that quick ones find one. Created on demand.
threads = 136
# gunicorn replaces a process that does not respond for this time. Requests have their own limits.
timeout = 120
# The largest limit of gunicorn.
limit_request_line = 8190
control_socket_disable = True
# No header may change the path of a request.
forwarder_headers = ""
accesslog = "-"
logger_class = "eida_stats_webservice.server.access_log.Log"


def on_exit(_arbiter: object) -> None:
    """Remove the directory of the metrics, if `eida_statsman serve` has created it."""
    if is_directory_ours():
        shutil.rmtree(os.environ[METRICS_VARIABLE], ignore_errors=True)


def on_starting(arbiter: "Arbiter") -> None:
    """Prepare the master, of which the workers are copies."""
    # After USR2, the old master removes its own directory when it ends.
    if arbiter.master_pid and is_directory_ours():
        make_metrics_directory()
    # Workers are copies of this process and start faster with the modules imported. `preload_app` would also create
    # the application here, and after HUP the workers would keep old secrets.
    importlib.import_module("eida_stats_webservice.app")
    # gunicorn logs the requests that it refuses. Remove their addresses.
    logging.getLogger("gunicorn.error").addFilter(_remove_address)


def post_worker_init(worker: "Worker") -> None:
    """Start what the application does between requests."""
    background.start_all(worker.wsgi)


def _remove_address(record: logging.LogRecord) -> bool:
    # The rest is a piece of the request, which may contain personal data.
    record.msg = re.sub(r"^(Invalid request) from ip=.*", r"\1", str(record.msg), flags=re.DOTALL)
    return True
