"""Laws of ingestion: whatever crawls arrive in whatever way, the tables are those of the newest state."""

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.archive.lines import CrawlLine
from eida_statistics.archive.paths import hash_path
from eida_stats_webservice.archive.errors import OlderCrawl
from support.crawls import (
    ROOT,
    STARTED,
    describe_directory,
    describe_file,
    describe_link,
    make_segment,
    remove,
    write_crawl,
)
from support.shard_rows import clear, read_rows
from support.stores import Store
from support.tables import select

# By path: None for a directory, the target of a link, or the segments (stream, day) of a file and its last change.
State = Mapping[str, Any]

_NAMES = ["a", "b", "a/x", "a/y", "a/x/1", "a/x/2", "b/x", "ab"]
_STREAMS = st.sampled_from(["GE.A..BHZ", "GE.A..BHE", "Z32015.B.00.LOG"])
_FILE = st.tuples(st.lists(st.tuples(_STREAMS, st.integers(1, 5)), max_size=3), st.integers(0, 2))
_STATE = st.dictionaries(st.sampled_from(_NAMES), st.none() | st.sampled_from(["x", "y"]) | _FILE, max_size=8)
# How a state arrives: completely, as a list of changes, or not at all; and an old crawl that comes late.
_HOW = st.sampled_from(["complete", "partial", "late"])


def _list_paths(state: State) -> dict[str, Any]:
    """Return a state in which everything is within a directory."""
    found: dict[str, Any] = {"": None}
    for name in sorted(state):
        above = name.rpartition("/")[0]
        if found.get(above, "missing") is None:
            found[name] = state[name]
    return found


def _describe(name: str, entry: Any) -> list[CrawlLine]:
    path = f"{ROOT}/{name}".rstrip("/")
    if entry is None:
        return [describe_directory(path)]
    if isinstance(entry, str):
        return [describe_link(path, entry)]
    content, changed = entry
    segments = [
        make_segment(
            codes,
            f"2020-01-{day:02d}",
            f"2020-01-{day:02d}T23:59:59.99",
            rate=0.0 if codes.endswith("LOG") else 100.0,
        )
        for codes, day in content
    ]
    return describe_file(path, *segments, mtime=changed, atime=changed + 5)


def _describe_all(state: dict[str, Any]) -> Iterator[CrawlLine]:
    for name, entry in state.items():
        yield from _describe(name, entry)


def _describe_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[CrawlLine]:
    for name in before:
        if name not in after:
            yield remove(f"{ROOT}/{name}")
    for name, entry in after.items():
        if name not in before or before[name] != entry:
            yield from _describe(name, entry)


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(st.lists(st.tuples(_STATE, _HOW), min_size=1, max_size=4), st.booleans())
def test_any_order_of_crawls_ends_in_the_newest_state(
    store: Store, tmp_path: Path, history: list[tuple[State, str]], starts_rebuilt: bool
) -> None:
    if store.shards.read_all():
        clear(store, "gfz")
    else:
        store.registry.add_node("GFZ", "")
        store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    file = tmp_path / "crawl.gz"
    before: dict[str, Any] = {}
    for number, (state, how) in enumerate(history):
        after = _list_paths(state)
        started = STARTED + datetime.timedelta(days=number)
        if how == "late" and number > 1:
            write_crawl(file, _describe_all(after), started=STARTED)
            try:
                store.crawls.ingest("gfz", file, may_shrink=True)
            except OlderCrawl:
                continue
            raise AssertionError("an older crawl was ingested")
        if how == "partial":
            write_crawl(file, _describe_changes(before, after), started=started)
            store.crawls.ingest("gfz", file, is_partial=True)
        else:
            write_crawl(file, _describe_all(after), started=started)
            if starts_rebuilt and number == 0:
                store.shard_rebuild.rebuild("gfz", [file])
            else:
                store.crawls.ingest("gfz", file, may_shrink=True)
        before = after
    assert [str(difference) for difference in store.catalogue_verification.verify()] == []
    reached = read_rows(store, "gfz")
    held = sorted(select(store, "SELECT * FROM holdings"))
    write_crawl(file, _describe_all(before), started=STARTED + datetime.timedelta(days=9))
    store.shard_rebuild.rebuild("gfz", [file])
    assert reached == read_rows(store, "gfz")
    assert held == sorted(select(store, "SELECT * FROM holdings"))
    files = [name for name, entry in before.items() if isinstance(entry, tuple)]
    assert len(reached["files"]) == len(files)
    names = [name for name, entry in before.items() if entry is None]
    for name, row in zip(sorted(names, key=_hash), sorted(reached["directories"]), strict=True):
        prefix = f"{name}/" if name else ""
        assert int(row[-2]) == sum(one.startswith(prefix) for one in files)


def _hash(name: str) -> str:
    return hash_path(f"{ROOT}/{name}".rstrip("/"))
