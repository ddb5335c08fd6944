"""Both databases refuse the same spaces and installations; nodes take their counts with them."""

import datetime
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from eida_statistics.connections import Alive, Count, Record, Snapshot
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.connections.intake import apply_changes
from eida_stats_webservice.connections.ringservers import RingserverBatch
from eida_stats_webservice.database.base import format_moment
from eida_stats_webservice.errors import RefusedByDatabase
from eida_stats_webservice.registry.models import Node
from support.live_connections import LiveConnections, at, connect, list_session
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store
from support.tables import count, select

# From and to in seconds, space and doorway.
Placed = tuple[float, float | None, str, str]

TABLES = (
    *("sensors", "installations", "sensor_log", "sensor_events", "sessions", "session_listings"),
    *("session_protocols", "sensor_states", "space_hours", "space_days", "space_count", "recounts"),
)


@pytest.fixture
def node(live: LiveConnections) -> Node:
    return live.add_node("GFZ")


def place(live: LiveConnections, node: Node, *places: Placed) -> None:
    spaces = {name: live.add_space(name, node=node) for name in ("a", "b")}
    door = live.add_door(node, "d")
    for start, stop, space, doorway in places:
        live.install(door, spaces[space], 1, at(start), None if stop is None else at(stop), doorway)


@pytest.mark.parametrize(
    "places",
    [
        [(0, 10, "a", ""), (10, None, "a", "")],
        [(10, None, "a", ""), (0, 10, "b", "other")],
        [(0, None, "a", "x"), (0, None, "b", "x")],
        [(0, 0.000001, "a", ""), (0.000001, 1, "a", "x")],
    ],
)
def test_possible_installations(live: LiveConnections, node: Node, places: Sequence[Placed]) -> None:
    place(live, node, *places)
    assert count(live.store, "installations") == len(places)


@pytest.mark.parametrize(
    "places",
    [
        [(0, 10, "a", ""), (9.999999, None, "a", "")],
        [(0, None, "a", ""), (10**9, None, "a", "")],
        [(5, 6, "a", ""), (0, 10, "a", "")],
        [(0, 10, "a", "x"), (5, 15, "b", "y")],
        [(5, None, "a", "x"), (0, 6, "b", "y")],
        [(5, None, "a", "x"), (0, None, "b", "y")],
        [(1, 1, "a", "")],
        [(2, 1, "a", "")],
    ],
)
def test_impossible_installations(live: LiveConnections, node: Node, places: Sequence[Placed]) -> None:
    with pytest.raises(RefusedByDatabase):
        place(live, node, *places)


def test_impossible_moves(live: LiveConnections, node: Node) -> None:
    place(live, node, (0, 10, "a", "x"), (10, None, "b", "y"))
    for change in (
        "removed_at = NULL WHERE doorway = 'x'",
        f"removed_at = '{format_moment(at(10.000001))}' WHERE doorway = 'x'",
        f"installed_at = '{format_moment(at(9))}' WHERE doorway = 'y'",
        "orientation = 0",
    ):
        with pytest.raises(RefusedByDatabase):
            live.execute(f"UPDATE installations SET {change}")
    live.execute(f"UPDATE installations SET removed_at = '{format_moment(at(9))}' WHERE doorway = 'x'")


def test_spaces_contain_no_cycle(live: LiveConnections, node: Node) -> None:
    outer = live.add_space("outer", node=node)
    middle = live.add_space("middle", outer, node)
    inner = live.add_space("inner", middle, node)
    for space in (outer, middle, inner):
        with pytest.raises(RefusedByDatabase, match="cannot contain itself"):
            live.execute(f"UPDATE spaces SET parent_id = {inner.id} WHERE id = {space.id}")
    live.execute(f"UPDATE spaces SET parent_id = {outer.id} WHERE id = {inner.id}")
    overriding = "OVERRIDING SYSTEM VALUE " if live.database.dialect == "postgresql" else ""
    with pytest.raises(RefusedByDatabase, match="cannot contain itself"):
        live.execute(f"INSERT INTO spaces (id, name, parent_id) {overriding}VALUES (999999, 'own', 999999)")


