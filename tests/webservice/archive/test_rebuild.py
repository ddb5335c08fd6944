"""Tests of rebuilding shards."""

import datetime
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from eida_statistics.archive.errors import InvalidCrawl
from eida_stats_webservice.archive.errors import ForeignShard, TooManyBadLines
from eida_stats_webservice.archive.holdings.refresh import HoldingsRefresh
from support.crawls import ROOT, STARTED, describe, describe_directory, describe_file, make_segment, write_crawl
from support.dates import DAY
from support.processes import wait_for
from support.shard_rows import read_rows
from support.stores import ON_POSTGRESQL, Store
from support.tables import select


@pytest.fixture
def shard(store: Store) -> str:
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    store.shards.create("other", "/other", "GFZ", open_paths=False)
    return "gfz"


def _write(file: Path, count: int, *, root: str = ROOT, started: datetime.datetime = STARTED) -> Path:
    files = [
        describe_file(f"{root}/{day:02d}", make_segment("GE.A..BHZ", f"2020-01-{day:02d}", f"2020-01-{day:02d}T12"))
        for day in range(1, count + 1)
    ]
    return write_crawl(
        file, [describe_directory(root), *(line for lines in files for line in lines)], root=root, started=started
    )


def _count(store: Store, table: str = "files") -> int:
    ((count,),) = select(store, f"SELECT count(*) FROM {table} WHERE sh_code = 'gfz'")
    return int(count)


def _schemas(store: Store) -> list[str]:
    found = select(store, "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(gfz|other)'")
    return sorted(name for (name,) in found)


def test_rebuilt_shard_is_as_if_ingested(store: Store, shard: str, tmp_path: Path) -> None:
    first = _write(tmp_path / "1.gz", 9)
    second = _write(tmp_path / "2.gz", 8, started=STARTED + DAY)
    part = _write(tmp_path / "3.gz", 4, root=f"{ROOT}/x", started=STARTED + 2 * DAY)
    for file in (first, second, part):
        store.crawls.ingest("gfz", file, may_shrink=True)
    ingested = read_rows(store, "gfz", with_crawls=True)
    # In any order.
    results = store.shard_rebuild.rebuild("gfz", [part, second, first])
    assert [(result.added, result.removed) for result in results] == [(10, 0), (0, 1), (5, 0)]
    assert read_rows(store, "gfz", with_crawls=True) == ingested
    (rebuilt, other) = store.shards.read_all()
    assert (rebuilt.generation, rebuilt.crawled_at, other.generation) == (4, STARTED + 2 * DAY, 0)
    store.shard_rebuild.rebuild("gfz", [first])
    assert store.shards.read_all()[0].crawled_at == STARTED
    assert _count(store) == 9
    # The indexes and views are those of a new shard.
    store.crawls.ingest("gfz", second)
    assert [str(difference) for difference in store.catalogue_verification.verify()] == []


def test_bad_crawl_leaves_the_shard(store: Store, shard: str, tmp_path: Path) -> None:
    good = _write(tmp_path / "1.gz", 3)
    store.crawls.ingest("gfz", good)
    before = read_rows(store, "gfz", with_crawls=True)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(good.read_bytes()[:-20])
    bad = write_crawl(tmp_path / "bad.gz", [b"x\n"])
    for files, error in (([good, cut], InvalidCrawl), ([good, bad], TooManyBadLines)):
        with pytest.raises(error):
            store.shard_rebuild.rebuild("gfz", files)
    assert read_rows(store, "gfz", with_crawls=True) == before
    if store.database.dialect == "postgresql":
        assert _schemas(store) == ["gfz", "other"]
        with store.database.transaction(write=True) as connection:
            connection.cursor().execute("UPDATE shards SET foreign_server = 'db.example.org'")
        with pytest.raises(ForeignShard):
            store.shard_rebuild.rebuild("gfz", [good])


def test_all_holdings_are_refreshed(
    store: Store, shard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def refresh(_self: object, connection: Any, shard: Any, streams: Any = None, years: Any = None) -> None:
        calls.append((shard.code, streams, years, _count_files(connection)))

    monkeypatch.setattr(HoldingsRefresh, "refresh", refresh)
    store.shard_rebuild.rebuild("gfz", [_write(tmp_path / "1.gz", 3)])
    assert calls == [("gfz", None, None, 3)]


def _count_files(connection: Any) -> int:
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM files WHERE sh_code = 'gfz'")
    return int(cursor.fetchone()[0])


@ON_POSTGRESQL
def test_killed_rebuild_is_cleared_up(store: Store, shard: str, tmp_path: Path) -> None:
    with store.database.transaction(write=True) as connection:
        for suffix in ("_tmp", "_old"):
            connection.cursor().execute(f"CREATE SCHEMA gfz{suffix} CREATE TABLE paths (x integer)")
    store.shard_rebuild.rebuild("gfz", [_write(tmp_path / "1.gz", 3)])
    assert _schemas(store) == ["gfz", "other"]
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("CREATE SCHEMA gfz_old CREATE TABLE paths (x integer)")
    store.shards.remove("gfz")
    assert _schemas(store) == ["other"]


@ON_POSTGRESQL
def test_readers_see_the_old_shard_or_the_new_one(store: Store, shard: str, tmp_path: Path) -> None:
    store.crawls.ingest("gfz", _write(tmp_path / "1.gz", 3))
    new = _write(tmp_path / "2.gz", 5)
    rebuild = threading.Thread(target=store.shard_rebuild.rebuild, args=("gfz", [new]))
    with store.database.snapshot() as connection:
        assert _count_files(connection) == 3
        rebuild.start()
        # It cannot swap while this transaction reads the views, and lets others read meanwhile.
        wait_for(lambda: _is_rebuild_waiting(store), seconds=30)
        for _ in range(20):
            assert _count(store) == 3
            time.sleep(0.05)
        assert rebuild.is_alive()
        assert _count_files(connection) == 3
    rebuild.join()
    assert _count(store) == 5
    assert _schemas(store) == ["gfz", "other"]


def _is_rebuild_waiting(store: Store) -> bool:
    found = select(
        store,
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'CREATE OR REPLACE VIEW'",
    )
    return bool(found)


@ON_POSTGRESQL
def test_rebuilds_and_ingests_wait_for_each_other(store: Store, shard: str, tmp_path: Path) -> None:
    files = [_write(tmp_path / f"{number}.gz", 3 + number, started=STARTED + number * DAY) for number in range(3)]
    elsewhere = write_crawl(tmp_path / "other.gz", [describe("/other/x")], root="/other")
    rebuild = store.shard_rebuild.rebuild
    threads = [
        threading.Thread(target=rebuild, args=("gfz", files[:2])),
        threading.Thread(target=rebuild, args=("other", [elsewhere])),
        threading.Thread(target=rebuild, args=("gfz", files[:1])),
        threading.Thread(target=store.crawls.ingest, args=("gfz", files[2])),
        threading.Thread(target=store.shards.create, args=("new", "/new", "GFZ"), kwargs={"open_paths": False}),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _count(store) in (3, 4, 5)
    ((count,),) = select(store, "SELECT count(*) FROM files WHERE sh_code = 'other'")
    assert count == 1
    assert [str(difference) for difference in store.catalogue_verification.verify()] == []
    assert _schemas(store) == ["gfz", "other"]
