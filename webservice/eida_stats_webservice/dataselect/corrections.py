"""Compare the rows of a correction with those that it withdraws."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import groupby
from operator import itemgetter

from eida_statistics import hll
from eida_statistics.payload import COUNTS, Key, Row

_NEW = 0
_EMPTY = hll.to_hex(hll.EMPTY)


class Correction:
    """The difference between a new payload and those that it withdraws.

    Sketches cannot be subtracted. But if a new row has all clients of the withdrawn ones, the union of theirs with
    others stays right. Rows with fewer clients or smaller counts have to be built again from all payloads.

    Args:
        withdrawn: the rows of each withdrawn payload, in the order of their keys.
        added: the rows of the new payload, in the order of their keys; none if payloads are only withdrawn.

    Attributes:
        rebuilt: the keys of rows to build again. It is complete when all growth has been read.
    """

    def __init__(self, withdrawn: Sequence[Iterable[Row]], added: Iterable[Row]) -> None:
        self._rows = heapq.merge(*(_number(rows, number) for number, rows in enumerate((added, *withdrawn))))
        self.rebuilt: set[Key] = set()

    def growth(self) -> Iterator[Row]:
        """Yield rows to add to the sums, where the new payload only adds to the withdrawn ones."""
        for key, numbered in groupby(self._rows, key=itemgetter(0)):
            (_, number, first), *others = numbered
            old = [row for _, _, row in others]
            growth = _find_growth(first, old) if number == _NEW else None
            if growth is None:
                self.rebuilt.add(key)
            elif growth.clients != _EMPTY or any(getattr(growth, name) for name in COUNTS):
                yield growth


def _number(rows: Iterable[Row], number: int) -> Iterator[tuple[Key, int, Row]]:
    return ((row.key, number, row) for row in rows)


def _find_growth(new: Row, old: Sequence[Row]) -> Row | None:
    """Return the difference between a row and withdrawn ones of the same key, or None if it lacks some of them."""
    growth = copy(new)
    for row in old:
        if row.clients == new.clients:
            growth.clients = _EMPTY
        elif not _includes(new.clients, row.clients):
            return None
        for name in COUNTS:
            setattr(growth, name, getattr(growth, name) - getattr(row, name))
    return growth if all(getattr(growth, name) >= 0 for name in COUNTS) else None


def _includes(sketch: str, other: str) -> bool:
    """Return whether a sketch stays the same if it is united with another one."""
    decoded = hll.from_hex(sketch)
    return hll.unite((decoded, hll.from_hex(other))) == decoded
