"""The sections of a report: tables of figures, for people."""

import calendar
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from eida_statistics.months import format_month
from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.reports import atlas, models
from eida_stats_webservice.reports.kinds import CLIENTS, KINDS, Measure
from eida_stats_webservice.reports.models import Report, Row
from eida_stats_webservice.reports.numbers import NO_BREAK, Unit, format_clients, format_count, format_share
from eida_stats_webservice.reports.view import Layout

DAGGER = "†"
"""Marks figures that lack days."""
_GAP = "–"
_Key = tuple[str, Callable[[Row], str]]


class Column(msgspec.Struct, frozen=True):
    """A column of a table; numbers are aligned to the right.

    Attributes:
        head: the text above it.
        name: the column by which a link in its head sorts the table; empty for none.
    """

    head: str
    name: str = ""
    is_number: bool = True


class Table(msgspec.Struct, frozen=True):
    """A table.

    Attributes:
        source: the rows of the report, one for each row of the table.
        greyed: the numbers of the rows that stand apart, such as Other.
        share: the column of the report of which there are shares; empty for none.
    """

    columns: list[Column]
    rows: list[list[str]]
    source: list[Row]
    greyed: frozenset[int] = frozenset()
    share: str = ""


class Section(msgspec.Struct, frozen=True):
    """A section of a page: a heading, an introduction, and a table.

    Attributes:
        table_name: the table of the report that it shows.
        is_chart: whether a chart shows the same figures.
    """

    name: str
    table_name: models.Table
    heading: str
    introduction: str
    table: Table
    is_chart: bool = False


def make_sections(report: Report, layout: Layout) -> list[Section]:
    """Return the sections that have rows, in the order of the page."""
    times = [_make_times(report, layout), _make_clients(report, layout)]
    if layout.show == "clients":
        times.reverse()
    # The charts are by month; years have a table, if there are several.
    years = report.select("year") if layout.by == "month" else []
    sections = [
        *times,
        *([_make_years(report, years)] if len(years) > 1 else []),
        _make_networks(report, layout),
        _make_countries(report, layout),
        _make_nodes(report, layout),
        _make_stations(report),
    ]
    return [section for section in sections if section.table.rows]


def _make_times(report: Report, layout: Layout) -> Section:
    rows = report.select(layout.by)
    kind = KINDS[report.scope.kind]
    shown = kind.count if layout.show == kind.count.name else kind.size
    introduction = f"{shown.label}. Each {layout.by} has its own count of distinct clients."
    keys = [_make_time_key(report, layout)]
    table = _make_table(report, rows, keys, share="")
    return Section("months", layout.by, f"{layout.by.title()} by {layout.by}", introduction, table, is_chart=True)


def _make_clients(report: Report, layout: Layout) -> Section:
    """Return the section with the chart of clients, whose table has fewer columns."""
    rows = report.select(layout.by)
    head, get_name = _make_time_key(report, layout)
    table = Table(
        [Column(head, is_number=False), Column("Clients"), Column("±")],
        [[get_name(row), *(_format_clients(row) if row.clients is not None else (_GAP, ""))] for row in rows],
        rows,
    )
    introduction = f"Each client counts once a {layout.by}, at however many nodes."
    return Section("clients", layout.by, "Distinct clients", introduction, table, is_chart=True)


def _make_years(report: Report, rows: list[Row]) -> Section:
    keys = [_make_time_key(report, Layout(by="year"))]
    return Section("years", "year", "Year by year", "", _make_table(report, rows, keys, share=""))


def _make_time_key(report: Report, layout: Layout) -> _Key:
    def get_name(row: Row) -> str:
        name = row.date if layout.by == "year" else name_month(row.date)
        return f"{name} so far" if is_so_far(report, row) else name

    return layout.by.title(), get_name


def is_so_far(report: Report, row: Row) -> bool:
    """Return whether the month or year of a row is not over."""
    return report.as_of is not None and format_month(report.as_of).startswith(row.date)


def _make_networks(report: Report, layout: Layout) -> Section:
    rows = report.select("network")
    no_network = KINDS[report.scope.kind].no_network
    introduction = "The codes of temporary networks have the year in which they began."
    keys: list[_Key] = [("Network", lambda row: row.network or no_network)]
    return _make_ranked(report, layout, "network", "Networks", introduction, rows, keys)


def _make_countries(report: Report, layout: Layout) -> Section:
    introduction = "By the country of the client's address. The borders on the map take no side."
    keys: list[_Key] = [("Country", lambda row: atlas.name_country(row.country))]
    return _make_ranked(report, layout, "country", "Countries", introduction, report.select("country"), keys)


def _make_nodes(report: Report, layout: Layout) -> Section:
    introduction = "A client of several nodes counts at each of them."
    keys: list[_Key] = [("Node", lambda row: row.node)]
    return _make_ranked(report, layout, "node", "Nodes", introduction, report.select("node"), keys)


def _make_stations(report: Report) -> Section:
    keys: list[_Key] = [("Node", lambda row: row.node), ("Station", lambda row: row.station)]
    table = _make_table(report, report.select("station"), keys, share="bytes")
    return Section("stations", "station", "Stations", "Not public.", table)


