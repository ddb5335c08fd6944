"""The segments of a crawl by stream, in memory, to look up streams and times.

A million segments take 32 MB, and twice as much while they are sorted.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eida_statistics.archive.crawl_file import merge_ends, parse_first_line
from eida_statistics.archive.errors import InvalidCrawl, InvalidLine
from eida_statistics.archive.lines import CrawlLine, parse_line
from eida_statistics.archive.records import (
    CANNOT_BE_READ,
    CRAWL,
    MSEED,
    POSIX,
    REMOVED,
    CrawlRecord,
    Segment,
    decode_crawl,
    decode_mseed,
    decode_posix,
)
from eida_stats_aggregator.fdsnws.log_lines import Stream
from eida_stats_aggregator.fdsnws.trace_log import to_microseconds

_MICROSECONDS = 1_000_000
# The change of a file that has no `posix` record could be at any time.
_NEVER_UNCHANGED = np.iinfo(np.int64).max

Presence = Literal["unknown", "gap", "held"]
_Times = NDArray[np.int64]


class Found(NamedTuple):
    """The result of looking up a stream and a window.

    Attributes:
        presence: `unknown` if it holds nothing of the stream, `gap` if nothing in the window, else `held`.
        was_there: whether a file with data in the window is older than the request, and was not changed since.
    """

    presence: Presence
    was_there: bool = False


class _Segments(NamedTuple):
    """The segments of one stream, by start. `latest_ends` has the latest end of all segments so far."""

    starts: _Times
    ends: _Times
    latest_ends: _Times
    changed: _Times


class Holdings:
    """The content of an archive at the time of a crawl.

    Attributes:
        crawl: the records of the crawl itself, as one.
        started: when it began, in microseconds since 1970.
        segments: the number of segments.
        streams: the number of streams.
        unreadable_files: the number of files that the crawl could not read.
    """

    def __init__(self, crawl: CrawlRecord, segments: dict[Stream, _Segments], unreadable_files: int) -> None:
        self.crawl = crawl
        self.unreadable_files = unreadable_files
        self.started = 0 if crawl.started is None else to_microseconds(crawl.started)
        self._segments = segments
        self.segments = sum(len(one.starts) for one in segments.values())
        self.streams = len(segments)

    def find(self, stream: Stream, start: int, end: int, at: int) -> Found:
        """Look up a stream from `start` to before `end`, for a request at the time `at`.

        All times are in microseconds since 1970.
        """
        segments = self._segments.get(stream)
        if segments is None:
            return Found("unknown")
        # Any segment in the window is among those that begin before its end, and not among the first ones, all of
        # which end before its start.
        stop = int(np.searchsorted(segments.starts, end, "left"))
        first = int(np.searchsorted(segments.latest_ends[:stop], start, "left"))
        within = segments.ends[first:stop] >= start
        if start >= end or not within.any():
            return Found("gap")
        return Found("held", bool((segments.changed[first:stop][within] <= at).any()))


@dataclass
class _Columns:
    """The segments in the order of the crawl."""

    streams: dict[Stream, int] = field(default_factory=dict)
    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    changed: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, segment: Segment, changed: int) -> None:
        """Add a segment of a file that was changed last at a time, in microseconds since 1970."""
        stream = Stream(segment.network, segment.station, segment.location, segment.channel)
        self.numbers.append(self.streams.setdefault(stream, len(self.streams)))
        self.starts.append(to_microseconds(segment.start))
        self.ends.append(to_microseconds(segment.end))
        self.changed.append(changed)

    def group(self) -> dict[Stream, _Segments]:
        """Return the segments by stream."""
        numbers, starts = _view(self.numbers), _view(self.starts)
        order = np.lexsort((starts, numbers))
        bounds = np.searchsorted(numbers[order], np.arange(len(self.streams) + 1)).tolist()
        starts, ends, changed = starts[order], _view(self.ends)[order], _view(self.changed)[order]
        latest_ends = np.empty_like(ends)
        found = {}
        for stream, number in self.streams.items():
            own = slice(bounds[number], bounds[number + 1])
            np.maximum.accumulate(ends[own], out=latest_ends[own])
            found[stream] = _Segments(starts[own], ends[own], latest_ends[own], changed[own])
        return found


def read_holdings(lines: Iterable[tuple[int, bytes]]) -> Holdings:
    """Read the numbered lines of a crawl.

    Raises:
        InvalidCrawl: if it is not a crawl, was cut off, or lists changes only; or if a line is not valid.
    """
    columns = _Columns()
    first: CrawlRecord | None = None
    last = CrawlRecord()
    changed: tuple[str, int] = "", _NEVER_UNCHANGED
    unreadable_files = 0
    for number, text in lines:
        if first is None:
            _, first = parse_first_line(text)
            continue
        try:
            line = parse_line(text)
            if line.md_type == POSIX:
                changed = line.path, _read_change(line)
            elif line.md_type == MSEED:
                at = changed[1] if changed[0] == line.path else _NEVER_UNCHANGED
                record = decode_mseed(line.json)
                unreadable_files += record.error is not None and record.error.startswith(CANNOT_BE_READ)
                for segment in record.segments:
                    columns.add(segment, at)
            elif line.md_type == CRAWL:
                last = decode_crawl(line.json)
            elif line.md_type == REMOVED:
                raise InvalidCrawl(
                    f"line {number:,}: it lists changes only, not all that is held", hint="Name a complete crawl."
                )
        except InvalidLine as error:
            raise InvalidCrawl(f"line {number:,}: {error.subject}", hint="Crawl the archive again.") from error
    if first is None:
        raise InvalidCrawl("it is empty")
    if last.finished is None:
        raise InvalidCrawl(
            "it was cut off: its last line has no `finished`",
            hint="Data that it lacks would seem not to be held. Crawl again; --since continues this crawl.",
        )
    return Holdings(merge_ends(first, last), columns.group(), unreadable_files)


def _read_change(line: CrawlLine) -> int:
    """Return when a file was changed last, or came here.

    This is its ctime: unlike mtime, a program that copies files cannot set it to the time of the original. A crawl
    has the whole second, and the change was before its end.
    """
    change = decode_posix(line.json).ctime
    return _NEVER_UNCHANGED if change is None else (change + 1) * _MICROSECONDS


def _view(column: "array[int]") -> _Times:
    return np.frombuffer(column, np.int64)
