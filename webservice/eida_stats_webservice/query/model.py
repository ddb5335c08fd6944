"""Queries of statistics, and their rows."""

import datetime
from fnmatch import fnmatchcase

import msgspec

Sketch = bytes


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question: the months from `start` to `end`, both included, and how their sums are divided.

    `nodes`, `networks` and `countries` are exact, `stations`, `locations` and `channels` have `*` and `?`; none
    of them means all. `level` is how deep it goes, `details` has month or year, and country. `sort` is the name
    of a column, with a minus for the other direction. With `merge_nodes`, rows of one network are united over its
    nodes, after it is decided for each node what may be seen.
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
    def names_streams(self) -> bool:
        """Whether it is about some networks or streams only."""
        return bool(self.networks or self.stations or self.locations or self.channels)

    def tells(self, level: str) -> bool:
        """Return whether an answer is divided by node, network, station, location or channel."""
        return self.level is not None and LEVELS.index(level) <= LEVELS.index(self.level)


LEVELS = ("node", "network", "station", "location", "channel")


class Statistic(msgspec.Struct):
    """Sums over some months; `clients` is the estimate rounded up, `*` stands for all.

    Attributes:
        hll_clients: the sketch of the clients, if it was asked for.
        seen: whether the client of the service may see any network of the row.
        entitled: whether that client has a right of their own to all networks of the row.
        has_hidden: whether the row contains a network that this client may not see.
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
    seen: bool = True
    entitled: bool = False
    has_hidden: bool = False
    last_month: str = ""


class DataVersion(msgspec.Struct, frozen=True):
    """The state of the data: answers of equal states are equal; `changed_at` is the time of the last change."""

    revision: str
    changed_at: datetime.datetime


def matches(code: str, pattern: str) -> bool:
    """Return whether a code is one that a pattern with * and ? means."""
    return fnmatchcase(code, pattern)


class Form(msgspec.Struct, frozen=True):
    """How an answer is written: as what, with which columns, and with which status if it has no rows.

    With `plain_header`, CSV begins with the names of the columns, and not with comments.
    """

    format: str = "csv"
    plain_header: bool = False
    hllvalues: bool = False
    unsuccessful: bool = False
    nodata: int | None = None
