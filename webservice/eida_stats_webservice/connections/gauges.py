"""Metrics of live connections for Prometheus. They are read from the database at each scrape."""

import datetime
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database, parse_time
from eida_stats_webservice.errors import DatabaseUnavailable

_PREFIX = "eida_statistics_connections"


class ConnectionGauges(Collector):
    """Collects the present state of all nodes."""

    def __init__(self, database: Database, tables: ConnectionTables) -> None:
        self._database = database
        self._queries = tables.queries

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges. Without the database, they have no values."""
        connected = GaugeMetricFamily(_PREFIX, "Clients that are connected to ringservers", labels=["node"])
        age = GaugeMetricFamily(
            f"{_PREFIX}_age_seconds",
            "Seconds since the ringserver of a node was heard of that is silent for longest",
            labels=["node"],
        )
        stale = GaugeMetricFamily(f"{_PREFIX}_stale_hours", "Hours that wait to be reconciled")
        unplaced = GaugeMetricFamily(f"{_PREFIX}_unplaced_events", "Events of sensors that were in no space")
        now = datetime.datetime.now(tz=datetime.UTC)
        try:
            with self._database.snapshot() as connection:
                for node, count in self._queries.open_sessions(connection):
                    connected.add_metric([node], count)
                for node, heard_at in self._queries.silent_times(connection):
                    age.add_metric([node], max(0.0, (now - parse_time(heard_at)).total_seconds()))
                stale.add_metric([], self._queries.count_stale_hours(connection))
                unplaced.add_metric([], self._queries.count_unplaced(connection))
        except DatabaseUnavailable:
            # Another metric reports this.
            pass
        yield from (connected, age, stale, unplaced)


class RedisGauge(Collector):
    """Collects whether Redis answers, if there is one."""

    def __init__(self, is_up: Callable[[], bool | None]) -> None:
        self._is_up = is_up

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge, or nothing without Redis."""
        if (is_up := self._is_up()) is not None:
            yield GaugeMetricFamily("eida_statistics_redis_up", "Whether Redis answers", value=int(is_up))
