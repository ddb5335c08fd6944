"""Rows of sums: compared by their keys, sorted and merged."""

from collections.abc import Callable, Iterable
from copy import copy
from functools import cache
from itertools import islice
from operator import attrgetter, lt, sub
from typing import Any, ClassVar, Protocol, TypeVar

from eida_statistics import hll


class SumRow(Protocol):
    """A record of sums; `clients` is a sketch in hexadecimal, `counts` names the fields that are added up."""

    counts: ClassVar[tuple[str, ...]]
    clients: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The fields by which rows are merged and sorted."""


AnyRow = TypeVar("AnyRow", bound=SumRow)


def merge_rows(rows: Iterable[AnyRow]) -> AnyRow:
    """Return the sum of rows with the same key, and the union of their clients; a single row as it is."""
    same = list(rows)
    if len(same) == 1:
        return same[0]
    merged = copy(same[0])
    for field in merged.counts:
        setattr(merged, field, sum(getattr(row, field) for row in same))
    merged.clients = merge_sketches([row.clients for row in same])
    return merged


def subtract_row(row: AnyRow, earlier: AnyRow) -> AnyRow | None:
    """Return the difference to add to sums with an earlier row, so that they have this one instead.

    Return None if this row has a smaller count, or lacks clients.

    The result is exact, although sketches cannot be subtracted: it has all clients of this row. A sketch of the
    sums is the union of the others and the earlier one. Together with this one, it is the union of the others and
    this one, which contains the earlier one.
    """
    get_counts = _make_getter(row.counts)
    counts = list(map(sub, get_counts(row), get_counts(earlier)))
    if min(counts) < 0:
        return None
    if row.clients != earlier.clients and not _contains(row.clients, earlier.clients):
        return None
    difference = copy(row)
    for field, count in zip(row.counts, counts, strict=True):
        setattr(difference, field, count)
    return difference


@cache
def _make_getter(fields: tuple[str, ...]) -> Callable[[SumRow], tuple[int, ...]]:
    """Return a function that returns two or more fields of a row, several times as fast as one by one."""
    return attrgetter(*fields)


def _contains(sketch: str, other: str) -> bool:
    """Return whether a sketch in canonical form has all clients of another one."""
    if sketch.startswith(hll.EXPLICIT_HEX) and other.startswith(hll.EXPLICIT_HEX):
        # Most sketches by far. To decode and check them takes ten times as long.
        return len(sketch) >= len(other) and set(_list_hashes(sketch)).issuperset(_list_hashes(other))
    return hll.contains(hll.from_hex(sketch), hll.from_hex(other))


def _list_hashes(sketch: str) -> list[str]:
    return [
        sketch[place : place + hll.HASH_DIGITS]
        for place in range(len(hll.EXPLICIT_HEX), len(sketch), hll.HASH_DIGITS)
    ]


def merge_sketches(sketches: Iterable[str]) -> str:
    """Return the union of sketches, all in hexadecimal."""
    return hll.to_hex(hll.merge(map(hll.from_hex, set(sketches))))


def is_sorted(rows: list[AnyRow], *, after: tuple[Any, ...] | None = None) -> bool:
    """Return whether each row has a larger key than the one before, and the first one than `after`."""
    keys = [row.key for row in rows]
    begins_after = after is None or not keys or after < keys[0]
    return begins_after and all(map(lt, keys, islice(keys, 1, None)))


def sort_and_merge(rows: list[AnyRow]) -> list[AnyRow]:
    """Return rows in the order of their keys, those with the same key merged."""
    if is_sorted(rows):
        return rows
    by_key: dict[tuple[Any, ...], list[AnyRow]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    return [merge_rows(same) for _, same in sorted(by_key.items())]
