"""Requests to monthly aggregates."""

import datetime
from collections import Counter
from functools import lru_cache

from eida_statistics import __version__, hll
from eida_statistics.networks import Registry, is_temporary
from eida_statistics.payload import Key, Payload, Row
from eida_stats_aggregator.requestlog import Request, Stream

# What failed as a whole delivered nothing that could be given to a stream; the federation counts it here.
_OF_NO_STREAM = ("", "", "--", "")


class _Sums:
    """The sums of one aggregate."""

    __slots__ = ("bytes", "clients", "successful", "unsuccessful")

    def __init__(self) -> None:
        self.bytes = 0
        self.successful = 0
        self.unsuccessful = 0
        self.clients = hll.SketchBuilder()


class Aggregation:
    """Monthly sums over requests, by extended network, station, location, channel and country.

    The order in which requests are added does not matter; `requests` counts them.
    """

    def __init__(self, registry: Registry) -> None:
        self.requests = 0
        self._registry = registry
        self._days: set[datetime.date] = set()
        self._sums: dict[Key, _Sums] = {}
        # The same sums by what stands in the log: a stream's network is extended once.
        self._by_stream: dict[tuple[Stream, datetime.date, str], _Sums] = {}

    def add(self, request: Request) -> None:
        """Add one request.

        Each stream that got data counts one request and its bytes; a request that failed as a whole counts
        once, under no stream. A request of which no stream had data gives no row and no day.

        Raises:
            RegistryUnavailable: if its network needs a registry and there is none.
        """
        self.requests += 1
        month = _month(request.day)
        if request.deliveries is None:
            failed = self._of((month, *_OF_NO_STREAM, request.country))
            failed.unsuccessful += 1
            failed.clients.add(request.client)
            self._days.add(request.day)
        elif request.deliveries:
            self._days.add(request.day)
            for stream, size in request.deliveries:
                sums = self._by_stream.get((stream, month, request.country))
                if sums is None:
                    sums = self._of_stream(stream, month, request.country)
                sums.bytes += size
                sums.successful += 1
                sums.clients.add(request.client)

    @property
    def unregistered(self) -> dict[str, int]:
        """The temporary networks that the registry does not know, with their deliveries."""
        found: Counter[str] = Counter()
        for (_, network, *_), sums in self._sums.items():
            if is_temporary(network):
                found[network] += sums.successful
        return dict(found)

    def payload(self, generated_at: datetime.datetime) -> Payload:
        """Give the aggregates, sorted by key."""
        rows = [_row(key, self._sums[key]) for key in sorted(self._sums)]
        return Payload(
            generated_at=f"{generated_at:%Y-%m-%d %H:%M:%S}",
            version=__version__,
            days_coverage=sorted(self._days),
            aggregation_score=round(self.requests / len(rows)) if rows else 0,
            stats=rows,
        )

    def _of(self, key: Key) -> _Sums:
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = _Sums()
        return sums

    def _of_stream(self, stream: Stream, month: datetime.date, country: str) -> _Sums:
        network = self._registry.extend(stream.network, stream.start)
        sums = self._of((month, network, stream.station, stream.location, stream.channel, country))
        self._by_stream[stream, month, country] = sums
        return sums


@lru_cache(maxsize=1024)
def _month(day: datetime.date) -> datetime.date:
    return day.replace(day=1)


def _row(key: Key, sums: _Sums) -> Row:
    return Row(
        *key,
        bytes=sums.bytes,
        nb_requests=sums.successful + sums.unsuccessful,
        nb_successful_requests=sums.successful,
        nb_unsuccessful_requests=sums.unsuccessful,
        clients=hll.to_hex(sums.clients.to_bytes()),
    )
