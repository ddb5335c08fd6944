"""Join the spans of one channel.

A span continues another one if it starts within half a sample period of the time at which the next sample is due,
as in the timelines. There, only spans of equal quality and rate are joined.
"""

import datetime
from bisect import bisect_right, insort
from collections.abc import Iterable
from functools import lru_cache

from eida_stats_webservice.archive.availability.models import AvailabilityQuery, Span, Time

_NONE = datetime.timedelta()
# Longer than any span, and far below the maximum of a timedelta.
_LONGEST_SECONDS = 1e10

_parse = datetime.datetime.fromisoformat


def join_spans(spans: Iterable[Span], query: AvailabilityQuery) -> list[Span]:
    """Return the spans of a channel, joined as a request asks for.

    What its `merge` does not name keeps spans apart, and so does restriction.
    """
    groups: dict[tuple[str, float, bool], list[Span]] = {}
    for span in spans:
        quality = "" if "quality" in query.merge else span.quality
        rate = 0.0 if "samplerate" in query.merge else span.rate
        groups.setdefault((quality, rate, span.is_restricted), []).append(span)
    join = join_overlapping if "overlap" in query.merge else join_continuing
    return [
        span._replace(quality=quality, rate=rate)
        for (quality, rate, _), group in groups.items()
        for span in join(group, query.gap)
    ]


def join_overlapping(spans: Iterable[Span], gap: datetime.timedelta) -> list[Span]:
    """Return spans without overlaps, and without gaps of at most `gap`, by start."""
    joined: list[Span] = []
    for span in sorted(spans, key=_get_order):
        last = joined[-1] if joined else None
        if last is None or _find_pause(last, span) > max(gap, _find_tolerance(last.rate)):
            joined.append(span)
        else:
            joined[-1] = _join(last, span)
    return joined


def join_continuing(spans: Iterable[Span], gap: datetime.timedelta) -> list[Span]:
    """Return spans without gaps of at most `gap`, by start. Those that overlap stay apart."""
    joined: list[Span] = []
    # When the next sample of each of these is due, at the earliest, with their numbers.
    due: list[tuple[datetime.datetime, int]] = []
    for span in sorted(spans, key=_get_order):
        # Of the spans that have ended, only the last one can be continued without passing over another.
        place = bisect_right(due, (_parse(span.start), len(joined))) - 1
        number = due[place][1] if place >= 0 else -1
        if number >= 0 and _is_continued(joined[number], span, gap):
            del due[place]
            joined[number] = _join(joined[number], span)
        else:
            number = len(joined)
            joined.append(span)
        insort(due, (_find_due(joined[number]), number))
    return joined


def make_extents(spans: Iterable[Span]) -> list[Span]:
    """Return one row for all spans of each quality, rate and restriction, with their number."""
    extents: dict[tuple[str, float, bool], Span] = {}
    for span in spans:
        key = (span.quality, span.rate, span.is_restricted)
        extent = extents.get(key)
        extents[key] = span if extent is None else _enclose(extent, span)
    return list(extents.values())


def _enclose(extent: Span, span: Span) -> Span:
    return extent._replace(
        start=min(extent.start, span.start),
        end=max(extent.end, span.end),
        updated=_find_newest(extent, span),
        spans=extent.spans + span.spans,
    )


def _join(span: Span, other: Span) -> Span:
    """Return a span with all of the time of two spans, and the rate of the one that ends last."""
    last = max(span, other, key=lambda one: one.end)
    return span._replace(end=last.end, rate=last.rate, updated=_find_newest(span, other))


def _find_newest(*spans: Span) -> Time | None:
    return max((span.updated for span in spans if span.updated is not None), default=None)


def _is_continued(span: Span, other: Span, gap: datetime.timedelta) -> bool:
    """Return whether a span that starts when the next sample is due, or later, continues another one."""
    tolerance = _find_tolerance(span.rate)
    return _NONE < _find_pause(span, other) <= max(gap, tolerance)


def _find_pause(span: Span, other: Span) -> datetime.timedelta:
    """Return the time from the end of a span to the start of another one."""
    return _parse(other.start) - _parse(span.end)


def _find_due(span: Span) -> datetime.datetime:
    # Half a period early. Without a rate, a span is over with its last sample.
    try:
        return _parse(span.end) + _find_tolerance(span.rate) / 3
    except OverflowError:
        return datetime.datetime.max.replace(tzinfo=datetime.UTC)


@lru_cache(maxsize=1024)
def _find_tolerance(rate: float) -> datetime.timedelta:
    """Return how long after the last sample another span may start that continues it: one and a half periods."""
    return datetime.timedelta(seconds=min(1.5 / rate, _LONGEST_SECONDS)) if rate > 0 else _NONE


def _get_order(span: Span) -> tuple[Time, Time, str, float, Time]:
    return span.start, span.end, span.quality, span.rate, span.updated or ""
