"""Add up the rows of payloads with some keys, column by column."""

from collections.abc import Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll
from eida_statistics.client_sets import ClientSets
from eida_statistics.encoding import Reader, UnreadablePayload, encode_key
from eida_statistics.errors import InvalidSketch
from eida_statistics.payload import COUNTS, Key, Row

_EXPLICIT = hll.to_hex(hll.EXPLICIT_HEADER)
_HEADER_DIGITS, _HEX_DIGITS = len(_EXPLICIT), 16
_GET_COUNTS, _GET_CLIENTS = tuple(map(attrgetter, COUNTS)), attrgetter("clients")
# A long hash takes as much memory as so many short ones.
_CLIENTS_OF_LONG_HASH = 10
# Larger sums become this one, for which no database has room. With another count, of 53 bits, it fits into 64 bits.
_TOO_LARGE = np.uint64(1 << 63)


class KeySums:
    """The sums of rows with some keys over several payloads.

    Args:
        keys: the keys.
        most_clients: bounds the memory. If the keys have more clients together, the last ones are dropped.
    """

    def __init__(self, keys: Sequence[Key], most_clients: int) -> None:
        self._keys = keys
        self._most_clients = most_clients
        self._numbers = {encode_key(key): number for number, key in enumerate(keys)}
        self._counts = np.zeros((len(COUNTS), len(keys)), dtype=np.uint64)
        self._found = np.zeros(len(keys), dtype=np.bool_)
        self._clients = ClientSets()
        # Hashes of more than 32 bits, which sketches of other aggregators may have.
        self._long_hashes: dict[int, set[int]] = {}

    @property
    def keys(self) -> Sequence[Key]:
        """The keys that were not dropped."""
        return self._keys

    def add(self, payload: Reader) -> None:
        """Add the rows of a payload.

        Raises:
            UnreadablePayload: if the payload is damaged.
        """
        for found, sums in payload.find_rows(self._numbers):
            if len(set(found)) < len(found):
                raise UnreadablePayload("it has a key twice")
            numbers = np.array(found, dtype=np.int64)
            self._found[numbers] = True
            for column, get_count in zip(self._counts, _GET_COUNTS, strict=True):
                added = np.fromiter(map(get_count, sums), np.uint64, len(sums))
                column[numbers] = np.minimum(column[numbers] + added, _TOO_LARGE)
            try:
                self._add_clients(numbers, list(map(_GET_CLIENTS, sums)))
            except (InvalidSketch, ValueError) as error:
                raise UnreadablePayload("a sketch is not valid") from error
            if self._count_clients() > self._most_clients:
                self._shrink()

    def make_rows(self) -> list[Row]:
        """Return the sums of all keys that were found, in the order of the keys."""
        sketches = self._clients.encode(np.arange(len(self._keys)))
        for number, hashes in self._long_hashes.items():
            sketches[number] = hll.to_hex(hll.unite([hll.from_hex(sketches[number]), hll.encode(hashes)]))
        found = np.flatnonzero(self._found).tolist()
        codes = zip(*(self._keys[number] for number in found), strict=True)
        return list(map(Row, *codes, *self._counts[:, found].tolist(), (sketches[number] for number in found)))

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
        for key in self._keys[kept:]:
            del self._numbers[encode_key(key)]
        self._keys = self._keys[:kept]
        self._counts, self._found = self._counts[:, :kept].copy(), self._found[:kept].copy()
        self._clients.drop(kept)
        self._long_hashes = {number: found for number, found in self._long_hashes.items() if number < kept}

    def _add_clients(self, numbers: NDArray[np.int64], sketches: list[str]) -> None:
        """Add the sketches of some keys. Most list a few clients, and are read together.

        Raises:
            InvalidSketch, ValueError: if a sketch is not valid.
        """
        digits = [sketch[_HEADER_DIGITS:] if sketch[:_HEADER_DIGITS] == _EXPLICIT else "" for sketch in sketches]
        sizes = np.fromiter(map(len, digits), np.int64, len(digits))
        for place in np.flatnonzero(sizes == 0).tolist():
            if (sketch := hll.canonicalize(hll.from_hex(sketches[place]))) != hll.EMPTY:
                self._clients.add_registers(int(numbers[place]), hll.decode_registers(sketch))
        listed = bytes.fromhex("".join(digits))
        if (sizes % _HEX_DIGITS).any() or 2 * len(listed) != sizes.sum():
            raise InvalidSketch("explicit, and not of whole hashes")
        hashes = np.frombuffer(listed, dtype=">i8").astype(np.int64)
        groups = np.repeat(numbers, sizes // _HEX_DIGITS)
        is_short = hashes == hashes.astype(np.int32)
        self._clients.add(groups[is_short], hashes[is_short])
        if not is_short.all():
            self._add_long_hashes(groups[~is_short].tolist(), hashes[~is_short].tolist())

    def _add_long_hashes(self, groups: list[int], hashes: list[int]) -> None:
        for group, client in zip(groups, hashes, strict=True):
            self._long_hashes.setdefault(group, set()).add(client)
        # So many clients become registers in any case, which take less memory.
        for group in {group for group in groups if len(self._long_hashes[group]) > hll.EXPLICIT_MAX}:
            found = self._long_hashes.pop(group)
            self._clients.add_registers(group, hll.compute_registers(np.fromiter(found, np.int64, len(found))))
