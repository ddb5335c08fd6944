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
_PAIRS_OF_REGISTERS = 256

_EMPTY = hll.to_hex(hll.EMPTY)
# Bounds the memory: the clients of so many groups are written at once.
_GROUPS_AT_ONCE = 1 << 12
# So are the registers of so many.
_REGISTERS_AT_ONCE = 1 << 8


class ClientSets:
    """A set of clients for each of many groups, which have numbers from 0. A client takes 8 bytes in each set.

    Args:
        fold_from: the number of pairs from which on the clients of large groups are kept as registers.
    """

    def __init__(self, fold_from: int = _FOLD_FROM) -> None:
        self._pairs = np.empty(0, dtype=np.int64)
        # The places at which groups begin in the pairs, or none until they are needed.
        self._bounds = np.empty(0, dtype=np.int64)
        self._added: list[NDArray[np.int64]] = []
        self._size_added = 0
        self._registers: dict[int, NDArray[np.uint8]] = {}
        self._first_fold_from = self._fold_from = fold_from

    @property
    def size(self) -> int:
        """The number of pairs in memory. Some may be equal, and registers count as many pairs as they take."""
        return len(self._pairs) + self._size_added + _PAIRS_OF_REGISTERS * len(self._registers)

    def add(self, groups: NDArray[np.int64], clients: NDArray[np.int64]) -> None:
        """Add clients, each to its group. Clients are signed hashes of 32 bits, see `hll.hash_client`."""
        pairs = hll.sort_unique(groups << _HASH_BITS | clients - _LOWEST_HASH)
        self._added.append(pairs)
        self._size_added += len(pairs)
        if self._size_added > max(len(self._pairs), self._fold_from // 8):
            self.join()
            if len(self._pairs) > self._fold_from:
                self.fold()

    def merge(self, other: "ClientSets", groups: NDArray[np.int64]) -> None:
        """Add the clients of other sets; `groups` has the number that each of their groups has here."""
        other.join()
        self.add(groups[other._pairs >> _HASH_BITS], _get_hashes(other._pairs))
        for theirs, registers in other._registers.items():
            self.add_registers(int(groups[theirs]), registers)

    def add_registers(self, group: int, registers: NDArray[np.uint8]) -> None:
        """Add clients to a group that are known by their registers only."""
        known = self._registers.get(group)
        self._registers[group] = registers if known is None else np.maximum(known, registers)

    def drop(self, first: int) -> None:
        """Remove the clients of a group and of all after it."""
        self.join()
        end = np.searchsorted(self._pairs, np.int64(first) << _HASH_BITS)
        self._set_pairs(self._pairs[:end].copy())
        self._registers = {group: found for group, found in self._registers.items() if group < first}
        self._fold_from = max(self._first_fold_from, 2 * len(self._pairs))

    def unite(self) -> bytes:
        """Return the sketch of the clients of all groups together."""
        self.join()
        hashes = _get_hashes(self._pairs)
        if not self._registers:
            return hll.encode(hashes)
        registers = [hll.compute_registers(hashes), *self._registers.values()]
        return hll.encode_registers(np.maximum.reduce(registers))

    def fold(self) -> None:
        """Turn the clients of large groups into registers."""
        self.join()
        count = int(self._pairs[-1] >> _HASH_BITS) + 1 if len(self._pairs) else 0
        kept = []
        for group, (start, end) in enumerate(pairwise(self._find_bounds(count).tolist())):
            pairs = self._pairs[start:end]
            if group not in self._registers and end - start <= _FOLD_ABOVE:
                kept.append(pairs)
            elif len(pairs):
                self.add_registers(group, hll.compute_registers(_get_hashes(pairs)))
        self._set_pairs(np.concatenate(kept) if kept else np.empty(0, dtype=np.int64))
        # Small groups may be many: look again only once there are twice as many.
        self._fold_from = max(self._fold_from, 2 * len(self._pairs))

    def encode(self, groups: NDArray[np.int64]) -> list[str]:
        """Return the sketches of some groups, in hexadecimal."""
        self.join()
        sketches: list[str] = []
        for start in range(0, len(groups), _GROUPS_AT_ONCE):
            sketches += self._encode_some(groups[start : start + _GROUPS_AT_ONCE])
        return sketches

    def _encode_some(self, groups: NDArray[np.int64]) -> list[str]:
        # To find all groups in order takes less time than to find some in any order.
        count = int(groups.max(initial=0)) + 1
        if len(self._bounds) <= count:
            self._bounds = self._find_bounds(count)
        starts, ends = self._bounds[groups], self._bounds[groups + 1]
        bounds = np.concatenate(([0], np.cumsum(ends - starts)))
        digits = _get_hashes(self._pairs[_list_places(starts, ends)]).astype(">i8").tobytes().hex()
        sketches = [
            hll.EXPLICIT_HEX + digits[start:end] if start < end else _EMPTY
            for start, end in pairwise((bounds * hll.HASH_DIGITS).tolist())
        ]
        is_large = ends - starts > hll.EXPLICIT_MAX
        if self._registers:
            is_large |= np.isin(groups, list(self._registers))
        large = np.flatnonzero(is_large)
        for start in range(0, len(large), _REGISTERS_AT_ONCE):
            some = large[start : start + _REGISTERS_AT_ONCE]
            computed = self._compute_registers(starts[some], ends[some])
            for place, registers in zip(some.tolist(), computed, strict=True):
                known = self._registers.get(int(groups[place]))
                sketches[place] = hll.to_hex(
                    hll.encode_registers(registers if known is None else np.maximum(registers, known))
                )
        return sketches

    def _compute_registers(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the registers of the pairs between some bounds: a row for each start and end."""
        groups = np.repeat(np.arange(len(starts)), ends - starts)
        hashes = _get_hashes(self._pairs[_list_places(starts, ends)])
        return hll.compute_many_registers(hashes, groups, len(starts))

    def join(self) -> None:
        """Sort what was added. Otherwise each process that is forked later would do it again."""
        if self._added:
            self._set_pairs(hll.sort_unique(np.concatenate((self._pairs, *self._added)), in_runs=True))
            self._added, self._size_added = [], 0

    def _set_pairs(self, pairs: NDArray[np.int64]) -> None:
        self._pairs = pairs
        self._bounds = np.empty(0, dtype=np.int64)

    def _find_bounds(self, count: int) -> NDArray[np.int64]:
        """Return the places of the pairs at which each group begins, and the end of the last one."""
        starts = np.arange(count + 1, dtype=np.int64) << _HASH_BITS
        return np.searchsorted(self._pairs, starts)


def _list_places(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places between each start and end, one range after the other."""
    sizes = ends - starts
    return np.arange(sizes.sum()) + np.repeat(ends - np.cumsum(sizes), sizes)


def _get_hashes(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return (pairs & _HASH_MASK) + _LOWEST_HASH
