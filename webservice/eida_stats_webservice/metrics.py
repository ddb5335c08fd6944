"""GET metrics: what the service does, for Prometheus; only for who has the token for it."""

import datetime
import hmac
import os
import time
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from werkzeug.exceptions import NotFound

from eida_statistics.errors import MissingToken, RefusedToken, StoreUnavailable
from eida_stats_webservice.questions import only, parameters_of
from eida_stats_webservice.serving import METRICS_VARIABLE
from eida_stats_webservice.store import Store
from eida_stats_webservice.tokens import bearer_of

_PATHS = ("submit.submit", "submit.dataselectstats", "submit.replace")
_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)

_REQUESTS = Counter(
    "eida_statistics_requests", "Requests by what they ask for and how they end", ["endpoint", "status"]
)
_LATENCY = Histogram(
    "eida_statistics_request_seconds", "Seconds until an answer begins", ["endpoint"], buckets=_SECONDS
)
_SUBMISSIONS = Counter(
    "eida_statistics_submissions", "Payloads that nodes sent, by what became of them", ["outcome"]
)
_ROWS = Counter("eida_statistics_rows", "Rows of the payloads that were stored")


def count_rows(rows: int) -> None:
    """Note that so many rows were stored."""
    _ROWS.inc(rows)


def register(app: Flask) -> None:
    """Count all requests to an application."""

    @app.before_request
    def begin() -> None:
        g.begun = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        endpoint = request.endpoint or "none"
        _REQUESTS.labels(endpoint, str(response.status_code)).inc()
        _LATENCY.labels(endpoint).observe(time.perf_counter() - g.begun)
        if endpoint in _PATHS:
            _SUBMISSIONS.labels(g.get("outcome", "stored")).inc()
        return response


def blueprint(store: Store, token: str) -> Blueprint:
    """Make the routes.

    Args:
        store: what knows the newest days.
        token: who has it may see the metrics; nobody, if it is empty.
    """
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        """Return all metrics in Prometheus' form."""
        if not token:
            raise NotFound
        given = bearer_of(request)
        if given is None:
            raise MissingToken(hint="Send Authorization: Bearer TOKEN, with METRICS_TOKEN.")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise RefusedToken
        only(parameters_of(request))
        registry = CollectorRegistry()
        if os.environ.get(METRICS_VARIABLE):
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            registry = REGISTRY
        text = generate_latest(registry) + generate_latest(_once(_Newest(store)))
        return Response(text, content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _once(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


class _Newest(Collector):
    """The age of the newest day of each node: so that an alert can say that one has fallen silent."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("eida_statistics_database_up", "Whether the database answers")
        age = GaugeMetricFamily(
            "eida_statistics_newest_day_age_days", "Days since the newest day that a node has sent", labels=["node"]
        )
        today = datetime.datetime.now(tz=datetime.UTC).date()
        try:
            for node, day in self._store.newest_days().items():
                if day is not None:
                    age.add_metric([node], (today - day).days)
            up.add_metric([], 1)
        except StoreUnavailable:
            up.add_metric([], 0)
        yield up
        yield age
