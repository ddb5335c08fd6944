"""The texts and tables of a report, for people. HTML, PDF and Markdown show the same ones."""

import calendar
import datetime
from collections.abc import Callable, Iterable, Sequence

import msgspec

from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.reports import atlas
from eida_stats_webservice.reports.models import Comparison, CoverageRecord, Report, Row
from eida_stats_webservice.reports.numbers import (
    CLEAR_CHANGE_OF_CLIENTS,
    NO_BREAK,
    Unit,
    format_bytes,
    format_change,
    format_clients,
    format_count,
    format_share,
)
from eida_stats_webservice.reports.periods import MonthRange, name_days, name_period

KICKER = "Usage of the European Integrated Data Archive"
DAGGER = "†"
_GAP = "–"
# A note names so many nodes, and so many gaps of each.
_NAMED = 5


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


class Headline(msgspec.Struct, frozen=True):
    """A headline figure: `Data delivered`, `1,781`, `TiB†`, and lines such as `▲ 13 % against 2023`."""

    label: str
    value: str
    unit: str
    lines: list[str]


class Section(msgspec.Struct, frozen=True):
    """A section of a page: a heading, an introduction, and a table."""

    name: str
    heading: str
    introduction: str
    table: Table


class Page(msgspec.Struct, frozen=True):
    """A report as people read it."""

    title: str
    subtitle: str
    citation: str
    note: list[str]
    headlines: list[Headline]
    sections: list[Section]
    reading: list[str]
    footer: str


def make_page(report: Report) -> Page:
    """Return the texts and tables of a report."""
    period = parse_months(report.period.start, report.period.end)
    sections = [
        _make_months(report),
        _make_clients(report),
        _make_years(report),
        _make_networks(report),
        _make_countries(report),
        _make_nodes(report),
        _make_stations(report),
    ]
    return Page(
        title=_make_title(report, period),
        subtitle=_make_subtitle(report, period),
        citation=report.citation or "",
        note=_make_note(report),
        headlines=_make_headlines(report),
        sections=[section for section in sections if section.table.rows],
        reading=_explain(report),
        footer=(
            f"eida-statistics {report.software_version}. State of the database:"
            f" {report.changed_at:%Y-%m-%d %H:%M:%S} UTC."
        ),
    )


def parse_months(start: str, end: str) -> MonthRange:
    """Return the period from one month to another, both as YYYY-MM."""
    first, last = (datetime.date.fromisoformat(f"{month}-01") for month in (start, end))
    return MonthRange(first, last)


def _make_title(report: Report, period: MonthRange) -> str:
    scope = report.scope
    subject = "Data delivered"
    if scope.network is not None:
        subject = f"Data of network {scope.network} delivered"
    if scope.node:
        subject += f" by {_join(scope.node)}"
    if scope.country:
        subject += f" to {_join(scope.country)}"
    return f"{subject} in {name_period(period)}"


def _make_subtitle(report: Report, period: MonthRange) -> str:
    counts = [
        (sum(row.node != OTHER for row in report.select("node")), "node", "nodes"),
        (sum(row.country not in (OTHER, "") for row in report.select("country")), "country", "countries"),
    ]
    parts = [
        f"{name_days(period.start, period.end)} (UTC)",
        *(f"{count} {one if count == 1 else several}" for count, one, several in counts),
        *(["not public"] if report.scope.restricted else []),
    ]
    return f"{NO_BREAK}· ".join(parts)


def _make_note(report: Report) -> list[str]:
    """Return sentences on the days not received, the most important one first."""
    received = sum(one.days_received for one in report.coverage)
    due = sum(one.days_due for one in report.coverage)
    if received == due:
        return []
    lacking = [one for one in report.coverage if one.not_received]
    named = "; ".join(f"{one.node}: {_name_gaps(one)}" for one in lacking[:_NAMED])
    others = f"; and {len(lacking) - _NAMED} more nodes" if len(lacking) > _NAMED else ""
    sentences = [
        f"{format_count(due - received)} of {format_count(due)} days of nodes were not received.",
        f"{named}{others}. Figures marked {DAGGER} are of the days received.",
    ]
    if quiet := [one.node for one in lacking if not one.reports_quiet_days]:
        sentences.append(
            f"Days without requests look like days not received if they are of {_join(quiet)},"
            " whose program does not report them."
        )
    return sentences


