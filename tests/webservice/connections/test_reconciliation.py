"""Reconciliation computes the lowest and highest counts of hours, and ends old sessions."""

import datetime
import json
import re
import threading
from typing import Any

import pytest

from eida_stats_webservice.registry.models import Node
from support.doors import at, close_after, connect, disconnect, put, read_hours, step
from support.node_client import make_node
from support.stores import ON_POSTGRESQL, Store
from support.tables import select

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def node(store: Store) -> Node:
    # Most nodes have no ringserver that is followed.
    make_node(store, "BGR")
    return make_node(store, "GFZ")[0]


def put_sessions(store: Store, node: Node) -> None:
    put(store, node, connect(10, 1), connect(10, 2), disconnect(10, 1, 10), connect(20, 3))
    put(store, node, disconnect(HOUR + 5, 2, 10), disconnect(HOUR + 5, 3, 20), connect(HOUR + 5, 4, "two"))


def test_extremes_of_hours(store: Store, node: Node) -> None:
    put_sessions(store, node)
    assert read_hours(store, "GFZ")["2026-03-05 10"] == (3, 1, 0, 0, True)
    assert store.reconciliation.reconcile().hours > 0
    due = {"2026-03-05 10": (3, 1, 0, 2, False), "2026-03-05 11": (1, 2, -2, 0, False)}
    assert read_hours(store, "GFZ") == read_hours(store, "federation") == due
    assert read_hours(store, "GFZ/one")["2026-03-05 11"] == (0, 2, -2, 0, False)


def test_second_run_does_nothing(store: Store, node: Node) -> None:
    put_sessions(store, node)
    store.reconciliation.reconcile()
    assert store.reconciliation.reconcile() == (0, 0)
    put(store, node, connect(30, 9))
    assert read_hours(store, "GFZ")["2026-03-05 10"][4]
    store.reconciliation.reconcile()
    assert read_hours(store, "federation")["2026-03-05 10"] == (4, 1, 0, 3, False)


def test_nothing_to_do(store: Store, node: Node) -> None:
    assert store.reconciliation.reconcile() == (0, 0)
    assert store.reconciliation.rebuild() == 0


def test_removed_nodes_leave_the_spaces_above(store: Store, node: Node) -> None:
    put_sessions(store, node)
    put(store, make_node(store, "BGR")[0], connect(0, 1))
    store.reconciliation.reconcile()
    assert read_hours(store, "federation")["2026-03-05 10"] == (4, 1, 0, 3, False)
    store.registry.remove_node("GFZ")
    store.reconciliation.reconcile()
    assert read_hours(store, "federation")["2026-03-05 10"] == (1, 0, 0, 1, False)
    assert list(store.connection_verification.verify()) == []


def test_reconciliation_beside_ingestion(store: Store, node: Node) -> None:
    """Two runs and two writers at once; the last run leaves nothing stale."""
    nodes = (node, make_node(store, "BGR")[0])
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for client in range(30):
                if number < 2:
                    put(
                        store,
                        nodes[number],
                        connect(client * 300, client),
                        disconnect(client * 300 + 9, client, client * 300),
                    )
                elif client % 5 == 0:
                    store.reconciliation.reconcile()
        except BaseException as error:  # noqa: BLE001 -- any of a thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store.reconciliation.reconcile()
    assert list(store.connection_verification.verify()) == []
    assert select(store, "SELECT count(*) FROM space_hours WHERE stale") == [(0,)]


@ON_POSTGRESQL
def test_bounds_of_hours_are_index_conditions(store: Store, node: Node) -> None:
    with store.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        put_sensors(cursor, node)
        windows = json.dumps([(2, str(at(HOUR * number)), str(at(HOUR * (number + 1)))) for number in range(24)])
        explain = "EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF)"
        cursor.execute(f"{explain} {store.connections.queries.compute_hours.sql}", {"windows": windows})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    condition = r"Index Cond: .*sensor_id = placed.sensor_id\) AND \(recorded >= .*\) AND \(recorded < "
    assert re.search(condition, plan), plan
    # Each window looks up the 20 sensors of its own space, and not those of others.
    assert set(re.findall(r"Scan.* on sensor_events.* loops=(\d+)", plan)) == {"480"}, plan
    assert "Seq Scan on space_hours" not in plan


