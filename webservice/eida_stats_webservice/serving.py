"""gunicorn's settings, for `eida_statsman serve` and webservice/gunicorn.conf.py alike."""

import logging
import re

bind = "127.0.0.1:8000"
worker_class = "gthread"
workers = 2
threads = 4
# A payload of 100,000 rows takes some seconds to merge; a worker that hangs for longer is replaced.
timeout = 120
control_socket_disable = True
accesslog = "-"
# Without the address of who asks, which nobody needs and which is personal; nor the User-Agent, which may have one.
access_log_format = '%(t)s "%(r)s" %(s)s %(B)s bytes %(M)s ms'


def on_starting(_arbiter: object) -> None:
    """Let gunicorn tell of requests that it refuses itself without telling from where; its workers inherit that."""
    logging.getLogger("gunicorn.error").addFilter(_without_address)


def _without_address(record: logging.LogRecord) -> bool:
    # What follows is a piece of what was sent, and so may be anything.
    record.msg = re.sub(r"^(Invalid request) from ip=.*", r"\1", str(record.msg), flags=re.DOTALL)
    return True
