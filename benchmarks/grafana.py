"""Measure the panels of the dashboard for Grafana, side by side with the same panels made from single events.

A node has 300 clients in 150 places and 30 countries. Each gets streams of 3 of 30 networks on each of 90 days.
Sums and events are generated in the database, and agree. Both sides run the SQL of the panels, with all variables
and times at their defaults: the views as the role of Grafana, the events as the owner. PostgreSQL has its default
settings and is warm.
"""

import datetime
import statistics
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import ratio, seconds_of
from eida_stats_webservice.database import migrations
from support import grafana
from support.postgresql import Cluster
from support.roles import grant_grafana

EVENTS = 10_000_000

_AIM_SECONDS, _AIM_RATIO = 0.1, 20.0
_NOW = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
_DAYS, _CLIENTS = 90, 300

# The client number `h` has a third of its streams in each of its networks.
_FILL = """
INSERT INTO nodes (id, name, contact) VALUES (1, 'NODE', 'operator@node.example');
INSERT INTO networks (node_id, name) SELECT 1, 'N' || n FROM generate_series(0, 29) n;
SELECT ringserver_create_partition(date '2026-11-23' - d) FROM generate_series(0, {days}) d;
INSERT INTO ringserver_events
SELECT
    (date '2026-11-23' - d + make_interval(mins => (h * 37 + i * 13) % 1440)) AT TIME ZONE 'UTC', 1, '', 'TX',
    'N' || (h * 7 + h / 30 + i % 3 * 11) % 30, 'S' || i / 9, '00', (ARRAY['HHZ', 'HHN', 'HHE'])[1 + i / 3 % 3],
    512 * (1 + (h * i) % 100), 1 + (h * i) % 100,
    'City ' || h % 150, chr(65 + h % 30 / 26) || chr(65 + h % 30 % 26), 'u' || lpad(to_hex(h % 150), 3, '0'),
    substr(md5(h::text), 1, 12), 'SeedLink', 'scientific'
FROM generate_series({days} - 1, 0, -1) d, generate_series(0, {clients} - 1) h, generate_series(0, {streams} - 1) i;
SET work_mem = '256MB';
CREATE TEMPORARY TABLE parts AS
SELECT
    date_trunc('hour', time, 'UTC') AS hour, (time AT TIME ZONE 'UTC')::date AS date, network,
    countrycode AS country, city, geohash, hosthash, sum(bytes) AS bytes, sum(packets) AS packets,
    count(*) AS records
FROM ringserver_events GROUP BY 1, 2, 3, 4, 5, 6, 7;
SET enable_hashagg = off;
INSERT INTO ringserver_by_hour
SELECT hour, 1, 'TX', network, country, sum(bytes), sum(packets), hll_add_agg(hll_hash_text(hosthash), 11, 5)
FROM parts GROUP BY hour, network, country;
INSERT INTO ringserver_clients_by_hour
SELECT hour, 1, 'TX', hll_add_agg(hll_hash_text(hosthash), 11, 5) FROM parts GROUP BY hour;
INSERT INTO ringserver_by_day
SELECT
    date, 1, 'TX', network, country, sum(bytes), sum(packets), sum(records),
    hll_add_agg(hll_hash_text(hosthash), 11, 5)
FROM parts GROUP BY date, network, country;
INSERT INTO ringserver_by_place
SELECT date, 1, 'TX', country, city, geohash, sum(bytes), sum(packets), hll_add_agg(hll_hash_text(hosthash), 11, 5)
FROM parts GROUP BY date, country, city, geohash;
INSERT INTO ringserver_by_client
SELECT date, 1, '', 'TX', hosthash, sum(bytes), sum(packets), sum(records) FROM parts GROUP BY date, hosthash;
"""

# The rows of the views, made from events. All conditions on time use the partitions and the index.
_EVENTS_OF_SPAN = (
    "(SELECT date_trunc('hour', time, 'UTC') AS hour, (time AT TIME ZONE 'UTC')::date AS date, nodes.name AS node,"
    " countrycode AS country, 1 AS records, ringserver_events.*"
    " FROM ringserver_events JOIN nodes ON nodes.id = node_id WHERE time >= '{start}' AND time < '{stop}') AS e"
)
_COUNT_BY = (
    "(SELECT {time}, node, direction, count(DISTINCT hosthash) AS clients FROM {events} GROUP BY 1, 2, 3) AS counts"
)
_MONTH = "date_trunc('month', date::timestamp)::date AS month"
_FROM_EVENTS = {
    "grafana_clients_by_hour": _COUNT_BY.replace("{time}", "hour"),
    "grafana_clients_by_day": _COUNT_BY.replace("{time}", "date"),
    "grafana_clients_by_month": _COUNT_BY.replace("{time}", _MONTH),
    "grafana_by_place": (
        "(SELECT date, node, direction, country, city, geohash, sum(bytes) AS bytes, sum(packets) AS packets,"
        " count(DISTINCT hosthash) AS clients FROM {events} GROUP BY 1, 2, 3, 4, 5, 6) AS places"
    ),
    **dict.fromkeys(("grafana_by_hour", "grafana_by_day", "grafana_by_client"), "{events}"),
}


