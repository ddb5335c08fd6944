"""Links of the page: to the same view in another form, and to the answers that have its figures."""

from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec

from eida_statistics.months import format_month
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.reports.answers import make_table_queries
from eida_stats_webservice.reports.kinds import DEFAULT, KINDS, ReportKind
from eida_stats_webservice.reports.pdf import has_packages
from eida_stats_webservice.reports.periods import MonthRange
from eida_stats_webservice.reports.view import View

_FORMATS = {"pdf": "PDF", "csv": "CSV", "json": "JSON"}


class Link(msgspec.Struct, frozen=True):
    """A link and its text."""

    href: str
    text: str


class KindLink(msgspec.Struct, frozen=True):
    """A link to the same view of a kind of statistics, or to live connections, and whether the page shows them."""

    href: str
    text: str
    is_current: bool


class Sorting(msgspec.Struct, frozen=True):
    """How tables are sorted, for the links in their heads."""

    values: Mapping[str, str]
    order: str

    @property
    def column(self) -> str:
        """The column by which tables are sorted."""
        return self.order.removeprefix("-")

    @property
    def direction(self) -> str:
        """The direction in the words of ARIA."""
        return "descending" if self.order.startswith("-") else "ascending"

    def make_link(self, column: str) -> str:
        """Return a link to the view sorted by a column; the second time, in the reverse order."""
        first, second = (column, f"-{column}") if column == "name" else (f"-{column}", column)
        return change_view(self.values, sort=second if self.order == first else first)


def change_view(values: Mapping[str, str], **changed: str) -> str:
    """Return a link to a view with some parameters changed; an empty one is left out."""
    given = {name: value for name, value in {**values, **changed}.items() if value}
    return f"?{urlencode(given, safe=',')}" if given else "."


def make_sorting(values: Mapping[str, str], view: View) -> Sorting:
    """Return how tables are sorted."""
    return Sorting(values, view.layout.find_order(KINDS[view.scope.kind]))


def make_kind_links(values: Mapping[str, str], current: ReportKind | None, root: str = "") -> list[KindLink]:
    """Return the links to all kinds, and to live connections, which have no parameters.

    Args:
        values: the parameters of the view.
        current: the kind of the page; None for live connections.
        root: the path from the page to the dashboard.
    """
    kinds = [
        KindLink(root + _change_kind(values, kind), kind.title, is_current=kind is current)
        for kind in KINDS.values()
    ]
    return [*kinds, KindLink(f"{root}connections/live", "Live connections", is_current=current is None)]


def make_other_kinds(values: Mapping[str, str], current: ReportKind) -> list[Link]:
    """Return the links to the same view of the other kinds."""
    return [Link(_change_kind(values, kind), kind.title) for kind in KINDS.values() if kind is not current]


def _change_kind(values: Mapping[str, str], kind: ReportKind) -> str:
    """Return the link to a kind. It leaves out a measure and an order that this kind does not have."""
    kept = {
        "show": values.get("show", "") in kind.shown,
        "sort": values.get("sort", "").removeprefix("-") in kind.sorted_columns,
    }
    dropped = {name: "" for name, is_kept in kept.items() if not is_kept}
    return change_view(values, kind="" if kind.name is DEFAULT else kind.name, **dropped)


def make_downloads(values: Mapping[str, str], view: View) -> list[Link]:
    """Return the links to a view as PDF, CSV and JSON. They state the period, so that it stays the same."""
    months = {"start": format_month(view.period.first), "end": format_month(view.period.last)}
    stated = {"top": str(view.layout.top), "compare": next(iter(view.comparisons), "none"), **values, **months}
    return [
        Link(f"report{change_view(stated, format=name)}", f"This view as {text}")
        for name, text in _FORMATS.items()
        if name != "pdf" or has_packages()
    ]


def make_sources(view: View) -> dict[str, str]:
    """Return links to the public answers with the figures, by the name of the table."""
    queries = make_table_queries(view.scope, view.period)
    return {table: f"{query.cube.name}/public?{_format_query(query)}" for table, query in queries.items()}


def make_period_link(values: Mapping[str, str], period: MonthRange) -> str:
    """Return a link to a view of another period."""
    return change_view(values, start=format_month(period.first), end=format_month(period.last))


def _format_query(query: StatisticsQuery) -> str:
    parameters = {
        "start": format_month(query.start),
        "end": format_month(query.end),
        **{name: ",".join(values) for name, values in query.filters.items()},
        **({"level": query.level} if query.level else {}),
        **({"details": ",".join(sorted(query.details))} if query.details else {}),
        **({"merge": "nodes"} if query.merge_nodes else {}),
        **query.choices,
        **{measure.parameter: "true" for measure in query.cube.measures if measure.parameter},
    }
    return urlencode(parameters, safe=",")
