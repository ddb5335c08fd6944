"""Tests of lines that are the same as in the last crawl, which are not checked again, on both databases."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.archive.lines import CrawlLine
from eida_statistics.archive.paths import hash_path
from eida_statistics.errors import EidaStatisticsError
from support.crawls import ROOT, STARTED, describe, describe_directory, describe_file, make_segment, write_crawl
from support.shard_rows import Rows, clear, forget_lines, read_rows, read_settled
from support.stores import Store

_NAMES = ["a", "a/1", "a/2", "b", "b/1"]
_SEGMENT = make_segment("GE.A..BHZ", "2020-01-01", "2020-01-02")
_LATER = make_segment("GE.A..BHZ", "2020-01-02", "2020-01-03")


# One line of a hundred may be bad.
_OTHERS = [describe(f"{ROOT}/a/{number}") for number in range(3, 300)]


class _Crawl(NamedTuple):
    """A crawl: complete below a root, or partial if it has none."""

    root: str | None
    lines: Sequence[CrawlLine | bytes]
    unreadable: Sequence[str] = ()


def _without_type(name: str) -> bytes:
    return f'{ROOT}/{name}\tposix\t{{"size":5,"atime":1,"mtime":1}}\n'.encode()


def _with_invalid_time(name: str) -> bytes:
    return f'{ROOT}/{name}\tposix\t{{"type":"file","atime":99999999999999,"mtime":1}}\n'.encode()


def _list_lines(name: str) -> list[CrawlLine | bytes]:
    """Return lines that a path may have, in any combination and order."""
    path = f"{ROOT}/{name}"
    raw = path.encode()
    return [
        *describe_file(path, _SEGMENT),
        *describe_file(path, _SEGMENT, atime=7),
        *describe_file(path, _LATER, mtime=9),
        describe_directory(path),
        CrawlLine(path, "magic", b'{"text":"a, \\"atime\\":1, b"}'),
        CrawlLine(path, "magic", b'{"a":0,"atime":5,"b":1}'),
        CrawlLine(path, "magic", b'{"a":0,"atime":6,"b":1}'),
        CrawlLine(path, "checksum", b'{"md5":"x"}'),
        _without_type(name),
        _with_invalid_time(name),
        raw + b"\tchecksum\t[]\n",
        raw + b"\tcrawl\t{}\n",
        raw + b"\tposix\n",
    ]


_PATH = st.sampled_from(_NAMES).flatmap(
    lambda name: st.lists(st.sampled_from(_list_lines(name)), min_size=1, max_size=4)
)
_FEW_LINES = st.lists(_PATH, max_size=6).map(lambda paths: [line for lines in paths for line in lines])
_USUAL = [line for name in ("a", "b") for line in _list_lines(name)[8:9]] + [
    line for name in _NAMES for line in _list_lines(name)[:2]
]
_ROOTS = st.sampled_from([ROOT, ROOT, ROOT, f"{ROOT}/a", None])
_UNREADABLE = st.sampled_from([(), (), (f"{ROOT}/b",)])
_ANY_CRAWL = st.builds(
    _Crawl,
    _ROOTS,
    _FEW_LINES.flatmap(lambda some: st.sampled_from([some, _USUAL + some, some + _USUAL])),
    _UNREADABLE,
)
_HISTORY = st.lists(st.lists(_ANY_CRAWL, min_size=1, max_size=2).map(lambda some: some * 2), min_size=1, max_size=2)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(_HISTORY.map(lambda parts: [crawl for part in parts for crawl in part]))
def test_result_is_the_same_as_if_all_were_checked(store: Store, tmp_path: Path, history: list[_Crawl]) -> None:
    if not store.shards.read_all():
        _create(store)
    outcomes = []
    for forgets in (False, True):
        clear(store, "gfz")
        outcomes.append([])
        for day, crawl in enumerate(history):
            if forgets:
                forget_lines(store, "gfz")
            outcomes[-1].append(_ingest(store, tmp_path, crawl, day))
    assert outcomes[0] == outcomes[1]


def _create(store: Store) -> None:
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)


def _ingest(store: Store, tmp_path: Path, crawl: _Crawl, day: int) -> tuple[dict[str, Any] | str, Rows]:
    """Ingest a crawl, and return its result, or why it was refused, with the rows of the shard."""
    file = write_crawl(
        tmp_path / "crawl.gz",
        [*crawl.lines, *(_OTHERS if crawl.root else ())],
        root=crawl.root or ROOT,
        started=STARTED + datetime.timedelta(days=day),
        unreadable=crawl.unreadable,
    )
    result: dict[str, Any] | str
    try:
        result = dataclasses.asdict(
            store.crawls.ingest("gfz", file, is_partial=crawl.root is None, may_shrink=True)
        )
    except EidaStatisticsError as error:
        result = str(error)
    return result, read_rows(store, "gfz", with_crawls=True)


def test_only_paths_with_other_lines_are_settled_again(store: Store, tmp_path: Path) -> None:
    _create(store)
    lines = [line for name in _NAMES for line in _list_lines(name)[:2]]
    _ingest(store, tmp_path, _Crawl(ROOT, lines), 0)
    settled = read_settled(store, "gfz")
    assert {hash_path(f"{ROOT}/{name}") for name in _NAMES} <= settled
    _ingest(store, tmp_path, _Crawl(None, describe_file(f"{ROOT}/a/1", _LATER)), 1)
    assert settled - read_settled(store, "gfz") == {hash_path(f"{ROOT}/a/1")}
    # In two places, without a type, and refused.
    unsettled = [lines[0], _without_type("b/2"), _with_invalid_time("b/3")]
    _ingest(store, tmp_path, _Crawl(ROOT, [*lines[1:], *unsettled]), 2)
    settled = read_settled(store, "gfz")
    assert {hash_path(f"{ROOT}/{name}") for name in ("a/1", "a/2", "b", "b/1")} <= settled
    assert settled.isdisjoint(hash_path(f"{ROOT}/{name}") for name in ("a", "b/2", "b/3"))
