"""The administrator adds spaces and sensors, moves sensors, and states counts."""

import datetime
import json

import pytest

from eida_stats_webservice.connections.counts import Counts
from eida_stats_webservice.connections.errors import UnusableSpace
from eida_stats_webservice.registry.models import Node
from support.doors import at, connect, find_space, put, read_hours, step
from support.node_client import make_node
from support.statsman import Statsman
from support.stores import Store
from support.tables import select


@pytest.fixture
def node(store: Store) -> Node:
    return make_node(store, "GFZ")[0]


@pytest.fixture
def house(store: Store, node: Node) -> Node:
    """Return a node with a house of two rooms, and a door into the first."""
    store.spaces.add("house", node="GFZ", parent=None, capacity=100, restricted=False)
    for name in ("A", "B"):
        store.spaces.add(name, node="GFZ", parent="house", capacity=None, restricted=False)
    store.sensors.add("423", "GFZ", is_open=False)
    store.sensors.install("423", "A", doorway="", orientation=1, start=at(0), stop=None)
    return node


def count(store: Store, name: str, moment: datetime.datetime | None = None) -> int:
    with store.database.snapshot() as connection:
        counts = Counts(store.connections, connection)
        space = find_space(store, name)
        return counts.count(space) if moment is None else counts.count(space, moment)


def read_sums(store: Store) -> list[str]:
    """Return all sums that are not zero."""
    hours = select(store, "SELECT * FROM space_hours WHERE entries + exits > 0 ORDER BY 1, 2")
    return list(map(str, hours + select(store, "SELECT * FROM space_days WHERE entries + exits > 0 ORDER BY 1, 2")))


def test_move_in_the_past_corrects_counts(store: Store, house: Node) -> None:
    put(store, house, step(10), step(20), step(4000), step(4010, -1))
    assert (count(store, "A"), count(store, "B"), count(store, "house")) == (2, 0, 2)
    store.sensors.move("423", "A", "B", doorway=None, moment=at(20))
    assert (count(store, "A"), count(store, "B"), count(store, "house")) == (1, 1, 2)
    # Late events, before and at the moment of the move.
    put(store, house, step(19), step(20, -1))
    assert (count(store, "A"), count(store, "B"), count(store, "house")) == (2, 0, 2)
    shown = select(store, "SELECT count FROM space_count JOIN spaces ON spaces.id = space_id WHERE name = 'B'")
    assert [number for (number,) in shown] == [1, 0]
    store.reconciliation.reconcile()
    found = read_sums(store)
    store.reconciliation.rebuild()
    assert read_sums(store) == found


def test_moving_back_restores_sums(store: Store, house: Node) -> None:
    put(store, house, step(10), step(4000), step(8000, -1))
    store.reconciliation.reconcile()
    before = read_sums(store)
    store.sensors.move("423", "A", "B", doorway="back", moment=at(20))
    store.sensors.move("423", "B", "A", doorway="", moment=at(20))
    store.reconciliation.reconcile()
    assert read_sums(store) == before


def test_events_of_unknown_sensors_count_later(store: Store, house: Node) -> None:
    put(store, house, step(10, sensor="new"), step(30, sensor="new"))
    assert [(one.kind, one.unplaced) for one, _ in store.sensors.list_sensors()] == [("door", 0), ("unknown", 2)]
    assert count(store, "A") == 0
    store.sensors.add("new", "GFZ", is_open=True)
    store.sensors.install("new", "A", doorway="", orientation=1, start=at(20), stop=None)
    assert count(store, "A") == 1
    assert [one.unplaced for one, _ in store.sensors.list_sensors()] == [0, 1]
    store.sensors.install("new", "B", doorway="", orientation=-1, start=at(0), stop=at(20))
    assert (count(store, "A"), count(store, "B")) == (1, -1)
    assert [one.unplaced for one, _ in store.sensors.list_sensors()] == [0, 0]


def test_door_between_two_rooms(store: Store, house: Node) -> None:
    store.sensors.install("423", "B", doorway="", orientation=-1, start=at(0), stop=None)
    put(store, house, step(10), step(11), step(12, -1))
    store.reconciliation.reconcile()
    assert [count(store, name) for name in ("A", "B", "house")] == [1, -1, 0]
    assert read_hours(store, "A") == {"2026-03-05 10": (2, 1, 0, 2, False)}
    assert read_hours(store, "B") == {"2026-03-05 10": (1, 2, -2, 0, False)}
    assert read_hours(store, "house") == {"2026-03-05 10": (0, 0, 0, 0, False)}
    store.sensors.move("423", "B", None, doorway=None, moment=at(11))
    store.reconciliation.reconcile()
    assert [count(store, name) for name in ("A", "B", "house")] == [1, -1, 0]
    assert read_hours(store, "house") == {"2026-03-05 10": (1, 1, 0, 1, False)}


def test_recount(store: Store, house: Node) -> None:
    put(store, house, step(10), step(20), step(30))
    assert store.spaces.recount("a", 20, at(20), "somebody") == 21
    assert [count(store, name) for name in ("A", "house")] == [21, 21]
    put(store, house, step(15))
    assert [count(store, name, at(17)) for name in ("A", "house")] == [2, 2]
    assert [count(store, name) for name in ("A", "house")] == [21, 21]
    assert store.spaces.recount("A", 5, at(20), "somebody") == 6


