"""Tests of ingesting crawls, on both databases."""

import datetime
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eida_statistics.archive.crawl_file import CrawlWriter, compress_lines
from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.archive.lines import CrawlLine, format_line
from eida_statistics.archive.paths import hash_path
from eida_statistics.archive.records import CrawlRecord
from eida_stats_webservice.archive.errors import ForeignShard, OlderCrawl, ShrinkingCrawl, UnknownShard
from eida_stats_webservice.archive.holdings.refresh import HoldingsRefresh
from eida_stats_webservice.archive.merging.merge import MergeResult
from eida_stats_webservice.archive.models import Shard, Stream
from support.crawls import (
    ROOT,
    STARTED,
    describe,
    describe_directory,
    describe_file,
    describe_link,
    make_segment,
    remove,
    write_crawl,
)
from support.dates import DAY
from support.shard_rows import read_places, read_rows
from support.stores import ON_POSTGRESQL, Store
from support.tables import select

BHZ = Stream("GE", "APE", "", "BHZ")
YEAR = f"{ROOT}/2020"

Ingest = Callable[..., MergeResult]


@pytest.fixture
def ingest(store: Store, tmp_path: Path) -> Ingest:
    """Return a function that ingests lines, each time as a crawl of the next day."""
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    days = iter(range(100))

    def ingest(*lines: CrawlLine | bytes, day: float | None = None, **options: Any) -> MergeResult:
        started = STARTED + DAY * (next(days) if day is None else day)
        ends = {name: options.pop(name) for name in ("root", "unreadable") if name in options}
        file = write_crawl(tmp_path / "crawl.tsv.gz", lines, started=started, **ends)
        return store.crawls.ingest("gfz", file, **options)

    return ingest


def _day(number: int, codes: str = "GE.APE..BHZ", **changes: Any) -> list[CrawlLine]:
    start = f"2020-01-{number:02d}"
    return describe_file(
        f"{YEAR}/{codes}.{number:03d}", make_segment(codes, start, f"{start}T23:59:59.99", **changes)
    )


def _tree(*days: int) -> list[CrawlLine]:
    return [describe_directory(ROOT), describe_directory(YEAR), *(line for day in days for line in _day(day))]


def _sums(store: Store) -> dict[str, tuple[int, int]]:
    found = select(store, "SELECT di_name, di_count, di_size FROM directories")
    return {name: (int(count), int(size)) for name, count, size in found}


def _spans(store: Store) -> list[tuple[str, str, int]]:
    found = select(store, "SELECT tl_start, tl_end, tl_spans FROM timeline ORDER BY tl_start, tl_end")
    return [(str(start)[:10], str(end)[:10], spans) for start, end, spans in found]


def _check(store: Store) -> None:
    assert [str(difference) for difference in store.catalogue_verification.verify()] == []


def test_tables_follow_from_a_crawl(store: Store, ingest: Ingest) -> None:
    link = describe_link(f"{YEAR}/l", "GE.APE..BHZ.001", mode="lrwxrwxrwx", inode=2**64 - 1, uid=5)
    broken = describe_link(f"{YEAR}/m", "nowhere", intact=False)
    result = ingest(*_tree(1, 2), link, broken)
    assert (result.lines, result.found, result.added, result.changed, result.removed) == (10, 6, 6, 0, 0)
    assert result.is_first
    assert _sums(store) == {"archive": (2, 1024), "2020": (2, 1024)}
    assert _spans(store) == [("2020-01-01", "2020-01-02", 2)]
    rows = select(
        store, "SELECT li_parent, li_name, li_inode, li_uid, li_intact, li_target FROM links ORDER BY li_name"
    )
    parent = hash_path(YEAR)
    assert [tuple(map(str, row[:4])) for row in rows] == [
        (parent, "l", str(2**64 - 1), "5"),
        (parent, "m", "None", "None"),
    ]
    assert [(bool(intact), target) for *_, intact, target in rows] == [
        (True, "GE.APE..BHZ.001"),
        (False, "nowhere"),
    ]
    (shard,) = store.shards.read_all()
    assert (shard.generation, shard.crawled_at) == (1, STARTED)
    ((crawl,),) = select(
        store, "SELECT pa_path FROM paths JOIN metadata ON md_hash = pa_hash WHERE md_type = 'crawl'"
    )
    assert crawl == ROOT
    _check(store)


