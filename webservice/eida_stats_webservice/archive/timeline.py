"""Join the segments of streams where one continues another."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

_MICROSECONDS = 1_000_000
# Longer than all times, so that nothing continues at the lowest rates.
_LONGEST_PERIOD = 1e18
# A segment continues a span if it starts at most half a sample period before or after the next sample is due.
_EARLIEST, _LATEST = 0.5, 1.5


class StreamKey(NamedTuple):
    """The properties that segments must share to be joined."""

    network: str
    station: str
    location: str
    channel: str
    quality: str
    rate: float


class StreamSegment(NamedTuple):
    """A segment of a file.

    Attributes:
        key: its stream, quality and rate.
        start: the time of its first sample, in microseconds since 1970.
        end: the time of its last sample.
        updated: the last change of the file, likewise; None if unknown.
    """

    key: StreamKey
    start: int
    end: int
    updated: int | None


class StreamSpan(NamedTuple):
    """Joined segments; `spans` is their number, and `updated` the newest change of their files."""

    key: StreamKey
    start: int
    end: int
    updated: int | None
    spans: int


class _OpenSpan(NamedTuple):
    """A span that may still continue. Its `number` is that of its first segment, so no two are equal."""

    end: int
    start: int
    number: int
    updated: int | None
    spans: int


def join_segments(segments: Iterable[StreamSegment]) -> Iterator[StreamSpan]:
    """Yield the spans of segments that are sorted by key, start and end. The result depends on nothing else.

    A segment that starts more than half a period before the next sample is due overlaps, and stays separate. If
    it continues several spans, it joins the one that it fits best, of these the one that starts first. At rate 0,
    nothing is joined. Memory holds the spans that may still continue.
    """
    for key, own in groupby(segments, key=attrgetter("key")):
        if key.rate:
            for span in _join(own, min(_MICROSECONDS / key.rate, _LONGEST_PERIOD)):
                yield StreamSpan(key, span.start, span.end, span.updated, span.spans)
        else:
            yield from (StreamSpan(*segment, spans=1) for segment in own)


def _join(segments: Iterable[StreamSegment], period: float) -> Iterator[_OpenSpan]:
    """Yield the spans of segments with the same key, as soon as nothing can continue them."""
    earliest, latest = _EARLIEST * period, _LATEST * period
    # A heap of spans that overlap with the present segment.
    running: list[_OpenSpan] = []
    # Spans that it may continue, sorted: they leave the heap by end, and newer ones end later.
    due: list[_OpenSpan] = []
    for number, (_, start, end, updated) in enumerate(segments):
        while running and start - running[0].end >= earliest:
            due.append(heappop(running))
        while due and start - due[0].end > latest:
            yield due.pop(0)
        if due:
            continued = due.pop(_find_continued(start, due, period) if len(due) > 1 else 0)
            newest = _find_newest(continued.updated, updated)
            heappush(running, _OpenSpan(end, continued.start, continued.number, newest, continued.spans + 1))
        else:
            heappush(running, _OpenSpan(end, start, number, updated, 1))
    yield from due
    yield from running


def _find_continued(start: int, due: list[_OpenSpan], period: float) -> int:
    """Return the index of the span whose next sample is due closest to a start."""
    # The first of those that end one period before it or later, and the first of those that end last before that.
    place = bisect_left(due, (start - math.floor(period),))
    candidates = [place] if place < len(due) else []
    if place:
        candidates.append(bisect_left(due, (due[place - 1].end,)))
    return min(
        candidates, key=lambda index: (abs(start - due[index].end - period), due[index].start, due[index].end)
    )


def _find_newest(time: int | None, other: int | None) -> int | None:
    if time is None or other is None:
        return other if time is None else time
    return max(time, other)
