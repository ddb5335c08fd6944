"""A report as plain data. JSON and CSV are this; HTML, PDF and Markdown are written from it."""

import datetime
from typing import Literal

import msgspec

from eida_statistics.payload import Period

SCHEMA = "eida-statistics-report/1"

Table = Literal["total", "month", "year", "node", "network", "country", "station"]
ComparisonName = Literal["year", "previous", "chosen"]


class Scope(msgspec.Struct, frozen=True):
    """The selection of a report. An empty list means all.

    Attributes:
        node: the names of nodes.
        network: an extended network code, or None.
        country: country codes.
        restricted: whether the report contains statistics that are not public.
    """

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

    Changes are relative: 0.1 is 10 % more.

    Attributes:
        days_received, days_due: the days of the other period.
        base_nodes: over the months of how many nodes bytes and requests are compared: months that were received
            completely in both periods.
        base_share: the share of all bytes in these months, in the period in which it is smaller.
        clients_base_nodes: over how many nodes clients are compared: those that were received completely in both.
    """

    bytes: int | None = None
    nb_successful_reqs: int | None = None
    nb_unsuccessful_reqs: int | None = None
    clients: int | None = None
    days_received: int | None = None
    days_due: int | None = None
    bytes_change: float | None = None
    nb_successful_reqs_change: float | None = None
    nb_unsuccessful_reqs_change: float | None = None
    clients_change: float | None = None
    base_nodes: int | None = None
    base_share: float | None = None
    clients_base_nodes: int | None = None


class Row(msgspec.Struct, frozen=True):
    """Figures of one part of the statistics, with the key columns of dataselect/public.

    Attributes:
        bytes: the bytes delivered; None if no day was received.
        nb_successful_reqs: the streams delivered.
        nb_unsuccessful_reqs: the requests without data.
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
    bytes: int | None = None
    nb_successful_reqs: int | None = None
    nb_unsuccessful_reqs: int | None = None
    clients: int | None = None
    clients_standard_error: float | None = None
    days_received: int = 0
    days_due: int = 0
    comparisons: dict[str, Comparison] = {}

    def flatten(self, comparisons: tuple[str, ...]) -> dict[str, object]:
        """Return the row as a flat object, with a column for each figure of each comparison."""
        flat = msgspec.structs.asdict(self)
        del flat["comparisons"]
        for name in comparisons:
            compared = msgspec.structs.asdict(self.comparisons.get(name, Comparison()))
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

    @property
    def is_empty(self) -> bool:
        """Whether there are no statistics in the period."""
        (total,) = self.select("total")
        return not (total.bytes or total.nb_successful_reqs or total.nb_unsuccessful_reqs)

    def select(self, table: Table) -> list[Row]:
        """Return the rows of a table."""
        return [row for row in self.rows if row.table == table]