def test_same_crawl_again_changes_nothing(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(1, 2), day=1)
    before = read_rows(store, "gfz", with_crawls=True)
    result = ingest(*_tree(1, 2), day=1)
    assert not result.is_change
    assert read_rows(store, "gfz", with_crawls=True) == before
    assert store.shards.read_all()[0].generation == 1


def test_older_crawl_is_refused_with_both_times(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(1, 2), day=2)
    for root, lines in ((ROOT, _tree(1)), (YEAR, _tree(1)[1:])):
        with pytest.raises(OlderCrawl, match=r"2026-11-02T02:00:00Z.*2026-11-03T02:00:00Z") as caught:
            ingest(*lines, day=1, root=root, may_shrink=True)
        assert caught.value.members == {
            "started": "2026-11-02T02:00:00Z",
            "last_started": "2026-11-03T02:00:00Z",
        }
    with pytest.raises(OlderCrawl):
        ingest(*_day(3), day=1, is_partial=True)
    # Both times are in the message, so they differ there.
    with pytest.raises(OlderCrawl, match=r"T01:59:59\.500000Z.*T02:00:00Z"):
        ingest(*_tree(1), day=2 - datetime.timedelta(seconds=0.5) / DAY, may_shrink=True)
    assert _sums(store)["archive"] == (2, 1024)


def test_crawls_of_other_parts_come_in_any_order(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(1), day=2, root=ROOT)
    ingest(describe_directory(f"{ROOT}/x"), day=4, root=f"{ROOT}/x")
    ingest(describe_directory(f"{ROOT}/y"), day=3, root=f"{ROOT}/y")
    assert store.shards.read_all()[0].crawled_at == STARTED + 4 * DAY
    with pytest.raises(OlderCrawl):
        ingest(*_tree(1), day=3)


def test_complete_crawl_removes_what_is_gone(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(*range(1, 11)))
    result = ingest(*_tree(*(day for day in range(1, 11) if day != 5)))
    assert (result.added, result.changed, result.removed) == (0, 0, 1)
    assert _sums(store) == {"archive": (9, 9 * 512), "2020": (9, 9 * 512)}
    assert _spans(store) == [("2020-01-01", "2020-01-04", 4), ("2020-01-06", "2020-01-10", 5)]
    _check(store)


def test_unmounted_disk_is_refused(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(*range(1, 9)))
    before = read_rows(store, "gfz", with_crawls=True)
    with pytest.raises(ShrinkingCrawl, match="3 of 10 paths"):
        ingest(*_tree(*range(1, 6)))
    assert read_rows(store, "gfz", with_crawls=True) == before
    assert ingest(*_tree(*range(1, 6)), may_shrink=True).removed == 3
    _check(store)


def test_what_is_below_an_unreadable_directory_stays(store: Store, ingest: Ingest) -> None:
    deep = describe_directory(f"{YEAR}/deep")
    ingest(*_tree(1, 2), deep, describe(f"{YEAR}/deep/x"), describe(f"{YEAR}0"))
    result = ingest(describe_directory(ROOT), describe_directory(YEAR), unreadable=[YEAR], may_shrink=True)
    assert result.removed == 1
    assert _sums(store) == {"archive": (3, 3 * 512), "2020": (3, 3 * 512), "deep": (1, 512)}
    _check(store)


def test_root_below_the_shard_leaves_others_alone(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(1, 2), describe(f"{ROOT}/2020x"))
    ingest(*_tree(1)[1:], root=YEAR, may_shrink=True)
    assert _sums(store) == {"archive": (2, 1024), "2020": (1, 512)}
    _check(store)


def test_path_of_a_bad_line_stays(store: Store, ingest: Ingest) -> None:
    others = [describe(f"{ROOT}/{number}") for number in range(200)]
    ingest(*_tree(1), *others)
    bad = f"{YEAR}/GE.APE..BHZ.001\tposix\t7\n".encode()
    result = ingest(*_tree(), bad, *others)
    assert (result.bad.count, result.removed, result.dropped) == (1, 0, 0)
    assert _spans(store) == [("2020-01-01", "2020-01-01", 1)]
    _check(store)


