"""Measure live connections: how fast events are stored, and how fast counts are found among millions.

200 ringservers of 12 nodes have sessions of up to two hours, at random times of one year. Their events, sessions
and sums are generated in the database, and agree. Batches of 10,000 records are stored in the process of the
benchmark. Beside it, the same driver copies the same events into a temporary table, and inserts those that are new
into a table with the columns, constraints and indexes of the events. 32 connections send single events to the
service.
"""

import datetime
import io
import itertools
import json
import random
import sqlite3
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import seconds_of
from eida_statistics.connections import Connect, Disconnect, Record, decode_records, encode_records
from eida_statistics.ringserver.access_log import AccessLogParser
from eida_statistics.ringserver.identity import ClientKey
from eida_stats_webservice.connections.counts import Counts
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.reconciliation import Reconciliation
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database import migrations, open_database
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository
from support.access_logs import Line
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import PREFIX, Service

EVENTS = 1_000_000
NODES, INSTANCES = 12, 200

_YEAR = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_DAYS = 365
_BATCH = 10_000
_REQUESTS = 50
_CONNECTIONS, _SINGLE_EVENTS = 32, 2_000

_INDEX_EVENTS = """
ALTER TABLE {table} ADD PRIMARY KEY (sensor_id, recorded, source, position) INCLUDE (direction);
CREATE INDEX {table}_line ON {table} (source, position) WHERE cause = 'log';
CREATE INDEX {table}_unplaced ON {table} (sensor_id) WHERE NOT placed;
"""
_FILL = """
INSERT INTO nodes (id, name, contact) SELECT n, 'N' || n, '' FROM generate_series(1, {nodes}) n;
INSERT INTO spaces (name, parent_id, node_id)
SELECT 'N' || n, (SELECT id FROM spaces WHERE name = 'federation'), n FROM generate_series(1, {nodes}) n;
INSERT INTO spaces (name, parent_id, node_id, restricted)
SELECT 'N' || (1 + i % {nodes}) || '/i' || i, spaces.id, 1 + i % {nodes}, true
FROM generate_series(1, {instances}) i JOIN spaces ON name = 'N' || (1 + i % {nodes});
INSERT INTO sensors (name, node_id, kind)
SELECT name, node_id, 'ringserver' FROM spaces WHERE restricted ORDER BY id;
INSERT INTO installations (sensor_id, space_id, orientation, installed_at)
SELECT sensors.id, spaces.id, 1, '2000-01-01' FROM sensors JOIN spaces USING (name);
SELECT setseed(0.5);
CREATE TEMPORARY TABLE generated AS
SELECT
    sensor.id AS sensor_id, n, substr(md5(sensor.id || '.' || n), 1, 16) AS session,
    date_trunc('second', '{year}'::timestamptz + random() * interval '{days} days') AS connected,
    make_interval(secs => 1 + floor(random() * 7200)) AS lasts
FROM (SELECT id FROM sensors) AS sensor, generate_series(1, {sessions}) n;
DROP INDEX sensor_events_line, sensor_events_unplaced, sessions_connected, sessions_open,
    sessions_with_address;
ALTER TABLE sensor_events DROP CONSTRAINT sensor_events_pkey;
ALTER TABLE sessions DROP CONSTRAINT sessions_pkey;
-- In the order in which they arrive.
INSERT INTO sensor_events
SELECT
    sensor_id, moment, '2025-01-01T00:00:00Z-' || lpad(to_hex(sensor_id), 16, '0'), position, direction, 'log',
    true, session, protocol
FROM (
    SELECT sensor_id, connected AS moment, n * 400 AS position, 1 AS direction, session, null AS protocol
    FROM generated
    UNION ALL
    SELECT sensor_id, connected + lasts, n * 400 + 200, -1, session, 'SeedLink' FROM generated
) AS events
ORDER BY moment;
INSERT INTO sessions
SELECT sensor_id, session, 1, null, 18000, connected, connected + lasts, 'log', 'SeedLink' FROM generated
ORDER BY connected;
{index_events}
ALTER TABLE sessions ADD PRIMARY KEY (sensor_id, session, number);
CREATE INDEX sessions_connected ON sessions (sensor_id, connected);
CREATE INDEX sessions_open ON sessions (sensor_id) WHERE closed_at IS NULL;
CREATE INDEX sessions_with_address ON sessions (closed_at) WHERE address IS NOT NULL;
CREATE TEMPORARY TABLE by_hour AS
SELECT
    space_id, date_trunc('hour', recorded) AS hour, count(*) FILTER (WHERE direction > 0) AS entries,
    count(*) FILTER (WHERE direction < 0) AS exits
FROM sensor_events JOIN installations USING (sensor_id) GROUP BY 1, 2;
INSERT INTO by_hour
SELECT parent_id, hour, sum(entries), sum(exits)
FROM by_hour JOIN spaces ON spaces.id = space_id GROUP BY 1, 2;
INSERT INTO space_hours (space_id, hour, entries, exits, stale)
SELECT space_id, hour, entries, exits, true FROM by_hour;
INSERT INTO space_days
SELECT space_id, hour::date, sum(entries), sum(exits) FROM by_hour GROUP BY 1, 2;
SELECT setval(pg_get_serial_sequence('nodes', 'id'), {nodes});
"""