def _make_ranked(
    report: Report,
    layout: Layout,
    table_name: models.Table,
    heading: str,
    introduction: str,
    rows: Sequence[Row],
    keys: list[_Key],
) -> Section:
    """Return a section whose table is sorted, and cut if the layout says so."""
    kind = KINDS[report.scope.kind]
    shown = kind.shown[layout.show]
    ranked, apart = _rank(rows, layout.find_order(kind), keys[0][1])
    if layout.top is not None and len(ranked) > layout.top:
        what = f"with {shown.most}, " if layout.sort is None else ""
        introduction = f"{layout.top} {what}of {len(ranked)}. {introduction}"
        ranked = ranked[: layout.top]
    # Clients of parts do not add up to all clients.
    share = "" if shown is CLIENTS else shown.column
    table = _make_table(report, ranked + apart, keys, share=share, sorts=True)
    return Section(heading.lower(), table_name, heading, introduction, table)


def _make_table(report: Report, rows: list[Row], keys: list[_Key], *, share: str, sorts: bool = False) -> Table:
    """Return a table of all figures of some rows.

    Args:
        report: the report.
        rows: the rows.
        keys: the heads and values of the first columns.
        share: the column of which there are shares of the total; empty for none.
        sorts: whether the heads of the columns have links to sort the table.
    """
    (total,) = report.select("total")
    kind = KINDS[report.scope.kind]
    failed = find_failed(report)
    unit = Unit(max((row.bytes or 0 for row in rows), default=0))

    def make_column(head: str, name: str, *, is_number: bool = True) -> Column:
        return Column(head, name if sorts else "", is_number=is_number)

    columns = [
        *(make_column(head, "name", is_number=False) for head, _ in keys),
        make_column(unit.name, kind.size.column),
        make_column(kind.count.head, kind.count.column),
        *([] if failed is None else [make_column(failed.head, failed.column)]),
        make_column(CLIENTS.head, CLIENTS.column),
        Column("±"),
        make_column("Days received", "days_received"),
    ]
    cells = [[*(get_key(row) for _, get_key in keys), *_format_row(row, unit, kind.count, failed)] for row in rows]
    if share:
        # Beside its figure.
        place = len(keys) + (1 if share == "bytes" else 2)
        columns.insert(place, Column("Share"))
        for row, texts in zip(rows, cells, strict=True):
            texts.insert(place, _format_share(row, total, share))
    greyed = frozenset(number for number, row in enumerate(rows) if stands_apart(row))
    return Table(columns, cells, rows, greyed, share)


def _format_share(row: Row, total: Row, share: str) -> str:
    value = row.get(share)
    return _GAP if value is None else format_share(value, total.get(share) or 0)


def _format_row(row: Row, unit: Unit, count: Measure, failed: Measure | None) -> list[str]:
    """Return the figures of a row as texts. Without any day due, there is nothing to show."""
    days = format_share(row.days_received, row.days_due) if row.days_due else ""
    if row.sums is None:
        return [*[_GAP if row.days_due else ""] * (3 if failed is None else 4), "", days]
    mark = mark_gaps(row)
    return [
        f"{unit.format(row.bytes or 0)}{mark}",
        f"{format_count(row.get(count.column) or 0)}{mark}",
        *([] if failed is None else [_format_failed(row, failed)]),
        *_format_clients(row),
        days,
    ]


def _format_failed(row: Row, failed: Measure) -> str:
    value = row.get(failed.column)
    # Most networks have none: those that failed as a whole belong to no network.
    if row.table == "network" and row.network and not value:
        return ""
    return f"{format_count(value or 0)}{mark_gaps(row)}"


def _format_clients(row: Row) -> tuple[str, str]:
    clients, error = format_clients(row.clients or 0, row.clients_standard_error or 0)
    return f"{clients}{mark_gaps(row)}", error.removeprefix(f"±{NO_BREAK}")


def mark_gaps(row: Row) -> str:
    """Return the mark of figures that lack days, or an empty text."""
    return DAGGER if row.days_received < row.days_due else ""


def find_failed(report: Report) -> Measure | None:
    """Return the measure of requests without data, if a report shows it. Most of them belong to no network."""
    (total,) = report.select("total")
    failed = KINDS[report.scope.kind].failed
    if failed is None or (report.scope.network is not None and not total.get(failed.column)):
        return None
    return failed


def _rank(rows: Iterable[Row], order: str, get_name: Callable[[Row], str]) -> tuple[list[Row], list[Row]]:
    """Return the rows sorted by a column, and those that are not ranked: of no network, and Other at the end."""
    column = order.removeprefix("-")

    def get_value(row: Row) -> Any:
        if column == "name":
            return get_name(row)
        value = row.get(column)
        return -1 if value is None else value

    by_name = sorted(rows, key=get_name)
    ranked = sorted((row for row in by_name if not stands_apart(row)), key=get_value, reverse=order.startswith("-"))
    apart = sorted((row for row in by_name if stands_apart(row)), key=lambda row: bool(row.network))
    return ranked, apart


def stands_apart(row: Row) -> bool:
    """Return whether a row is not ranked: Other, or requests that belong to no network."""
    return OTHER in (row.node, row.network, row.country) or (row.table == "network" and not row.network)


def name_month(date: str) -> str:
    """Return the name of a month that is written as YYYY-MM."""
    year, month = date.split("-")
    return f"{calendar.month_name[int(month)]} {year}"
