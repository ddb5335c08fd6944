"""Add up the rows of payloads with some keys, column by column."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll
from eida_statistics.client_sets import ClientSets
from eida_statistics.packed_rows import RowColumns
from eida_statistics.payload import COUNTS, Key, Row

# A long hash takes as much memory as so many short ones.
_CLIENTS_OF_LONG_HASH = 10
# Counts are added up in two halves, so that no sum exceeds 64 bits.
_HALF_BITS = 32
_LOWER_HALF = (1 << _HALF_BITS) - 1
_Value = TypeVar("_Value", bound=Hashable)


class KeySums:
    """The sums of rows with some keys over several payloads.

    Args:
        keys: the keys.
        most_clients: bounds the memory. If the keys have more clients together, the last ones are dropped.
        by_network: whether the sums are those of networks and countries. Station, location and channel of the keys
            are empty then.
    """

    def __init__(self, keys: Sequence[Key], most_clients: int, *, by_network: bool = False) -> None:
        self._keys = keys
        self._most_clients = most_clients
        self._by_network = by_network
        self._index = _Index(keys, by_network=by_network)
        # Two halves of each count.
        self._counts = np.zeros((len(COUNTS), 2, len(keys)), dtype=np.int64)
        self._found = np.zeros(len(keys), dtype=np.bool_)
        self._clients = ClientSets()
        # Hashes of more than 32 bits, which sketches of other aggregators may have.
        self._long_hashes: dict[int, set[int]] = {}

    @property
    def keys(self) -> Sequence[Key]:
        """The keys that were not dropped."""
        return self._keys

    def add(self, rows: RowColumns) -> None:
        """Add some rows of a payload."""
        numbers = self._index.find(rows)
        is_found = numbers >= 0
        found = numbers[is_found]
        if not len(found):
            return
        self._found[found] = True
        for (lower, upper), column in zip(self._counts, rows.counts, strict=True):
            counts = column.to_array()[is_found]
            np.add.at(lower, found, counts & _LOWER_HALF)
            if counts.max(initial=0) > _LOWER_HALF:
                np.add.at(upper, found, counts >> _HALF_BITS)
        self._add_clients(numbers, rows)
        if self._count_clients() > self._most_clients:
            self._shrink()

    def make_rows(self) -> list[Row]:
        """Return the sums of all keys that were found, in the order of the keys."""
        sketches = self._clients.encode(np.arange(len(self._keys)))
        for number, hashes in self._long_hashes.items():
            sketches[number] = hll.to_hex(hll.unite([hll.from_hex(sketches[number]), hll.encode(hashes)]))
        found = np.flatnonzero(self._found)
        lower, upper = self._counts[:, 0, found], self._counts[:, 1, found]
        # As integers of Python, which may have more than 64 bits.
        counts = ((upper.astype(object) << _HALF_BITS) + lower).tolist()
        codes = zip(*(self._keys[number] for number in found.tolist()), strict=True)
        return list(map(Row, *codes, *counts, (sketches[number] for number in found.tolist())))

    def _count_clients(self) -> int:
        """Return the number of clients in memory. A long hash counts as many as it takes."""
        return self._clients.size + _CLIENTS_OF_LONG_HASH * sum(map(len, self._long_hashes.values()))

    def _shrink(self) -> None:
        self._clients.fold()
        # To half of the bound, so that it is not reached again at once.
        while len(self._keys) > 1 and self._count_clients() > self._most_clients // 2:
            self._drop_half()

    def _drop_half(self) -> None:
        kept = len(self._keys) // 2
        self._keys = self._keys[:kept]
        self._index = _Index(self._keys, by_network=self._by_network)
        self._counts, self._found = self._counts[..., :kept].copy(), self._found[:kept].copy()
        self._clients.drop(kept)
        self._long_hashes = {number: found for number, found in self._long_hashes.items() if number < kept}

    def _add_clients(self, numbers: NDArray[np.int64], rows: RowColumns) -> None:
        groups = np.repeat(numbers, rows.sizes.to_array())
        is_found = groups >= 0
        groups, hashes = groups[is_found], rows.hashes.to_array()[is_found]
        is_short = hashes == hashes.astype(np.int32)
        self._clients.add(groups[is_short], hashes[is_short])
        if not is_short.all():
            self._add_long_hashes(groups[~is_short].tolist(), hashes[~is_short].tolist())
        for place, sketch in rows.sketches.items():
            number = int(numbers[place])
            if number >= 0 and sketch != hll.EMPTY:
                self._clients.add_registers(number, hll.decode_registers(sketch))

    def _add_long_hashes(self, groups: list[int], hashes: list[int]) -> None:
        for group, client in zip(groups, hashes, strict=True):
            self._long_hashes.setdefault(group, set()).add(client)
        # So many clients become registers in any case, which take less memory.
        for group in {group for group in groups if len(self._long_hashes[group]) > hll.EXPLICIT_MAX}:
            found = self._long_hashes.pop(group)
            self._clients.add_registers(group, hll.compute_registers(np.fromiter(found, np.int64, len(found))))


class _Index:
    """Finds the keys of rows among some keys, which have numbers from 0."""

    def __init__(self, keys: Sequence[Key], *, by_network: bool) -> None:
        self._by_network = by_network
        self._months, months = _number([month for month, *_ in keys])
        self._networks, networks = _number([network for _, network, *_ in keys])
        self._streams, streams = _number([key[1:5] for key in keys])
        self._countries, countries = _number([country for *_, country in keys])
        codes = self._combine(months, networks if by_network else streams, countries)
        self._order = np.argsort(codes)
        self._codes = codes[self._order]

    def find(self, rows: RowColumns) -> NDArray[np.int64]:
        """Return the number of the key of each row, or -1."""
        if self._by_network:
            streams = _find(self._networks, rows.networks)[rows.network_of_stream.to_array()]
        else:
            streams = _find(self._streams, rows.streams)
        parts = (
            _find(self._months, rows.months)[rows.month_of_row.to_array()],
            streams[rows.stream_of_row.to_array()],
            _find(self._countries, rows.countries)[rows.country_of_row.to_array()],
        )
        is_known = np.minimum.reduce(parts) >= 0
        codes = self._combine(*parts)
        places = np.searchsorted(self._codes, codes)
        places[places == len(self._codes)] = 0
        is_known &= self._codes[places] == codes
        return np.where(is_known, self._order[places], -1)

    def _combine(
        self, months: NDArray[np.int64], streams: NDArray[np.int64], countries: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return one number for each key."""
        return (months * len(self._streams) + streams) * len(self._countries) + countries


def _number(values: Sequence[_Value]) -> tuple[dict[_Value, int], NDArray[np.int64]]:
    """Return a number for each distinct value, and that of each value."""
    numbers: dict[_Value, int] = {}
    found = (numbers.setdefault(value, len(numbers)) for value in values)
    return numbers, np.fromiter(found, np.int64, len(values))


def _find(numbers: Mapping[_Value, int], values: Sequence[_Value]) -> NDArray[np.int64]:
    """Return the number of each value, or -1."""
    return np.fromiter((numbers.get(value, -1) for value in values), np.int64, len(values))
