"""Choose and draw the charts of a report."""

import calendar
import datetime
import math
from collections.abc import Callable, Sequence

import msgspec
from markupsafe import Markup

from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.reports import atlas, charts
from eida_stats_webservice.reports.charts import NARROW, WIDE, Bar
from eida_stats_webservice.reports.kinds import CLIENTS, KINDS, Measure, ReportKind
from eida_stats_webservice.reports.models import Comparison, CoverageRecord, Report, Row
from eida_stats_webservice.reports.numbers import (
    Unit,
    format_bytes,
    format_clients,
    format_count,
    format_share,
    round_clients,
)
from eida_stats_webservice.reports.periods import MonthRange, name_period, parse_months
from eida_stats_webservice.reports.sections import Section, is_so_far, name_month
from eida_stats_webservice.reports.view import Layout


class Figure(msgspec.Struct, frozen=True):
    """A chart in all its sizes, and its legend."""

    drawings: list[Markup]
    legend: list[Markup]
    name: str = "bars"


def draw_figures(report: Report, layout: Layout, widths: Sequence[int]) -> dict[str, list[Figure]]:
    """Return the charts of each section that has some, those by month or year in several widths."""
    kind = KINDS[report.scope.kind]
    shown = kind.shown[layout.show]
    figures = {"countries": _draw_countries(report, kind, shown)}
    rows = report.select(layout.by)
    if len(rows) > 1:
        for name, measure in (("months", kind.size if shown is CLIENTS else shown), ("clients", CLIENTS)):
            if any(row.get(measure.column) for row in rows):
                figures[name] = [_draw_bars(report, rows, measure, layout, widths)]
    return figures


def draw_cells(report: Report, section: Section) -> dict[int, list[Markup]]:
    """Return the drawings in cells of a section's table, by the number of the column: shares, and days received."""
    cells: dict[int, list[Markup]] = {}
    heads = [column.head for column in section.table.columns]
    if section.table.share:
        values = [row.get(section.table.share) or 0 for row in section.table.source]
        largest = max(values) or 1
        cells[heads.index("Share")] = _mark([charts.draw_rank(value / largest) for value in values])
    if section.table_name == "node":
        coverage = {one.node: one for one in report.coverage}
        period = parse_months(report.period.start, report.period.end)
        cells[len(heads) - 1] = _mark(
            [
                _draw_coverage(coverage[row.node], period, report.as_of) if row.node in coverage else ""
                for row in section.table.source
            ]
        )
    return cells


def _draw_coverage(coverage: CoverageRecord, period: MonthRange, as_of: datetime.date | None) -> str:
    """Return the strip of the days of a node."""
    first, last = period.days.start, period.days.end
    gaps = [((gap.start - first).days, (gap.end - first).days + 1) for gap in coverage.not_received]
    stop = (last - first).days + 1 if as_of is None else max(0, (as_of - first).days)
    due = (stop - coverage.days_due, stop)
    text = f"{format_count(coverage.days_received)} of {format_count(coverage.days_due)} days received"
    return charts.draw_strip((last - first).days + 1, gaps, due, text)


def _draw_countries(report: Report, kind: ReportKind, shown: Measure) -> list[Figure]:
    """Return the maps of the world and of Europe."""
    world, europe = atlas.read().world, atlas.read().europe
    rows = [row for row in report.select("country") if row.country in {*world.paths, *world.dots}]
    values = {row.country: value for row in rows if (value := row.get(shown.column))}
    if not values:
        return []
    texts = {
        row.country: f"{atlas.name_country(row.country)}: {_describe(row, kind, shown)}"
        for row in rows
        if row.country in values
    }
    first = max(values, key=lambda code: values[code])
    gist = f"{shown.label}, most in {texts[first]}."
    drawings = [
        charts.draw_map(outlines, values, texts, pixels=pixels, title=title, description=gist)
        for outlines, pixels, title in (
            (world, WIDE, f"{shown.label} by country"),
            (europe, NARROW, f"{shown.label} by country of Europe"),
        )
    ]
    has_other = any(row.country == OTHER for row in report.select("country"))
    legend = [charts.draw_key("none") + ("none, or too few to show" if has_other else "none")]
    for number, bound in enumerate([min(values.values()), *charts.find_shades(values.values()).bounds]):
        legend.append(f"{charts.draw_key(f's{number}')}from {_name_bound(math.ceil(bound), shown)}")
    return [Figure(_mark(drawings), _mark(legend), name="maps")]


def _name_bound(bound: int, shown: Measure) -> str:
    """Return the smallest value of a class of a map."""
    if shown.column == "bytes":
        return format_bytes(bound)
    return format_count(round_clients(bound) if shown is CLIENTS else bound)


