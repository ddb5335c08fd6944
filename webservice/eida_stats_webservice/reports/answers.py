"""The answers from which a report is made: public queries, and the days received."""

import datetime
from collections.abc import Callable, Iterable

import msgspec

from eida_statistics.months import find_last_day, format_month
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.reports.change import find_complete_nodes
from eida_stats_webservice.reports.coverage import NodeCoverage
from eida_stats_webservice.reports.models import Scope
from eida_stats_webservice.reports.periods import MonthRange


class Figures(msgspec.Struct, frozen=True):
    """One row of an answer.

    Attributes:
        keys: the date, node, network, station, location, channel and country; `*` stands for all.
        bytes: the bytes delivered.
        streams: the streams delivered.
        without_data: the requests without data.
        clients: the distinct clients.
        is_exact: whether the number of clients is no estimate.
    """

    keys: tuple[str, ...]
    bytes: int
    streams: int
    without_data: int
    clients: int
    is_exact: bool


NOTHING = Figures((), 0, 0, 0, 0, is_exact=True)
"""The figures of received days without requests."""

Ask = Callable[[StatisticsQuery], list[Figures]]
"""Answers a query. All answers of a report are of one state of the database."""


class PeriodAnswers(msgspec.Struct, frozen=True):
    """The answers for one period.

    Attributes:
        coverage: the coverage of the nodes of the report.
        shows_all: whether an answer without a row means that there is nothing. With MIN_CLIENTS, it may be hidden.
        total: the figures of the whole period; None if they are unknown.
        months: the figures by month.
        node_months: the figures by node and month.
    """

    period: MonthRange
    coverage: list[NodeCoverage]
    shows_all: bool
    total: Figures | None
    months: list[Figures]
    node_months: list[Figures]

    def find_month(self, month: datetime.date) -> Figures | None:
        """Return the figures of a month. They are 0 if its days were received and had no requests."""
        date = format_month(month)
        if (row := next((row for row in self.months if row.keys[0] == date), None)) is not None:
            return row
        last = find_last_day(month)
        is_received = any(one.restrict(month, last).days_received for one in self.coverage)
        return NOTHING if self.shows_all and is_received else None


class Earlier(msgspec.Struct, frozen=True):
    """The answers for an earlier period.

    Attributes:
        name: the name of the comparison.
        answers: the answers for that period.
        complete_nodes: the nodes that were received completely in both periods.
        clients: the distinct clients of these nodes in the period of the report; None if there are none.
        clients_before: likewise in the earlier period.
    """

    name: str
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


def make_query(scope: Scope, period: MonthRange, level: str | None = None, *details: str) -> StatisticsQuery:
    """Return the query of the scope of a report in a period."""
    filters = {
        "node": scope.node,
        "network": () if scope.network is None else (scope.network,),
        "country": scope.country,
    }
    return StatisticsQuery(
        cube=DATASELECT,
        start=period.start,
        end=period.end,
        filters={name: values for name, values in filters.items() if values},
        level=level,
        details=frozenset(details),
    )


def ask_period(
    ask: Ask, scope: Scope, period: MonthRange, coverage: list[NodeCoverage], *, shows_all: bool
) -> PeriodAnswers:
    """Return the answers that both sides of a comparison need."""
    total = _take_first(ask(make_query(scope, period)))
    if total is None and shows_all and any(one.days_received for one in coverage):
        total = NOTHING
    return PeriodAnswers(
        period=period,
        coverage=coverage,
        shows_all=shows_all,
        total=total,
        months=ask(make_query(scope, period, None, "month")),
        node_months=ask(make_query(scope, period, "node", "month")),
    )


def ask_parts(ask: Ask, scope: Scope, period: MonthRange) -> Parts:
    """Return the answers for the tables of a report."""
    networks = msgspec.structs.replace(make_query(scope, period, "network"), merge_nodes=True)
    return Parts(
        years=ask(make_query(scope, period, None, "year")) if period.first.year != period.last.year else [],
        nodes=ask(make_query(scope, period, "node")),
        networks=ask(networks) if scope.network is None else [],
        countries=ask(make_query(scope, period, None, "country")),
        stations=ask(make_query(scope, period, "station")) if scope.restricted else [],
    )


def ask_earlier(ask: Ask, scope: Scope, name: str, now: PeriodAnswers, before: PeriodAnswers) -> Earlier:
    """Return the answers for an earlier period, and the clients of the nodes that are complete in both."""
    complete = find_complete_nodes(now.coverage, now.period, before.coverage, before.period)
    narrowed = msgspec.structs.replace(scope, node=tuple(complete))
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
