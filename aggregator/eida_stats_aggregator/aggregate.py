"""Requests to monthly aggregates."""

import datetime
from collections import Counter

from eida_statistics import __version__, hll
from eida_statistics.networks import Registry
from eida_statistics.payload import Key, Payload, Row
from eida_stats_aggregator.requestlog import Delivery, Request

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

    The order in which requests are added does not matter. `requests` counts them, `unregistered` counts the
    deliveries of each temporary network that the registry does not know.
    """

    def __init__(self, registry: Registry) -> None:
        self.requests = 0
        self.unregistered: Counter[str] = Counter()
        self._registry = registry
        self._days: set[datetime.date] = set()
        self._sums: dict[Key, _Sums] = {}

    def add(self, request: Request) -> None:
        """Add one request.

        Each stream that got data counts one request and its bytes; a request that failed as a whole counts
        once, under no stream. A request of which no stream had data gives no row and no day.

        Raises:
            RegistryUnavailable: if its network needs a registry and there is none.
        """
        self.requests += 1
        month = request.day.replace(day=1)
        if request.deliveries is None:
            failed = self._of((month, *_OF_NO_STREAM, request.country))
            failed.unsuccessful += 1
            failed.clients.add(request.client)
            self._days.add(request.day)
        for delivery in request.deliveries or ():
            key = (month, self._extended(delivery), *delivery[1:4], request.country)
            sums = self._of(key)
            sums.bytes += delivery.bytes
            sums.successful += 1
            sums.clients.add(request.client)
            self._days.add(request.day)

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

    def _extended(self, delivery: Delivery) -> str:
        extended = self._registry.extend(delivery.network, delivery.start)
        if not extended.registered:
            self.unregistered[delivery.network] += 1
        return extended.code


def _row(key: Key, sums: _Sums) -> Row:
    return Row(
        *key,
        bytes=sums.bytes,
        nb_requests=sums.successful + sums.unsuccessful,
        nb_successful_requests=sums.successful,
        nb_unsuccessful_requests=sums.unsuccessful,
        clients=hll.to_hex(sums.clients.to_bytes()),
    )
