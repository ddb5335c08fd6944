"""Tests of checking the lines of crawls."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.archive.lines import CrawlLine
from eida_stats_webservice.archive.crawl_lines import CrawlReader, StagedLine
from eida_stats_webservice.archive.errors import TooManyBadLines
from support.crawls import ROOT, describe, describe_file, make_segment, remove, write_crawl

GOOD = [describe(f"{ROOT}/{number}") for number in range(200)]
SEGMENT: dict[str, Any] = {
    "sid": "FDSN:GE_APE__B_H_Z",
    "network": "GE",
    "station": "APE",
    "location": "",
    "channel": "BHZ",
    "quality": "D",
    "rate": 100.0,
    "start": "2020-01-01T00:00:00Z",
    "end": "2020-01-01T01:00:00Z",
    "samples": 1,
    "records": 1,
    "bytes": 512,
}


def _read(
    tmp_path: Path, *lines: CrawlLine | bytes, is_partial: bool = False, **options: Any
) -> tuple[CrawlReader, list[StagedLine]]:
    crawl = CrawlReader(write_crawl(tmp_path / "crawl.tsv.gz", lines, **options), ROOT, is_partial=is_partial)
    return crawl, list(crawl.read())


def _make_mseed(**changes: Any) -> str:
    return json.dumps({"segments": [SEGMENT | changes]})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (rf"{ROOT}/x	posix", "2 columns"),
        (rf"{ROOT}/x	posix	{{}}	", "4 columns"),
        (rf"{ROOT}/x	posix	{{'a':1}}", "not JSON"),
        (rf"{ROOT}/x	posix	[]", "not a JSON object"),
        (rf'{ROOT}/x	posix	{{"size":"1.5"}}', "size: not a whole number"),
        (rf'{ROOT}/x	posix	{{"mtime":99999999999999}}', "mtime: not a time in whole seconds"),
        (rf'{ROOT}/x	posix	{{"mtime":"99999999999999-01-01T00:00:00Z"}}', "mtime: not a time"),
        (rf'{ROOT}/x	posix	{{"type":"socket"}}', "type: not file, directory or link"),
        (rf'{ROOT}/x	posix	{{"user":"\\u0000"}}', "u0000"),
        (rf'{ROOT}/x	posix	{{"user":"\\ud800"}}', "not JSON"),
        (rf'{ROOT}/x	magic	{{"a":"\\u0000"}}', "u0000"),
        (rf'{ROOT}/x	magic	{{"a":"\\\\\\u0000"}}', "u0000"),
        (rf'{ROOT}/x	magic	{{"a":"\\ud800"}}', "not JSON that"),
        (rf'{ROOT}/x	magic	{{"a":1e999}}', "not JSON that"),
        (rf'{ROOT}/x	magic	{{"a":NaN}}', "not JSON that"),
        (rf"{ROOT}/x	magic	{{'a':1}}", "not JSON that"),
        (rf"{ROOT}/x	magic	" + '{"a":' * 50_000, "nested too deeply"),
        (rf"{ROOT}/x	magic	7", "not a JSON object"),
        (rf"{ROOT}/x		{{}}", "the type is empty"),
        (rf"{ROOT}/x	{'t' * 251}	{{}}", "longer than 250 bytes"),
        (rf"{ROOT}/x	crawl	{{}}", "first and the last line"),
        (rf"{ROOT}/x	removed	{{}}", "partial crawls"),
        (rf"{ROOT}0/x	posix	{{}}", "not within"),
        (r"/u390/x	posix	{}", "not within"),
        (rf"{ROOT}/../x	posix	{{}}", "not absolute and normalised"),
        (rf"{ROOT}/x/	posix	{{}}", "not absolute and normalised"),
        (r"x	posix	{}", "not absolute and normalised"),
        (rf"{ROOT}/\x41	posix	{{}}", "backslash"),
        (rf"{ROOT}/x	mseed	{_make_mseed(rate=-1)}", "rate: not a number"),
        (rf"{ROOT}/x	mseed	{_make_mseed(bytes=2**63)}", "bytes: not a whole number"),
        (rf"{ROOT}/x	mseed	{_make_mseed(station='A B')}", "station: not a code"),
        (rf"{ROOT}/x	mseed	{_make_mseed(quality='+')}", "quality: not a code"),
        (rf"{ROOT}/x	mseed	{_make_mseed(start='2020-01-01T00:00:00')}", "start: not a time with its zone"),
        (rf"{ROOT}/x	mseed	{_make_mseed(start='2020-01-01T02:00:00Z')}", "end: before start"),
        (rf"{ROOT}/x	mseed	{_make_mseed(start='0001-01-01T00:00:00+05:00')}", "years 1 to 9999"),
    ],
)
def test_bad_line_is_refused_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    crawl, lines = _read(tmp_path, *GOOD[:150], line.encode() + b"\n", *GOOD[150:])
    assert crawl.bad.count == 1
    assert crawl.bad.first[0].number == 152
    assert reason in crawl.bad.first[0].reason
    assert [line.md_type for line in lines if line.md_type is not None] == ["posix"] * 200 + ["crawl"]


def test_path_of_a_bad_line_is_there(tmp_path: Path) -> None:
    _, lines = _read(tmp_path, *GOOD, f"{ROOT}/x\tposix\t7\n".encode())
    (mentioned,) = [line for line in lines if line.md_type is None]
    assert mentioned.path == f"{ROOT}/x"


def test_not_utf8_is_refused(tmp_path: Path) -> None:
    crawl, *_ = _read(tmp_path, *GOOD, ROOT.encode() + b"/\xe9\tposix\t{}\n")
    assert crawl.bad.first[0].reason == "not UTF-8"


def test_more_than_one_percent_is_too_much(tmp_path: Path) -> None:
    # With the first and the last line, 300 and 299 lines.
    assert _read(tmp_path, *GOOD, *GOOD[:95], *[b"x\n"] * 3)[0].bad.count == 3
    with pytest.raises(TooManyBadLines, match=r"3 of 299 lines\. line 296: 1 columns"):
        _read(tmp_path, *GOOD, *GOOD[:94], *[b"x\n"] * 3)


def test_all_are_counted_and_some_named(tmp_path: Path) -> None:
    good = [describe(f"{ROOT}/{number}") for number in range(20_000)]
    crawl, *_ = _read(tmp_path, *good, *[b"x\n"] * 150)
    assert (crawl.bad.count, len(crawl.bad.first)) == (150, 100)


@pytest.mark.parametrize(
    ("metadata", "mtime", "kind"),
    [
        ({"mtime": 1577836800, "type": "file"}, 1577836800, "file"),
        ({"mtime": "2020-01-01T00:00:00Z"}, 1577836800, None),
        ({"mtime": "2020-01-01T11:00:00.9+11:00"}, 1577836800, None),
        ({"mtime": "1969-12-31T23:59:59.5Z"}, -1, None),
    ],
)
def test_times_become_whole_seconds(tmp_path: Path, metadata: dict[str, Any], mtime: int, kind: str | None) -> None:
    crawl, (line, _) = _read(tmp_path, CrawlLine(f"{ROOT}/x", "posix", json.dumps(metadata).encode()))
    assert line.json is not None
    found = json.loads(line.json)
    assert (found["mtime"], found.get("type")) == (mtime, kind)
    assert crawl.untyped == (kind is None)


def test_times_of_segments_are_stored_in_utc(tmp_path: Path) -> None:
    line = f"{ROOT}/x\tmseed\t{_make_mseed(start='2020-01-01T00:59:59.999999+01:00')}\n"
    _, (staged, _) = _read(tmp_path, line.encode())
    (segment,) = json.loads(staged.json or "")["segments"]
    assert (segment["start"], segment["end"]) == ("2019-12-31T23:59:59.999999Z", "2020-01-01T01:00:00Z")


def test_path_is_named_once(tmp_path: Path) -> None:
    segment = make_segment("GE.APE..BHZ", "2020-01-01", "2020-01-02")
    _, lines = _read(tmp_path, *describe_file(f"{ROOT}/x", segment), CrawlLine(f"{ROOT}/x", "magic", b"{}"))
    assert [line.path for line in lines] == [f"{ROOT}/x", None, None, ROOT]
    assert len({line.hash for line in lines[:3]}) == 1


@pytest.mark.parametrize("root", ["/GFZ", "/GFZ/archive2", "/", "/GFZ/archive/../x"])
def test_crawl_of_another_path_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(InvalidCrawl, match=r"not within /GFZ/archive"):
        _read(tmp_path, root=root)


def test_cut_file_is_refused(tmp_path: Path) -> None:
    file = write_crawl(tmp_path / "crawl.tsv.gz", GOOD)
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    for kept in (lines[:-1], lines[1:], lines[:1], []):
        file.write_bytes(gzip.compress(b"".join(kept)))
        with pytest.raises(InvalidCrawl, match=r"crawl\.tsv\.gz: "):
            list(CrawlReader(file, ROOT, is_partial=False).read())


@pytest.mark.parametrize("is_partial", [True, False])
def test_truncated_gzip_is_refused(tmp_path: Path, is_partial: bool) -> None:
    file = write_crawl(tmp_path / "crawl.tsv.gz", GOOD)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(InvalidCrawl, match="cut off"):
        list(CrawlReader(file, ROOT, is_partial=is_partial).read())


def test_partial_crawl_needs_no_ends(tmp_path: Path) -> None:
    file = write_crawl(tmp_path / "crawl.tsv.gz", [*GOOD, remove(f"{ROOT}/x")])
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    for kept in (lines, lines[1:], lines[:-1], lines[1:-1]):
        file.write_bytes(gzip.compress(b"".join(kept)))
        crawl = CrawlReader(file, ROOT, is_partial=True)
        types = [line.md_type for line in crawl.read()]
        assert types[:201] == ["posix"] * 200 + ["removed"]
        assert crawl.bad.count == (kept is not lines and kept[-1] == lines[-1])


def test_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidCrawl, match=r"(?s)it is a pipe.*write it to a file"):
        CrawlReader(tmp_path / "pipe", ROOT, is_partial=False)
