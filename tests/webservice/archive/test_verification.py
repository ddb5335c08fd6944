"""Tests of comparing the tables of a shard with its metadata."""

from pathlib import Path

import pytest

from eida_stats_webservice.archive.errors import UnknownShard
from support.crawls import ROOT, describe_directory, describe_file, describe_link, make_segment, write_crawl
from support.stores import Store

FILE = f"{ROOT}/x"


@pytest.fixture
def crawl(store: Store, tmp_path: Path) -> Path:
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    segment = make_segment("GE.APE..BHZ", "2020-01-01", "2020-01-02")
    lines = [describe_directory(ROOT), *describe_file(FILE, segment), describe_link(f"{ROOT}/l", "x")]
    file = write_crawl(tmp_path / "crawl.gz", lines)
    store.crawls.ingest("gfz", file)
    return file


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE files SET fi_size = 5", [f"gfz files {FILE}: fi_size 5; expected: fi_size 512"]),
        ("UPDATE paths SET pa_path = '/GFZ/archive/z' WHERE pa_type = 'link'", None),
        ("UPDATE paths SET pa_type = 'link' WHERE pa_type = 'file'", None),
        ("DELETE FROM paths WHERE pa_type = 'link'", None),
        ("DELETE FROM links", None),
        (
            "UPDATE directories SET di_count = 7",
            [f"gfz directories {ROOT}: di_count 7; expected: di_count 1"],
        ),
        ("INSERT INTO spans SELECT * FROM spans", [f"gfz spans {FILE}: rows 2; expected: rows 1"]),
        ("UPDATE spans SET sp_bytes = 1", [f"gfz spans {FILE}: sp_bytes 1; expected: sp_bytes 512"]),
        (
            "DELETE FROM timeline",
            [
                "gfz timeline GE.APE..BHZ.D.100.0: missing; expected: 2020-01-01T00:00:00.000000+00:00 to"
                " 2020-01-02T00:00:00.000000+00:00, updated 1970-01-01T00:00:01.000000+00:00, spans 1"
            ],
        ),
        (
            "INSERT INTO timeline SELECT * FROM timeline",
            [
                "gfz timeline GE.APE..BHZ.D.100.0: 2020-01-01T00:00:00.000000+00:00 to"
                " 2020-01-02T00:00:00.000000+00:00, updated 1970-01-01T00:00:01.000000+00:00, spans 1, rows 2;"
                " expected: 2020-01-01T00:00:00.000000+00:00 to 2020-01-02T00:00:00.000000+00:00, updated"
                " 1970-01-01T00:00:01.000000+00:00, spans 1"
            ],
        ),
        ("UPDATE timeline SET tl_spans = 2, tl_station = 'ZZZ'", None),
    ],
)
def test_changed_rows_are_named(store: Store, crawl: Path, statement: str, expected: list[str] | None) -> None:
    assert list(store.catalogue_verification.verify()) == []
    with store.database.transaction(write=True) as connection, store.shards.storage.enter(connection, "gfz"):
        connection.cursor().execute(statement)
    found = [str(difference) for difference in store.catalogue_verification.verify("gfz")]
    assert found
    if expected is not None:
        assert found == expected
    store.shard_rebuild.rebuild("gfz", [crawl])
    assert list(store.catalogue_verification.verify()) == []


def test_unknown_shard_is_refused(store: Store, crawl: Path) -> None:
    with pytest.raises(UnknownShard, match="gfz"):
        list(store.catalogue_verification.verify("gfx"))