def test_spaces_of_nodes_contain_only_their_own(live: LiveConnections, node: Node) -> None:
    other = live.add_node("RESIF")
    ours = live.add_space("ours", node=node)
    theirs = live.add_space("theirs", node=other)
    upper = live.add_space("upper")
    for owner in (other, None):
        with pytest.raises(RefusedByDatabase, match="only contain spaces of this node"):
            live.add_space("wrong", ours, owner)
    with pytest.raises(RefusedByDatabase, match="only contain spaces of this node"):
        live.execute(f"UPDATE spaces SET parent_id = {ours.id} WHERE id = {theirs.id}")
    live.execute(f"UPDATE spaces SET parent_id = {upper.id} WHERE id IN ({ours.id}, {theirs.id})")


def test_names_of_spaces_ignore_case(live: LiveConnections, node: Node) -> None:
    live.add_space("Hall", node=node)
    with pytest.raises(RefusedByDatabase):
        live.add_space("hALL")


def test_deleted_node_leaves_nothing(live: LiveConnections, node: Node) -> None:
    place(live, node, (0, None, "a", ""))
    other = live.add_node("RESIF")
    now = datetime.datetime.now(tz=datetime.UTC)
    records: list[Record] = [
        Alive("main"), connect("x", 1, 0), Snapshot("main", at(9), [list_session("y", 2)]),
        Count("d", at(1), 1), Count("unknown", now, 1),
    ]  # fmt: skip
    live.send(node, *records)
    live.send(other, connect("x", 1, 0))
    kept = {table: count(live.store, table) for table in TABLES}
    live.execute("DELETE FROM nodes WHERE name = 'GFZ'")
    assert {name for (name,) in select(live.store, "SELECT name FROM spaces")} == {
        "federation", "RESIF", "RESIF/main",
    }  # fmt: skip
    left = {table: count(live.store, table) for table in TABLES}
    assert left == {
        **dict.fromkeys(TABLES, 0), "sensors": 1, "installations": 1, "sensor_log": 1, "sensor_events": 1,
        "sessions": 1, "sensor_states": 1, "space_hours": 2, "space_days": 2, "space_count": 2,
    }  # fmt: skip
    assert all(kept[table] > left[table] for table in ("sensor_log", "sensor_events", "space_hours"))
    assert live.count("federation") == 1


@ON_POSTGRESQL
def test_batch_waits_for_deletion_of_its_node(store: Store) -> None:
    live = LiveConnections(store)
    node = live.add_node("GFZ")
    live.send(node, connect("x", 1, 0))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%space_count%'"
    with ThreadPoolExecutor(1) as pool:
        with live.database.transaction() as connection:
            connection.cursor().execute("DELETE FROM nodes WHERE name = 'GFZ'")
            sent = pool.submit(live.send, node, connect("y", 2, 200))
            while not sent.done() and select(store, waiting) == [(0,)]:
                time.sleep(0.01)
        with pytest.raises(EidaStatisticsError):
            sent.result()
    assert [count(store, table) for table in ("sessions", "sensor_events", "sensors")] == [0, 0, 0]


@ON_POSTGRESQL
def test_deletion_of_a_node_waits_for_its_batch(store: Store) -> None:
    live = LiveConnections(store)
    node = live.add_node("GFZ")
    live.send(node, connect("x", 1, 0))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE%'"
    with ThreadPoolExecutor(1) as pool:
        with live.database.transaction(write=True) as connection:
            sensor = live.tables.find_sensors(connection, node, ["GFZ/main"])["GFZ/main"]
            batch = RingserverBatch(live.tables, connection, node, sensor, at(10))
            apply_changes(live.tables, connection, {sensor: batch.store([connect("y", 2, 200)])}, at(10))
            deleted = pool.submit(live.execute, "DELETE FROM nodes WHERE name = 'GFZ'")
            while not deleted.done() and select(store, waiting) == [(0,)]:
                time.sleep(0.01)
        deleted.result()
    assert [count(store, table) for table in ("sessions", "sensor_events", "sensors")] == [0, 0, 0]


@ON_ONE_STORE
def test_changed_sessions_are_found_by_their_key(store: Store) -> None:
    with store.database.transaction() as connection:
        found = connection.execute(
            f"EXPLAIN QUERY PLAN {store.connections.queries.put_sessions.sql}", {"rows": "[]"}
        )
        plan = "\n".join(detail for *_, detail in found)
    assert "(sensor_id=? AND session=? AND number=?)" in plan
