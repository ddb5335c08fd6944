"""The answers from which a report is made: public queries, and the days received."""

from collections.abc import Callable, Iterable

import msgspec

from eida_statistics.months import format_month
from eida_statistics.payload import Period
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.reports.change import find_complete_nodes
from eida_stats_webservice.reports.coverage import NodeCoverage
from eida_stats_webservice.reports.kinds import KINDS, ReportKind
from eida_stats_webservice.reports.models import ComparisonName, Scope, Sums, Table
from eida_stats_webservice.reports.periods import MonthRange, get_month_days


class Figures(msgspec.Struct, frozen=True):
    """One row of an answer.

    Attributes:
        keys: the date, node, network, station, location, channel and country; `*` stands for all.
        sums: the sums of the kind of the report.
        clients: the distinct clients.
        is_exact: whether the number of clients is no estimate.
    """

    keys: tuple[str, ...]
    sums: Sums
    clients: int
    is_exact: bool


Ask = Callable[[StatisticsQuery], list[Figures]]
"""Answers a query. All answers of a report are of one state of the database."""


class PeriodAnswers(msgspec.Struct, frozen=True):
    """The answers for one period.

    Attributes:
        coverage: the coverage of the nodes of the report.
        total: the figures of the whole period; None if they are unknown.
        months: the figures of each month of the period, in order; None if they are unknown.
        node_months: the figures by node and month.
    """

    period: MonthRange
    coverage: list[NodeCoverage]
    total: Figures | None
    months: list[Figures | None]
    node_months: list[Figures]


class Earlier(msgspec.Struct, frozen=True):
    """The answers for an earlier period.

    Attributes:
        name: the name of the comparison.
        answers: the answers for that period.
        complete_nodes: the nodes that were received completely in both periods.
        clients: the distinct clients of these nodes in the period of the report; None if there are none.
        clients_before: likewise in the earlier period.
    """

    name: ComparisonName
    answers: PeriodAnswers
    complete_nodes: list[str]
    clients: Figures | None
    clients_before: Figures | None


class Parts(msgspec.Struct, frozen=True):
    """The further answers for the period of a report: one row for each year, node, network, country and station."""

    years: list[Figures]
    nodes: list[Figures]
    networks: list[Figures]
    countries: list[Figures]
    stations: list[Figures]


def make_nothing(kind: ReportKind) -> Figures:
    """Return the figures of received days on which there was nothing to count."""
    return Figures((), dict.fromkeys(kind.sums, 0), 0, is_exact=True)


def make_query(scope: Scope, period: MonthRange, level: str | None = None, *details: str) -> StatisticsQuery:
    """Return the query of the scope of a report in a period."""
    filters = {
        "node": scope.node,
        "network": () if scope.network is None else (scope.network,),
        "country": scope.country,
    }
    kind = KINDS[scope.kind]
    return StatisticsQuery(
        cube=kind.cube,
        start=period.days.start,
        end=period.days.end,
        filters={name: values for name, values in filters.items() if values},
        choices=kind.choices,
        level=level,
        details=frozenset(details),
    )


def ask_period(
    ask: Ask, scope: Scope, period: MonthRange, coverage: list[NodeCoverage], *, shows_all: bool
) -> PeriodAnswers:
    """Return the answers that both sides of a comparison need.

    Figures are 0 if days were received and an answer has no row; with MIN_CLIENTS the row may be hidden, so that
    `shows_all` is false and they are unknown. Without any received day, they are unknown, too.
    """

    def fill(found: Figures | None, days: Period) -> Figures | None:
        is_received = any(one.restrict(days).days_received for one in coverage)
        return make_nothing(KINDS[scope.kind]) if found is None and shows_all and is_received else found

    by_month = {row.keys[0]: row for row in ask(make_query(scope, period, None, "month"))}
    return PeriodAnswers(
        period=period,
        coverage=coverage,
        total=fill(_take_first(ask(make_query(scope, period))), period.days),
        months=[fill(by_month.get(format_month(month)), get_month_days(month)) for month in period.months],
        node_months=ask(make_query(scope, period, "node", "month")),
    )


def make_table_queries(scope: Scope, period: MonthRange) -> dict[Table, StatisticsQuery]:
    """Return the query of each table of a report."""
    queries: dict[Table, StatisticsQuery] = {
        "total": make_query(scope, period),
        "month": make_query(scope, period, None, "month"),
        "year": make_query(scope, period, None, "year"),
        "node": make_query(scope, period, "node"),
        "network": msgspec.structs.replace(make_query(scope, period, "network"), merge_nodes=True),
        "country": make_query(scope, period, None, "country"),
        "station": make_query(scope, period, "station"),
    }
    if scope.network is not None:
        del queries["network"]
    if not scope.restricted:
        del queries["station"]
    return queries


def ask_parts(ask: Ask, scope: Scope, period: MonthRange) -> Parts:
    """Return the answers for the tables of a report."""
    queries = make_table_queries(scope, period)

    def ask_table(table: Table) -> list[Figures]:
        return ask(queries[table]) if table in queries else []

    return Parts(
        years=ask_table("year"),
        nodes=ask_table("node"),
        networks=ask_table("network"),
        countries=ask_table("country"),
        stations=ask_table("station"),
    )


def ask_earlier(ask: Ask, scope: Scope, name: ComparisonName, now: PeriodAnswers, before: PeriodAnswers) -> Earlier:
    """Return the answers for an earlier period, and the clients of the nodes that are complete in both."""
    complete = find_complete_nodes(now.coverage, now.period, before.coverage, before.period)
    # If all are complete, these are the totals, which are known already.
    narrowed = scope if len(complete) == len(now.coverage) else msgspec.structs.replace(scope, node=tuple(complete))
    return Earlier(
        name=name,
        answers=before,
        complete_nodes=complete,
        clients=_take_first(ask(make_query(narrowed, now.period))) if complete else None,
        clients_before=_take_first(ask(make_query(narrowed, before.period))) if complete else None,
    )


def _take_first(rows: Iterable[Figures]) -> Figures | None:
    """Return the row of a total. If it is suppressed, there is none."""
    return next(iter(rows), None)