def put_sensors(cursor: Any, node: Node) -> None:
    """Add two spaces with 20 sensors each, which have an event each minute for some days."""
    cursor.execute("INSERT INTO spaces (name, node_id) VALUES ('house', %s), ('hall', %s)", (node.id, node.id))
    cursor.execute(
        "INSERT INTO sensors (name, node_id, kind) SELECT n, %s, 'door' FROM generate_series(1, 40) AS n",
        (node.id,),
    )
    cursor.execute(
        "INSERT INTO installations (sensor_id, space_id, orientation, installed_at)"
        " SELECT id, 2 + id % 2, 1, '2026-03-05T10:00Z' FROM sensors"
    )
    cursor.execute(
        "INSERT INTO sensor_events SELECT id, '2026-03-05T10:00Z'::timestamptz + n * '1 min'::interval, '', 1, 1,"
        " 'send', true FROM sensors, generate_series(0, 5000) AS n"
    )
    cursor.execute("ANALYZE sensor_events; ANALYZE installations; ANALYZE sensors; ANALYZE spaces")


def test_old_sessions_end(store: Store, node: Node) -> None:
    now = datetime.datetime.now(tz=datetime.UTC).replace(microsecond=0)
    recent = (now - at(0)).total_seconds() - HOUR
    put(store, node, close_after(-DAY, 10 * 366 * 86400), connect(0, 1), connect(recent, 2))
    assert store.reconciliation.reconcile().ended == 0
    # Rules that are older than the sessions, as if time had passed.
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(
            "UPDATE sensor_log SET details = '{\"seconds\":86400}' WHERE event = 'close_after'"
        )
    assert store.reconciliation.reconcile().ended == 1
    assert store.reconciliation.reconcile() == (0, 0)
    found = select(store, "SELECT closed_by, session FROM sessions ORDER BY connected")
    assert [closed_by for closed_by, _ in found] == ["age", None]
    assert read_hours(store, "federation")["2026-03-06 10"] == (0, 1, -1, 0, False)


def test_addresses_of_old_sessions_are_dropped(store: Store, node: Node) -> None:
    recent = (datetime.datetime.now(tz=datetime.UTC) - at(0)).total_seconds() - HOUR
    put(store, node, connect(0, 1, address="a" * 16), connect(0, 2, address="b" * 16))
    put(store, node, disconnect(recent - 31 * DAY, 1, 0), disconnect(recent, 2, 0))
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(f"UPDATE sessions SET address = '{'a' * 16}'")
    store.reconciliation.reconcile()
    assert select(store, "SELECT address FROM sessions ORDER BY session") == [(None,), ("a" * 16,)]


def test_rebuild_corrects_all_sums(store: Store, node: Node) -> None:
    put_sessions(store, node)
    put(store, node, step(0), connect(40 * DAY, 5), connect(200 * DAY, 6))
    store.reconciliation.reconcile()
    tables = ("space_hours", "space_days")
    due = [sorted(map(str, select(store, f"SELECT * FROM {table}"))) for table in tables]
    with store.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        cursor.execute("UPDATE space_hours SET entries = 77, highest = 99 WHERE entries = 1")
        cursor.execute("UPDATE space_days SET exits = 5")
        cursor.execute("DELETE FROM space_hours WHERE exits = 2")
    store.reconciliation.rebuild()
    assert [sorted(map(str, select(store, f"SELECT * FROM {table}"))) for table in tables] == due
    assert store.reconciliation.reconcile() == (0, 0)
