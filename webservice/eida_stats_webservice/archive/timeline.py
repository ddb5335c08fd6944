"""Join the segments of streams where one continues another."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

_MICROSECONDS = 1_000_000
# A segment continues a span if it starts at most half a sample period before or after the next sample is due.
_EARLIEST, _LATEST = 0.5, 1.5


class StreamKey(NamedTuple):
    """What segments must have in common to be joined."""

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


def join_segments(segments: Iterable[StreamSegment]) -> Iterator[StreamSpan]:
    """Yield the spans of segments that are sorted by key, start and end. The result depends on nothing else.

    A segment that starts more than half a period before the next sample is due overlaps, and stays separate. If
    it continues several spans, it joins the one that it fits best, of these the one that starts first. At rate 0,
    nothing is joined. Memory holds the spans that may still continue.
    """
    key: StreamKey | None = None
    spans: list[StreamSpan] = []
    for segment in segments:
        if segment.key != key:
            yield from spans
            key, spans = segment.key, []
        if not segment.key.rate:
            yield StreamSpan(*segment, spans=1)
            continue
        period = _MICROSECONDS / segment.key.rate
        if any(segment.start - span.end > _LATEST * period for span in spans):
            yield from (span for span in spans if segment.start - span.end > _LATEST * period)
            spans = [span for span in spans if segment.start - span.end <= _LATEST * period]
        index = _find_continued(segment, spans, period)
        if index is None:
            spans.append(StreamSpan(*segment, spans=1))
        else:
            spans[index] = _extend(spans[index], segment)
    yield from spans


def _find_continued(segment: StreamSegment, spans: list[StreamSpan], period: float) -> int | None:
    best = None
    for index, span in enumerate(spans):
        passed = segment.start - span.end
        if _EARLIEST * period <= passed <= _LATEST * period:
            rank = abs(passed - period), span.start, span.end
            if best is None or rank < best[0]:
                best = rank, index
    return best and best[1]


def _extend(span: StreamSpan, segment: StreamSegment) -> StreamSpan:
    updated = segment.updated if span.updated is None else span.updated
    if segment.updated is not None and updated is not None:
        updated = max(updated, segment.updated)
    return StreamSpan(span.key, span.start, segment.end, updated, span.spans + 1)
