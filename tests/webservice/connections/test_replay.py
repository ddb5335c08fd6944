"""A log that is replayed in another database has the same counts there."""

import gzip
from pathlib import Path

import pytest

from eida_statistics.connections import Snapshot, encode_records
from eida_stats_webservice.connections.log import LogRecord
from eida_stats_webservice.connections.log_files import read_lines, write_lines
from eida_stats_webservice.database import migrations
from eida_stats_webservice.registry.models import Node
from support.doors import at, close_after, connect, disconnect, put, snapshot, step
from support.node_client import make_node
from support.statsman import Statsman
from support.stores import Store, open_store
from support.tables import select


@pytest.fixture
def node(store: Store) -> Node:
    node = make_node(store, "GFZ")[0]
    store.spaces.add("house", node="GFZ", parent=None, capacity=9, restricted=False)
    store.spaces.add("A", node="GFZ", parent="house", capacity=None, restricted=True)
    store.sensors.add("423", "GFZ", is_open=True)
    store.sensors.install("423", "A", doorway="", orientation=1, start=at(5), stop=None)
    put(store, node, step(1), step(10), step(10), step(20, -1), step(40), step(30, sensor="unknown"))
    store.spaces.recount("A", 20, at(15), "somebody")
    put(store, node, connect(0, 1), connect(0, 2), disconnect(60, 1, 0))
    put(store, node, snapshot(100, 2, 3), Snapshot("one", at(130), None), close_after(200, None))
    put(store, make_node(store, "BGR")[0], connect(0, 1), connect(0, 2))
    return node


def read_log(store: Store) -> list[LogRecord]:
    with store.database.snapshot() as connection:
        return list(store.connection_log.read_received(connection, at(-(10**8)), at(10**9)))


def test_lines_of_files_are_the_log(store: Store, node: Node, tmp_path: Path) -> None:
    lines = read_log(store)
    assert (write_lines(tmp_path / "log.jsonl.zst", lines), len(lines)) == (14, 14)
    assert list(read_lines(tmp_path / "log.jsonl.zst")) == lines
    with store.database.snapshot() as connection:
        recorded = list(store.connection_log.read_recorded(connection, at(110), at(10**9)))
    # The first snapshot of a window lists its sessions.
    assert isinstance(recorded[0].record, Snapshot)
    assert [one.session[-1] for one in recorded[0].record.sessions or ()] == ["2", "3"]


def test_replay_in_another_database(store_uri: str, store: Store, node: Node, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}"
    migrations.apply(other)
    statsman = Statsman(store_uri)
    for _ in range(2):
        printed = statsman.run("connections", "replay", "--from", "2000-01-01", "--database", other)
    assert "events that are new there: 0" in printed
    copy = open_store(other)
    store.reconciliation.reconcile()
    assert counts(copy) == counts(store)
    hours = (
        "SELECT name, hour, entries, exits, lowest, highest FROM space_hours JOIN spaces ON spaces.id = space_id"
    )
    assert sorted(map(read_hour, select(copy, hours))) == sorted(map(read_hour, select(store, hours)))
    assert list(copy.connection_verification.verify()) == []
    copy.close()


def read_hour(row: tuple[object, ...]) -> tuple[object, ...]:
    return row[0], str(row[1])[:13].replace("T", " "), *row[2:]


def counts(store: Store) -> dict[str, int]:
    return {space.name: count for space, count in store.spaces.list_counts()}


def test_dry_run_of_files(store_uri: str, store: Store, node: Node, tmp_path: Path) -> None:
    records = [line.record for line in read_log(store) if line.node == "GFZ"]
    file = tmp_path / "log.gz"
    file.write_bytes(gzip.compress(encode_records(records)))
    statsman = Statsman(store_uri)
    printed = statsman.run("connections", "replay", str(file), "--node", "GFZ")
    assert "events that are new there: 8" in printed
    assert [line.split() for line in printed.splitlines() if line.startswith("A ")] == [["A", "20"]]
    assert len(read_log(store)) == 14
    for words, reason in (
        (["replay", str(file)], "line 1: it names no node"),
        (["replay", __file__, "--node", "GFZ"], "line 1: not JSON"),
        (["replay", str(file), "--node", "nobody"], "no such node"),
    ):
        refused = statsman("connections", *words)
        assert (refused.returncode, reason in refused.stderr) == (1, True), refused.stderr
    assert statsman("connections", "replay").returncode == 2


def test_sensor_that_was_added_elsewhere_is_replayed(
    store_uri: str, store: Store, node: Node, tmp_path: Path
) -> None:
    # The event of GFZ came before the sensor belonged to BGR.
    store.sensors.add("unknown", "BGR", is_open=False)
    write_lines(tmp_path / "log.jsonl", read_log(store))
    assert "A      " in Statsman(store_uri).run("connections", "replay", str(tmp_path / "log.jsonl"))


def test_renamed_node_is_replayed(store_uri: str, store: Store, node: Node, tmp_path: Path) -> None:
    write_lines(tmp_path / "log.jsonl", read_log(store))
    statsman = Statsman(store_uri)
    statsman.run("nodes", "update", "GFZ", "--name", "Potsdam")
    refused = statsman("connections", "replay", str(tmp_path / "log.jsonl"))
    assert (refused.returncode, "--rename OLD=NEW" in refused.stderr) == (1, True)
    printed = statsman.run("connections", "replay", "--rename", "GFZ=Potsdam", str(tmp_path / "log.jsonl"))
    assert "Potsdam/one" in printed
