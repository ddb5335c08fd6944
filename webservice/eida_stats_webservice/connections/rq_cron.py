"""The configuration of RQ's scheduler: `rq cron eida_stats_webservice.connections.rq_cron`."""

from rq import cron

from eida_stats_webservice.connections.tasks import reconcile

QUEUE = "connections"
_MINUTE = 60

# A job that waits for longer is dropped: the next one does its work, too.
cron.register(
    reconcile,
    QUEUE,
    interval=_MINUTE,
    ttl=_MINUTE,
    job_timeout=60 * _MINUTE,
    result_ttl=_MINUTE,
    failure_ttl=_MINUTE,
)
