"""Verification finds nothing after ordinary work, and any row that was changed by hand."""

import pytest

from eida_statistics.connections import Command, ServerStart, Snapshot
from eida_stats_webservice.registry.models import Node
from support.doors import at, close_after, connect, disconnect, put, snapshot, step
from support.node_client import make_node
from support.statsman import Statsman
from support.stores import Store

DAY = 86400


@pytest.fixture
def node(store: Store) -> Node:
    """Return a node with events of all kinds."""
    node = make_node(store, "GFZ")[0]
    other = make_node(store, "BGR")[0]
    store.spaces.add("A", node="GFZ", parent=None, capacity=None, restricted=False)
    store.sensors.add("423", "GFZ", is_open=False)
    store.sensors.install("423", "A", doorway="", orientation=1, start=at(5), stop=None)
    put(store, node, step(1), step(10), step(10), step(20, -1), step(30, sensor="unknown"))
    put(store, node, connect(0, 1), connect(0, 2), connect(0, 2), disconnect(60, 1, 0))
    put(store, node, snapshot(100, 2, 3, 3), Snapshot("one", at(130), None), snapshot(160, 2, 3))
    put(store, node, snapshot(190, 2, 3), snapshot(220, 3), snapshot(250, 3), Command("one", f"{3:016x}", "HTTP"))
    put(store, node, ServerStart("one", at(4000), at(3900)), connect(5000, 4), close_after(6000, DAY))
    put(store, other, connect(3700, 1), connect(3700, 2), disconnect(2 * DAY, 1, 3700))
    return node


def list_differences(store: Store) -> list[str]:
    return list(map(str, store.connection_verification.verify()))


def change(store: Store, statement: str) -> None:
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(statement)


def test_verification_finds_nothing(store: Store, node: Node) -> None:
    # Neither before sessions end by their age, nor before hours are reconciled.
    assert list_differences(store) == []
    store.reconciliation.reconcile()
    assert list_differences(store) == []
    store.sensors.move("423", "A", None, doorway=None, moment=at(15))
    put(store, node, disconnect(6000, 2, 0))
    assert list_differences(store) == []
    store.reconciliation.rebuild()
    assert list_differences(store) == []


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("UPDATE space_days SET exits = exits + 1", "space_days"),
        ("DELETE FROM space_days", "space_days"),
        ("UPDATE space_hours SET entries = entries + 1 WHERE space_id = 2", "space_hours"),
        ("UPDATE space_hours SET highest = highest + 1 WHERE space_id = 1", "space_hours"),
        ("DELETE FROM space_hours WHERE space_id = 1", "space_hours"),
        ("DELETE FROM sensor_events WHERE cause = 'send'", "sensor_events"),
        ("DELETE FROM sensor_events WHERE cause = 'inferred'", "sensor_events"),
        ("UPDATE sensor_events SET placed = NOT placed WHERE cause = 'snapshot'", "sensor_events"),
        ("UPDATE sessions SET closed_by = 'age' WHERE closed_by = 'restart'", "sessions"),
        ("DELETE FROM sessions WHERE closed_by = 'log'", "sessions"),
        ("DELETE FROM sensor_log WHERE event = 'disconnect'", "sessions"),
    ],
)
def test_changed_rows_are_found(store: Store, node: Node, statement: str, table: str) -> None:
    store.reconciliation.reconcile()
    change(store, statement)
    assert table in {line.split()[0] for line in list_differences(store)}


def test_command(store_uri: str, store: Store, node: Node) -> None:
    statsman = Statsman(store_uri)
    assert statsman.run("connections", "verify") == "differences: none\n"
    assert "reconciled" in statsman.run("connections", "reconcile")
    assert statsman.run("connections", "reconcile") == ""
    change(store, "UPDATE space_days SET exits = 9")
    refused = statsman("connections", "verify")
    assert (refused.returncode, "exits 9, must be" in refused.stdout) == (1, True)
    assert "connections rebuild" in refused.stderr
    assert '"table": "space_days"' in statsman("connections", "verify", "--json").stdout
    assert "rebuilt" in statsman.run("connections", "rebuild")
    assert statsman.run("connections", "verify", "--json") == "[]\n"
