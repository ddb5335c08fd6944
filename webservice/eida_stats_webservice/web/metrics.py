"""GET metrics: metrics of the service for Prometheus, with a token."""

import datetime
import hmac
import logging
import time
from collections.abc import Callable, Iterator, Mapping

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from werkzeug.exceptions import NotFound

from eida_stats_webservice.errors import DatabaseUnavailable, MissingToken, RefusedToken
from eida_stats_webservice.web.bearer import read_bearer_token
from eida_stats_webservice.web.counters import collect_counters, counting
from eida_stats_webservice.web.hooks import Throttle
from eida_stats_webservice.web.parameters import read_parameters, require_parameters
from eida_stats_webservice.web.route_options import RouteOptions, declare_options, find_options

NewestDays = Mapping[str, Mapping[str, datetime.date | None]]
"""The newest day of each kind of payloads, by node."""

log = logging.getLogger(__name__)
_throttle = Throttle()


def register(app: Flask) -> None:
    """Count all requests to an application, and the payloads that it stores.

    A view of a blueprint with `counts_submissions` sets `g.outcome` and `g.stored_rows`.
    """

    @app.before_request
    def begin() -> None:
        g.begun = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        endpoint = request.endpoint or "none"
        with counting() as counters:
            counters.requests.labels(endpoint, str(response.status_code)).inc()
            counters.seconds.labels(endpoint).observe(time.perf_counter() - g.begun)
            if find_options().counts_submissions:
                counters.submissions.labels(g.get("outcome", "stored")).inc()
                counters.rows.inc(g.get("stored_rows", 0))
        return response


def create_blueprint(
    find_newest_days: Callable[[], NewestDays], is_redis_up: Callable[[], bool | None], token: str
) -> Blueprint:
    """Create the routes. Without a token, which Prometheus sends, the path does not exist.

    Args:
        find_newest_days: reads the newest days from the database.
        is_redis_up: returns whether Redis answers, or None if there is none.
        token: the token.
    """
    routes = Blueprint("metrics", __name__)
    declare_options(routes, RouteOptions(paths=("/metrics",), is_open_to_pages=False))

    @routes.get("/metrics")
    def metrics() -> Response:
        """Return all metrics in the text format of Prometheus."""
        if not token:
            raise NotFound
        given = read_bearer_token(request)
        if given is None:
            raise MissingToken(hint="Send Authorization: Bearer TOKEN, with METRICS_TOKEN.")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise RefusedToken
        require_parameters(read_parameters(request))
        text = _format_counters() + generate_latest(_NewestDays(find_newest_days))
        text += generate_latest(_RedisUp(is_redis_up))
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _format_counters() -> bytes:
    """Return the counters in the text format of Prometheus, or nothing if they cannot be read."""
    try:
        return generate_latest(collect_counters())
    # A cleaner may remove or damage the files while they are read. The other metrics are still returned.
    except Exception:
        if _throttle.is_due():
            log.exception("the counters cannot be read")
        return b""


class _NewestDays(Collector):
    """Collects the age of the newest day of each node and kind, so that an alert can name a silent node."""

    def __init__(self, find_newest_days: Callable[[], NewestDays]) -> None:
        self._find_newest_days = find_newest_days

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("eida_statistics_database_up", "Whether the database answers")
        age = GaugeMetricFamily(
            "eida_statistics_newest_day_age_days",
            "Days since the newest day that a node has sent, by kind of payloads",
            labels=["node", "kind"],
        )
        today = datetime.datetime.now(tz=datetime.UTC).date()
        try:
            for kind, newest in self._find_newest_days().items():
                for node, day in newest.items():
                    if day is not None:
                        age.add_metric([node, kind], (today - day).days)
            up.add_metric([], 1)
        except DatabaseUnavailable:
            up.add_metric([], 0)
        yield up
        yield age


class _RedisUp(Collector):
    """Collects whether Redis answers, if there is one."""

    def __init__(self, is_redis_up: Callable[[], bool | None]) -> None:
        self._is_redis_up = is_redis_up

    def collect(self) -> Iterator[Metric]:
        if (is_up := self._is_redis_up()) is not None:
            yield GaugeMetricFamily("eida_statistics_redis_up", "Whether Redis answers", value=int(is_up))