def test_last_line_of_a_path_wins(store: Store, ingest: Ingest) -> None:
    path = f"{YEAR}/x"
    result = ingest(
        *describe_file(path, make_segment("GE.APE..BHZ", "2020-01-01", "2020-01-02"), size=1),
        *_tree(),
        describe(path, size=2),
        *describe_file(path, make_segment("GE.APE..BHE", "2020-01-01", "2020-01-02"), size=3),
        CrawlLine(path, "magic", b"{}"),
    )
    assert result.added == 3
    assert _sums(store)["archive"] == (1, 3)
    assert select(store, "SELECT tl_channel FROM timeline") == [("BHE",)]
    _check(store)


@pytest.mark.parametrize("is_partial", [True, False])
def test_type_comes_from_posix_whenever_it_arrives(store: Store, ingest: Ingest, is_partial: bool) -> None:
    path = f"{ROOT}/x"

    def read() -> list[tuple[Any, ...]]:
        return select(
            store, "SELECT pa_type, (SELECT count(*) FROM files) FROM paths WHERE pa_path = :path", path=path
        )

    ingest(CrawlLine(path, "magic", b'{"mime": "text/plain"}'), is_partial=is_partial)
    assert read() == [(None, 0)]
    ingest(CrawlLine(path, "posix", b'{"type":"file","mtime":"2020-01-01T00:00:00Z"}'), is_partial=is_partial)
    assert read() == [("file", 1)]
    ingest(CrawlLine(path, "magic", b'{"mime": "text/html"}'), is_partial=is_partial)
    assert read() == [("file", 1)]
    ((mtime,),) = select(store, "SELECT fi_mtime FROM files")
    assert str(mtime)[:10] == "2020-01-01"
    result = ingest(CrawlLine(path, "posix", b'{"size":3}'), is_partial=is_partial)
    assert (result.untyped, read()) == (1, [(None, 0)])
    _check(store)


def test_complete_crawl_replaces_the_types_that_it_has(store: Store, ingest: Ingest) -> None:
    ingest(
        *_tree(1), CrawlLine(f"{ROOT}/a", "magic", b"{}"), CrawlLine(f"{YEAR}/GE.APE..BHZ.001", "checksum", b"{}")
    )
    ingest(*_tree(), describe(f"{YEAR}/GE.APE..BHZ.001"), *_day(2), describe(f"{ROOT}/a"))
    types = select(store, "SELECT pa_path, md_type FROM metadata JOIN paths ON pa_hash = md_hash ORDER BY 1, 2")
    assert [row for row in types if row[1] not in ("posix", "crawl")] == [
        (f"{YEAR}/GE.APE..BHZ.001", "checksum"),
        (f"{YEAR}/GE.APE..BHZ.002", "mseed"),
        (f"{ROOT}/a", "magic"),
    ]
    _check(store)


@pytest.mark.parametrize("is_partial", [True, False])
def test_file_becomes_a_directory_and_back(store: Store, ingest: Ingest, is_partial: bool) -> None:
    path = f"{YEAR}/GE.APE..BHZ.001"
    ingest(*_tree(1, 2))
    child = describe_file(f"{path}/x", make_segment("GE.APE..BHE", "2020-01-01", "2020-01-02"))
    changed = [describe_directory(path), *child]
    ingest(*(changed if is_partial else [*_tree(2), *changed]), is_partial=is_partial)
    assert _sums(store) == {"archive": (2, 1024), "2020": (2, 1024), "GE.APE..BHZ.001": (1, 512)}
    assert select(store, "SELECT tl_channel FROM timeline ORDER BY 1") == [("BHE",), ("BHZ",)]
    _check(store)
    ingest(*(_day(1) if is_partial else _tree(1, 2)), is_partial=is_partial, may_shrink=True)
    assert _sums(store) == {"archive": (2, 1024), "2020": (2, 1024)}
    assert _spans(store) == [("2020-01-01", "2020-01-02", 2)]
    _check(store)


