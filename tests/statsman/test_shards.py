"""The commands that ingest, rebuild and verify shards."""

import json
from pathlib import Path

import pytest

from support.crawls import ROOT, describe, describe_directory, write_crawl
from support.statsman import Statsman
from support.stores import ON_ONE_STORE, Store


@pytest.fixture
def statsman(store: Store, store_uri: str) -> Statsman:
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    return Statsman(store_uri)


@ON_ONE_STORE
def test_crawl_is_ingested_rebuilt_and_verified(statsman: Statsman, store: Store, tmp_path: Path) -> None:
    lines = [describe_directory(ROOT), *(describe(f"{ROOT}/{number}") for number in range(200))]
    file = write_crawl(tmp_path / "crawl.gz", [*lines, f"{ROOT}/x\tposix\t{{}}\n".encode(), b"x\n"])
    ingested = statsman("shards", "ingest", "gfz", str(file))
    assert ingested.returncode == 0
    summary = "205 lines of 202 paths: 202 new, 0 changed, 0 removed\npaths without a type: 1\n"
    assert ingested.stdout == f"ingested {file} into shard gfz\n{summary}"
    assert ingested.stderr == "lines that were refused: 1\n  line 204: 1 columns instead of 3\n"
    again = statsman.run("shards", "ingest", "gfz", str(file))
    assert again.startswith(f"unchanged: shard gfz has all of {file}\n205 lines of 202 paths: 0 new")
    assert statsman.run("shards", "rebuild", "gfz", str(file)) == f"{summary}rebuilt shard gfz\n"
    assert statsman.run("shards", "verify") == "differences: none\n"
    assert statsman.run("shards", "verify", "gfz", "--json") == "[]\n"
    with store.database.transaction(write=True) as connection:
        connection.execute("UPDATE files SET fi_size = 5 WHERE fi_name = '7'")
    different = statsman("shards", "verify", "gfz")
    assert different.returncode == 1
    assert different.stdout == f"gfz files {ROOT}/7: fi_size 5; expected: fi_size 512\ndifferences: 1\n"
    assert "shards rebuild CODE FILE" in different.stderr
    (row,) = json.loads(statsman("shards", "verify", "--json").stdout)
    assert (row["table"], row["stored"]) == ("files", "fi_size 5")


@ON_ONE_STORE
def test_refused_crawl_says_what_to_do(statsman: Statsman, tmp_path: Path) -> None:
    file = write_crawl(tmp_path / "crawl.gz", [describe_directory(ROOT), describe(f"{ROOT}/x")])
    statsman.run("shards", "ingest", "gfz", str(file))
    empty = write_crawl(tmp_path / "empty.gz", [describe_directory(ROOT)])
    refused = statsman("shards", "ingest", "gfz", str(empty))
    assert refused.returncode == 1
    assert "1 of 2 paths below /GFZ/archive are not in it" in refused.stderr
    assert "--allow-shrink" in refused.stderr
    assert "0 removed" in statsman.run("shards", "ingest", "gfz", str(empty), "--partial")
    assert "1 removed" in statsman.run("shards", "ingest", "gfz", str(empty), "--allow-shrink")
    missing = statsman("shards", "ingest", "gfz", str(tmp_path / "missing.gz"))
    assert missing.returncode == 2
    empty.write_bytes(empty.read_bytes()[:-9])
    cut = statsman("shards", "rebuild", "gfz", str(empty))
    assert (cut.returncode, "cut off" in cut.stderr) == (1, True)
