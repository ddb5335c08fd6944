"""Reconciliation computes the lowest and highest counts of hours, and ends old sessions."""

import datetime

import pytest

from eida_stats_webservice.registry.models import Node
from support.doors import at, close_after, connect, disconnect, put, read_hours, step
from support.node_client import make_node
from support.stores import Store
from support.tables import select

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def node(store: Store) -> Node:
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
