"""Order the rows of answers that are made in memory, as the database orders others."""

from collections.abc import Iterable
from operator import attrgetter
from typing import Protocol, TypeVar

from eida_stats_webservice.query.model import Key, StatisticsQuery


class _Row(Protocol):
    @property
    def keys(self) -> Key: ...

    @property
    def numbers(self) -> tuple[int | float | None, ...]: ...


_AnyRow = TypeVar("_AnyRow", bound=_Row)


def sort_and_limit(rows: Iterable[_AnyRow], query: StatisticsQuery) -> list[_AnyRow]:
    """Return rows in the order of the query, at most as many as its limit."""
    ordered = sorted(rows, key=attrgetter("keys"))
    if query.sort is not None:
        column = (*query.cube.keys, *query.cube.numbers).index(query.sort.removeprefix("-"))

        def get_value(row: _AnyRow) -> str | int | float:
            value = (*row.keys, *row.numbers)[column]
            # Only numbers can be unknown. A key can be empty: that of requests that failed, for instance.
            return 0 if value is None else value

        ordered.sort(key=get_value, reverse=query.sort.startswith("-"))
    return ordered[: query.limit]