def measure(console: Console, runs: int, events: int = EVENTS) -> None:
    """Print the medians of all panels, from sums and from about a number of events."""
    with Cluster() as cluster:
        uri = _fill_database(cluster, max(1, round(events / _DAYS / _CLIENTS)))
        with closing(psycopg2.connect(grant_grafana(uri))) as sums, closing(psycopg2.connect(uri)) as owner:
            console.print(_measure_panels(sums, owner, runs))


def _fill_database(cluster: Cluster, streams: int) -> str:
    """Create a database with a number of streams of each client and day, and return its URI."""
    uri = cluster.create_database("grafana")
    migrations.apply(uri)
    cluster.psql("grafana", _FILL.format(days=_DAYS, clients=_CLIENTS, streams=streams))
    cluster.psql("grafana", "VACUUM ANALYZE")
    return uri


def _measure_panels(sums: Any, owner: Any, runs: int) -> Table:
    ((events,),) = _run(owner, "SELECT count(*) FROM ringserver_events")
    table = Table(title=f"dashboard, {events:,} events, median of {runs}", box=None, title_justify="left")
    for heading in ("PANEL", "ROWS", "SUMS", "EVENTS", "RATIO", "AIM"):
        table.add_column(heading, justify="left" if heading == "PANEL" else "right")
    dashboard = grafana.load()
    for panel in dashboard.panels:
        table.add_row(panel.title, *_measure_panel(dashboard, panel, sums, owner, runs))
    return table


def _measure_panel(
    dashboard: grafana.Dashboard, panel: grafana.Panel, sums: Any, owner: Any, runs: int
) -> Sequence[str]:
    """Return the cells of a panel."""
    span = grafana.find_span(dashboard, panel, _NOW)
    values = grafana.choose_values(dashboard, lambda sql: _run(sums, sql), span, {})
    sql = panel.query.raw_sql
    from_sums = grafana.make_sql(sql, values, span)
    from_events = grafana.make_sql(_read_events(sql, span), values, span)
    _check_same(_run(sums, from_sums), _run(owner, from_events))
    pairs = [
        (seconds_of(lambda: _run(sums, from_sums)), seconds_of(lambda: _run(owner, from_events)))
        for _ in range(runs)
    ]
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    return (
        str(len(_run(sums, from_sums))),
        f"{statistics.median(ours) * 1000:.0f} ms",
        f"{statistics.median(theirs) * 1000:,.0f} ms",
        f"{ratio(theirs, ours):.0f}",
        f"{_AIM_SECONDS * 1000:.0f} ms, {_AIM_RATIO:.0f}",
    )


def _read_events(sql: str, span: grafana.Span) -> str:
    """Return the SQL of a panel with events in place of its view."""
    (view,) = [name for name in _FROM_EVENTS if f"FROM {name}\n" in sql]
    start = span.start.replace(hour=0, minute=0, second=0, microsecond=0)
    if "month" in sql:
        start = start.replace(day=1)
    events = _EVENTS_OF_SPAN.format(start=start.isoformat(), stop=span.stop.isoformat())
    return sql.replace(f"FROM {view}\n", f"FROM {_FROM_EVENTS[view].format(events=events)}\n")


def _run(connection: Any, sql: str) -> Sequence[Sequence[Any]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
        return rows


def _check_same(ours: Sequence[Sequence[Any]], theirs: Sequence[Sequence[Any]]) -> None:
    """Check that both sides have the same rows, except for errors of the estimates of clients."""
    if len(ours) != len(theirs):
        raise AssertionError(f"{len(ours)} rows from sums, {len(theirs)} from events")
    for one, other in zip(ours, theirs, strict=True):
        for value, expected in zip(one, other, strict=True):
            is_close = isinstance(value, int) and abs(value - expected) <= expected / 10
            if value != expected and not is_close:
                raise AssertionError(f"{one} from sums, {other} from events")
