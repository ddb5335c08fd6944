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
    """The sums of aggregates, which have numbers from 0: bytes, requests and clients.

    `numbers` and `sizes` take the deliveries of a request: the aggregate, and the bytes, at most 2^40. Then call
    `end_request`.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.sizes: list[int] = []
        self._clients: list[int] = []
        self._ends: list[int] = []
        self._failed: list[tuple[int, int]] = []
        # The upper and lower numbers of the bytes, the successful and the unsuccessful requests.
        self._counts = np.zeros((4, 0), dtype=np.int64)
        self._client_sets = ClientSets()

    def end_request(self, client: int) -> None:
        """Add the client of the deliveries that were added since the last call."""
        self._clients.append(client)
        self._ends.append(len(self.numbers))
        if len(self.numbers) >= _AT_ONCE:
            self._add_up()

    def add_failed(self, number: int, client: int) -> None:
        """Add a request that failed as a whole, with its aggregate and its client."""
        self._failed.append((number, client))
        if len(self._failed) >= _AT_ONCE:
            self._add_up()

    def merge(self, other: "AggregateSums", numbers: Numbers) -> None:
        """Add other sums; `numbers` has the number that each of their aggregates has here."""
        self._add_up()
        other._add_up()
        numbers = numbers[: other._counts.shape[1]]
        self._grow(numbers)
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

    def __getstate__(self) -> tuple[Numbers, ClientSets]:
        self._add_up()
        return self._counts, self._client_sets

    def __setstate__(self, state: tuple[Numbers, ClientSets]) -> None:
        self.__init__()  # type: ignore[misc]
        self._counts, self._client_sets = state

    def _add_up(self) -> None:
        """Add up what was added since the last time."""
        if not self._ends and not self._failed:
            return
        end = self._ends[-1] if self._ends else 0
        delivered, sizes = _to_numbers(self.numbers[:end]), _to_numbers(self.sizes[:end])
        clients = np.repeat(_to_numbers(self._clients), np.diff(_to_numbers(self._ends), prepend=0))
        failed, failed_clients = _to_numbers(self._failed).reshape(-1, 2).T
        every = np.concatenate((delivered, failed))
        self._grow(every)
        _, lower, successful, unsuccessful = self._counts
        np.add.at(lower, delivered, sizes)
        self._carry()
        successful += np.bincount(delivered, minlength=len(successful))
        unsuccessful += np.bincount(failed, minlength=len(unsuccessful))
        self._client_sets.add(every, np.concatenate((clients, failed_clients)))
        for column in (self.numbers, self.sizes, self._clients, self._ends, self._failed):
            column.clear()

    def _grow(self, numbers: Numbers) -> None:
        """Make room for aggregates with these numbers."""
        more = int(numbers.max(initial=-1)) + 1 - self._counts.shape[1]
        if more > 0:
            self._counts = np.concatenate((self._counts, np.zeros((4, more), dtype=np.int64)), axis=1)

    def _carry(self) -> None:
        """Carry what the lower numbers of the bytes have too much."""
        upper, lower = self._counts[:2]
        upper += lower >> _LOWER_BITS
        lower &= _LOWER_MASK


def _to_numbers(column: "list[int] | list[tuple[int, int]]") -> Numbers:
    return np.array(column, dtype=np.int64)
