"""Aggregate requests by month and stream."""

import datetime
from collections import Counter, defaultdict
from itertools import compress, count
from typing import Any, NamedTuple

import numpy as np

from eida_statistics import __version__, hll
from eida_statistics.networks import NetworkRegistry, is_temporary
from eida_statistics.payload import Exclusions, Payload
from eida_stats_aggregator.fdsnws.log_lines import Stream
from eida_stats_aggregator.fdsnws.plain_lines import Requests
from eida_stats_aggregator.fdsnws.request_log import Request
from eida_stats_aggregator.fdsnws.sorted_rows import STREAM_BITS, STREAM_MASK, Codes, Group, SortedRows
from eida_stats_aggregator.fdsnws.sums import AggregateSums, Numbers

# A request that failed delivered nothing to any stream; the federation counts it here.
_OF_NO_STREAM = Stream("", "", "--", "")
# In place of the number of a stream: it has none yet, or it has one for each of the networks with its code.
_NO_NUMBER, _TEMPORARY = -1, -2


class Totals(NamedTuple):
    """The sums over all aggregates: requests, those of them that failed as a whole, and bytes."""

    requests: int
    unsuccessful: int
    bytes: int


class Aggregation:
    """Monthly sums over requests, by extended network, station, location, channel and country.

    The order in which requests are added does not matter, nor whether they are added here or merged;
    `requests` counts them.
    """

    def __init__(self, registry: NetworkRegistry) -> None:
        self.requests = 0
        self._registry = registry
        self._days: set[datetime.date] = set()
        # New streams, and new pairs of a month and a country, get the next number. Together, they are an aggregate.
        self._streams: dict[Codes, int] = defaultdict(count().__next__)
        self._groups: dict[Group, int] = defaultdict(count().__next__)
        self._sums = AggregateSums()
        self._extended: dict[tuple[str, datetime.date], str] = {}
        self._first_by_day: dict[Group, int] = {}
        # The numbers of the streams that `Requests` has.
        self._known: list[Stream] = []
        self._numbers_of_known = np.zeros(0, dtype=np.int64)

    def add(self, request: Request) -> tuple[int, int]:
        """Add one request, and return the numbers of requests and bytes that were added to the aggregates.

        Each stream that got data counts one request and its bytes; a request that failed as a whole counts
        once, under no stream. A request without data of any stream makes no row and no day.

        Raises:
            RegistryUnavailable: if its network needs the registry, which cannot be loaded.
        """
        self.requests += 1
        deliveries = request.deliveries
        if not deliveries and deliveries is not None:
            return 0, 0
        key = request.day, request.country
        first = self._first_by_day.get(key)
        if first is None:
            first = self._find_first(*key)
        sums = self._sums
        if deliveries is None:
            sums.end_failed_request(first + self._streams[_OF_NO_STREAM], request.client)
            return 1, 0
        total = 0
        streams, extended, aggregates, sizes = self._streams, self._extended, sums.aggregates, sums.sizes
        for stream, start, size in deliveries:
            codes: Codes = stream
            if start is not None:
                code, station, location, channel = stream
                network = extended.get((code, start)) or self._extend(code, start)
                codes = (network, station, location, channel)
            aggregates.append(first + streams[codes])
            sizes.append(size)
            total += size
        sums.end_request(request.client)
        return len(deliveries), total

    def add_all(self, requests: Requests) -> None:
        """Add many requests; as `add`.

        Raises:
            RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        """
        self.requests += len(requests.days)
        counts = np.array(requests.counts, dtype=np.int64)
        is_failed = np.array(requests.is_failed, dtype=np.bool_)
        is_counted = is_failed | (counts > 0)
        groups = list(compress(zip(requests.days, requests.countries, strict=True), is_counted.tolist()))
        first_of = {group: self._first_by_day.get(group) or self._find_first(*group) for group in set(groups)}
        firsts = np.zeros(len(counts), dtype=np.int64)
        firsts[is_counted] = [first_of[group] for group in groups]
        clients = np.array(requests.clients, dtype=np.int64)
        streams = self._number_streams(requests)
        self._sums.add(np.repeat(firsts, counts) + streams, requests.sizes, np.repeat(clients, counts))
        self._sums.add_failed(firsts[is_failed] + self._streams[_OF_NO_STREAM], clients[is_failed])

    def merge(self, other: "Aggregation") -> None:
        """Add another aggregation, which must not be used afterwards."""
        self.requests += other.requests
        self._days |= other._days
        streams = np.array([self._streams[stream] for stream in other._streams], dtype=np.int64)
        groups = np.array([self._groups[group] for group in other._groups], dtype=np.int64)
        theirs = other._sums.list_aggregates()
        mine = (groups[theirs >> STREAM_BITS] << STREAM_BITS) + streams[theirs & STREAM_MASK]
        self._sums.merge(other._sums, mine)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.requests, self._days, list(map(tuple, self._streams)), list(self._groups), self._sums

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # A tally that is only merged needs no registry.
        self.__init__(NetworkRegistry(tuple))  # type: ignore[misc]
        self.requests, self._days, streams, groups, self._sums = state
        for stream in streams:
            self._streams[stream]
        for group in groups:
            self._groups[group]

    @property
    def unregistered(self) -> dict[str, int]:
        """The temporary networks that the registry does not know, with their deliveries."""
        successful, _ = self._sums.count_requests()
        by_stream = np.zeros(len(self._streams), dtype=np.int64)
        np.add.at(by_stream, self._sums.list_aggregates() & STREAM_MASK, successful)
        found: Counter[str] = Counter()
        for (network, *_), count_of_stream in zip(self._streams, by_stream.tolist(), strict=True):
            if is_temporary(network):
                found[network] += count_of_stream
        return dict(found)

    @property
    def clients(self) -> int:
        """The number of distinct clients, estimated."""
        return hll.cardinality(self._sums.unite_clients())

    @property
    def totals(self) -> Totals:
        """The sums over all aggregates."""
        counts = self._sums.count_requests()
        return Totals(int(counts.sum()), int(counts[1].sum()), self._sums.add_up_bytes())

    @property
    def days(self) -> list[datetime.date]:
        """The days on which requests ended, in order."""
        return sorted(self._days)

    @property
    def count(self) -> int:
        """The number of aggregates."""
        return len(self._sums)

    def make_envelope(self, generated_at: datetime.datetime, excluded: Exclusions | None = None) -> Payload:
        """Return the payload without its rows."""
        return Payload(
            generated_at=f"{generated_at:%Y-%m-%d %H:%M:%S}",
            version=__version__,
            days_coverage=self.days,
            aggregation_score=round(self.requests / self.count) if self.count else 0,
            stats=[],
            excluded=excluded,
        )

    def sort_rows(self) -> SortedRows:
        """Return the rows, sorted by key. Nothing may be added afterwards."""
        return SortedRows(list(self._streams), list(self._groups), self._sums)

    def _find_first(self, day: datetime.date, country: str) -> int:
        """Return the first aggregate of a day and a country, to which the number of a stream is added."""
        self._days.add(day)
        first = self._first_by_day[day, country] = self._groups[day.replace(day=1), country] << STREAM_BITS
        return first

    def _number_streams(self, requests: Requests) -> Numbers:
        """Return the number of the stream of each delivery."""
        if requests.known is not self._known:
            self._known, self._numbers_of_known = requests.known, np.zeros(0, dtype=np.int64)
        new = np.full(len(self._known) - len(self._numbers_of_known), _NO_NUMBER)
        self._numbers_of_known = np.concatenate((self._numbers_of_known, new))
        streams = self._numbers_of_known[requests.streams]
        if (streams == _NO_NUMBER).any():
            for number in set(requests.streams[streams == _NO_NUMBER].tolist()):
                stream = self._known[number]
                is_known = not is_temporary(stream.network)
                self._numbers_of_known[number] = self._streams[stream] if is_known else _TEMPORARY
            streams = self._numbers_of_known[requests.streams]
        if requests.starts:
            extended = []
            numbers = requests.streams[requests.is_temporary].tolist()
            for number, start in zip(numbers, requests.starts, strict=True):
                code, station, location, channel = requests.known[number]
                network = self._extended.get((code, start)) or self._extend(code, start)
                extended.append(self._streams[network, station, location, channel])
            streams[requests.is_temporary] = extended
        return streams

    def _extend(self, code: str, start: datetime.date) -> str:
        network = self._extended[code, start] = self._registry.extend(code, start)
        return network
