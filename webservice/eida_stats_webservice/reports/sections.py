"""The sections of a report: tables of figures, for people."""

import calendar
from collections.abc import Callable, Iterable, Sequence

import msgspec

from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.reports import atlas
from eida_stats_webservice.reports.models import Report, Row
from eida_stats_webservice.reports.numbers import NO_BREAK, Unit, format_clients, format_count, format_share

DAGGER = "†"
"""Marks figures that lack days."""
_GAP = "–"


class Column(msgspec.Struct, frozen=True):
    """A column of a table; numbers are aligned to the right."""

    head: str
    is_number: bool = True


class Table(msgspec.Struct, frozen=True):
    """A table.

    Attributes:
        greyed: the numbers of the rows that stand apart, such as Other.
    """

    columns: list[Column]
    rows: list[list[str]]
    greyed: frozenset[int] = frozenset()


class Section(msgspec.Struct, frozen=True):
    """A section of a page: a heading, an introduction, and a table."""

    name: str
    heading: str
    introduction: str
    table: Table


def make_sections(report: Report) -> list[Section]:
    """Return the sections that have rows, in the order of the page."""
    sections = [
        _make_months(report),
        _make_clients(report),
        _make_years(report),
        _make_networks(report),
        _make_countries(report),
        _make_nodes(report),
        _make_stations(report),
    ]
    return [section for section in sections if section.table.rows]


def _make_months(report: Report) -> Section:
    return _make_section(
        report,
        "months",
        "Month by month",
        "Each month has its own count of distinct clients.",
        report.select("month"),
        [("Month", lambda row: name_month(row.date))],
    )


def _make_clients(report: Report) -> Section:
    """Return the section with the chart of clients by month, whose table has fewer columns."""
    rows = report.select("month")
    table = Table(
        [Column("Month", is_number=False), Column("Clients"), Column("±")],
        [
            [name_month(row.date), *(_format_clients(row) if row.clients is not None else (_GAP, ""))]
            for row in rows
        ],
    )
    return Section("clients", "Distinct clients", "Each client counts once a month, at however many nodes.", table)


def _format_clients(row: Row) -> tuple[str, str]:
    clients, error = format_clients(row.clients or 0, row.clients_standard_error or 0)
    return clients, error.removeprefix(f"±{NO_BREAK}")


def _make_years(report: Report) -> Section:
    rows = report.select("year")
    return _make_section(report, "years", "Year by year", "", rows, [("Year", lambda row: row.date)])


def _make_nodes(report: Report) -> Section:
    return _make_section(
        report,
        "nodes",
        "Nodes",
        "A client of several nodes counts at each of them.",
        _rank(report.select("node")),
        [("Node", lambda row: row.node)],
    )


def _make_networks(report: Report) -> Section:
    rows = report.select("network")
    return _make_section(
        report,
        "networks",
        "Networks",
        "The codes of temporary networks have the year in which they began.",
        _rank([row for row in rows if row.network]) + [row for row in rows if not row.network],
        [("Network", lambda row: row.network or "requests without data")],
    )


def _make_countries(report: Report) -> Section:
    return _make_section(
        report,
        "countries",
        "Countries",
        "By the country of the client's address.",
        _rank(report.select("country")),
        [("Country", lambda row: atlas.read().names.get(row.country, row.country))],
    )


def _make_stations(report: Report) -> Section:
    return _make_section(
        report,
        "stations",
        "Stations",
        "Not public.",
        report.select("station"),
        [("Node", lambda row: row.node), ("Station", lambda row: row.station)],
    )


def _make_section(
    report: Report,
    name: str,
    heading: str,
    introduction: str,
    rows: Sequence[Row],
    keys: list[tuple[str, Callable[[Row], str]]],
) -> Section:
    """Return a section with a table of all figures of some rows."""
    (total,) = report.select("total")
    unit = Unit(max((row.bytes or 0 for row in rows), default=0))
    has_shares = name not in ("months", "years")
    columns = [
        *(Column(head, is_number=False) for head, _ in keys),
        Column(unit.name),
        *([Column("Share")] if has_shares else []),
        Column("Streams"),
        Column("Without data"),
        Column("Clients"),
        Column("±"),
        Column("Days received"),
    ]
    table = Table(
        columns,
        [
            [
                *(get_key(row) for _, get_key in keys),
                *_format_row(row, unit, total.bytes or 0 if has_shares else None),
            ]
            for row in rows
        ],
        greyed=frozenset(number for number, row in enumerate(rows) if stands_apart(row)),
    )
    return Section(name, heading, introduction, table)


def _format_row(row: Row, unit: Unit, total: int | None) -> list[str]:
    """Return the figures of a row as texts."""
    days = format_share(row.days_received, row.days_due) if row.days_due else ""
    if row.bytes is None:
        return [*[_GAP] * (4 if total is None else 5), "", days]
    mark = DAGGER if row.days_received < row.days_due else ""
    return [
        f"{unit.format(row.bytes)}{mark}",
        *([] if total is None else [format_share(row.bytes, total)]),
        format_count(row.nb_successful_reqs or 0),
        format_count(row.nb_unsuccessful_reqs or 0),
        *_format_clients(row),
        days,
    ]


def _rank(rows: Iterable[Row]) -> list[Row]:
    """Return rows by bytes, the largest first, and Other at the end."""
    return sorted(rows, key=lambda row: (stands_apart(row), -(row.bytes or 0), row.node, row.network, row.country))


def stands_apart(row: Row) -> bool:
    """Return whether a row is not ranked: Other, or the requests that failed and belong to no network."""
    return OTHER in (row.node, row.network, row.country) or (row.table == "network" and not row.network)


def name_month(date: str) -> str:
    """Return the name of a month that is written as YYYY-MM."""
    year, month = date.split("-")
    return f"{calendar.month_name[int(month)]} {year}"
