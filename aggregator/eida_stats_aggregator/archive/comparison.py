"""Compare the traces of requests with the content of an archive.

A trace counts once in each table, whole, by the *start* of its window: that of the oldest data that the node had to
look for. The end is often "now", whatever data there are.
"""

import datetime
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

from eida_statistics.networks import is_temporary
from eida_stats_aggregator.archive.holdings import Found, Holdings
from eida_stats_aggregator.fdsnws.log_lines import Stream
from eida_stats_aggregator.fdsnws.trace_log import EPOCH, Trace, TracedRequest

Age = Literal["<1d", "<7d", "<30d", "<1y", "<5y", "older", "unknown"]
AGES: tuple[Age, ...] = ("<1d", "<7d", "<30d", "<1y", "<5y", "older", "unknown")
_DAY = 86_400_000_000
# Years of 365.25 days.
_AGE_LIMITS = [_DAY, 7 * _DAY, 30 * _DAY, 1461 * _DAY // 4, 5 * 1461 * _DAY // 4]

# `unclear`: the codes or the times of the trace are not valid, so it cannot be looked up.
Presence = Literal["held", "gap", "unknown", "unclear"]
PRESENCES: tuple[Presence, ...] = ("held", "gap", "unknown", "unclear")
NO_STREAM = Stream("", "", "", "")

# Returns the extended code of a network whose data start on a day.
Extend = Callable[[str, datetime.date], str]


@dataclass
class Sums:
    """Traces by outcome, and the bytes that were delivered."""

    delivered: int = 0
    nodata: int = 0
    denied: int = 0
    failed: int = 0
    bytes: int = 0

    @property
    def traces(self) -> int:
        """The number of traces."""
        return self.delivered + self.nodata + self.denied + self.failed

    def add(self, trace: Trace) -> None:
        """Add a trace."""
        setattr(self, trace.outcome, getattr(self, trace.outcome) + 1)
        self.bytes += trace.bytes


@dataclass
class Missing:
    """The traces without data of one stream, all with the same presence.

    Attributes:
        traces: their number.
        faults: those for which a file with the data was there when they were requested, and was not changed since.
        after_crawl: those that were requested after the crawl began, so that it may lack newer data.
        start: the earliest start of their windows, in microseconds since 1970; None if no trace has one.
        end: the latest end, likewise.
    """

    traces: int = 0
    faults: int = 0
    after_crawl: int = 0
    start: int | None = None
    end: int | None = None

    def add(self, trace: Trace, *, fault: bool, after_crawl: bool) -> None:
        """Add a trace."""
        self.traces += 1
        self.faults += fault
        self.after_crawl += after_crawl
        if trace.start is not None:
            self.start = trace.start if self.start is None else min(self.start, trace.start)
        if trace.end is not None:
            self.end = trace.end if self.end is None else max(self.end, trace.end)


class MissingKey(NamedTuple):
    """A stream, and the result of looking it up."""

    presence: Presence
    stream: Stream


@dataclass
class Comparison:
    """The sums of the traces of many requests. Their order does not matter.

    Attributes:
        requests: the number of requests.
        without_traces: those for which the server knew no stream. The log does not say what they asked for.
        totals: the sums of all traces.
        by_age: the sums by the age of the data at the time of the request.
        by_year: the sums by the year of the data, None for traces without a valid start.
        missing: the traces without data, by stream.
    """

    requests: int = 0
    without_traces: int = 0
    totals: Sums = field(default_factory=Sums)
    by_age: dict[Age, Sums] = field(default_factory=lambda: defaultdict(Sums))
    by_year: dict[int | None, Sums] = field(default_factory=lambda: defaultdict(Sums))
    missing: dict[MissingKey, Missing] = field(default_factory=lambda: defaultdict(Missing))

    def add(self, request: TracedRequest, holdings: Holdings, extend: Extend) -> None:
        """Add a request."""
        self.requests += 1
        self.without_traces += not request.traces
        for trace in request.traces:
            self.totals.add(trace)
            self.by_age[classify_age(trace.start, request.time)].add(trace)
            self.by_year[None if trace.start is None else find_year(trace.start)].add(trace)
            if trace.outcome == "nodata":
                stream, presence, fault = look_up(trace, request.time, holdings, extend)
                self.missing[MissingKey(presence, stream)].add(
                    trace, fault=fault, after_crawl=request.time > holdings.started
                )


def classify_age(start: int | None, at: int) -> Age:
    """Return the age of data at the time of their request; data of the future are new."""
    return "unknown" if start is None else AGES[bisect_right(_AGE_LIMITS, at - start)]


def find_year(time: int) -> int:
    """Return the UTC year of a time in microseconds since 1970."""
    return _find_day(time // _DAY).year


def look_up(trace: Trace, at: int, holdings: Holdings, extend: Extend) -> tuple[Stream, Presence, bool]:
    """Return the stream of a trace with its extended network, the result, and whether it proves a fault.

    Raises:
        RegistryUnavailable: if its network needs the registry, which cannot be loaded.
    """
    stream, start, end = trace.stream, trace.start, trace.end
    if stream is None or start is None or end is None:
        return stream or NO_STREAM, "unclear", False
    network = stream.network
    for time in (start, end):
        # A window may begin before the deployment of the network, and end in it.
        if is_temporary(network):
            network = extend(network, _find_day(time // _DAY))
    extended = stream._replace(network=network)
    found: Found = holdings.find(extended, start, end, at)
    return extended, found.presence, found.was_there


@lru_cache(maxsize=1 << 14)
def _find_day(number: int) -> datetime.date:
    return (EPOCH + datetime.timedelta(days=number)).date()
