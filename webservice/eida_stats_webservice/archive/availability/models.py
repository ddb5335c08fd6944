"""Records of the availability service."""

import datetime
from typing import NamedTuple

import msgspec

ALL = ("*",)
"""The patterns that match each code."""
EMPTY = "--"
"""How an empty location is written."""

DEFAULT_ORDER = "nslc_time_quality_samplerate"
QUERY_ORDERS = (DEFAULT_ORDER, "latestupdate", "latestupdate_desc")
EXTENT_ORDERS = (*QUERY_ORDERS, "timespancount", "timespancount_desc")
FORMATS = ("text", "geocsv", "json", "request")
MERGES = ("quality", "samplerate", "overlap")


Time = str
"""A time in UTC with microseconds and Z. Texts of this width have the order of times, and need no formatting."""


class Window(NamedTuple):
    """A period, including both ends; None leaves an end open."""

    start: Time | None = None
    end: Time | None = None


class Selection(msgspec.Struct, frozen=True):
    """The streams of one line of a request, in one window. Codes are patterns with * and ?."""

    networks: tuple[str, ...] = ALL
    stations: tuple[str, ...] = ALL
    locations: tuple[str, ...] = ALL
    channels: tuple[str, ...] = ALL
    window: Window = Window()


class AvailabilityQuery(msgspec.Struct, frozen=True):
    """A request.

    Attributes:
        is_extent: whether a row is the whole extent of a stream, instead of a span.
        selections: streams and windows. A span in several of them is returned once.
        qualities: patterns of qualities.
        merge: which differences do not separate spans, some of MERGES.
        gap: the longest gap that does not separate spans.
        order: the order of the rows.
        limit: the largest number of rows.
        include_restricted: whether restricted networks appear.
        show_updated: whether rows have the time of their last change.
        format: the format of the answer.
        nodata: the status of an answer without rows.
        partial: whether to answer without the shards that are unavailable.
    """

    is_extent: bool
    selections: tuple[Selection, ...]
    qualities: tuple[str, ...] = ALL
    merge: frozenset[str] = frozenset()
    gap: datetime.timedelta = datetime.timedelta()
    order: str = DEFAULT_ORDER
    limit: int | None = None
    include_restricted: bool = False
    show_updated: bool = False
    format: str = "text"
    nodata: int = 204
    partial: bool = False

    @property
    def joins_spans(self) -> bool:
        """Whether spans of the timelines are joined."""
        return bool(self.merge) or self.gap > datetime.timedelta()


class Channel(NamedTuple):
    """The codes of a channel; the network has its FDSN code, without a year."""

    network: str
    station: str
    location: str
    channel: str


class Span(NamedTuple):
    """A row of an answer: a span of a channel, or the extent of some spans.

    A quality or rate that does not separate spans is empty or 0.
    """

    channel: Channel
    quality: str
    rate: float
    start: Time
    end: Time
    updated: Time | None
    is_restricted: bool
    spans: int = 1


def format_time(time: datetime.datetime) -> Time:
    """Return a time in UTC as a text."""
    return f"{time.isoformat(timespec='microseconds')[:26]}Z"
