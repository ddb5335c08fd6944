"""Store the events of requests that wait at the same time in one transaction: each commit waits for the disk."""

import threading
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from eida_statistics.connections import MAX_RECORDS, Record
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.errors import Unavailable
from eida_stats_webservice.registry.models import Arrival, Node


@dataclass(eq=False)
class _Waiting:
    """A request that waits.

    Attributes:
        records: its events.
        woken: set when it is done, or when it is the next one that stores.
        is_done: whether another request has tried to store its events.
        error: why they were not stored.
    """

    records: Sequence[Record]
    woken: threading.Event = field(default_factory=threading.Event)
    is_done: bool = False
    error: EidaStatisticsError | None = None


class Collector:
    """Collects the requests of each node. One of them stores the events of all, while others gather behind it."""

    def __init__(self, intake: ConnectionIntake) -> None:
        self._intake = intake
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[_Waiting]] = defaultdict(list)
        self._storing: set[Hashable] = set()

    def store(self, node: Node, records: Sequence[Record], arrival: Arrival | None) -> None:
        """Store records, together with those of other requests with the same token. Return after the commit.

        It raises the exceptions of `ConnectionIntake.store`. Only the request at fault gets them.
        """
        key = (node.id, arrival)
        own = _Waiting(records)
        with self._lock:
            self._waiting[key].append(own)
            is_storing = key not in self._storing
            self._storing.add(key)
        if not is_storing:
            own.woken.wait()
        if not own.is_done:
            self._store_waiting(key, node, arrival)
        if own.error is not None:
            raise own.error

    def _store_waiting(self, key: Hashable, node: Node, arrival: Arrival | None) -> None:
        """Store what waits now, and let the first request that has come since then store the rest."""
        with self._lock:
            batch = _take(self._waiting[key])
        for one in batch:
            # Counts if an unexpected exception ends this request, which is the first of them.
            one.error = Unavailable()
        try:
            self._store_batch(batch, node, arrival)
        finally:
            with self._lock:
                waiting = self._waiting[key]
                if waiting:
                    waiting[0].woken.set()
                else:
                    self._storing.discard(key)
                    del self._waiting[key]
            for one in batch:
                one.is_done = True
                one.woken.set()

    def _store_batch(self, batch: Sequence[_Waiting], node: Node, arrival: Arrival | None) -> None:
        """Store the events of some requests, or note why that failed."""
        error: EidaStatisticsError | None = None
        try:
            self._intake.store(node, [record for one in batch for record in one.records], arrival)
        except EidaStatisticsError as caught:
            if len(batch) > 1 and caught.http_status < 500:
                # One of them is at fault.
                for one in batch:
                    self._store_batch([one], node, arrival)
                return
            error = caught
        for one in batch:
            one.error = error


def _take(waiting: list[_Waiting]) -> list[_Waiting]:
    """Remove and return the first requests, with at most `MAX_RECORDS` records unless the first one has more."""
    count = number = 0
    for one in waiting:
        count += len(one.records)
        if number and count > MAX_RECORDS:
            break
        number += 1
    taken = waiting[:number]
    del waiting[:number]
    return taken
