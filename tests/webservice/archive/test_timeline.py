"""Tests of joining segments."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_stats_webservice.archive.timeline import StreamKey, StreamSegment, StreamSpan, join_segments

KEY = StreamKey("GE", "APE", "", "BHZ", "D", 100.0)
PERIOD = 10_000
DAY = 86_400_000_000


def _join(*segments: tuple[int, int], key: StreamKey = KEY) -> list[tuple[int, int, int]]:
    return sorted(
        (span.start, span.end, span.spans)
        for span in join_segments(StreamSegment(key, start, end, None) for start, end in sorted(segments))
    )


@pytest.mark.parametrize(
    ("gap", "joins"),
    [
        (PERIOD, True),
        (PERIOD // 2, True),
        (PERIOD * 3 // 2, True),
        (PERIOD // 2 - 1, False),
        (PERIOD * 3 // 2 + 1, False),
        (0, False),
        (-5 * PERIOD, False),
    ],
)
def test_half_a_period_around_the_next_sample_joins(gap: int, joins: bool) -> None:
    found = _join((0, DAY), (DAY + gap, 2 * DAY))
    assert found == ([(0, 2 * DAY, 2)] if joins else [(0, DAY, 1), (DAY + gap, 2 * DAY, 1)])


def test_day_files_of_a_year_are_one_span() -> None:
    days = [(number * DAY, (number + 1) * DAY - PERIOD) for number in range(365)]
    assert _join(*days) == [(0, 365 * DAY - PERIOD, 365)]


def test_records_of_the_next_day_are_reported_once() -> None:
    # The first file has ten seconds of the next day, of which the next file has five.
    overlapping = 5_000_000
    found = _join((0, DAY + 2 * overlapping), (DAY + overlapping, 2 * DAY - PERIOD), (2 * DAY, 3 * DAY))
    assert found == [(0, DAY + 2 * overlapping, 1), (DAY + overlapping, 3 * DAY, 2)]


def test_same_file_twice_is_two_spans() -> None:
    assert _join((0, DAY), (0, DAY), (DAY + PERIOD, 2 * DAY)) == [(0, DAY, 1), (0, 2 * DAY, 2)]


def test_nearest_span_is_continued() -> None:
    assert _join((0, DAY), (5, DAY + 3_000), (DAY + PERIOD + 2_500, 2 * DAY)) == [(0, DAY, 1), (5, 2 * DAY, 2)]


def test_logs_are_never_joined() -> None:
    assert _join((0, 0), (0, 0), (1, 1), key=KEY._replace(rate=0.0)) == [(0, 0, 1), (0, 0, 1), (1, 1, 1)]


def test_other_rates_and_qualities_are_separate() -> None:
    keys = sorted([KEY, KEY._replace(quality="M"), KEY._replace(rate=50.0), KEY._replace(channel="BHE")])
    segments = [
        StreamSegment(key, number * (DAY + PERIOD), number * (DAY + PERIOD) + DAY, 1)
        for key in keys
        for number in (0, 1)
    ]
    # At 50 Hz, the second segment starts half a period early, which is enough.
    assert [span.spans for span in join_segments(segments)] == [2, 2, 2, 2]


def test_newest_change_counts() -> None:
    segments = [
        StreamSegment(KEY, number * (DAY + PERIOD), number * (DAY + PERIOD) + DAY, updated)
        for number, updated in enumerate([5, None, 9, 7])
    ]
    assert list(join_segments(segments)) == [StreamSpan(KEY, 0, 3 * (DAY + PERIOD) + DAY, 9, 4)]


_SEGMENTS = st.lists(
    st.builds(
        lambda rate, quality, start, lasts, updated: StreamSegment(
            KEY._replace(rate=rate, quality=quality), start * 5_000, (start + lasts) * 5_000, updated
        ),
        st.sampled_from([0.0, 100.0, 200.0]),
        st.sampled_from("DM"),
        st.integers(0, 40),
        st.integers(0, 10),
        st.none() | st.integers(0, 9),
    ),
    max_size=25,
)


def _sort(segments: list[StreamSegment]) -> list[StreamSegment]:
    return sorted(
        segments, key=lambda one: (one.key, one.start, one.end, -1 if one.updated is None else one.updated)
    )


@given(_SEGMENTS, st.randoms(use_true_random=False))
def test_timeline_is_the_union_of_segments(segments: list[StreamSegment], shuffler: random.Random) -> None:
    spans = list(join_segments(_sort(segments)))
    mixed = segments[:]
    shuffler.shuffle(mixed)
    assert list(join_segments(_sort(mixed))) == spans
    assert sum(span.spans for span in spans) == len(segments)
    for key in {segment.key for segment in segments}:
        own = [segment for segment in segments if segment.key == key]
        joined = [span for span in spans if span.key == key]
        # Each span begins and ends with a segment, and all segments are within one.
        assert Counter(span.start for span in joined) <= Counter(one.start for one in own)
        assert Counter(span.end for span in joined) <= Counter(one.end for one in own)
        assert all(any(span.start <= one.start and one.end <= span.end for span in joined) for one in own)
        # Samples of no segment are in no span: gaps within a span are of one period and a half at most.
        for span in joined:
            ends = sorted((one.start, one.end) for one in own if span.start <= one.start and one.end <= span.end)
            reached = span.start
            for start, end in ends:
                assert key.rate == 0 or start - reached <= 1.5e6 / key.rate
                reached = max(reached, end)


def _join_one_by_one(segments: list[StreamSegment]) -> Counter[StreamSpan]:
    """Return the spans by comparing each segment with all spans before it."""
    spans: list[StreamSpan] = []
    for segment in segments:
        ranks = []
        for index, span in enumerate(spans):
            periods = segment.key.rate * (segment.start - span.end) / 1_000_000
            if span.key == segment.key and 0.5 <= periods <= 1.5:
                ranks.append((abs(periods - 1), span.start, span.end, index))
        if not ranks:
            spans.append(StreamSpan(*segment, spans=1))
            continue
        *_, index = min(ranks)
        span = spans[index]
        known = [time for time in (span.updated, segment.updated) if time is not None]
        spans[index] = StreamSpan(span.key, span.start, segment.end, max(known, default=None), span.spans + 1)
    return Counter(spans)


@given(_SEGMENTS)
def test_spans_are_those_of_a_plain_comparison(segments: list[StreamSegment]) -> None:
    ordered = _sort(segments)
    assert Counter(join_segments(ordered)) == _join_one_by_one(ordered)


def test_copies_of_a_stream_are_as_many_spans() -> None:
    # Each copy is a little later than the one before.
    days = [(day * DAY + copy, (day + 1) * DAY - PERIOD + copy) for day in range(20) for copy in range(100)]
    assert _join(*days) == [(copy, 20 * DAY - PERIOD + copy, 20) for copy in range(100)]


@pytest.mark.parametrize("rate", [5e-324, 1e-12, 1e12])
def test_extreme_rates_join_nothing(rate: float) -> None:
    assert _join((0, 0), (0, 5), (6, 9), key=KEY._replace(rate=rate)) == [(0, 0, 1), (0, 5, 1), (6, 9, 1)]