def test_commands(store_uri: str, store: Store, node: Node) -> None:
    statsman = Statsman(store_uri)
    statsman.run("spaces", "add", "Hall", "--node", "GFZ", "--capacity", "50")
    statsman.run("spaces", "add", "Yard", "--node", "GFZ", "--restricted")
    assert "next: " in statsman.run("sensors", "add", "7", "--node", "GFZ", "--open")
    statsman.run("sensors", "install", "7", "--space", "hall", "--at", "2026-03-05T10:00:00Z")
    again = statsman.run("sensors", "add", "7", "--node", "GFZ")
    assert again == "sensor 7 exists already; its events need a token from now on\n"
    times = ("--at", "2026-03-01", "--until", "2026-03-02")
    assert "Yard from 2026-03-01T00:00:00Z until 2026-03-02T00:00:00Z" in statsman.run(
        "sensors", "install", "7", "--space", "Yard", *times
    )
    put(store, node, step(10, sensor="7"), step(20, sensor="7"))
    assert "Yard from 2026-03-05T10:00:15Z on" in statsman.run(
        "sensors", "move", "7", "--from", "Hall", "--to", "Yard", "--at", "2026-03-05 10:00:15"
    )
    statsman.run("spaces", "recount", "Hall", "20", "--at", "2026-03-05 10:00", "--by", "guard")
    listed = {row["name"]: row for row in json.loads(statsman.run("spaces", "list", "--json"))}
    assert (listed["Hall"]["count"], listed["Hall"]["capacity"], listed["Hall"]["node"]) == (21, 50, "GFZ")
    assert (listed["Yard"]["count"], listed["Yard"]["restricted"]) == (1, True)
    (sensor,) = json.loads(statsman.run("sensors", "list", "--node", "GFZ", "--json"))
    assert (sensor["spaces"], len(sensor["installations"]), sensor["unplaced"]) == ("Yard", 3, 0)
    assert "Hall" in statsman.run("spaces", "list")
    assert "Yard" in statsman.run("sensors", "list")
    put(store, node, connect(0, 1))
    put(store, make_node(store, "BGR")[0], connect(0, 1))
    for words, reason in (
        (("sensors", "move", "7", "--from", "Hall", "--at", "2026-03-06T00:00:00Z"), "does not count Hall then"),
        (("sensors", "install", "7", "--space", "Hall", "--doorway", "x"), "installed elsewhere"),
        (("sensors", "install", "7", "--space", "nowhere"), "no such space"),
        (("sensors", "install", "8", "--space", "Hall"), "no such sensor"),
        (("sensors", "install", "GFZ/one", "--space", "Hall"), "is a ringserver"),
        (("sensors", "install", "7", "--space", "GFZ"), "counts clients"),
        (("sensors", "install", "7", "--space", "BGR"), "does not belong to the node"),
        (("sensors", "install", "7", "--space", "Hall", "--at", "1999-01-01"), "before 2000"),
        (("sensors", "install", "7", "--space", "Hall", "--at", "2099-01-01"), "future"),
        (("sensors", "add", "7", "--node", "BGR"), "exists already"),
        (("sensors", "add", "GFZ/two", "--node", "GFZ"), "is the name of a ringserver"),
        (("spaces", "add", "HALL"), "exists already"),
        (("spaces", "add", "x", "--node", "nobody"), "no such node"),
        (("spaces", "add", "x", "--parent", "Hall"), "belongs to a node"),
        (("spaces", "recount", "federation", "3"), "counts clients"),
        (("spaces", "recount", "nowhere", "3"), "no such space"),
        (("nodes", "update", "GFZ", "--name", "Hall"), "exists already"),
    ):
        refused = statsman(*words)
        assert (refused.returncode, reason in refused.stderr) == (1, True), refused.stderr
    for words in (
        ("spaces", "add", "x", "--restricted"),
        ("spaces", "recount", "Hall", "3", "--at", "yesterday"),
        ("sensors", "install", "7", "--space", "Hall", "--at", "2026-03-06", "--until", "2026-03-05"),
    ):
        assert statsman(*words).returncode == 2


def test_space_of_a_node_can_be_restricted_beforehand(store: Store, node: Node) -> None:
    store.spaces.add("GFZ", node="GFZ", parent="federation", capacity=None, restricted=True)
    put(store, node, connect(0, 1))
    assert [space.name for space, _ in store.spaces.list_counts() if space.restricted] == ["GFZ", "GFZ/one"]
    assert count(store, "federation") == count(store, "GFZ") == 1


@pytest.mark.parametrize("name", ["GFZ", "gfz/one", "GFZ/one"])
def test_names_of_ringservers_are_refused(store: Store, node: Node, name: str) -> None:
    with pytest.raises(UnusableSpace, match="the name of a node or of its ringserver"):
        store.spaces.add(name, node="GFZ", parent=None, capacity=None, restricted=False)


def test_space_can_be_changed(store_uri: str, store: Store, node: Node) -> None:
    put(store, node, connect(0, 1))
    statsman = Statsman(store_uri)
    statsman.run("spaces", "update", "gfz", "--restricted", "--capacity", "7")
    statsman.run("spaces", "update", "GFZ/one", "--public")
    found = {space.name: (space.restricted, space.capacity) for space, _ in store.spaces.list_counts()}
    assert found == {"federation": (False, None), "GFZ": (True, 7), "GFZ/one": (False, None)}
    with pytest.raises(UnusableSpace):
        store.spaces.update("federation", capacity=None, restricted=True)


def test_renamed_nodes_keep_their_history(store_uri: str, store: Store, node: Node) -> None:
    put(store, node, connect(0, 1))
    Statsman(store_uri).run("nodes", "update", "GFZ", "--name", "gfz-potsdam")
    put(store, Node(node.id, "gfz-potsdam"), connect(5, 2))
    assert [count(store, name) for name in ("gfz-potsdam", "gfz-potsdam/one", "federation")] == [2, 2, 2]
    assert select(store, "SELECT name FROM sensors") == [("gfz-potsdam/one",)]
