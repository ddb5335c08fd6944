"""The texts and tables of a report, for people. HTML, PDF and Markdown show the same ones."""

import datetime
from collections.abc import Sequence

import msgspec

from eida_statistics.payload import Period
from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.reports import atlas
from eida_stats_webservice.reports.kinds import CLIENTS, KINDS, Measure
from eida_stats_webservice.reports.models import Comparison, CoverageRecord, Report, Row, Scope
from eida_stats_webservice.reports.numbers import (
    CLEAR_CHANGE_OF_CLIENTS,
    NO_BREAK,
    Unit,
    count,
    format_bytes,
    format_change,
    format_clients,
    format_count,
    format_share_of,
    format_three_digits,
)
from eida_stats_webservice.reports.periods import MonthRange, name_days, name_period, parse_months, place_period
from eida_stats_webservice.reports.sections import (
    DAGGER,
    Section,
    find_failed,
    make_sections,
    mark_gaps,
    name_month,
)
from eida_stats_webservice.reports.view import ALL_ROWS, Layout

KICKER = "Usage of the European Integrated Data Archive"
# A note names so many nodes, and so many gaps of each.
_NAMED = 5
_BILLION = 10**9
_DAY = datetime.timedelta(days=1)


class Headline(msgspec.Struct, frozen=True):
    """A headline figure: `Data delivered`, `1,781`, `TiB†`, and lines such as `▲ 13 % against 2023`."""

    label: str
    value: str
    unit: str
    lines: list[str]


class Page(msgspec.Struct, frozen=True):
    """A report as people read it.

    Attributes:
        about: the name of the network, or how to cite it; empty if the registry does not have it.
        doi: the URL of the network's DOI; empty if it has none.
        empty: a sentence that there are no statistics, without its full stop; empty if there are some.
        last_month: the name of the last month with statistics, if there are none.
    """

    title: str
    subtitle: str
    about: str
    doi: str
    empty: str
    last_month: str
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
        about=_introduce_network(report),
        doi=f"https://doi.org/{report.doi}" if report.doi else "",
        empty=_name_emptiness(report, period) if report.is_empty else "",
        last_month="" if report.last_month is None else name_month(report.last_month),
        note=_make_note(report),
        headlines=_make_headlines(report),
        sections=[] if report.is_empty else make_sections(report, layout),
        reading=[] if report.is_empty else _explain(report),
        footer=(
            f"eida-statistics {report.software_version}. State of the database: revision {report.revision},"
            f" {report.changed_at:%Y-%m-%d %H:%M:%S} UTC."
        ),
        is_restricted=report.scope.restricted,
    )


def _introduce_network(report: Report) -> str:
    """Return how to cite a network, without the URL of its DOI, or else its name."""
    if report.citation and report.doi:
        return f"Cite as: {report.citation.removesuffix(f'https://doi.org/{report.doi}').strip()}"
    return f"{report.name}." if report.name else ""


def _name_emptiness(report: Report, period: MonthRange) -> str:
    """Return a sentence that there are no statistics, without its full stop."""
    (total,) = report.select("total")
    subject = f"statistics of {KINDS[report.scope.kind].subject}"
    if report.no_statistics_in == "database":
        return f"There are no {subject} yet"
    if report.no_statistics_in == "selection":
        return f"{_name_selection(report.scope)} no {subject} in any period"
    # Days were received, but MIN_CLIENTS may hide their figures.
    hidden = ", or too few to show" if total.sums is None and total.days_received else ""
    return f"No {subject} {place_period(period)}{hidden}"


def _name_selection(scope: Scope) -> str:
    """Return the beginning of a sentence about what a selection has: `Nodes A and B have`."""
    if scope.node and scope.network is None and not scope.country:
        return f"Node {scope.node[0]} has" if len(scope.node) == 1 else f"Nodes {_join(scope.node)} have"
    if scope.network is not None and not scope.node and not scope.country:
        return f"Network {scope.network} has"
    return "This selection has"


def _make_title(report: Report, period: MonthRange) -> str:
    scope = report.scope
    network = "" if scope.network is None else f" of network {scope.network}"
    subject = f"Data{network} {KINDS[scope.kind].action}"
    if scope.node:
        subject += f" by {_join(scope.node)}"
    if scope.country:
        subject += f" to {_join([atlas.name_country(code) for code in scope.country])}"
    return f"{subject} {place_period(period)}{' so far' if report.as_of is not None else ''}"


def _make_subtitle(report: Report, period: MonthRange) -> str:
    nodes = sum(row.node != OTHER for row in report.select("node"))
    countries = sum(row.country not in (OTHER, *atlas.NO_COUNTRIES) for row in report.select("country"))
    # Of a period that is not over, yesterday is the last day that is due.
    days = period.days if report.as_of is None else Period(period.first, max(period.first, report.as_of - _DAY))
    parts = [
        f"{name_days(days)} (UTC)",
        *([count(nodes, "node", "nodes")] if nodes else []),
        *([count(countries, "country", "countries")] if countries else []),
        *(["not public"] if report.scope.restricted else []),
    ]
    return f"{NO_BREAK}· ".join(parts)


