"""Queries of statistics, and their rows."""

import datetime
from collections.abc import Hashable, Mapping
from fnmatch import fnmatchcase

import msgspec

from eida_stats_webservice.query.cube import Cube, Grain

Sketch = bytes
Key = tuple[str, ...]
"""The date and the values of all dimensions of a row; `*` stands for all."""


class StatisticsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query of a cube: a period, filters, and how sums are divided.

    Attributes:
        cube: the source of the statistics.
        start: the first day. Of months, the first is the one of this day.
        end: the last day. Of months, the last is the one of this day.
        filters: values or patterns by the name of the dimension; an empty filter means all.
        choices: the value of each choice of the cube.
        level: the deepest level by which sums are divided.
        merge_nodes: unite the rows of one network over its nodes, after each node's policy was applied.
        details: the names of a unit of time and of the other dimensions that divide sums.
        sort: the name of a column, with a minus for the reverse order.
        limit: the largest number of rows.
    """

    cube: Cube
    start: datetime.date
    end: datetime.date
    filters: Mapping[str, tuple[str, ...]] = {}
    choices: Mapping[str, str] = {}
    level: str | None = None
    merge_nodes: bool = False
    details: frozenset[str] = frozenset()
    sort: str | None = None
    limit: int | None = None

    @property
    def grain(self) -> Grain | None:
        """The unit of time by which sums are divided."""
        return self.cube.find_grain(self.details)

    @property
    def is_daily(self) -> bool:
        """Whether the sums are divided by days or shorter times. Otherwise they are sums of whole months."""
        return self.grain is not None and self.grain.is_daily

    @property
    def date_details(self) -> frozenset[str]:
        """The details without other dimensions than the date."""
        return frozenset([self.grain.name] if self.grain else [])

    @property
    def filtered(self) -> set[str]:
        """The names of the dimensions with a filter."""
        return {name for name, values in self.filters.items() if values}

    @property
    def selects_streams(self) -> bool:
        """Whether it has a filter for networks or streams."""
        return any(self.filters.get(level.name) for level in self.cube.levels[1:])

    @property
    def identity(self) -> Hashable:
        """All fields in a hashable form."""
        fields = msgspec.structs.astuple(self)
        return tuple(tuple(sorted(one.items())) if isinstance(one, Mapping) else one for one in fields)

    def divides_by(self, name: str) -> bool:
        """Return whether the sums are divided by a dimension."""
        levels = [level.name for level in self.cube.levels]
        if name not in levels:
            return name in self.details
        return self.level is not None and levels.index(name) <= levels.index(self.level)


class OutputOptions(msgspec.Struct, frozen=True):
    """How an answer is written.

    Attributes:
        format: csv, json, text or parquet.
        plain_header: begin CSV with the names of the columns, not with comments.
        hllvalues: add the column of sketches.
        measures: the parameters of the measures to add.
        nodata: the status of an answer without rows, if it is not 200.
    """

    format: str = "csv"
    plain_header: bool = False
    hllvalues: bool = False
    measures: frozenset[str] = frozenset()
    nodata: int | None = None


class Statistic(msgspec.Struct, frozen=True, gc=False):
    """Sums over some time. The garbage collector skips it, since an answer may have a hundred thousand.

    Attributes:
        keys: the date and the dimensions, in the order of the cube's keys.
        measures: the sums, in the order of the cube's measures; None if the table lacks one. Empty in rows that are
            only for decisions about small groups.
        clients: the estimate of distinct clients, rounded up.
        hll_clients: the sketch of the clients, if it was selected.
        visible: whether the client of the service may see any network of the row.
        authorized: whether that client has a right of their own to all networks of the row.
        has_withheld: whether the row contains a network that this client may not see.
        last_month: the last month with data in the row, as YYYY-MM.
    """

    keys: Key
    measures: tuple[int | None, ...]
    clients: int
    hll_clients: Sketch | None = None
    visible: bool = True
    authorized: bool = False
    has_withheld: bool = False
    last_month: str = ""

    @property
    def date(self) -> str:
        """The date: the first key."""
        return self.keys[0]

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """The measures and the number of clients."""
        return *self.measures, self.clients

    @property
    def node_and_network(self) -> tuple[str, str]:
        """The node, and the code of the network there: the second and the third key."""
        return self.keys[1], self.keys[2]


class DataVersion(msgspec.Struct, frozen=True):
    """The version of the data: answers of equal versions are equal; `changed_at` is the time of the last change."""

    revision: str
    changed_at: datetime.datetime


def matches(code: str, pattern: str) -> bool:
    """Return whether a code matches a pattern with * and ?."""
    return fnmatchcase(code, pattern)
