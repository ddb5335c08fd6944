"""Views: the selection, period and layout of a report or a dashboard. Parameters of requests name them."""

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeVar, get_args

import msgspec

from eida_statistics.months import add_months, format_month, parse_month
from eida_statistics.payload import EARLIEST_DAY
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.query.parameters import parse_query
from eida_stats_webservice.reports.kinds import DEFAULT, KINDS, ReportKind
from eida_stats_webservice.reports.models import Scope
from eida_stats_webservice.reports.periods import Comparisons, MonthRange, list_comparisons
from eida_stats_webservice.web.parameters import join_values, quote_parameter

By = Literal["month", "year"]

PARAMETERS = ("kind", "start", "end", "node", "network", "country", "show", "by", "top", "sort", "compare")
MAX_TOP = 100
DEFAULT_TOP = 10
_COMPARE = ("year", "previous", "none")
_MONTHS = 12
_Choice = TypeVar("_Choice", bound=str)


class Layout(msgspec.Struct, frozen=True):
    """How figures are shown.

    Attributes:
        show: the measure of charts and maps, and of the order of tables, such as bytes or clients.
        by: the unit of time of the charts.
        top: the number of ranked rows of a table; None for all.
        sort: the column by which tables are sorted, after a minus the largest first; by default, the
            measure that is shown.
    """

    show: str = "bytes"
    by: By = "month"
    top: int | None = None
    sort: str | None = None

    def find_order(self, kind: ReportKind) -> str:
        """Return the column by which tables are sorted, after a minus if the largest comes first."""
        return self.sort or f"-{kind.shown[self.show].column}"


ALL_ROWS = Layout()
"""All rows of all tables, by bytes."""


class View(msgspec.Struct, frozen=True):
    """The choices of a reader: the selection, the months, earlier periods by name, and the layout."""

    scope: Scope
    period: MonthRange
    comparisons: Comparisons
    layout: Layout = ALL_ROWS


def read_values(parameters: Iterable[tuple[str, str]], *further: str) -> dict[str, str]:
    """Return the values of the parameters of a view, and of further ones.

    Empty ones count as not given, since browsers send them.

    Raises:
        BadParameter: naming a parameter that is unknown, repeated or too long.
    """
    given = [(name, value) for name, value in parameters if value]
    return join_values(given, {*PARAMETERS, *further}, lists={"node", "country"})


def parse_report_view(values: dict[str, str], today: datetime.date) -> View:
    """Return the view of a report. It needs a start, and compares with all earlier periods.

    Raises:
        BadParameter: naming a parameter that is missing or has a bad value.
    """
    kind = parse_kind(values)
    scope, period = _parse_selection(kind, values, today)
    compared = _parse_comparisons(values["compare"], period, today) if "compare" in values else None
    comparisons = list_comparisons(period) if compared is None else compared
    return View(scope, period, comparisons, _parse_layout(kind, values))


def parse_dashboard_view(values: dict[str, str], today: datetime.date) -> View:
    """Return the view of a dashboard. By default, it shows the last 12 whole months.

    Raises:
        BadParameter: naming a parameter that has a bad value.
    """
    kind = parse_kind(values)
    scope, period = _parse_selection(kind, {"start": format_month(EARLIEST_DAY), **values}, today)
    last = period.last if "end" in values else max(add_months(today, -1), period.first)
    first = period.first if "start" in values else max(add_months(last, 1 - _MONTHS), EARLIEST_DAY)
    period = MonthRange(first, last)
    comparisons = _parse_comparisons(values.get("compare", _COMPARE[0]), period, today)
    return View(scope, period, comparisons, _parse_layout(kind, {"top": str(DEFAULT_TOP), **values}))


def parse_kind(values: Mapping[str, str]) -> ReportKind:
    """Return the kind that the parameters name, or the default one.

    Raises:
        BadParameter: if they name another one.
    """
    name = values.get("kind", DEFAULT)
    if name not in KINDS:
        raise BadParameter(quote_parameter("kind", name), hint=f"Use {' or '.join(KINDS)}.", parameter="kind")
    return KINDS[Kind(name)]


def _parse_selection(kind: ReportKind, values: dict[str, str], today: datetime.date) -> tuple[Scope, MonthRange]:
    selection = {name: values[name] for name in ("start", "end", "node", "network", "country") if name in values}
    # A year that is not over is shown whole, but no later one.
    latest = today if "end" not in values else today.replace(month=12, day=31)
    query, _ = parse_query(kind.cube, selection.items(), latest, restricted=False)
    if "" in query.filters.get("network", ()):
        network = quote_parameter("network", values["network"])
        raise BadParameter(network, hint="Name a network.", parameter="network")
    if query.start > today:
        raise BadParameter(
            quote_parameter("start", values["start"]), hint="It is in the future.", parameter="start"
        )
    if query.end < EARLIEST_DAY:
        hint = f"Statistics begin in {EARLIEST_DAY.year}."
        raise BadParameter(quote_parameter("end", values["end"]), hint=hint, parameter="end")
    scope = Scope(
        kind=kind.name,
        node=query.filters.get("node", ()),
        network=next(iter(query.filters.get("network", ())), None),
        country=query.filters.get("country", ()),
    )
    return scope, MonthRange(max(query.start, EARLIEST_DAY), query.end.replace(day=1))


def _parse_comparisons(value: str, period: MonthRange, today: datetime.date) -> Comparisons:
    if value == "none":
        return {}
    if value == "previous":
        return {"previous": period.previous()}
    if value == "year":
        return {"year": period.year_before()}
    try:
        first = parse_month(value)
    except ValueError:
        hint = f"Use {', '.join(_COMPARE)}, or the first month of another period, as YYYY-MM."
        raise BadParameter(quote_parameter("compare", value), hint=hint, parameter="compare") from None
    if first == period.first:
        hint = "It is the first month of the view itself."
        raise BadParameter(quote_parameter("compare", value), hint=hint, parameter="compare")
    if not EARLIEST_DAY <= first <= today:
        hint = f"Use a month from {format_month(EARLIEST_DAY)} to {format_month(today)}."
        raise BadParameter(quote_parameter("compare", value), hint=hint, parameter="compare")
    return {"chosen": MonthRange(first, add_months(first, len(period.months) - 1))}


def _parse_layout(kind: ReportKind, values: dict[str, str]) -> Layout:
    units: Sequence[By] = get_args(By)
    sort = values.get("sort")
    if sort is not None and sort.removeprefix("-") not in kind.sorted_columns:
        hint = f"Use {', '.join(kind.sorted_columns)}, with - before it for the reverse order."
        raise BadParameter(quote_parameter("sort", sort), hint=hint, parameter="sort")
    return Layout(
        show=_choose(values, "show", list(kind.shown)),
        by=_choose(values, "by", units),
        top=_parse_top(values["top"]) if "top" in values else None,
        sort=sort,
    )


def _choose(values: dict[str, str], name: str, choices: Sequence[_Choice]) -> _Choice:
    """Return the choice that a parameter names, or the first one."""
    value = values.get(name, choices[0])
    for choice in choices:
        if choice == value:
            return choice
    raise BadParameter(quote_parameter(name, value), hint=f"Use {' or '.join(choices)}.", parameter=name)


def _parse_top(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", value, re.ASCII) or not 1 <= int(value) <= MAX_TOP:
        hint = f"Use a number from 1 to {MAX_TOP}."
        raise BadParameter(quote_parameter("top", value), hint=hint, parameter="top")
    return int(value)
