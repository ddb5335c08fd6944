"""Sums of the segments of a stream, by year."""

import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eida_stats_webservice.archive.holdings.sums import Segment, YearSum, add_up, split_by_year

DAY = 86_400_000_000


def time(text: str) -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


def segment(
    start: str, end: str, size: int = 1000, rate: float = 1.0, file: str = "a", identity: str = ""
) -> Segment:
    return Segment(time(start), time(end), rate, size, file, identity or file)


def test_full_day_has_all_its_seconds() -> None:
    (found,) = add_up([segment("2020-02-29", "2020-02-29T23:59:59")])
    expected = YearSum(2020, 1000, 1, 86400.0, time("2020-02-29"), time("2020-02-29T23:59:59"))
    assert found == expected


@pytest.mark.parametrize(
    ("start", "end", "rate", "parts"),
    [
        # Six of ten samples are before midnight.
        ("2019-12-31T23:59:54", "2020-01-01T00:00:03", 1.0, {2019: 600, 2020: 400}),
        # One sample at midnight.
        ("2019-12-31T23:59:51", "2020-01-01T00:00:00", 1.0, {2019: 900, 2020: 100}),
        # The next sample is due at midnight.
        ("2019-12-31T23:59:50", "2019-12-31T23:59:59", 1.0, {2019: 1000}),
        ("2019-12-31T23:59:59.5", "2020-01-01T00:00:00.4", 10.0, {2019: 500, 2020: 500}),
        # Times of samples are rounded to microseconds.
        ("2019-12-31T23:59:59.333333", "2020-01-01T00:00:00.666667", 3.0, {2019: 400, 2020: 600}),
        # No sample in 2020.
        ("2019-07-01", "2021-07-01", 1 / (731 * 86400), {2019: 500, 2021: 500}),
        # Logs are not divided.
        ("2019-12-31T23:59:59", "2020-01-01T00:00:00", 0.0, {2019: 1000}),
        ("1969-12-31T23:59:59", "1970-01-01", 1.0, {1969: 500, 1970: 500}),
        ("2262-12-31T23:59:59", "2263-01-01", 1.0, {2262: 500, 2263: 500}),
        ("9999-12-31T23:59:58", "9999-12-31T23:59:59", 1.0, {9999: 1000}),
    ],
)
def test_bytes_are_divided_by_samples(start: str, end: str, rate: float, parts: dict[int, int]) -> None:
    assert {one.year: one.bytes for one in add_up([segment(start, end, rate=rate)])} == parts


def test_odd_bytes_add_up() -> None:
    found = add_up([segment("2019-12-31T23:59:59", "2020-01-01T00:00:01", 10)])
    assert [one.bytes for one in found] == [3, 7]
    assert [(one.first, one.last) for one in found] == [
        (time("2019-12-31T23:59:59"), time("2019-12-31T23:59:59")),
        (time("2020-01-01"), time("2020-01-01T00:00:01")),
    ]
    assert [one.seconds for one in found] == [1.0, 2.0]


def test_hard_links_count_once() -> None:
    names = [segment("2020-01-01", "2020-01-01T00:00:59", file=name, identity="1:7") for name in "ba"]
    other = segment("2020-01-01T00:00:30", "2020-01-01T00:01:29", file="c")
    (found,) = add_up([*names, other])
    assert (found.bytes, found.files, found.seconds) == (2000, 2, 90.0)


def test_overlaps_count_once_in_seconds() -> None:
    inner = segment("2020-01-01T00:00:10", "2020-01-01T00:00:19", file="b")
    (found,) = add_up([segment("2020-01-01", "2020-01-01T00:00:59"), inner])
    assert (found.bytes, found.files, found.seconds) == (2000, 2, 60.0)


SEGMENTS = st.builds(
    lambda start, length, rate, size, file: Segment(
        start, start + length, rate, size, str(file), f"inode {file // 2}"
    ),
    st.integers(time("2018-12-30"), time("2021-01-03")),
    st.integers(0, 400 * DAY),
    st.sampled_from([0.0, 1e-6, 0.1, 1.0, 20.0, 99.999, 100.0, 16000.0]),
    st.integers(0, 2**62),
    st.integers(0, 5),
)


@given(SEGMENTS)
@example(Segment(time("2020-11-27"), time("2022-01-01"), 1e-6, 0, "a", "inode 0"))
def test_parts_add_up_to_their_segment(one: Segment) -> None:
    parts = list(split_by_year(one))
    assert sum(part.bytes for part in parts) == one.bytes
    assert min(part.bytes for part in parts) >= 0
    assert (parts[0].first, parts[-1].last) == (one.start, one.end)
    for part in parts:
        assert time(f"{part.year}-01-01") <= part.start <= part.stop <= time(f"{part.year + 1}-01-01")
        assert part.first <= part.last


@given(st.lists(st.tuples(SEGMENTS, st.integers(1, 3)), max_size=6))
def test_years_have_the_bytes_of_distinct_files(files: list[tuple[Segment, int]]) -> None:
    # All segments of a file are there under each of its names.
    counts = {one.file: count for one, count in reversed(files)}
    names = sorted(
        one._replace(file=f"{one.file} {name}", identity=one.file)
        for one, _ in files
        for name in range(counts[one.file])
    )
    sums = add_up(names)
    assert sum(one.bytes for one in sums) == sum(one.bytes for one, _ in files)
    assert [one.year for one in sums] == sorted({one.year for one in sums})
