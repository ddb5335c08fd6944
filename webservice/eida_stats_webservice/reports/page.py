"""The texts and tables of a report, for people. HTML, PDF and Markdown show the same ones."""

from collections.abc import Sequence

import msgspec

from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.reports.models import Comparison, CoverageRecord, Report, Row
from eida_stats_webservice.reports.numbers import (
    CLEAR_CHANGE_OF_CLIENTS,
    NO_BREAK,
    Unit,
    format_bytes,
    format_change,
    format_clients,
    format_count,
)
from eida_stats_webservice.reports.periods import MonthRange, name_days, name_period, parse_months
from eida_stats_webservice.reports.sections import DAGGER, Section, make_sections
from eida_stats_webservice.reports.view import ALL_ROWS, Layout

KICKER = "Usage of the European Integrated Data Archive"
# A note names so many nodes, and so many gaps of each.
_NAMED = 5


class Headline(msgspec.Struct, frozen=True):
    """A headline figure: `Data delivered`, `1,781`, `TiB†`, and lines such as `▲ 13 % against 2023`."""

    label: str
    value: str
    unit: str
    lines: list[str]


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
    is_restricted: bool


def make_page(report: Report, layout: Layout = ALL_ROWS) -> Page:
    """Return the texts and tables of a report."""
    period = parse_months(report.period.start, report.period.end)
    return Page(
        title=_make_title(report, period),
        subtitle=_make_subtitle(report, period),
        citation=report.citation or "",
        note=_make_note(report),
        headlines=_make_headlines(report),
        sections=make_sections(report, layout),
        reading=_explain(report),
        footer=(
            f"eida-statistics {report.software_version}. State of the database: revision {report.revision},"
            f" {report.changed_at:%Y-%m-%d %H:%M:%S} UTC."
        ),
        is_restricted=report.scope.restricted,
    )


def _make_title(report: Report, period: MonthRange) -> str:
    scope = report.scope
    subject = "Data delivered"
    if scope.network is not None:
        subject = f"Data of network {scope.network} delivered"
    if scope.node:
        subject += f" by {_join(scope.node)}"
    if scope.country:
        subject += f" to {_join(scope.country)}"
    name = name_period(period)
    return f"{subject} {'from' if ' to ' in name else 'in'} {name}{' so far' if report.as_of is not None else ''}"


def _make_subtitle(report: Report, period: MonthRange) -> str:
    counts = [
        (sum(row.node != OTHER for row in report.select("node")), "node", "nodes"),
        (sum(row.country not in (OTHER, "") for row in report.select("country")), "country", "countries"),
    ]
    parts = [
        f"{name_days(period.days)} (UTC)",
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
        f"{format_count(due - received)} of {format_count(due)} node-days were not received.",
        f"{named}{others}. Figures marked {DAGGER} cover only the days received.",
    ]
    if quiet := [one.node for one in lacking if not one.reports_quiet_days]:
        sentences.append(
            f"At {_join(quiet)}, these may have been days without requests, which older aggregators do not report."
        )
    return sentences


def _name_gaps(coverage: CoverageRecord) -> str:
    gaps = [name_days(gap) for gap in coverage.not_received]
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
            f"{format_count(total.nb_successful_reqs or 0)}{mark}",
            "",
            _list_changes(report, total, "nb_successful_reqs_change"),
        ),
        Headline("Requests without data", f"{format_count(total.nb_unsuccessful_reqs or 0)}{mark}", "", []),
        Headline(
            "Distinct clients",
            clients if error else f"{clients}{mark}",
            f"{error}{mark}" if error else "",
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
        counted = compared.clients_base_nodes if column == "clients_change" else compared.base_nodes
        base = "" if counted == nodes else f", over {counted} of {nodes} nodes"
        lines.append(f"{arrow} {change} against {against}{base}".strip())
    return lines


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
        "Changes of data and streams compare only months of nodes that were received completely in both periods,"
        " those of clients only nodes that were. Without half of the data, there is no comparison. A change of"
        f" clients below 6.5{NO_BREAK}% may be by chance.",
    ]
    if any(OTHER in (row.node, row.network, row.country) for row in report.rows):
        sentences.append(
            f"{OTHER} adds up restricted networks and groups of few clients. It is not ranked; shares include it."
        )
    return sentences


def _join(names: Sequence[str]) -> str:
    """Return names as an English list."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
