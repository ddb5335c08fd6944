"""Read several ordered lists together, without keeping them in memory."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

Key = tuple[Any, ...]


def merge_groups(
    lists: Iterable[Iterable[Any]], get_key: Callable[[Any], Key]
) -> Iterator[tuple[Key, list[list[Any]]]]:
    """Yield each key of some lists, which are ordered by it, with the items of each list that have it."""
    groups = [groupby(items, get_key) for items in lists]
    heads: list[tuple[Key, list[Any]] | None] = [_read_next(group) for group in groups]
    while keys := [head[0] for head in heads if head is not None]:
        key = min(keys)
        found: list[list[Any]] = []
        for number, head in enumerate(heads):
            if head is not None and head[0] == key:
                found.append(head[1])
                heads[number] = _read_next(groups[number])
            else:
                found.append([])
        yield key, found


def _read_next(group: Iterator[tuple[Key, Iterator[Any]]]) -> tuple[Key, list[Any]] | None:
    found = next(group, None)
    return None if found is None else (found[0], list(found[1]))
