"""A report as plain data. JSON and CSV are this; HTML, PDF and Markdown are written from it."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from eida_statistics.payload import Period
from eida_stats_webservice.payloads.kinds import Kind

SCHEMA = "eida-statistics-report/1"

KEYS = ("date", "node", "network", "station", "location", "channel", "country")
"""The columns that identify the part of the statistics that a row is about."""

Table = Literal["total", "month", "year", "node", "network", "country", "station"]
ComparisonName = Literal["year", "previous", "chosen"]
Lack = Literal["period", "selection", "database"]
"""Where there are no statistics of a kind: in the period, in any period for the selection, or in the database."""
Sums = dict[str, int]
"""The figures that add up, by the names of their columns, in the order of the kind."""


class Scope(msgspec.Struct, frozen=True):
    """The selection of a report. An empty list means all.

    Attributes:
        kind: the kind of statistics.
        node: the names of nodes.
        network: an extended network code, or None.
        country: country codes.
        restricted: whether the report contains statistics that are not public.
    """

    kind: Kind = Kind.DATASELECT
    node: tuple[str, ...] = ()
    network: str | None = None
    country: tuple[str, ...] = ()
    restricted: bool = False


class MonthsRecord(msgspec.Struct, frozen=True):
    """The first and the last month of a period, as YYYY-MM; both are included."""

    start: str
    end: str


class ComparisonRecord(msgspec.Struct, frozen=True):
    """Another period with which the report compares: `year` is a year before, `previous` just before."""

    name: ComparisonName
    start: str
    end: str


class CoverageRecord(msgspec.Struct, frozen=True):
    """The coverage of a node in the period.

    Attributes:
        days_received: the number of days received, with or without requests.
        days_due: the number of days from the first one that the node ever sent to yesterday.
        not_received: the days due that were not received.
        reports_quiet_days: whether days without requests count as received. Older aggregators do not report them.
    """

    node: str
    days_received: int
    days_due: int
    not_received: list[Period]
    reports_quiet_days: bool


class Comparison(msgspec.Struct, frozen=True):
    """Figures of another period, and the change since then. None stands for not comparable.

    Attributes:
        sums: the sums; None if they are unknown.
        changes: the relative changes by the names of the columns, clients too: 0.1 is 10 % more.
        days_received, days_due: the days of the other period.
        base_nodes: over the months of how many nodes sums are compared: months that were received
            completely in both periods.
        base_share: the share of all bytes in these months, in the period in which it is smaller.
        clients_base_nodes: over how many nodes clients are compared: those that were received completely in both.
    """

    sums: Sums | None = None
    clients: int | None = None
    days_received: int | None = None
    days_due: int | None = None
    changes: dict[str, float | None] = {}
    base_nodes: int | None = None
    base_share: float | None = None
    clients_base_nodes: int | None = None

    def get(self, column: str) -> int | None:
        """Return a sum or the number of clients."""
        return self.clients if column == "clients" else (self.sums or {}).get(column)

    def flatten(self, columns: Sequence[str]) -> dict[str, object]:
        """Return a flat object with the sums of these columns, and their changes."""
        counted = (*columns, "clients")
        return {
            **{column: self.get(column) for column in counted},
            "days_received": self.days_received,
            "days_due": self.days_due,
            **{f"{column}_change": self.changes.get(column) for column in counted},
            "base_nodes": self.base_nodes,
            "base_share": self.base_share,
            "clients_base_nodes": self.clients_base_nodes,
        }


class Row(msgspec.Struct, frozen=True):
    """Figures of one part of the statistics, with the key columns of public answers.

    Attributes:
        sums: the sums; None if no day was received.
        clients: the distinct clients, from sketches; never a sum.
        clients_standard_error: the standard error of their number; 0 if it is exact.
        days_received: the days received, added up over the nodes of the row.
        days_due: the days due, added up likewise.
        comparisons: earlier periods, by name.
    """

    table: Table
    date: str = "*"
    node: str = "*"
    network: str = "*"
    station: str = "*"
    location: str = "*"
    channel: str = "*"
    country: str = "*"
    sums: Sums | None = None
    clients: int | None = None
    clients_standard_error: float | None = None
    days_received: int = 0
    days_due: int = 0
    comparisons: dict[str, Comparison] = {}

    @property
    def bytes(self) -> int | None:
        """The sum of bytes, which all kinds have."""
        return self.get("bytes")

    def get(self, column: str) -> int | None:
        """Return a sum, the number of clients, or the days received."""
        if column == "days_received":
            return self.days_received
        return self.clients if column == "clients" else (self.sums or {}).get(column)

    def flatten(self, columns: Sequence[str], comparisons: Iterable[str]) -> dict[str, object]:
        """Return the row as a flat object with the sums of these columns, and a column for each figure compared."""
        flat: dict[str, object] = {name: getattr(self, name) for name in ("table", *KEYS)}
        flat |= {column: self.get(column) for column in (*columns, "clients")}
        flat |= {name: getattr(self, name) for name in ("clients_standard_error", "days_received", "days_due")}
        for name in comparisons:
            compared = self.comparisons.get(name, Comparison()).flatten(columns)
            flat |= {f"{name}_{column}": value for column, value in compared.items()}
        return flat


class Report(msgspec.Struct, frozen=True):
    """A report.

    Attributes:
        software_version: the version of this program.
        revision: the revision of the database.
        changed_at: the time of the last change of the database.
        as_of: the day on which the report was made, if its period is not over then.
        last_month: the last month with statistics, as YYYY-MM, if the period has none.
        no_statistics_in: where there are no statistics, as far as that may be shown; None if there are some.
        name: the name of the network, from the registry, if it is about one.
        doi: the DOI of the network.
        citation: how to cite the network.
        rows: the figures.
    """

    software_version: str
    revision: str
    changed_at: datetime.datetime
    as_of: datetime.date | None
    scope: Scope
    period: MonthsRecord
    comparisons: tuple[ComparisonRecord, ...]
    coverage: list[CoverageRecord]
    rows: list[Row]
    name: str | None = None
    doi: str | None = None
    citation: str | None = None
    last_month: str | None = None
    no_statistics_in: Lack | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there are no statistics in the period."""
        return self.no_statistics_in is not None

    def select(self, table: Table) -> list[Row]:
        """Return the rows of a table."""
        return [row for row in self.rows if row.table == table]