def test_partial_crawl_adds_changes_and_removes(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(1, 2, 3), describe_directory(f"{ROOT}/x"), describe(f"{ROOT}/x/y"), describe(f"{ROOT}/x0"))
    result = ingest(
        remove(f"{ROOT}/x"),
        remove(f"{YEAR}/GE.APE..BHZ.002"),
        *_day(4),
        describe(f"{YEAR}/GE.APE..BHZ.001", size=1000),
        # Removed first, then there again.
        remove(f"{YEAR}/GE.APE..BHZ.003"),
        *_day(3),
        # There first, then removed.
        *_day(5),
        remove(f"{YEAR}/GE.APE..BHZ.005"),
        is_partial=True,
    )
    assert (result.added, result.removed) == (1, 3)
    assert _sums(store) == {"archive": (4, 1000 + 3 * 512), "2020": (3, 2024)}
    assert _spans(store) == [("2020-01-01", "2020-01-01", 1), ("2020-01-03", "2020-01-04", 2)]
    (shard,) = store.shards.read_all()
    assert (shard.generation, shard.crawled_at) == (2, STARTED)
    _check(store)


def test_crawl_that_was_cut_off_is_a_list_of_changes(store: Store, tmp_path: Path) -> None:
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    part = tmp_path / "crawl.tsv.gz.1.part"
    writer = CrawlWriter(tmp_path / "crawl.tsv.gz", ROOT, CrawlRecord(started=STARTED))
    writer.write(compress_lines(b"".join(map(format_line, _tree(1)))))
    writer.close()
    store.crawls.ingest("gfz", part, is_partial=True)
    assert _spans(store) == [("2020-01-01", "2020-01-01", 1)]
    _check(store)


def test_directory_counts_files_that_were_there_before(store: Store, ingest: Ingest) -> None:
    ingest(*_day(1), is_partial=True)
    assert _sums(store) == {}
    ingest(describe_directory(YEAR), *_day(2), is_partial=True)
    ingest(describe_directory(ROOT), is_partial=True)
    assert _sums(store) == {"archive": (2, 1024), "2020": (2, 1024)}
    ingest(describe_directory(YEAR, mtime=9), is_partial=True)
    assert _sums(store) == {"archive": (2, 1024), "2020": (2, 1024)}
    _check(store)


def test_names_come_back_as_they_are(store: Store, ingest: Ingest) -> None:
    names = [
        "café",
        r"\xe9",
        "a\nb",
        "a\tb",
        "a\\b",
        "a\\n",
        '"',
        "'",
        "{a,b}",
        "%s",
        ":x",
        "€",
        " ",
        "a\rb",
        "\x01",
    ]
    ingest(describe_directory(ROOT), *(describe(f"{ROOT}/{name}") for name in names))
    assert sorted(name for (name,) in select(store, "SELECT fi_name FROM files")) == sorted(names)
    _check(store)


def test_two_nodes_with_the_same_root_are_apart(store: Store, ingest: Ingest, tmp_path: Path) -> None:
    store.registry.add_node("NOA", "")
    store.shards.create("noa", "/NOA/archive", "NOA", open_paths=False)
    ingest(*_tree(1))
    lines = [line._replace(path=line.path.replace("GFZ", "NOA")) for line in _tree(1)]
    store.crawls.ingest("noa", write_crawl(tmp_path / "noa.gz", lines, root="/NOA/archive"))
    assert select(store, "SELECT sh_code, count(*) FROM paths GROUP BY 1 ORDER BY 1") == [("gfz", 3), ("noa", 3)]
    assert select(store, "SELECT count(DISTINCT pa_hash) FROM paths") == [(6,)]
    _check(store)


def test_files_without_segments_have_no_span(store: Store, ingest: Ingest) -> None:
    error = b'{"error":"not miniSEED"}'
    ingest(describe_directory(ROOT), describe(f"{ROOT}/x", size=0), CrawlLine(f"{ROOT}/x", "mseed", error))
    assert select(store, "SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM spans)") == [(1, 0)]
    _check(store)


def test_overlaps_rates_and_qualities_are_apart(store: Store, ingest: Ingest) -> None:
    files = [
        describe_file(f"{ROOT}/{number}", make_segment("GE.APE..BHZ", "2020-01-01", "2020-01-02", **changes))
        for number, changes in enumerate([{}, {}, {"rate": 50.0}, {"quality": "M"}])
    ]
    ingest(describe_directory(ROOT), *(line for file in files for line in file))
    assert select(store, "SELECT count(*), sum(tl_spans) FROM timeline") == [(4, 4)]
    _check(store)


@pytest.mark.parametrize("year", ["0001", "1970", "2262", "9999"])
def test_first_and_last_years_are_stored(store: Store, ingest: Ingest, year: str) -> None:
    segment = make_segment("GE.APE..BHZ", f"{year}-01-01", f"{year}-12-31T23:59:59.999999")
    ingest(describe_directory(ROOT), *describe_file(f"{ROOT}/x", segment, mtime=253402300799))
    _check(store)