def measure(console: Console, runs: int, events: int = EVENTS) -> None:
    """Print the medians for a database with about a number of events."""
    with tempfile.TemporaryDirectory() as folder, Cluster(durable=True) as cluster:
        uri = _fill_database(cluster, events)
        with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM sensor_events")
            (present,) = cursor.fetchone() or (0,)
        console.print(f"{present:,} events of {INSTANCES} ringservers of {NODES} nodes\n")
        console.print(_measure_parsing(runs))
        console.print(_measure_batches(cluster, uri, Path(folder), runs))
        console.print(_measure_counts(uri, runs))
        console.print(_measure_reconciliation(cluster, uri, Path(folder), runs))
        # The service reconciles each minute, and autovacuum follows.
        cluster.psql("connections", "VACUUM ANALYZE")
        console.print(_measure_requests(uri, Path(folder)))


def _fill_database(cluster: Cluster, events: int) -> str:
    uri = cluster.create_database("connections")
    migrations.apply(uri)
    sizes = {"nodes": NODES, "instances": INSTANCES, "sessions": max(1, events // 2 // INSTANCES)}
    index_events = _INDEX_EVENTS.format(table="sensor_events")
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET work_mem = '256MB'; SET maintenance_work_mem = '512MB'; SET TimeZone = 'UTC'")
        cursor.execute(_FILL.format(**sizes, year=_YEAR.isoformat(), days=_DAYS, index_events=index_events))
    cluster.psql("connections", "VACUUM ANALYZE")
    return uri


# Access logs


def _measure_parsing(runs: int) -> Table:
    lines = [
        Line(
            event,
            f"2026-11-22T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z",
            address=f"192.0.2.{number % 250}",
            protocol=None if event == "connect" else "SeedLink",
        ).text()
        for number in range(25_000)
        for event in ("connect", "command", "command", "disconnect")
    ]
    text = b"".join(lines)
    times = [seconds_of(partial(_parse, text)) for _ in range(runs)]
    table = Table(title="an access log of 100,000 lines", box=None, title_justify="left")
    table.add_column("LINES A SECOND", justify="right")
    table.add_row(f"{len(lines) / statistics.median(times):,.0f}")
    return table


def _parse(text: bytes) -> None:
    parser = AccessLogParser(ClientKey(b"salt"), "main")
    source = parser.identify(text)
    if source is None:
        raise RuntimeError("The log has no record.")
    offset, line = 0, 1
    while offset < len(text):
        parsed = parser.parse(text[offset : offset + (4 << 20)], source, offset, line)
        offset += parsed.length
        line += parsed.lines


# Batches


def make_batches(instance: str, count: int, seed: int) -> Iterator[list[Record]]:
    """Yield batches of new connects and disconnects of a ringserver, in the order of its log."""
    random_ = random.Random(seed)
    source = f"2026-01-01T00:00:00Z-{seed:016x}"
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    lines: list[tuple[datetime.datetime, int, str, datetime.datetime]] = []
    for number in range(count * _BATCH // 2):
        connected = begin + datetime.timedelta(seconds=number * 10)
        session = f"{random_.getrandbits(64):016x}"
        lines.append((connected, 1, session, connected))
        end = connected + datetime.timedelta(seconds=1 + random_.randrange(7200))
        lines.append((end, -1, session, connected))
    lines.sort()
    records: list[Record] = [
        Connect(instance, source, number * 200, time, session, 18000, None, session)
        if direction > 0
        else Disconnect(instance, source, number * 200, time, connected, session, 18000, "SeedLink", session)
        for number, (time, direction, session, connected) in enumerate(lines)
    ]
    for start in range(0, len(records), _BATCH):
        yield records[start : start + _BATCH]


def _measure_batches(cluster: Cluster, uri: str, folder: Path, runs: int) -> Table:
    table = Table(title=f"batches of {_BATCH:,} events, median of {runs}", box=None, title_justify="left")
    for heading in ("STORE", "EVENTS A SECOND", "COPY AND DEDUPLICATE", "RATIO"):
        table.add_column(heading, justify="left" if heading == "STORE" else "right")
    # The same columns, constraints and indexes.
    cluster.psql(
        "connections",
        "SET maintenance_work_mem = '512MB'; CREATE TABLE copied (LIKE sensor_events INCLUDING CONSTRAINTS);"
        f"INSERT INTO copied SELECT * FROM sensor_events; {_INDEX_EVENTS.format(table='copied')} CHECKPOINT",
    )
    stored, copied = [], []
    intake, node = _open_intake(uri, "N1")
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE incoming (LIKE sensor_events)")
        connection.commit()
        for number, batch in enumerate(make_batches("i0", runs + 1, seed=1)):
            rows, body = "".join(map(_write_row, batch)), encode_records(batch)
            copied.append(seconds_of(partial(_copy, cursor, rows)))
            stored.append(seconds_of(partial(_store, intake, node, body)))
            if not number:
                # The first one registers the ringserver, and warms the caches.
                stored.clear()
                copied.clear()
    rate = _BATCH / statistics.median(stored)
    ratio = statistics.median(own / other for own, other in zip(stored, copied, strict=True))
    table.add_row("PostgreSQL", f"{rate:,.0f}", f"{_BATCH / statistics.median(copied):,.0f}", f"{ratio:.1f} ×")
    path = folder / "connections.db"
    migrations.apply(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as embedded:
        embedded.execute("INSERT INTO nodes (name, contact) VALUES ('N1', '')")
        embedded.commit()
    intake, node = _open_intake(f"sqlite:///{path}", "N1")
    stored = []
    for batch in itertools.islice(make_batches("i0", runs + 1, seed=2), 1, None):
        stored.append(seconds_of(partial(_store, intake, node, encode_records(batch))))
    table.add_row("SQLite, empty", f"{_BATCH / statistics.median(stored):,.0f}", "", "")
    return table


def _open_intake(uri: str, node: str) -> tuple[ConnectionIntake, Node]:
    database = open_database(uri)
    registry = RegistryRepository(database)
    return ConnectionIntake(database, registry, ConnectionTables(database)), registry.find_node(node)


def _store(intake: ConnectionIntake, node: Node, body: bytes) -> None:
    intake.store(node, decode_records(body))


def _write_row(record: Record) -> str:
    """Return a row of `sensor_events` as a line for COPY."""
    assert isinstance(record, Connect | Disconnect)
    direction, protocol = (1, "\\N") if isinstance(record, Connect) else (-1, record.protocol)
    place = f"{record.time.isoformat()}\t{record.source}\t{record.position}\t{direction}"
    return f"{INSTANCES + 1}\t{place}\tlog\ttrue\t{record.session}\t{protocol}\n"


def _copy(cursor: Any, rows: str) -> None:
    """Copy rows into a table of their own, and insert those that the other table does not have."""
    cursor.execute("TRUNCATE incoming")
    cursor.copy_expert("COPY incoming FROM STDIN", io.StringIO(rows))
    cursor.execute("INSERT INTO copied SELECT * FROM incoming ON CONFLICT DO NOTHING")
    cursor.connection.commit()


# Counts


def _measure_counts(uri: str, runs: int) -> Table:
    table = Table(title="\ncount at a time, in SQL, median of 200", box=None, title_justify="left")
    table.add_column("SPACE")
    table.add_column("MEDIAN", justify="right")
    table.add_column("ALL EVENTS", justify="right")
    database = open_database(uri)
    tables = ConnectionTables(database)
    random_ = random.Random(3)
    moments = [_YEAR + datetime.timedelta(seconds=random_.randrange(_DAYS * 86400)) for _ in range(200)]
    with database.snapshot() as connection:
        counts = Counts(tables, connection)
        for name in ("N1/i12", "N1", "federation"):
            space = counts.tree.find(name)
            assert space is not None
            times = [seconds_of(partial(counts.count, space, moment)) for moment in moments]
            slow = [seconds_of(partial(_sum_all, connection, counts, space, moment)) for moment in moments[:runs]]
            table.add_row(name, _format_ms(times), _format_ms(slow))
    return table


def _sum_all(connection: Any, counts: Counts, space: Space, moment: datetime.datetime) -> None:
    """Sum all events up to a moment, and check that the count is the same."""
    ids = tuple(one.id for one in counts.tree.list_below(space))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(direction) FROM sensor_events JOIN installations USING (sensor_id)"
            " WHERE space_id IN %s AND recorded <= %s",
            (ids, moment),
        )
        (found,) = cursor.fetchone()
    if (found or 0) != counts.count(space, moment):
        raise RuntimeError(f"The count of {space.name} at {moment} is wrong.")


# Requests and reconciliation


def _measure_requests(uri: str, folder: Path) -> Table:
    table = Table(title=f"\nrequests over HTTP, median of {_REQUESTS}", box=None, title_justify="left")
    table.add_column("REQUEST")
    table.add_column("MEDIAN", justify="right")
    table.add_column("RATIO", justify="right")
    version = "version"
    # In turn with `version`, so that other programs slow all of them down.
    quick = {
        "count now of a node, GET /?space=": "?space=N1",
        "count now of a node, with its state": "connections/now?space=N1",
        "count now of the federation": "?space=federation",
        "count now of the federation, with its state": "connections/now?space=federation",
    }
    paths = {
        "count now of all spaces": "connections/now",
        "count of the federation at a time": "connections/count?space=federation&time=2025-07-01T12:34:56Z",
        "a day by hour": "connections/series?space=federation&start=2025-07-01&end=2025-07-02&interval=1h",
        "a year by hour": "connections/series?space=federation&start=2025-01-01&end=2026-01-01&interval=1h",
    }
    _add_door(uri)
    with Service(grant_service(uri), folder) as service:
        with requests.Session() as session:
            times: dict[str, list[float]] = defaultdict(list)
            for _ in range(_REQUESTS):
                for path in (version, *quick.values()):
                    times[path].append(seconds_of(partial(_get, session, f"{service.url}/{path}")))
            least = statistics.median(times[version])
            table.add_row(version, _format_ms(times[version]))
            for name, path in quick.items():
                table.add_row(name, _format_ms(times[path]), f"{statistics.median(times[path]) / least:.1f} ×")
            for name, path in paths.items():
                times[path] = [
                    seconds_of(partial(_get, session, f"{service.url}/{path}")) for _ in range(_REQUESTS)
                ]
                table.add_row(name, _format_ms(times[path]))
        root = service.url.removesuffix(PREFIX)
        collected, alone = _send_all(root, _CONNECTIONS, 0), _send_all(root, 1, _SINGLE_EVENTS)
    table.add_row(f"/send, {_CONNECTIONS} connections, which share transactions", f"{collected:,.0f} events/s")
    table.add_row("/send, one connection, a transaction for each event", f"{alone:,.0f} events/s")
    table.add_row("ratio", f"{collected / alone:.1f} ×")
    return table


def _get(session: requests.Session, url: str) -> None:
    session.get(url, timeout=60).raise_for_status()


def _measure_reconciliation(cluster: Cluster, uri: str, folder: Path, runs: int) -> Table:
    table = Table(title="\nreconciliation", box=None, title_justify="left")
    table.add_column("WORK")
    table.add_column("TIME", justify="right")
    database = open_database(uri)
    registry = RegistryRepository(database)
    tables = ConnectionTables(database)
    reconciliation = Reconciliation(database, registry, tables)
    rows = folder / "events"
    cluster.psql("connections", f"\\copy (SELECT * FROM sensor_events) TO '{rows}'")
    rows.chmod(0o644)
    cluster.psql("connections", "CREATE TABLE loaded (LIKE sensor_events)")
    copied = seconds_of(partial(cluster.psql, "connections", f"\\copy loaded FROM '{rows}'"))
    rebuilt = seconds_of(reconciliation.rebuild)
    table.add_row("all events are copied by psql", f"{copied:.0f} s")
    table.add_row("all hours are rebuilt", f"{rebuilt:.0f} s, {rebuilt / copied:.1f} ×")
    times = []
    for number in range(runs):
        day = f"2025-0{1 + number % 9}-15"
        cluster.psql("connections", f"UPDATE space_hours SET stale = true WHERE hour::date = '{day}'")
        times.append(seconds_of(reconciliation.reconcile))
    table.add_row(f"a day of {INSTANCES + NODES + 1} spaces", f"{statistics.median(times):.2f} s")
    intake, node = _open_intake(uri, "N1")
    random_ = random.Random(4)
    times = []
    for number in range(runs):
        late: list[Record] = [
            Connect(
                "late",
                f"2025-01-01T00:00:00Z-{number:016x}",
                position,
                _YEAR + datetime.timedelta(seconds=random_.randrange(_DAYS * 86400)),
                f"{random_.getrandbits(64):016x}",
                18000,
            )
            for position in range(300)
        ]
        intake.store(node, late)
        times.append(seconds_of(reconciliation.reconcile))
    table.add_row("300 late events", f"{statistics.median(times):.2f} s")
    return table


# Single events


def _add_door(uri: str) -> None:
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO spaces (name, node_id) VALUES ('hall', 1);"
            "INSERT INTO sensors (name, node_id, kind, open) VALUES ('door', 1, 'door', true);"
            "INSERT INTO installations (sensor_id, space_id, orientation, installed_at)"
            " SELECT sensors.id, spaces.id, 1, '2000-01-01' FROM sensors, spaces"
            " WHERE sensors.name = 'door' AND spaces.name = 'hall'"
        )


def _send_all(root: str, connections: int, first: int) -> float:
    """Return the number of events a second."""
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    count = _SINGLE_EVENTS if connections > 1 else _SINGLE_EVENTS // 10

    def send(numbers: Sequence[int]) -> None:
        with requests.Session() as session:
            for number in numbers:
                moment = begin + datetime.timedelta(seconds=first + number)
                event = {"timestamp": moment.isoformat(), "direction": "1", "dpu_id": "door"}
                session.post(f"{root}/send", data=json.dumps(event), timeout=60).raise_for_status()

    senders = [
        threading.Thread(target=send, args=(range(number, count, connections),)) for number in range(connections)
    ]
    before = time.perf_counter()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return count / (time.perf_counter() - before)


def _format_ms(times: Sequence[float]) -> str:
    return f"{1000 * statistics.median(times):.1f} ms"
