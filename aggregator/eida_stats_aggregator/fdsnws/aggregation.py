"""Aggregate requests by month and stream."""

import datetime
from collections import Counter, defaultdict
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from eida_statistics import __version__, hll
from eida_statistics.networks import NetworkRegistry, is_temporary
from eida_statistics.payload import Exclusions, Payload
from eida_stats_aggregator.fdsnws.log_lines import Stream
from eida_stats_aggregator.fdsnws.request_log import Request
from eida_stats_aggregator.fdsnws.sorted_rows import Codes, Groups, SortedRows
from eida_stats_aggregator.fdsnws.sums import AggregateSums

# A request that failed delivered nothing to any stream; the federation counts it here.
_OF_NO_STREAM = Stream("", "", "--", "")


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
        # New streams and aggregates get the next number.
        self._streams: dict[Codes, int] = defaultdict(count().__next__)
        self._next_number = count()
        self._groups: Groups = {}
        self._sums = AggregateSums()
        self._extended: dict[tuple[str, datetime.date], str] = {}
        self._by_day: Groups = {}

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
        group = self._by_day.get(key)
        if group is None:
            group = self._find_group(*key)
        sums = self._sums
        if deliveries is None:
            sums.add_failed(group[self._streams[_OF_NO_STREAM]], request.client)
            return 1, 0
        total = 0
        streams, extended, numbers, sizes = self._streams, self._extended, sums.numbers, sums.sizes
        for stream, start, size in deliveries:
            codes: Codes = stream
            if start is not None:
                code, station, location, channel = stream
                network = extended.get((code, start)) or self._extend(code, start)
                codes = (network, station, location, channel)
            numbers.append(group[streams[codes]])
            sizes.append(size)
            total += size
        sums.end_request(request.client)
        return len(deliveries), total

    def merge(self, other: "Aggregation") -> None:
        """Add another aggregation, which must not be used afterwards."""
        self.requests += other.requests
        self._days |= other._days
        streams = [self._streams[codes] for codes in other._streams]
        numbers = np.empty(other.count, dtype=np.int64)
        for key, theirs in other._groups.items():
            mine = self._get_group(*key)
            numbers[list(theirs.values())] = [mine[streams[stream]] for stream in theirs]
        self._sums.merge(other._sums, numbers)

    def __getstate__(self) -> tuple[Any, ...]:
        # As arrays, a hundred thousand numbers are sent to another process in a fraction of the time.
        groups = [
            (key, np.array(list(group)), np.array(list(group.values()))) for key, group in self._groups.items()
        ]
        return self.requests, self._days, list(map(tuple, self._streams)), groups, self._sums

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # A tally that is only merged needs no registry.
        self.__init__(NetworkRegistry(tuple))  # type: ignore[misc]
        self.requests, self._days, streams, groups, self._sums = state
        for codes in streams:
            self._streams[codes]
        # Groups keep the counter that they were made with.
        self._next_number = count(sum(len(numbers) for _, _, numbers in groups))
        for key, of_streams, numbers in groups:
            self._get_group(*key).update(zip(of_streams.tolist(), numbers.tolist(), strict=True))

    @property
    def unregistered(self) -> dict[str, int]:
        """The temporary networks that the registry does not know, with their deliveries."""
        successful, _ = self._sums.count_requests()
        networks = {stream: network for (network, *_), stream in self._streams.items() if is_temporary(network)}
        found: Counter[str] = Counter()
        for group in self._groups.values():
            for stream in group.keys() & networks.keys():
                found[networks[stream]] += int(successful[group[stream]])
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
        return sum(map(len, self._groups.values()))

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
        return SortedRows(self._streams, self._groups, self._sums)

    def _find_group(self, day: datetime.date, country: str) -> dict[int, int]:
        self._days.add(day)
        group = self._by_day[day, country] = self._get_group(day.replace(day=1), country)
        return group

    def _get_group(self, month: datetime.date, country: str) -> dict[int, int]:
        """Return the group of a month and a country, which assigns the next number to each new stream."""
        group = self._groups.get((month, country))
        if group is None:
            group = self._groups[month, country] = defaultdict(self._next_number.__next__)
        return group

    def _extend(self, code: str, start: datetime.date) -> str:
        network = self._extended[code, start] = self._registry.extend(code, start)
        return network
