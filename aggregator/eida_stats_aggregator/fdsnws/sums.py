"""The sums of aggregates, column by column."""

import numpy as np
from numpy.typing import NDArray

from eida_statistics.client_sets import ClientSets

# After how many deliveries they are added up.
_AT_ONCE = 1 << 16
# Bytes can exceed 64 bits, so their sums are pairs of numbers. The lower one has so many bits.
_LOWER_BITS = 40
_LOWER_MASK = (1 << _LOWER_BITS) - 1

Numbers = NDArray[np.int64]


class AggregateSums:
    """The sums of aggregates: bytes, requests and clients.

    The caller chooses the integers of 64 bits that stand for aggregates. Here they also have numbers from 0: new
    ones get the next number.

    Many requests are added at once by `add` and `add_failed`. For a single one, `aggregates` and `sizes` take its
    deliveries: the aggregate, and the bytes, at most 2^40. Then call `end_request`.
    """

    def __init__(self) -> None:
        self.aggregates: list[int] = []
        self.sizes: list[int] = []
        self._clients: list[int] = []
        self._ends: list[int] = []
        self._failed: list[tuple[int, int]] = []
        # Columns of deliveries and of failed requests that are not added up yet.
        self._delivered: list[tuple[Numbers, Numbers, Numbers]] = []
        self._failures: list[tuple[Numbers, Numbers]] = []
        self._waiting = 0
        # All aggregates in order, and their numbers.
        self._sorted = _NONE
        self._numbers = _NONE
        # By number: the upper and lower numbers of the bytes, the successful and the unsuccessful requests.
        self._counts = np.zeros((4, 0), dtype=np.int64)
        self._client_sets = ClientSets()

    def __len__(self) -> int:
        """Return the number of aggregates."""
        self._add_up()
        return len(self._sorted)

    def add(self, aggregates: Numbers, sizes: Numbers, clients: Numbers) -> None:
        """Add deliveries: the aggregate, the bytes and the client of each."""
        if len(aggregates):
            self._delivered.append((aggregates, sizes, clients))
            self._wait(len(aggregates))

    def add_failed(self, aggregates: Numbers, clients: Numbers) -> None:
        """Add requests that failed as a whole: the aggregate and the client of each."""
        if len(aggregates):
            self._failures.append((aggregates, clients))
            self._wait(len(aggregates))

    def end_request(self, client: int) -> None:
        """Add the client of the deliveries that were added since the last call."""
        self._clients.append(client)
        self._ends.append(len(self.aggregates))
        if len(self.aggregates) >= _AT_ONCE:
            self._add_up()

    def end_failed_request(self, aggregate: int, client: int) -> None:
        """Add a request that failed as a whole, with its aggregate and its client."""
        self._failed.append((aggregate, client))
        if len(self._failed) >= _AT_ONCE:
            self._add_up()

    def merge(self, other: "AggregateSums", aggregates: Numbers) -> None:
        """Add other sums; `aggregates` has those of their numbers here."""
        self._add_up()
        other._add_up()
        numbers = self._find(aggregates)
        self._counts[:, numbers] += other._counts
        self._carry()
        self._client_sets.merge(other._client_sets, numbers)

    def fold(self) -> None:
        """Keep the clients of large aggregates as registers, as is done in any case if they are many."""
        self._add_up()
        self._client_sets.fold()

    def settle(self) -> None:
        """Add up and sort what was added. Otherwise each process that is forked later would do it again."""
        self._add_up()
        self._client_sets.join()

    def list_aggregates(self) -> Numbers:
        """Return all aggregates, in the order of their numbers."""
        self._add_up()
        aggregates = np.empty_like(self._sorted)
        aggregates[self._numbers] = self._sorted
        return aggregates

    def list_bytes(self, numbers: Numbers) -> list[int]:
        """Return the bytes of some aggregates."""
        self._add_up()
        upper, lower = self._counts[:2, numbers].tolist()
        return [(most << _LOWER_BITS) + rest for most, rest in zip(upper, lower, strict=True)]

    def add_up_bytes(self) -> int:
        """Return the bytes of all aggregates together."""
        self._add_up()
        # As integers of Python, which have no limit.
        upper, lower = self._counts[:2].sum(axis=1, dtype=object)
        return int((upper << _LOWER_BITS) + lower)

    def count_requests(self) -> Numbers:
        """Return the numbers of successful requests in a row, and those of unsuccessful ones in a second one."""
        self._add_up()
        return self._counts[2:]

    def encode_clients(self, numbers: Numbers) -> list[str]:
        """Return the sketches of the clients of some aggregates, in hexadecimal."""
        self._add_up()
        return self._client_sets.encode(numbers)

    def unite_clients(self) -> bytes:
        """Return the sketch of all clients."""
        self._add_up()
        return self._client_sets.unite()

    def __getstate__(self) -> tuple[Numbers, Numbers, Numbers, ClientSets]:
        self._add_up()
        return self._sorted, self._numbers, self._counts, self._client_sets

    def __setstate__(self, state: tuple[Numbers, Numbers, Numbers, ClientSets]) -> None:
        self.__init__()  # type: ignore[misc]
        self._sorted, self._numbers, self._counts, self._client_sets = state

    def _wait(self, count: int) -> None:
        self._waiting += count
        if self._waiting >= _AT_ONCE:
            self._add_up()

    def _add_up(self) -> None:
        """Add up what was added since the last time."""
        if self._ends or self._failed:
            self._collect_requests()
        if not self._delivered and not self._failures:
            return
        delivered, sizes, clients = map(np.concatenate, zip((_NONE, _NONE, _NONE), *self._delivered, strict=True))
        failed, failed_clients = map(np.concatenate, zip((_NONE, _NONE), *self._failures, strict=True))
        self._delivered, self._failures, self._waiting = [], [], 0
        every = self._find(np.concatenate((delivered, failed)))
        delivered, failed = every[: len(sizes)], every[len(sizes) :]
        _, lower, successful, unsuccessful = self._counts
        np.add.at(lower, delivered, sizes)
        self._carry()
        successful += np.bincount(delivered, minlength=len(successful))
        unsuccessful += np.bincount(failed, minlength=len(unsuccessful))
        self._client_sets.add(every, np.concatenate((clients, failed_clients)))

    def _collect_requests(self) -> None:
        """Let the single requests wait with the others."""
        end = self._ends[-1] if self._ends else 0
        clients = np.repeat(_to_numbers(self._clients), np.diff(_to_numbers(self._ends), prepend=0))
        self._delivered.append((_to_numbers(self.aggregates[:end]), _to_numbers(self.sizes[:end]), clients))
        failed, failed_clients = _to_numbers(self._failed).reshape(-1, 2).T
        self._failures.append((failed, failed_clients))
        for column in (self.aggregates, self.sizes, self._clients, self._ends, self._failed):
            column.clear()

    def _find(self, aggregates: Numbers) -> Numbers:
        """Return the numbers of aggregates; new ones get the next numbers."""
        # In order, they are found several times as fast.
        order = np.argsort(aggregates)
        in_order = aggregates[order]
        is_first = np.ones(len(aggregates), dtype=np.bool_)
        np.not_equal(in_order[1:], in_order[:-1], out=is_first[1:])
        distinct = in_order[is_first]
        self._insert(distinct)
        numbers = np.empty_like(aggregates)
        numbers[order] = self._numbers[np.searchsorted(self._sorted, distinct)][np.cumsum(is_first) - 1]
        return numbers

    def _insert(self, aggregates: Numbers) -> None:
        """Make room for those of the aggregates that are new."""
        places = np.searchsorted(self._sorted, aggregates)
        is_new = np.ones(len(aggregates), dtype=np.bool_)
        within = places < len(self._sorted)
        is_new[within] = self._sorted[places[within]] != aggregates[within]
        places, new = places[is_new], aggregates[is_new]
        if len(new):
            self._numbers = np.insert(self._numbers, places, np.arange(len(new)) + len(self._sorted))
            self._sorted = np.insert(self._sorted, places, new)
            self._counts = np.concatenate((self._counts, np.zeros((4, len(new)), dtype=np.int64)), axis=1)

    def _carry(self) -> None:
        """Carry what the lower numbers of the bytes have too much."""
        upper, lower = self._counts[:2]
        upper += lower >> _LOWER_BITS
        lower &= _LOWER_MASK


_NONE = np.zeros(0, dtype=np.int64)


def _to_numbers(column: "list[int] | list[tuple[int, int]]") -> Numbers:
    return np.array(column, dtype=np.int64)
