"""Make a report from answers. All functions are pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from eida_statistics.months import format_month, parse_month
from eida_statistics.payload import Period
from eida_stats_webservice.reports.answers import Earlier, Figures, Parts, PeriodAnswers
from eida_stats_webservice.reports.change import (
    Side,
    compare,
    compute_change,
    hold_enough_bytes,
    make_side,
)
from eida_stats_webservice.reports.coverage import NodeCoverage
from eida_stats_webservice.reports.models import (
    KEYS,
    Comparison,
    ComparisonRecord,
    CoverageRecord,
    MonthsRecord,
    Row,
    Table,
)
from eida_stats_webservice.reports.numbers import RELATIVE_STANDARD_ERROR
from eida_stats_webservice.reports.periods import MonthRange, get_month_days


def make_rows(
    now: PeriodAnswers, parts: Parts, earlier: list[Earlier], networks: Mapping[str, set[str]]
) -> list[Row]:
    """Return the rows of a report: the total, months, years, nodes, networks, countries and stations.

    Args:
        now: the answers for the period.
        parts: the answers for its tables.
        earlier: the answers for earlier periods.
        networks: the nodes of each network.
    """
    everything = now.coverage
    return [
        _make_row("total", {}, now.total, everything, _compare_totals(now, earlier)),
        *_make_months(now, earlier),
        *(
            _copy_row("year", row, _restrict(everything, MonthRange.of_year(int(row.keys[0])).days))
            for row in parts.years
        ),
        *_make_nodes(parts.nodes, everything),
        *(
            _copy_row("network", row, _choose_nodes(everything, networks.get(row.keys[2])))
            for row in parts.networks
        ),
        *(_copy_row("country", row, everything) for row in parts.countries),
        *(_copy_row("station", row, _choose_nodes(everything, {row.keys[1]})) for row in parts.stations),
    ]


def make_coverage(coverage: Iterable[NodeCoverage]) -> list[CoverageRecord]:
    """Return the coverage of nodes as a report has it."""
    return [
        CoverageRecord(
            node=one.node,
            days_received=one.days_received,
            days_due=one.days_due,
            not_received=one.not_received,
            reports_quiet_days=one.reports_quiet_days,
        )
        for one in coverage
    ]


def make_months_record(period: MonthRange) -> MonthsRecord:
    """Return a period as a report has it."""
    return MonthsRecord(format_month(period.first), format_month(period.last))


def make_comparison_record(earlier: Earlier) -> ComparisonRecord:
    """Return an earlier period as a report has it."""
    months = make_months_record(earlier.answers.period)
    return ComparisonRecord(earlier.name, months.start, months.end)


def _count_days(coverage: Iterable[NodeCoverage]) -> tuple[int, int]:
    """Return the days received and the days due, added up over nodes."""
    coverage = list(coverage)
    return sum(one.days_received for one in coverage), sum(one.days_due for one in coverage)


def _make_row(
    table: Table,
    keys: Mapping[str, str],
    found: Figures | None,
    coverage: Iterable[NodeCoverage],
    comparisons: Mapping[str, Comparison] = MappingProxyType({}),
) -> Row:
    """Return a row. Without figures, these are unknown: a month without any received day is a gap, never 0."""
    received, due = _count_days(coverage)
    row = msgspec.structs.replace(
        Row(table, days_received=received, days_due=due, comparisons=dict(comparisons)), **keys
    )
    if found is None:
        return row
    return msgspec.structs.replace(
        row,
        sums=found.sums,
        clients=found.clients,
        clients_standard_error=0.0 if found.is_exact else found.clients * RELATIVE_STANDARD_ERROR,
    )


def _copy_row(table: Table, found: Figures, coverage: Iterable[NodeCoverage]) -> Row:
    """Return a row of an answer with its coverage."""
    return _make_row(table, dict(zip(KEYS, found.keys, strict=True)), found, coverage)


def _make_months(now: PeriodAnswers, earlier: list[Earlier]) -> Iterator[Row]:
    for number, (month, found) in enumerate(zip(now.period.months, now.months, strict=True)):
        yield _make_row(
            "month",
            {"date": format_month(month)},
            found,
            _restrict(now.coverage, get_month_days(month)),
            {one.name: _compare_month(one.answers, number) for one in earlier},
        )


def _make_nodes(found: list[Figures], coverage: list[NodeCoverage]) -> Iterator[Row]:
    """Yield a row for each node that has figures or days due, and one for each other row of the answer."""
    by_name = {row.keys[1]: row for row in found}
    for one in coverage:
        if (row := by_name.pop(one.node, None)) is not None or one.days_due:
            yield _make_row("node", {"node": one.node}, row, [one])
    for row in by_name.values():
        yield _copy_row("node", row, coverage)


def _compare_month(answers: PeriodAnswers, number: int) -> Comparison:
    coverage = _restrict(answers.coverage, get_month_days(answers.period.months[number]))
    return _make_comparison(answers.months[number], coverage)


def _make_comparison(found: Figures | None, coverage: Iterable[NodeCoverage]) -> Comparison:
    received, due = _count_days(coverage)
    if found is None:
        return Comparison(days_received=received, days_due=due)
    return Comparison(sums=found.sums, clients=found.clients, days_received=received, days_due=due)


def _compare_totals(now: PeriodAnswers, earlier: list[Earlier]) -> dict[str, Comparison]:
    """Return the changes of the totals since earlier periods."""
    side = _make_side(now)
    compared: dict[str, Comparison] = {}
    for one in earlier:
        before = _make_side(one.answers)
        base = compare(side, before)
        compared[one.name] = msgspec.structs.replace(
            _make_comparison(one.answers.total, one.answers.coverage),
            changes={**base.changes, "clients": _compare_clients(one, side, before)},
            base_nodes=base.nodes,
            base_share=base.share,
            clients_base_nodes=len(one.complete_nodes),
        )
    return compared


def _compare_clients(earlier: Earlier, now: Side, before: Side) -> float | None:
    """Return the change of the clients of the nodes that are complete in both periods."""
    if earlier.clients is None or earlier.clients_before is None:
        return None
    if not hold_enough_bytes(earlier.complete_nodes, now, before):
        return None
    return compute_change(earlier.clients.clients, earlier.clients_before.clients)


def _make_side(answers: PeriodAnswers) -> Side:
    sums = {(row.keys[1], parse_month(row.keys[0])): row.sums for row in answers.node_months}
    return make_side(answers.period, sums, answers.coverage)


def _restrict(coverage: Iterable[NodeCoverage], days: Period) -> list[NodeCoverage]:
    return [one.restrict(days) for one in coverage]


def _choose_nodes(coverage: list[NodeCoverage], nodes: Collection[str] | None) -> list[NodeCoverage]:
    """Return the coverage of some nodes. That of an unknown network, or of Other, is the one of all nodes."""
    chosen = [one for one in coverage if one.node in nodes] if nodes else []
    return chosen or coverage