def _make_note(report: Report) -> list[str]:
    """Return sentences on the days not received, the most important one first."""
    received = sum(one.days_received for one in report.coverage)
    due = sum(one.days_due for one in report.coverage)
    compared = _note_comparisons(report)
    if received == due:
        return compared
    lacking = [one for one in report.coverage if one.not_received]
    named = "; ".join(f"{one.node}: {_name_gaps(one)}" for one in lacking[:_NAMED])
    more = len(lacking) - _NAMED
    others = f"; and {count(more, 'more node', 'more nodes')}" if more > 0 else ""
    marked = "" if report.is_empty else f" Figures marked {DAGGER} cover only the days received."
    sentences = [_count_gaps(received, due), f"{named}{others}.{marked}"]
    if quiet := [one.node for one in lacking if not one.reports_quiet_days]:
        sentences.append(
            f"At {_join(quiet)}, these may have been days without requests, which older aggregators do not report."
        )
    return sentences + compared


def _count_gaps(received: int, due: int) -> str:
    were = "was" if due - received == 1 else "were"
    return f"{format_count(due - received)} of {count(due, 'node-day', 'node-days')} {were} not received."


def _note_comparisons(report: Report) -> list[str]:
    """Return a sentence for each other period with days that were not received."""
    (total,) = report.select("total")
    sentences = []
    for record in report.comparisons:
        compared = total.comparisons.get(record.name, Comparison())
        received, due = compared.days_received or 0, compared.days_due or 0
        if received < due:
            place = place_period(parse_months(record.start, record.end))
            sentences.append(f"{place[0].upper()}{place[1:]}, {_count_gaps(received, due)}")
    return sentences


def _name_gaps(coverage: CoverageRecord) -> str:
    gaps = [name_days(gap) for gap in coverage.not_received]
    if len(gaps) > _NAMED:
        days = coverage.days_due - coverage.days_received
        return f"{format_count(days)} days in {len(gaps)} gaps"
    return ", ".join(gaps)


def _make_headlines(report: Report) -> list[Headline]:
    (total,) = report.select("total")
    if total.bytes is None or report.is_empty:
        return []
    kind = KINDS[report.scope.kind]
    mark = mark_gaps(total)

    def make_count(measure: Measure) -> Headline:
        value, changes = total.get(measure.column) or 0, _list_changes(report, total, measure.column)
        # All digits would be too wide on a phone. The tables have them.
        if value >= _BILLION:
            return Headline(measure.label, format_three_digits(value / _BILLION), f"billion{mark}", changes)
        return Headline(measure.label, f"{format_count(value)}{mark}", "", changes)

    unit = Unit(total.bytes)
    lines = [format_bytes(total.bytes, decimal=True), *_list_changes(report, total, kind.size.column)]
    found = [
        Headline(kind.size.label, unit.format(total.bytes), f"{unit.name}{mark}", lines),
        make_count(kind.count),
    ]
    if (failed := find_failed(report)) is not None:
        found.append(make_count(failed))
    found.append(_make_clients_headline(report, total, mark))
    networks = sum(row.network not in ("", OTHER) for row in report.select("network"))
    return found + ([Headline("Networks", format_count(networks), "", [])] if networks else [])


def _make_clients_headline(report: Report, total: Row, mark: str) -> Headline:
    clients, error = format_clients(total.clients or 0, total.clients_standard_error or 0)
    changes = _list_changes(report, total, CLIENTS.column, CLEAR_CHANGE_OF_CLIENTS)
    if error:
        return Headline(CLIENTS.label, clients, f"{error}{mark}", changes)
    return Headline(CLIENTS.label, f"{clients}{mark}", "", changes)


def _list_changes(report: Report, total: Row, column: str, smallest: float = 0.0) -> list[str]:
    """Return the change since each earlier period in words, and over how many nodes it is."""
    nodes = sum(one.days_due > 0 for one in report.coverage)
    lines = []
    for record in report.comparisons:
        compared = total.comparisons.get(record.name, Comparison())
        relative = compared.changes.get(column)
        arrow, change = format_change(relative, smallest=smallest)
        against = name_period(parse_months(record.start, record.end))
        if relative is None:
            lines.append(f"{change} with {against}")
            continue
        lines.append(f"{arrow} {change} against {against}{_name_base(compared, column, nodes)}".strip())
    return lines


def _name_base(compared: Comparison, column: str, nodes: int) -> str:
    """Return over which part of the statistics a change is, if not over all."""
    counted = compared.clients_base_nodes if column == CLIENTS.column else compared.base_nodes
    if counted != nodes:
        return f", over {counted} of {nodes} nodes"
    if column == CLIENTS.column or compared.base_share in (None, 1):
        return ""
    return f", over {format_share_of(compared.base_share)} of the data"


def _explain(report: Report) -> list[str]:
    """Return the sentences on how to read a report."""
    kind = KINDS[report.scope.kind]
    sentences = [
        *kind.reading,
        "Each number of distinct clients is counted on its own. It is usually less than the sum of its parts, since"
        " a client counts once in each. Numbers after ≈ are estimates, with their standard error after ±. In 19 of"
        " 20 cases, the true number is within two standard errors.",
        "A node-day is a day of one node. The days of a node count from the first one that it ever sent to"
        " yesterday. A day that only one of several servers of a node has sent counts as received.",
        f"Data and {kind.count.choice} are compared over the months of nodes of which all days were received in"
        " both periods. Clients are compared over the nodes of which all days were received in both periods. If"
        " these months or nodes have less than half of the data, the periods are not comparable. A change of"
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