def test_new_mtime_alone_updates_the_timeline(store: Store, ingest: Ingest) -> None:
    ingest(*_tree(1, 2))
    result = ingest(describe(f"{YEAR}/GE.APE..BHZ.001", mtime=1577836800), is_partial=True)
    assert result.streams == [BHZ]
    ((updated,),) = select(store, "SELECT tl_updated FROM timeline")
    assert str(updated)[:10] == "2020-01-01"
    _check(store)


@ON_POSTGRESQL
def test_unchanged_rows_are_not_written(store: Store, ingest: Ingest) -> None:
    lines = [
        *_tree(*range(1, 21)),
        *_day(1, "GE.APE..BHE"),
        *_day(3, "GE.APE..BHE"),
        describe_link(f"{ROOT}/l", "x"),
    ]
    ingest(*lines)
    before = read_places(store, "gfz")
    later = [describe(path, **{**msgspec.json.decode(json), "atime": 5}) if kind == "posix" else line
             for line in lines for path, kind, json in [line]]  # fmt: skip
    ingest(*later[:-5], *_day(4, "GE.APE..BHE"), *later[-5:])
    after = read_places(store, "gfz")
    counts = {table: len(set(rows) - set(after[table])) for table, rows in before.items()}
    # The record of the crawl, two sums, and a span that has become longer.
    assert counts == {
        **dict.fromkeys(("paths", "files", "links", "spans", "digests"), 0),
        "metadata": 1,
        "directories": 2,
        "timeline": 1,
    }
    _check(store)


def test_cut_file_changes_nothing(store: Store, ingest: Ingest, tmp_path: Path) -> None:
    ingest(*_tree(1))
    before = read_rows(store, "gfz", with_crawls=True)
    file = write_crawl(tmp_path / "cut.gz", _tree(1, 2), started=STARTED + DAY)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(InvalidCrawl, match="cut off"):
        store.crawls.ingest("gfz", file)
    assert read_rows(store, "gfz", with_crawls=True) == before


def test_other_shards_are_refused(store: Store, ingest: Ingest, tmp_path: Path) -> None:
    file = write_crawl(tmp_path / "crawl.gz", _tree(1))
    with pytest.raises(UnknownShard):
        store.crawls.ingest("noa", file)
    if store.database.dialect == "postgresql":
        with store.database.transaction(write=True) as connection:
            connection.cursor().execute("UPDATE shards SET foreign_server = 'db.example.org'")
        with pytest.raises(ForeignShard):
            store.crawls.ingest("gfz", file)


def test_holdings_are_refreshed_for_changed_streams(
    store: Store, ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, object, object]] = []

    def refresh(_self: object, connection: Any, shard: Shard, streams: Any = None, years: Any = None) -> None:
        calls.append((shard.generation, streams, years))
        statement = "UPDATE shards SET refreshed_at = :now WHERE sh_code = 'gfz'"
        connection.cursor().execute(store.database.prepare(statement), {"now": STARTED.isoformat()})

    monkeypatch.setattr(HoldingsRefresh, "refresh", refresh)
    for day in (1, 2, 2):
        file = write_crawl(tmp_path / "crawl.gz", _tree(*range(1, day + 1)), started=STARTED + day * DAY)
        store.crawls.ingest("gfz", file)
    # All, as they were never computed before; then those that changed; then nothing has changed.
    assert calls == [(1, None, None), (2, [BHZ], range(2020, 2021))]


@ON_POSTGRESQL
def test_ingests_of_a_shard_wait_for_each_other(store: Store, ingest: Ingest, tmp_path: Path) -> None:
    lines = [describe(f"{ROOT}/{number}") for number in range(500)]
    files = [
        write_crawl(tmp_path / f"{number}.gz", some, started=STARTED + DAY * number)
        for number, some in enumerate([lines, lines[::-1], lines, lines[::-1]])
    ]
    results: list[int] = []

    def run(file: Path) -> None:
        try:
            results.append(store.crawls.ingest("gfz", file).found)
        except OlderCrawl:
            results.append(0)

    threads = [threading.Thread(target=run, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert 501 in results
    _check(store)
