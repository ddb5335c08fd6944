"""Tests of `shards ingest --received`."""

import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from eida_statistics.archive.crawl_ends import read_ends
from eida_statistics.archive.lines import CrawlLine
from support.crawls import ROOT, STARTED, describe_file, make_segment, write_crawl
from support.dates import DAY
from support.node_client import make_node
from support.statsman import Statsman
from support.stores import Store
from support.tables import count, select


@pytest.fixture
def statsman(store_uri: str, store: Store) -> Statsman:
    make_node(store, "GFZ")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    return Statsman(store_uri)


def describe_files(count: int) -> list[CrawlLine]:
    segment = make_segment("GE.APE..BHZ", "2026-01-01T00:00:00", "2026-01-01T23:59:59")
    return [line for number in range(count) for line in describe_file(f"{ROOT}/{number}", segment)]


def receive(store: Store, folder: Path, lines: Sequence[CrawlLine | bytes], day: int, code: str = "gfz") -> None:
    """Store a crawl as the service does."""
    (shard,) = [shard for shard in store.shards.read_all() if shard.code == code]
    file = write_crawl(folder / "crawl.tsv.gz", lines, root=shard.path, started=STARTED + day * DAY)
    content = io.BytesIO(file.read_bytes())
    ends = read_ends(content)
    store.received_crawls.store(shard, content, f"{code}{day}", file.stat().st_size, ends)


def read_refusals(store: Store) -> list[tuple[str, str | None, int]]:
    """Return the hash of each crawl, why it was refused, and the number of pieces of its file."""
    return select(
        store,
        "SELECT sha256, refused, (SELECT count(*) FROM crawl_pieces WHERE crawl_id = id) FROM crawls ORDER BY id",
    )


def test_crawls_are_ingested_in_order(statsman: Statsman, store: Store, tmp_path: Path) -> None:
    store.shards.create("other", "/GFZ/other", "GFZ", open_paths=False)
    receive(store, tmp_path, describe_files(5), 1)
    receive(store, tmp_path, describe_files(7), 2)
    receive(store, tmp_path, [], 1, "other")
    printed = statsman.run("shards", "ingest", "gfz", "--received")
    assert [line for line in printed.splitlines() if line.startswith("ingested")] == [
        "ingested the crawl of shard gfz that began 2026-11-02T02:00:00Z",
        "ingested the crawl of shard gfz that began 2026-11-03T02:00:00Z",
    ]
    assert count(store, "files") == 7
    assert "shard other" in statsman.run("shards", "ingest", "--received")
    assert [(reason, pieces) for _, reason, pieces in read_refusals(store)] == [(None, 0)] * 3
    assert statsman.run("shards", "ingest", "--received") == ""


def test_refused_crawl_does_not_stop_others(statsman: Statsman, store: Store, tmp_path: Path) -> None:
    store.shards.create("other", "/GFZ/other", "GFZ", open_paths=False)
    receive(store, tmp_path, describe_files(5), 1)
    statsman.run("shards", "ingest", "--received")
    receive(store, tmp_path, describe_files(2), 2)
    receive(store, tmp_path, [b"no line\n"] * 9, 3)
    receive(store, tmp_path, [], 1, "other")
    done = statsman("shards", "ingest", "--received")
    assert done.returncode == 1
    assert done.stderr.count("refused the crawl of shard gfz") == 2
    assert "shard other" in done.stdout
    assert count(store, "files") == 5
    (_, first, _), (_, second, file_of_second), (_, third, file_of_third), (_, other, _) = read_refusals(store)
    assert (first, other) == (None, None)
    assert second is not None
    assert "20 %" in second
    assert third is not None
    assert "bad" in third
    assert "/tmp" not in third
    # Only the last one can still be ingested.
    assert (file_of_second, file_of_third) == (0, 1)
    assert statsman("shards", "ingest", "--received").returncode == 0


def test_shrinking_crawl_is_tried_again(statsman: Statsman, store: Store, tmp_path: Path) -> None:
    receive(store, tmp_path, describe_files(5), 1)
    receive(store, tmp_path, describe_files(2), 2)
    assert statsman("shards", "ingest", "--received").returncode == 1
    statsman.run("shards", "ingest", "gfz", "--received", "--allow-shrink")
    assert count(store, "files") == 2
    assert [(reason, pieces) for _, reason, pieces in read_refusals(store)] == [(None, 0)] * 2


def test_command_line_is_checked(statsman: Statsman, tmp_path: Path) -> None:
    file = write_crawl(tmp_path / "crawl.tsv.gz", [])
    for words in ((), ("gfz",), ("gfz", str(file), "--received"), ("gfz", "--received", "--partial")):
        assert statsman("shards", "ingest", *words).returncode == 2, words
    assert "nothing" in statsman("shards", "ingest", "nothing", "--received").stderr
