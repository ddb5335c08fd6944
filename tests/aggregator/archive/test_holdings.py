"""Streams and times that are looked up in a crawl."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.archive.crawl_file import read_lines
from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.archive.lines import CrawlLine, format_line
from eida_statistics.archive.records import MSEED, REMOVED, CrawlRecord, MseedRecord, encode_record
from eida_stats_aggregator.archive.holdings import Found, Holdings, read_holdings
from eida_stats_aggregator.fdsnws.log_lines import Stream
from eida_stats_aggregator.fdsnws.trace_log import format_microseconds, parse_microseconds
from support.held_crawls import FINISHED, ROOT, STARTED, Held, list_crawl_lines, write_crawl

EIL = Stream("GE", "EIL", "", "BHZ")
YEAR_2010 = Held("GE.EIL..BHZ", "2010-01-01", "2010-12-31T23:59:59.99")
YEAR_2012 = Held("GE.EIL..BHZ", "2012-01-01", "2012-12-31T23:59:59.99")


def read(*held: Held) -> Holdings:
    return read_holdings(list_crawl_lines(held))


def at(text: str) -> int:
    time = parse_microseconds(text)
    assert time is not None
    return time


def find(holdings: Holdings, start: str, end: str, requested: str = "2020-09-18", stream: Stream = EIL) -> Found:
    return holdings.find(stream, at(start), at(end), at(requested))


@pytest.mark.parametrize(
    ("start", "end", "presence"),
    [
        ("2010-05-01", "2010-05-02", "held"),
        ("2009-01-01", "2010-01-01T00:00:01", "held"),
        # A window ends before its end, and a segment with its last sample.
        ("2009-01-01", "2010-01-01", "gap"),
        ("2010-12-31T23:59:59.99", "2011-02-01", "held"),
        ("2010-12-31T23:59:59.990001", "2011-02-01", "gap"),
        ("2011-01-01", "2011-12-31", "gap"),
        ("2009-01-01", "2020-01-01", "held"),
        ("2013-01-01", "2599-01-01", "gap"),
        ("2010-05-02", "2010-05-01", "gap"),
        ("2010-05-01", "2010-05-01", "gap"),
    ],
)
def test_presence(start: str, end: str, presence: str) -> None:
    # The order in the crawl is that of the paths, not of the times.
    assert find(read(YEAR_2012, YEAR_2010), start, end).presence == presence


def test_unknown_stream() -> None:
    holdings = read(YEAR_2010, Held("GE.EIL.00.BHZ", "2011-01-01", "2011-02-01"))
    for stream in (EIL._replace(location="10"), EIL._replace(station="APE"), Stream("", "", "", "")):
        assert find(holdings, "2010-05-01", "2010-05-02", stream=stream) == ("unknown", False)
    assert (holdings.streams, holdings.segments) == (2, 2)


def test_long_segment_before_short_ones_is_found() -> None:
    short = Held("GE.EIL..BHZ", "2010-02-01", "2010-02-02")
    assert find(read(short, YEAR_2010), "2010-05-01", "2010-05-02").presence == "held"


def test_changed_file_is_no_proof() -> None:
    late = YEAR_2010._replace(changed="2020-09-19")
    assert find(read(late), "2010-05-01", "2010-05-02") == ("held", False)
    assert find(read(late, YEAR_2012), "2010-05-01", "2012-05-02") == ("held", True)
    assert find(read(late), "2010-05-01", "2010-05-02", requested="2020-09-19T00:00:00.9") == ("held", False)
    assert find(read(late), "2010-05-01", "2010-05-02", requested="2020-09-19T00:00:01") == ("held", True)


def test_file_without_posix_is_no_proof() -> None:
    first, *lines, last = list_crawl_lines([YEAR_2010])
    holdings = read_holdings([first, *lines[1:], last])
    assert find(holdings, "2010-05-01", "2010-05-02") == ("held", False)


def test_file_is_read(tmp_path: Path) -> None:
    holdings = read_holdings(read_lines(write_crawl(tmp_path / "crawl.tsv.gz", YEAR_2010, YEAR_2012)))
    assert (holdings.streams, holdings.segments) == (1, 2)
    assert (holdings.crawl.started, holdings.crawl.finished) == (STARTED, FINISHED)
    assert format_microseconds(holdings.started) == "2020-09-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "empty"),
        (list_crawl_lines([YEAR_2010])[:-1], "cut off"),
        (list_crawl_lines([YEAR_2010])[1:], "first line"),
        (list_crawl_lines([], last=CrawlRecord()), "cut off"),
        (
            [*list_crawl_lines([])[:1], (2, format_line(CrawlLine(f"{ROOT}/a", REMOVED, b"{}")))],
            "line 2: .*changes",
        ),
        ([*list_crawl_lines([])[:1], (2, b"one column")], "line 2: 1 columns"),
        ([*list_crawl_lines([])[:1], (2, format_line(CrawlLine(ROOT, MSEED, b"[]")))], "line 2: "),
    ],
)
def test_incomplete_crawl_is_refused(lines: list[tuple[int, bytes]], reason: str) -> None:
    with pytest.raises(InvalidCrawl, match=reason):
        read_holdings(lines)


def test_file_with_error_holds_nothing() -> None:
    noise = CrawlLine(f"{ROOT}/noise", MSEED, encode_record(MseedRecord(error="no record of miniSEED")))
    first, last = list_crawl_lines([])
    assert read_holdings([first, (2, format_line(noise)), last]).segments == 0


def test_segment_takes_few_bytes() -> None:
    lines = list_crawl_lines([YEAR_2010] * 5000)
    tracemalloc.start()
    try:
        holdings = read_holdings(lines)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Four numbers of eight bytes.
    assert size / holdings.segments < 40


_DAYS = st.integers(1, 28)


@given(st.lists(st.tuples(_DAYS, _DAYS).map(sorted), max_size=8), st.tuples(_DAYS, _DAYS).map(sorted))
def test_presence_equals_search(segments: list[list[int]], window: list[int]) -> None:
    days = [tuple(f"2010-02-{day:02}" for day in one) for one in segments]
    # A second stream holds everything, and must not count.
    all_of_it = Held("GE.EIL.00.BHZ", "2000-01-01", "2020-01-01")
    holdings = read(*(Held("GE.EIL..BHZ", start, end) for start, end in days), all_of_it)
    start, end = (f"2010-02-{day:02}" for day in window)
    overlaps = any(first < end and last >= start for first, last in days)
    expected = "unknown" if not days else "held" if overlaps and start < end else "gap"
    assert find(holdings, start, end).presence == expected
