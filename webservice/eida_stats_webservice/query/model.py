"""Queries of statistics, and their rows."""

import datetime
from fnmatch import fnmatchcase

import msgspec

Sketch = bytes

DATES = frozenset({"month", "year"})
LEVELS = ("node", "network", "station", "location", "channel")


class StatisticsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query: the months from `start` to `end`, both included, filters, and how sums are divided.

    Attributes:
        start: the first day of the first month.
        end: the first day of the last month.
        nodes: names, as filters; an empty filter means all. Networks and countries are exact, too.
        stations: patterns with `*` and `?`, as are those of locations and channels.
        level: the deepest level by which sums are divided, see `LEVELS`.
        merge_nodes: unite the rows of one network over its nodes, after each node's policy was applied.
        details: month or year, and country.
        sort: the name of a column, with a minus for the reverse order.
        limit: the largest number of rows.
    """

    start: datetime.date
    end: datetime.date
    nodes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    stations: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    level: str | None = None
    merge_nodes: bool = False
    details: frozenset[str] = frozenset()
    sort: str | None = None
    limit: int | None = None

    @property
    def selects_streams(self) -> bool:
        """Whether it has a filter for networks or streams."""
        return bool(self.networks or self.stations or self.locations or self.channels)

    def divides_by(self, level: str) -> bool:
        """Return whether the sums are divided by node, network, station, location or channel."""
        return self.level is not None and LEVELS.index(level) <= LEVELS.index(self.level)


class OutputOptions(msgspec.Struct, frozen=True):
    """How an answer is written.

    Attributes:
        format: csv, json, text or parquet.
        plain_header: begin CSV with the names of the columns, not with comments.
        hllvalues: add the column of sketches.
        unsuccessful: add the column of unsuccessful requests.
        nodata: the status of an answer without rows, if it is not 200.
    """

    format: str = "csv"
    plain_header: bool = False
    hllvalues: bool = False
    unsuccessful: bool = False
    nodata: int | None = None


class Statistic(msgspec.Struct):
    """Sums over some months; `*` stands for all.

    Attributes:
        clients: the estimate of distinct clients, rounded up.
        hll_clients: the sketch of the clients, if the query needs it.
        visible: whether the client of the service may see any network of the row.
        authorized: whether that client has a right of their own to all networks of the row.
        has_withheld: whether the row contains a network that this client may not see.
        last_month: the last month with data in the row, as YYYY-MM.
    """

    date: str
    node: str
    network: str
    station: str
    location: str
    channel: str
    country: str
    bytes: int
    nb_reqs: int
    nb_successful_reqs: int
    nb_unsuccessful_reqs: int
    clients: int
    hll_clients: Sketch | None = None
    visible: bool = True
    authorized: bool = False
    has_withheld: bool = False
    last_month: str = ""


class DataVersion(msgspec.Struct, frozen=True):
    """The version of the data: answers of equal versions are equal; `changed_at` is the time of the last change."""

    revision: str
    changed_at: datetime.datetime


def matches(code: str, pattern: str) -> bool:
    """Return whether a code matches a pattern with * and ?."""
    return fnmatchcase(code, pattern)
