"""The dashboard for Grafana, and the SQL that Grafana's PostgreSQL source makes of its panels.

Grafana cannot run in the tests: it is no Debian, Python or npm package. This follows its source:

* The page replaces variables (`packages/grafana-sql`, and the format `sqlstring` of the library scenes).
* The server replaces macros (`pkg/tsdb/grafana-postgresql-datasource/macros.go`), and makes series of the rows
  (`sql_engine.go`).
"""

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from support.paths import ROOT

DASHBOARD = ROOT / "ringserverstats" / "grafana-dashboard.json"
ALL = "$__all"

Values = dict[str, str | list[str]]
Run = Callable[[str], Sequence[Sequence[Any]]]

_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)|\[\[(\w+)(?::\w+)?\]\]")
_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_SPAN = re.compile(r"(?:now-)?(\d+)([hdM])")


class Query(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The query of a panel: the interface `SQLQuery` of Grafana, without the parts of its query builder.

    The package grafana-foundation-sdk has types of panels and of queries of other sources, but none for this one.
    """

    ref_id: str
    datasource: dict[str, str]
    raw_sql: str
    format: Literal["time_series", "table"]
    raw_query: Literal[True]
    editor_mode: Literal["code"]


class Panel(msgspec.Struct, rename="camel"):
    """A panel. `time_from` is a time span of its own, up to now."""

    id: int
    type: str
    title: str
    description: str
    targets: list[Query]
    time_from: str | None = None

    @property
    def query(self) -> Query:
        """The only query."""
        (query,) = self.targets
        return query


class Variable(msgspec.Struct, rename="camel"):
    """A variable of the dashboard, which its users choose."""

    name: str
    type: Literal["datasource", "query", "custom"]
    query: str
    current: dict[str, Any]
    multi: bool = False
    include_all: bool = False


class _Templating(msgspec.Struct):
    list: list[Variable]


class Dashboard(msgspec.Struct):
    """The parts of the dashboard that determine the SQL of its panels."""

    panels: list[Panel]
    templating: _Templating
    time: dict[str, str]


class Span(NamedTuple):
    """The time of a panel."""

    start: datetime.datetime
    stop: datetime.datetime


def load() -> Dashboard:
    """Return the dashboard of the project."""
    return msgspec.json.decode(DASHBOARD.read_bytes(), type=Dashboard)


def find_span(dashboard: Dashboard, panel: Panel, now: datetime.datetime) -> Span:
    """Return the time of a panel while the dashboard has its default time."""
    assert dashboard.time["to"] == "now"
    matched = _SPAN.fullmatch(panel.time_from or dashboard.time["from"])
    assert matched is not None
    number, unit = int(matched[1]), matched[2]
    if unit == "M":
        months = now.year * 12 + now.month - 1 - number
        # Not each month has a day 31.
        return Span(now.replace(year=months // 12, month=months % 12 + 1, day=min(now.day, 28)), now)
    return Span(now - datetime.timedelta(hours=number if unit == "h" else 24 * number), now)


def choose_values(dashboard: Dashboard, run: Run, span: Span, chosen: Mapping[str, str | list[str]]) -> Values:
    """Return the values of all variables, with all options for the choice "All".

    Args:
        dashboard: the dashboard.
        run: runs a query and returns its rows.
        span: the time of the dashboard.
        chosen: choices of the user; other variables have the value in the file.
    """
    values: Values = {}
    for variable in dashboard.templating.list:
        value = chosen.get(variable.name, variable.current["value"])
        assert isinstance(value, list) == variable.multi
        if ALL in value:
            assert variable.include_all
            value = [str(row[0]) for row in run(make_sql(variable.query, values, span))]
        values[variable.name] = value
    return values


def make_sql(sql: str, values: Values, span: Span) -> str:
    """Return the SQL of a query, with the values of variables and without macros.

    Raises:
        ValueError: if Grafana would refuse it, or if its versions would make different SQL of it.
    """
    return _MACRO.sub(lambda found: _expand(found[1], found[2], span), _replace_variables(sql, values))


def _replace_variables(sql: str, values: Values) -> str:
    def replace(found: re.Match[str]) -> str:
        name, form = found[1], found[2]
        if found[3] is not None and found[3] not in values:
            return found[0]  # a macro
        # Without a format, the versions of Grafana quote single values differently.
        if form != "sqlstring":
            raise ValueError(f"{found[0]} has no format sqlstring")
        value = values[name]
        return ",".join(map(_quote, [value] if isinstance(value, str) else value))

    return _VARIABLE.sub(replace, sql)


def _quote(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _expand(name: str, argument: str, span: Span) -> str:
    start, stop = (_quote(_format(time)) for time in span)
    match name:
        case "__time":
            return f'{argument} AS "time"'
        case "__timeFilter":
            return f"{argument} BETWEEN {start} AND {stop}"
        case "__timeFrom":
            return start
        case "__timeTo":
            return stop
    raise ValueError(f"unknown macro {name}")


def _format(time: datetime.datetime) -> str:
    """Return a time as Go does in its format RFC3339Nano."""
    text = f"{time.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%S.%f}"
    return f"{text.rstrip('0').rstrip('.')}Z"


def read_series(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[tuple[datetime.datetime, str], int]:
    """Return the values of the time series of a result, by time and name.

    Raises:
        ValueError: if Grafana would refuse it, or name the series otherwise.
    """
    if list(columns[:2]) != ["time", "metric"] or len(columns) != 3:
        raise ValueError(f"these columns are no series with names: {', '.join(columns)}")
    series: dict[tuple[datetime.datetime, str], int] = {}
    last = datetime.datetime.min.replace(tzinfo=datetime.UTC)
    for time, name, value in rows:
        moment = _read_time(time)
        if moment < last or (moment, name) in series:
            raise ValueError(f"series are not in the order of time, or have a time twice: {moment}")
        last = moment
        series[moment, name] = int(value)
    return series


def _read_time(value: datetime.date) -> datetime.datetime:
    """Return a date or a time without a time zone in UTC, as Grafana takes it."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    return value.astimezone(datetime.UTC) if value.tzinfo else value.replace(tzinfo=datetime.UTC)
