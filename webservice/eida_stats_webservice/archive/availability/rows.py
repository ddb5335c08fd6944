"""From the rows of timelines to the rows of an answer: cut, joined, sorted."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

from eida_stats_webservice.archive.availability.errors import TooManyRows
from eida_stats_webservice.archive.availability.merging import join_spans, make_extents
from eida_stats_webservice.archive.availability.models import (
    DEFAULT_ORDER,
    AvailabilityQuery,
    Channel,
    Span,
    Time,
    Window,
)
from eida_stats_webservice.archive.availability.networks import shorten

MAX_SORTED = 500_000
"""The largest number of rows that an answer can have in another order than that of the tables."""

TableRow = tuple[str, str, str, str, str, float, Time, Time, Time | None, int, int]
"""Channel, quality, rate, start, end, last change; the number of spans, or of a line; the number of all rows."""
_LINE = 9

get_channel: Callable[[Span], Channel] = itemgetter(0)
"""Return the channel of a span."""


def make_spans(rows: Iterable[TableRow], window: Window, restricted: frozenset[str]) -> Iterator[Span]:
    """Yield spans, cut to a window.

    Args:
        rows: spans or extents of a timeline that overlap the window, by channel.
        window: the window.
        restricted: the extended codes of restricted networks.
    """
    codes, channel, is_restricted = None, Channel("", "", "", ""), False
    start, end = window
    for network, station, location, name, quality, rate, first, last, updated, count, _ in rows:
        if codes != (network, station, location, name):
            codes = (network, station, location, name)
            channel = Channel(shorten(network), station, location, name)
            is_restricted = network in restricted
        yield Span(
            channel,
            quality,
            rate,
            first if start is None or first > start else start,
            last if end is None or last < end else end,
            updated,
            is_restricted,
            count,
        )


def cut_to_lines(rows: Iterable[TableRow], windows: Sequence[Window]) -> Iterator[TableRow]:
    """Yield the parts of spans that lie within the windows of the lines that select them, each once.

    Args:
        rows: spans with the number of a line; those of one span are neighbours.
        windows: the windows of the lines.
    """
    for span, some in groupby(rows, key=itemgetter(slice(_LINE))):
        *codes, first, last, updated = span
        parts = sorted(_cut(first, last, windows[number]) for *_, number, _total in some)
        united = [parts[0]]
        for start, end in parts[1:]:
            if start <= united[-1][1]:
                united[-1] = (united[-1][0], max(united[-1][1], end))
            else:
                united.append((start, end))
        for start, end in united:
            yield (*codes, start, end, updated, 1, 0)


def _cut(start: Time, end: Time, window: Window) -> tuple[Time, Time]:
    return (
        start if window.start is None else max(start, window.start),
        end if window.end is None else min(end, window.end),
    )


def finish(spans: Iterable[Span], query: AvailabilityQuery) -> Iterator[Span]:
    """Yield the rows of an answer: at most `limit`, in its order.

    Args:
        spans: spans by channel; if no spans are joined, extents for a request of extents.
        query: the request.

    Raises:
        TooManyRows: if too many rows would have to be sorted.
    """
    rows = _assemble(spans, query)
    if query.order == DEFAULT_ORDER:
        return islice(rows, query.limit)
    key = _get_count if query.order.startswith("timespancount") else _get_updated
    is_descending = query.order.endswith("_desc")
    if query.limit is not None and query.limit <= MAX_SORTED:
        # Both are stable: rows of equal value keep the default order.
        select = heapq.nlargest if is_descending else heapq.nsmallest
        return iter(select(query.limit, rows, key=key))
    found = list(islice(rows, MAX_SORTED + 1))
    if len(found) > MAX_SORTED:
        raise TooManyRows(
            f"orderby={query.order} sorts at most {MAX_SORTED:,} rows",
            hint="Select less, set a limit, or leave out orderby.",
        )
    return iter(sorted(found, key=key, reverse=is_descending))


def _assemble(spans: Iterable[Span], query: AvailabilityQuery) -> Iterator[Span]:
    for _, some in groupby(spans, key=get_channel):
        found = list(some)
        if query.joins_spans:
            found = join_spans(found, query)
        if query.is_extent:
            found = make_extents(found)
        found.sort(key=_get_place)
        yield from found


def _get_place(span: Span) -> tuple[Time, Time, str, float]:
    return span.start, span.end, span.quality, span.rate


def _get_updated(span: Span) -> Time:
    return span.updated or ""


def _get_count(span: Span) -> int:
    return span.spans
