"""The difference between a new payload and those that it replaces: most corrections only add to rows."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from eida_statistics.payload import Key, Row
from eida_statistics.rows import merge_rows, subtract_row

_NEW = 0


class Correction:
    """The difference between a new payload and those that it withdraws.

    Args:
        withdrawn: the rows of each withdrawn payload, in the order of their keys.
        added: the rows of the new payload, in the order of their keys; none if payloads are only withdrawn.

    Attributes:
        rebuilt: the keys of rows that lose clients or have smaller counts. Their sums have to be built again from
            all payloads. It is complete when all growth has been read.
    """

    def __init__(self, withdrawn: Sequence[Iterable[Row]], added: Iterable[Row]) -> None:
        self._rows = heapq.merge(*(_number(rows, number) for number, rows in enumerate((added, *withdrawn))))
        self.rebuilt: set[Key] = set()

    def growth(self) -> Iterator[Row]:
        """Yield rows to add to the sums, where the new payload only adds to the withdrawn ones."""
        for key, numbered in groupby(self._rows, key=itemgetter(0)):
            (_, number, new), *others = numbered
            if number != _NEW:
                self.rebuilt.add(key)
                continue
            if not others:
                yield new
                continue
            old = merge_rows(row for _, _, row in others)
            if new == old:
                continue
            growth = subtract_row(new, old)
            if growth is None:
                self.rebuilt.add(key)
            else:
                yield growth


def _number(rows: Iterable[Row], number: int) -> Iterator[tuple[Key, int, Row]]:
    return ((row.key, number, row) for row in rows)
