"""Holdings of shards, and snapshots of their nodes."""

import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_stats_webservice.archive.models import Stream
from support.crawls import describe_file, make_segment, write_crawl
from support.holdings import (
    BHZ,
    HeldSegment,
    create_shard,
    fill_shard,
    hold,
    move_snapshots,
    read_table,
    refresh,
    year_of,
)
from support.stores import Store

HOLDINGS = "sh_code, network, station, location, channel, year, bytes, files, seconds, first, last"
SNAPSHOT = "network, year, bytes, files"
STREAMS = [BHZ, Stream("GE", "EIL", "00", "BHZ"), Stream("Z32015", "STATION8", "", "B_H_Z")]


@pytest.fixture(autouse=True)
def shard(store: Store) -> None:
    create_shard(store, "gfz", "GFZ")


def test_holdings_are_by_stream_and_year(store: Store) -> None:
    fill_shard(
        store,
        "gfz",
        HeldSegment("2019-12-31T23:59:54", "2020-01-01T00:00:03", path="/a", identity=(1, 1)),
        # A hard link.
        HeldSegment("2019-12-31T23:59:54", "2020-01-01T00:00:03", path="/b", identity=(1, 1)),
        # The same inode of another device.
        HeldSegment("2020-01-01T00:00:04", "2020-01-01T00:00:05", 7, path="/c", identity=(2, 1)),
        HeldSegment("2020-06-01", "2020-06-01T23:59:59", 5, STREAMS[2], path="/d"),
    )
    columns = "network, station, location, channel, year, bytes, files, seconds"
    assert read_table(store, "holdings", columns) == [
        (*BHZ, 2019, 600, 1, 6.0),
        (*BHZ, 2020, 407, 2, 6.0),
        (*STREAMS[2], 2020, 5, 1, 86400.0),
    ]
    assert read_table(store, "holdings_history", SNAPSHOT) == [
        ("GE", 2019, 600, 1),
        ("GE", 2020, 407, 2),
        ("Z32015", 2020, 5, 1),
    ]
    assert store.shards.read_all()[0].refreshed_at is not None
    assert [(one.node, one.name) for one in store.registry.list_networks()] == [("GFZ", "GE"), ("GFZ", "Z32015")]


def test_stream_that_is_gone_is_removed(store: Store) -> None:
    fill_shard(store, "gfz", year_of(2020, 5), year_of(2021, 6, STREAMS[1]))
    hold(store, "gfz", [year_of(2021, 6, STREAMS[1])])
    refresh(store, "gfz", [BHZ])
    assert read_table(store, "holdings", "location, year, bytes") == [("00", 2021, 6)]
    assert read_table(store, "holdings_history", SNAPSHOT) == [("GE", 2021, 6, 1)]


def test_ingested_crawl_is_held(store: Store, tmp_path: Path) -> None:
    def ingest(day: int, *sizes: int) -> None:
        lines = [
            line
            for number, size in enumerate(sizes)
            for line in describe_file(
                f"/gfz/{number}",
                make_segment("GE.EIL..BHZ", f"2020-01-0{day}", f"2020-01-0{day}T23:59:59.99", size=size),
                # Two names of each file.
                dev=1,
                inode=number // 2,
            )
        ]
        started = datetime.datetime(2026, 11, day, tzinfo=datetime.UTC)
        file = write_crawl(tmp_path / "crawl.tsv.gz", lines, root="/gfz", started=started)
        store.crawls.ingest("gfz", file)

    ingest(1, 5, 5, 7)
    assert read_table(store, "holdings", "channel, year, bytes, files, seconds") == [("BHZ", 2020, 12, 2, 86400.0)]
    ingest(2, 5, 5, 70)
    assert read_table(store, "holdings", "channel, year, bytes, files") == [("BHZ", 2020, 75, 2)]
    store.shard_rebuild.rebuild("gfz", [tmp_path / "crawl.tsv.gz"])
    assert read_table(store, "holdings", "channel, year, bytes, files") == [("BHZ", 2020, 75, 2)]
    assert read_table(store, "holdings_history", SNAPSHOT) == [("GE", 2020, 75, 2)]


def test_snapshot_is_of_all_shards_of_a_node(store: Store) -> None:
    create_shard(store, "gfz2", "GFZ")
    create_shard(store, "noa", "NOA")
    for code in ("gfz", "gfz2", "noa"):
        fill_shard(store, code, year_of(2020, 5))
    nodes = {shard.node: shard.node_id for shard in store.shards.read_all()}
    assert read_table(store, "holdings_history", f"node_id, {SNAPSHOT}") == [
        (nodes["GFZ"], "GE", 2020, 10, 2),
        (nodes["NOA"], "GE", 2020, 5, 1),
    ]
    store.shards.remove("gfz")
    assert read_table(store, "holdings_history", SNAPSHOT) == [("GE", 2020, 5, 1), ("GE", 2020, 5, 1)]


def test_past_snapshots_stay(store: Store) -> None:
    fill_shard(store, "gfz", year_of(2020, 5))
    move_snapshots(store, "2026-01")
    fill_shard(store, "gfz", year_of(2020, 9))
    assert sorted(size for (size,) in read_table(store, "holdings_history", "bytes")) == [5, 9]
    store.shards.remove("gfz")
    assert read_table(store, "holdings_history", "bytes") == [(5,)]


def test_node_that_holds_nothing_has_a_snapshot(store: Store) -> None:
    fill_shard(store, "gfz", year_of(2020, 5))
    fill_shard(store, "gfz")
    assert read_table(store, "holdings_history", SNAPSHOT) == [("", 0, 0, 0)]


def test_refresh_changes_the_version_of_the_data(store: Store) -> None:
    before = store.statistics.data_version()
    refresh(store, "gfz", [])
    assert store.statistics.data_version() != before


SEGMENTS = st.lists(
    st.builds(
        lambda stream, days, size, number: HeldSegment(
            f"2019-12-{30 + days[0]}T12:00:00",
            f"20{20 + days[1]}-01-0{1 + days[0]}T12:00:00",
            size,
            STREAMS[stream],
            0.25,
            path=f"/{number}",
            identity=(1, number // 2),
        ),
        st.integers(0, 2),
        st.tuples(st.integers(0, 1), st.integers(0, 1)),
        st.integers(0, 100),
        st.integers(0, 5),
    ),
    max_size=6,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=SEGMENTS, after=SEGMENTS, by_year=st.booleans())
def test_changed_streams_suffice(
    store: Store, before: list[HeldSegment], after: list[HeldSegment], *, by_year: bool
) -> None:
    fill_shard(store, "gfz", *before)
    hold(store, "gfz", after)
    changed = [one for one in before + after if before.count(one) != after.count(one)]
    years = range(2019, 1 + max((int(one.end[:4]) for one in changed), default=2019))
    refresh(store, "gfz", {one.stream for one in changed}, years if by_year else None)
    found = read_table(store, "holdings", HOLDINGS), read_table(store, "holdings_history", SNAPSHOT)
    refresh(store, "gfz")
    assert (read_table(store, "holdings", HOLDINGS), read_table(store, "holdings_history", SNAPSHOT)) == found
