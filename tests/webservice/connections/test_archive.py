"""Archived months are in files, and everything else goes on as before."""

import datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from eida_statistics.connections import ServerStart, Snapshot
from eida_stats_webservice.connections import archive
from eida_stats_webservice.connections.counts import Counts
from eida_stats_webservice.connections.errors import ArchivedEvents, ArchiveDiffers
from eida_stats_webservice.database import migrations
from eida_stats_webservice.errors import DatabaseLocked
from eida_stats_webservice.registry.models import Node
from support.doors import at, connect, disconnect, find_space, put, snapshot, step
from support.node_client import make_node
from support.service import PREFIX
from support.statsman import Statsman
from support.stores import Store, open_store
from support.tables import count, select

# The events begin on 5 March.
APRIL = datetime.date(2026, 4, 1)
DAY = 86400


@pytest.fixture
def node(store: Store) -> Node:
    """Return a node whose events are in March and April, with sessions that are open at the turn of the month."""
    node = make_node(store, "GFZ")[0]
    store.spaces.add("A", node="GFZ", parent=None, capacity=None, restricted=False)
    store.sensors.add("423", "GFZ", is_open=False)
    store.sensors.install("423", "A", doorway="", orientation=1, start=at(0), stop=None)
    put(store, node, step(1), step(10), step(20, -1), step(4000), step(30 * DAY))
    store.spaces.recount("A", 20, at(15), "somebody")
    put(store, node, connect(0, 1), connect(0, 2), connect(0, 3), disconnect(60, 1, 0))
    put(store, node, snapshot(100, 2, 3), snapshot(130, 2), Snapshot("one", at(160), None))
    put(store, node, connect(50, 4), disconnect(28 * DAY, 4, 50))
    put(store, node, connect(29 * DAY, 5), disconnect(29 * DAY + 9, 5, 29 * DAY))
    return node


def read_counts(store: Store) -> dict[str, list[int]]:
    """Return the counts now, at the end of March and in April."""
    moments = (at(10**9), at(26 * DAY + 13 * 3600 + 3599), at(29 * DAY + 5))
    with store.database.snapshot() as connection:
        counts = Counts(store.connections, connection)
        return {space.name: [counts.count(space, moment) for moment in moments] for space in counts.tree}


def list_differences(store: Store) -> list[str]:
    return list(map(str, store.connection_verification.verify()))


def test_archive_and_replay(store_uri: str, store: Store, node: Node, tmp_path: Path) -> None:
    store.reconciliation.reconcile()
    before, events = read_counts(store), count(store, "sensor_events")
    statsman = Statsman(store_uri)
    archived = ("connections", "archive", "--before", "2026-04", "-o", str(tmp_path / "new" / "files"))
    assert "2026-03: 12 rows of the log" in statsman.run(*archived)
    assert read_counts(store) == before
    # Three of the door, and three of the session that has ended, and of the one that a snapshot has ended.
    assert count(store, "sensor_events") == events - 8
    assert list_differences(store) == []
    assert statsman.run(*archived).splitlines() == [
        "deleted from the database: 0 counted events, and their rows of the log",
        "events before 2026-04-01 are refused from now on",
    ]
    refused = statsman("spaces", "recount", "A", "3", "--at", "2026-03-05 11:00")
    assert (refused.returncode, "archived" in refused.stderr) == (1, True)
    with pytest.raises(ArchivedEvents):
        put(store, node, step(50))
    # Sessions that were open go on.
    put(store, node, disconnect(30 * DAY, 2, 0), step(31 * DAY, -1))
    store.reconciliation.rebuild()
    assert list_differences(store) == []
    assert read_counts(store)["GFZ"] == [0, 2, 2]
    replay_all(store_uri, store, tmp_path / "new" / "files")


def replay_all(store_uri: str, store: Store, folder: Path) -> None:
    """Check that another database with the file and the rest of the log has the same counts at all times."""
    other = f"sqlite:///{folder / 'other.db'}"
    migrations.apply(other)
    statsman = Statsman(store_uri)
    file = folder / "connections-2026-03.jsonl.zst"
    for words in (["--from", "2000-01-01"], [str(file)], [str(file)]):
        statsman.run("connections", "replay", *words, "--database", other)
    copy = open_store(other)
    assert read_counts(copy) == read_counts(store)
    assert select(
        copy,
        "SELECT lowest, highest FROM space_hours JOIN spaces ON spaces.id = space_id WHERE name = 'GFZ'"
        " AND hour LIKE '2026-03-05T10%'",
    ) == [(0, 4)]
    with copy.database.snapshot() as connection:
        counts = Counts(copy.connections, connection)
        assert counts.count(find_space(copy, "A"), at(12)) == 2
    copy.close()