def _describe(row: Row, kind: ReportKind, shown: Measure) -> str:
    """Return the figure of a row in words."""
    if row.bytes is None:
        return "not shown" if row.days_received else "no days received" if row.days_due else "no days due"
    if shown is kind.size:
        return format_bytes(row.bytes)
    if shown is kind.count:
        counted = (kind.count, *([] if kind.failed is None else [kind.failed]))
        return ", ".join(one.describe(row.get(one.column) or 0) for one in counted)
    clients = format_clients(row.clients or 0, row.clients_standard_error or 0)
    return " ".join(filter(None, [*clients, "client" if row.clients == 1 else "clients"]))


def _mark(drawings: list[str]) -> list[Markup]:
    """Return charts and legends as markup: they escape all text in them."""
    return [Markup(drawing) for drawing in drawings]  # noqa: S704


def _draw_bars(report: Report, rows: list[Row], shown: Measure, layout: Layout, widths: Sequence[int]) -> Figure:
    """Return the chart of a measure by month or year."""
    kind = KINDS[report.scope.kind]
    known = [row for row in rows if row.sums is not None]
    largest = max(known, key=lambda row: row.get(shown.column) or 0)
    gist = f"{shown.label}, most in {_name_time(largest)}: {_describe(largest, kind, shown)}."
    unit, size = _choose_unit(rows, shown)
    failed = kind.failed if shown is kind.count else None
    has_years = len({row.date[:4] for row in rows}) > 1

    def scale(value: int | None) -> float | None:
        return None if value is None else value / size

    def make_bar(row: Row) -> Bar:
        label, is_mark = _label(row, has_years=has_years)
        is_covered = row.sums is None or row.days_received >= row.days_due
        covered = "" if is_covered else f" {format_share(row.days_received, row.days_due)} of days received."
        so_far = " so far" if is_so_far(report, row) else ""
        earlier = _find_earlier(row)
        return Bar(
            label=label,
            is_mark=is_mark,
            value=scale(row.get(shown.column)),
            beside=None if failed is None else scale(row.get(failed.column)),
            earlier=scale(earlier.get(shown.column)),
            is_earlier_partial=(earlier.days_received or 0) < (earlier.days_due or 0),
            error=2 * (row.clients_standard_error or 0) if shown is CLIENTS else 0.0,
            received=row.days_received,
            due=row.days_due,
            text=f"{_name_time(row)}{so_far}: {_describe(row, kind, shown)}.{covered}",
        )

    bars = [make_bar(row) for row in rows]
    title = f"{shown.label} by {layout.by}"
    drawings = [charts.draw_bars(bars, unit, title=title, description=gist, width=width) for width in widths]
    return Figure(_mark(drawings), _mark(_make_legend(report, bars, shown)))


def _choose_unit(rows: list[Row], shown: Measure) -> tuple[str, int]:
    if shown.column != "bytes":
        return shown.head.lower(), 1
    unit = Unit(max(row.bytes or 0 for row in rows))
    return unit.name, unit.size


def _label(row: Row, *, has_years: bool) -> tuple[str, bool]:
    """Return the label of a month or year, and whether it is one that remains if there is no place for all."""
    year, _, month = row.date.partition("-")
    if not month:
        return year, False
    if has_years and month == "01":
        return year, True
    return calendar.month_abbr[int(month)], False


def _name_time(row: Row) -> str:
    return name_month(row.date) if "-" in row.date else row.date


def _find_earlier(row: Row) -> Comparison:
    """Return the figures of the first period with which a report compares."""
    return next(iter(row.comparisons.values()), Comparison())


def _make_legend(report: Report, bars: list[Bar], shown: Measure) -> list[str]:
    def is_any(matches: Callable[[Bar], bool]) -> bool:
        return any(map(matches, bars))

    period = name_period(parse_months(report.period.start, report.period.end))
    legend = [f"{charts.draw_key('bar')}{shown.label}, {period}"]
    if is_any(lambda bar: bar.beside is not None):
        legend.append(f"{charts.draw_key('outline')}requests without data")
    if is_any(lambda bar: bar.earlier is not None):
        compared = report.comparisons[0]
        name = name_period(parse_months(compared.start, compared.end))
        legend.append(charts.draw_key("ink") + name)
        if is_any(lambda bar: bar.earlier is not None and bar.is_earlier_partial):
            legend.append(f"{charts.draw_key('dashes')}{name}, without some days")
    if is_any(lambda bar: bar.received < bar.due):
        legend.append(f"{charts.draw_key('gap')}days not received")
    if is_any(lambda bar: bool(bar.error)):
        legend.append(f"{charts.draw_key('whisker')}two standard errors")
    return legend
