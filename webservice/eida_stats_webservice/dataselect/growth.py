"""The difference between a new payload and those that it replaces: most corrections only add to rows."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from msgspec.structs import astuple

from eida_statistics.payload import Key, Row
from eida_statistics.rows import merge_rows, subtract_row

_GET_KEY = attrgetter("key")


class Correction:
    """The difference between a new payload and those that it withdraws.

    Args:
        withdrawn: the rows of each withdrawn payload, in the order of their keys.
        added: the rows of the new payload, in the order of their keys; none if payloads are only withdrawn.

    Attributes:
        rebuilt: the keys of rows that lose clients or have smaller counts, in order. Their sums have to be built
            again from all payloads. It is complete when all growth has been read.
    """

    def __init__(self, withdrawn: Sequence[Iterable[Row]], added: Iterable[Row]) -> None:
        self._old = _merge(withdrawn)
        self._new = added
        # As keys of a dictionary: a damaged payload may have one twice.
        self.rebuilt: dict[Key, None] = {}

    def growth(self) -> Iterator[Row]:
        """Yield rows to add to the sums, where the new payload only adds to the withdrawn ones."""
        remaining = ((row.key, row) for row in self._old)
        old = next(remaining, None)
        for new in self._new:
            key = new.key
            while old is not None and old[0] < key:
                self.rebuilt[old[0]] = None
                old = next(remaining, None)
            if old is None or old[0] != key:
                yield new
                continue
            # Rows that were kept are of a class of their own, so they never equal new ones.
            if astuple(new) != astuple(old[1]):
                growth = subtract_row(new, old[1])
                if growth is None:
                    self.rebuilt[key] = None
                else:
                    yield growth
            old = next(remaining, None)
        if old is not None:
            self.rebuilt |= dict.fromkeys((old[0], *(key for key, _ in remaining)))


def _merge(payloads: Sequence[Iterable[Row]]) -> Iterable[Row]:
    """Return the sums of the rows of several payloads, in the order of their keys."""
    if len(payloads) == 1:
        return payloads[0]
    rows = heapq.merge(*payloads, key=_GET_KEY)
    return (merge_rows(same) for _, same in groupby(rows, key=_GET_KEY))