def test_interrupted_runs_are_finished(
    store: Store, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_counts(store)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(archive, "sync_directory", fail)
        with pytest.raises(KeyboardInterrupt):
            list(store.archive.write(APRIL, tmp_path))
    assert (read_counts(store), list_differences(store)) == (before, [])
    put(store, node, step(100), step(101, -1))
    assert [written.rows for written in store.archive.write(APRIL, tmp_path)] == [14]
    # Nothing is deleted yet, and events are refused.
    assert (read_counts(store), list_differences(store)) == (before, [])
    assert store.archive_deletion.delete() == 10
    assert (read_counts(store), list_differences(store)) == (before, [])


def test_other_files_are_not_replaced(store: Store, node: Node, tmp_path: Path) -> None:
    file = tmp_path / "connections-2026-03.jsonl.zst"
    file.write_text("{}\n")
    with pytest.raises(ArchiveDiffers, match="other events"):
        list(store.archive.write(APRIL, tmp_path))
    assert file.read_text() == "{}\n"


def test_events_that_arrive_meanwhile_are_written(
    store: Store, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_disk = archive.sync_directory
    late = iter(range(3))

    def receive(folder: Path) -> None:
        wait_for_disk(folder)
        for number in late:
            put(store, node, step(200 + number))
            break

    monkeypatch.setattr(archive, "sync_directory", receive)
    assert [written.rows for written in store.archive.write(APRIL, tmp_path)] == [15]
    late = iter(range(28 * DAY, 28 * DAY + 100))
    with pytest.raises(DatabaseLocked, match="still arrive"):
        list(store.archive.write(datetime.date(2026, 5, 1), tmp_path))
    store.archive_deletion.delete()
    assert list_differences(store) == []


def test_late_restart_moves_an_end_into_archived_hours(store: Store, node: Node, tmp_path: Path) -> None:
    list(store.archive.write(APRIL, tmp_path))
    store.archive_deletion.delete()
    put(store, node, ServerStart("one", at(20 * DAY)))
    store.reconciliation.reconcile()
    assert read_counts(store)["GFZ"] == [0, 1, 1]
    assert list_differences(store) == []
    assert store.reconciliation.reconcile() == (0, 0)
    assert select(store, "SELECT count(*) FROM space_hours WHERE stale") == [(0,)]


def test_command_line(store_uri: str, tmp_path: Path) -> None:
    statsman = Statsman(store_uri)
    for month in ("2099-01", "1999-12", "January"):
        assert statsman("connections", "archive", "--before", month, "-o", str(tmp_path)).returncode == 2
    assert "deleted from the database: 0 counted events" in statsman.run(
        "connections", "archive", "--before", "2026-04", "-o", str(tmp_path)
    )
    assert list(tmp_path.glob("*.zst*")) == []


def test_events_that_were_not_counted_stay(store: Store, node: Node, tmp_path: Path) -> None:
    put(store, node, step(5, sensor="new"), step(7, sensor="new"))
    list(store.archive.write(APRIL, tmp_path))
    store.archive_deletion.delete()
    unplaced = "SELECT count(*) FROM sensor_events WHERE NOT placed"
    assert select(store, unplaced) == [(2,)]
    assert select(store, "SELECT count(*) FROM sensor_log WHERE sensor = 'new'") == [(2,)]


def test_archived_count_is_that_of_the_start_of_the_hour(
    client: FlaskClient, store: Store, node: Node, tmp_path: Path
) -> None:
    list(store.archive.write(APRIL, tmp_path))
    store.archive_deletion.delete()
    # In the first hour were events, and a recount.
    for minutes, due in ((30, None), (61, 19)):
        parameters = {"space": "A", "time": at(60 * minutes).isoformat(), "format": "json"}
        answer = client.get(f"{PREFIX}/connections/count", query_string=parameters)
        assert answer.json is not None
        [row] = answer.json["results"]
        assert (row["count"], row["resolution"]) == (due, "hour")
        shown = client.get("/count", query_string={"space": "A", "timestamp": at(60 * minutes).isoformat()})
        assert shown.json == {"status": "ok", "count": due or 0}
