"""The clients of many groups, in little memory."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll

# A pair of a group and a client is one number: hashes of clients have 32 bits.
_HASH_BITS = 32
_LOWEST_HASH = -(1 << 31)
_HASH_MASK = (1 << _HASH_BITS) - 1

# Below so many pairs, all of them take less than 16 MB. Registers take as much as 256 pairs.
_FOLD_FROM = 1 << 21
_FOLD_ABOVE = 512

_EXPLICIT = hll.to_hex(bytes([hll.VERSION << 4 | hll.EXPLICIT_KIND]) + hll.PARAMETERS)
_EMPTY = hll.to_hex(hll.EMPTY)
_HEX_DIGITS = 16


class ClientSets:
    """A set of clients for each of many groups, which have numbers from 0. A client takes 8 bytes in each set.

    Args:
        fold_from: the number of pairs from which on the clients of large groups are kept as registers.
    """

    def __init__(self, fold_from: int = _FOLD_FROM) -> None:
        self._pairs = np.empty(0, dtype=np.int64)
        self._added: list[NDArray[np.int64]] = []
        self._size_added = 0
        self._registers: dict[int, NDArray[np.uint8]] = {}
        self._fold_from = fold_from

    def add(self, groups: NDArray[np.int64], clients: NDArray[np.int64]) -> None:
        """Add clients, each to its group. Clients are signed hashes of 32 bits, see `hll.hash_client`."""
        pairs = _sort_unique(groups << _HASH_BITS | clients - _LOWEST_HASH)
        self._added.append(pairs)
        self._size_added += len(pairs)
        if self._size_added > max(len(self._pairs), self._fold_from // 8):
            self._join()
            if len(self._pairs) > self._fold_from:
                self._fold()

    def encode(self, count: int) -> list[str]:
        """Return the sketches of the groups from 0 to `count` - 1, in hexadecimal."""
        self._join()
        hashes = (self._pairs & _HASH_MASK) + _LOWEST_HASH
        bounds = self._find_bounds(count)
        digits = hashes.astype(">i8").tobytes().hex()
        sketches = []
        for group, (start, end) in enumerate(pairwise(bounds)):
            if group in self._registers:
                registers = np.maximum(self._registers[group], hll.compute_registers(hashes[start:end]))
                sketches.append(hll.to_hex(hll.encode_registers(registers)))
            elif end - start > hll.EXPLICIT_MAX:
                sketches.append(hll.to_hex(hll.encode(hashes[start:end])))
            elif end > start:
                sketches.append(_EXPLICIT + digits[start * _HEX_DIGITS : end * _HEX_DIGITS])
            else:
                sketches.append(_EMPTY)
        return sketches

    def _join(self) -> None:
        """Join all pairs, sorted, none twice."""
        if self._added:
            self._pairs = _sort_unique(np.concatenate((self._pairs, *self._added)))
            self._added, self._size_added = [], 0

    def _fold(self) -> None:
        """Turn the clients of large groups into registers."""
        count = int(self._pairs[-1] >> _HASH_BITS) + 1
        bounds = self._find_bounds(count)
        kept = []
        for group, (start, end) in enumerate(pairwise(bounds)):
            pairs = self._pairs[start:end]
            if group not in self._registers and end - start <= _FOLD_ABOVE:
                kept.append(pairs)
                continue
            registers = hll.compute_registers((pairs & _HASH_MASK) + _LOWEST_HASH)
            known = self._registers.get(group, registers)
            self._registers[group] = np.maximum(known, registers)
        self._pairs = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
        # Small groups may be many: look again only once there are twice as many.
        self._fold_from = max(self._fold_from, 2 * len(self._pairs))

    def _find_bounds(self, count: int) -> list[int]:
        """Return the places of the pairs at which each group begins, and the end of the last one."""
        starts = np.arange(count + 1, dtype=np.int64) << _HASH_BITS
        bounds: list[int] = np.searchsorted(self._pairs, starts).tolist()
        return bounds


def _sort_unique(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct numbers, sorted. `numpy.unique` uses a hash table, which takes ten times as long."""
    numbers = np.sort(numbers)
    is_new = np.empty(len(numbers), dtype=np.bool_)
    is_new[:1] = True
    np.not_equal(numbers[1:], numbers[:-1], out=is_new[1:])
    return numbers[is_new]
