"""The records that the store takes and returns."""

import datetime
from fnmatch import fnmatchcase

import msgspec

from eida_statistics.payload import Period, Source

Sketch = bytes


class PayloadReference(msgspec.Struct, frozen=True):
    """A payload as other answers refer to it, with some of its days."""

    payload: int
    hash: str
    source: str
    period: Period | None
    days: list[datetime.date]


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """That a payload is stored: rows and days are counted.

    `overlaps` has the payloads that count for some of its days as well, with these days; `supersedes` has the
    numbers of those that it has replaced. `countries_changed` counts the rows that are stored with another country
    than was sent.
    """

    node: str
    payload: int
    hash: str
    rows: int
    days: int
    received_at: datetime.datetime
    source: Source = ""
    period: Period | None = None
    overlaps: list[PayloadReference] = []
    supersedes: list[int] = []
    token_valid_until: datetime.datetime | None = None
    countries_changed: int = 0


class PayloadRecord(msgspec.Struct, frozen=True):
    """A payload that was received. It is in force unless it was withdrawn: superseded or retracted."""

    payload: int
    node: str
    received_at: datetime.datetime
    rows: int
    hash: str
    content: str
    source: str
    generated_at: str
    version: str
    origin: str
    withdrawn_at: datetime.datetime | None
    superseded_by: int | None
    period: Period | None
    days: list[datetime.date]

    def described(self) -> dict[str, object]:
        """Return its fields, and its state in a word."""
        return msgspec.structs.asdict(self) | {"state": self.state}

    def covered_days(self) -> list[datetime.date]:
        """Return the days that it reports, with or without requests."""
        return self.days if self.period is None else self.period.days()

    @property
    def state(self) -> str:
        """Say in a word whether it counts."""
        if self.withdrawn_at is None:
            return "in force"
        return "retracted" if self.superseded_by is None else "superseded"


PAYLOADS = "payloads"


class Difference(msgspec.Struct, frozen=True):
    """A row that differs from the payloads in force, or a damaged payload; None stands for a missing row.

    `sketch` is a checksum: two sketches may have the same estimate.
    """

    table: str
    key: dict[str, str]
    stored: dict[str, int | str] | None
    due: dict[str, int | str] | None


"""Anybody."""


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


class State(msgspec.Struct, frozen=True):
    """The state of the data: answers of equal states are equal; `changed_at` is the time of the last change."""

    revision: str
    changed_at: datetime.datetime


def matches(code: str, pattern: str) -> bool:
    """Return whether a code is one that a pattern with * and ? means."""
    return fnmatchcase(code, pattern)