def _name_gaps(coverage: CoverageRecord) -> str:
    gaps = [name_days(gap.start, gap.end) for gap in coverage.not_received]
    if len(gaps) > _NAMED:
        days = coverage.days_due - coverage.days_received
        return f"{format_count(days)} days in {len(gaps)} gaps"
    return ", ".join(gaps)


def _make_headlines(report: Report) -> list[Headline]:
    (total,) = report.select("total")
    mark = DAGGER if total.days_received < total.days_due else ""
    if total.bytes is None:
        return []
    unit = Unit(total.bytes)
    clients, error = format_clients(total.clients or 0, total.clients_standard_error or 0)
    networks = [row for row in report.select("network") if row.network not in ("", OTHER)]
    found = [
        Headline(
            "Data delivered",
            unit.format(total.bytes),
            f"{unit.name}{mark}",
            [f"{format_bytes(total.bytes, decimal=True)}", *_list_changes(report, total, "bytes_change")],
        ),
        Headline(
            "Streams delivered",
            format_count(total.nb_successful_reqs or 0),
            mark,
            _list_changes(report, total, "nb_successful_reqs_change"),
        ),
        Headline("Requests without data", format_count(total.nb_unsuccessful_reqs or 0), mark, []),
        Headline(
            "Distinct clients",
            clients,
            f"{error}{mark}",
            _list_changes(report, total, "clients_change", CLEAR_CHANGE_OF_CLIENTS),
        ),
    ]
    if networks:
        found.append(Headline("Networks", format_count(len(networks)), "", []))
    return found


def _list_changes(report: Report, total: Row, column: str, smallest: float = 0.0) -> list[str]:
    """Return the change since each earlier period in words, and over how many nodes it is."""
    nodes = sum(one.days_due > 0 for one in report.coverage)
    lines = []
    for record in report.comparisons:
        compared = total.comparisons.get(record.name, Comparison())
        arrow, change = format_change(getattr(compared, column), smallest=smallest)
        against = name_period(parse_months(record.start, record.end))
        if getattr(compared, column) is None:
            lines.append(f"{change} with {against}")
            continue
        base = "" if compared.base_nodes == nodes else f", over {compared.base_nodes} of {nodes} nodes"
        lines.append(f"{arrow} {change} against {against}{base}".strip())
    return lines


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
        greyed=frozenset(number for number, row in enumerate(rows) if _stands_apart(row)),
    )
    return Section(name, heading, introduction, table)


def _format_row(row: Row, unit: Unit, total: int | None) -> list[str]:
    """Return the figures of a row as texts."""
    days = format_share(row.days_received, row.days_due) if row.days_due else ""
    if row.bytes is None:
        gaps = 5 if total is None else 6
        return [_GAP] * (gaps - 1) + ["", days]
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
    return sorted(rows, key=lambda row: (_stands_apart(row), -(row.bytes or 0), row.node, row.network, row.country))


def _stands_apart(row: Row) -> bool:
    """Return whether a row is not ranked: Other, or the requests that failed and belong to no network."""
    return OTHER in (row.node, row.network, row.country) or (row.table == "network" and not row.network)


def _explain(report: Report) -> list[str]:
    """Return the sentences on how to read a report."""
    sentences = [
        "A stream that was delivered counts once. A request that failed as a whole counts once, too, as a request"
        " without data; most of these just found nothing. The two cannot be added up: there is no success rate.",
        "Each number of distinct clients is counted on its own. It is less than the sum of its parts, since a"
        " client counts once in each. Numbers after ≈ are estimates, with their standard error after ±. In 19 of 20"
        " cases, the true number is within two standard errors.",
        "Coverage is the share of days received, from the first day that a node ever sent to yesterday. A day that"
        " only one of several servers of a node has sent counts as received.",
        "Changes compare only the months of nodes that were received completely in both periods. A change of"
        f" clients below 6.5{NO_BREAK}% may be by chance.",
    ]
    if any(OTHER in (row.node, row.network, row.country) for row in report.rows):
        sentences.append(
            f"{OTHER} adds up restricted networks and groups of few clients. It is not ranked; shares include it."
        )
    return sentences


def name_month(date: str) -> str:
    """Return the name of a month that is written as YYYY-MM."""
    year, month = date.split("-")
    return f"{calendar.month_name[int(month)]} {year}"


def _join(names: Sequence[str]) -> str:
    """Return names as an English list."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
