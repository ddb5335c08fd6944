"""Write reports as one HTML file that needs no other file."""

import base64
import calendar
import hashlib
from functools import cache
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eida_stats_webservice.registry.models import OTHER
from eida_stats_webservice.reports import atlas, charts
from eida_stats_webservice.reports.charts import NARROW, WIDE, Bar
from eida_stats_webservice.reports.models import Comparison, Report, Row
from eida_stats_webservice.reports.numbers import Unit, format_bytes, format_clients
from eida_stats_webservice.reports.page import KICKER, make_page, parse_months
from eida_stats_webservice.reports.periods import name_period
from eida_stats_webservice.reports.sections import name_month

_TEMPLATES = Path(__file__).parent / "templates"
_FONT = Path(__file__).parent / "data" / "eida-sans.woff2"


class Figure(msgspec.Struct, frozen=True):
    """A chart in all its sizes, and its legend."""

    drawings: list[Markup]
    legend: list[Markup]
    name: str = "bars"


def write_html(report: Report) -> bytes:
    """Return a report as an HTML document."""
    text = (
        _load_templates()
        .get_template("report.html")
        .render(
            page=make_page(report),
            figures=_draw_figures(report),
            kicker=KICKER,
            # The style is our own file.
            style=Markup(_read_style()),  # noqa: S704
            policy=make_policy(),
        )
    )
    return text.encode()


@cache
def make_policy() -> str:
    """Return the Content-Security-Policy of a report: its own style and font, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_read_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; font-src data:; img-src data:; base-uri 'none'"


@cache
def _read_style() -> str:
    """Return the style, with the font in it."""
    font = base64.b64encode(_FONT.read_bytes()).decode()
    face = (
        f'font-family: "EIDA Sans"; font-weight: 400 600; src: url(data:font/woff2;base64,{font}) format("woff2")'
    )
    return f"@font-face {{ {face} }}\n{(_TEMPLATES / 'style.css').read_text()}"


@cache
def _load_templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _draw_figures(report: Report) -> dict[str, list[Figure]]:
    """Return the charts of each section that has some."""
    figures = {"countries": _draw_countries(report)}
    months = report.select("month")
    if len(months) > 1 and any(row.bytes is not None for row in months):
        figures |= {"months": [_draw_bytes(report, months)], "clients": [_draw_clients(report, months)]}
    return figures


def _draw_countries(report: Report) -> list[Figure]:
    """Return the maps of the world and of Europe."""
    world, europe, names = (getattr(atlas.read(), name) for name in ("world", "europe", "names"))
    rows = report.select("country")
    sizes = {row.country: row.bytes for row in rows if row.bytes and row.country in {*world.paths, *world.dots}}
    if not sizes:
        return []
    texts = {code: f"{names[code]}: {format_bytes(size)}" for code, size in sizes.items()}
    first = max(sizes, key=lambda code: sizes[code])
    gist = f"Most data went to {names[first]}: {format_bytes(sizes[first])}."
    drawings = [
        charts.draw_map(outlines, sizes, texts, pixels=pixels, title=title, description=gist)
        for outlines, pixels, title in (
            (world, WIDE, "Data delivered by country"),
            (europe, NARROW, "Data delivered by country of Europe"),
        )
    ]
    has_other = any(row.country == OTHER for row in rows)
    legend = [charts.draw_key("none") + ("none, or too few to show" if has_other else "none")]
    for number, bound in enumerate([min(sizes.values()), *charts.find_shades(sizes.values()).bounds]):
        legend.append(f"{charts.draw_key(f's{number}')}from {format_bytes(round(bound))}")
    return [Figure(_mark(drawings), _mark(legend), name="maps")]


def _mark(drawings: list[str]) -> list[Markup]:
    """Return charts and legends as markup: they escape all text in them."""
    return [Markup(drawing) for drawing in drawings]  # noqa: S704


def _draw_bytes(report: Report, months: list[Row]) -> Figure:
    unit = Unit(max(row.bytes or 0 for row in months))
    bars = [
        _make_bar(
            row,
            None if row.bytes is None else row.bytes / unit.size,
            None if (earlier := _find_earlier(row).bytes) is None else earlier / unit.size,
            0.0,
            "no data" if row.bytes is None else format_bytes(row.bytes),
        )
        for row in months
    ]
    largest = max((row for row in months if row.bytes is not None), key=lambda row: row.bytes or 0)
    gist = f"Most data were delivered in {name_month(largest.date)}: {format_bytes(largest.bytes or 0)}."
    return _make_figure(report, bars, unit.name, "Data delivered by month", gist)


def _draw_clients(report: Report, months: list[Row]) -> Figure:
    bars = [
        _make_bar(
            row,
            row.clients,
            _find_earlier(row).clients,
            2 * (row.clients_standard_error or 0),
            "no data"
            if row.clients is None
            else " ".join(format_clients(row.clients, row.clients_standard_error or 0)).strip() + " clients",
        )
        for row in months
    ]
    largest = max((row for row in months if row.clients is not None), key=lambda row: row.clients or 0)
    clients, _ = format_clients(largest.clients or 0, largest.clients_standard_error or 0)
    gist = f"Most clients were served in {name_month(largest.date)}: {clients}."
    return _make_figure(report, bars, "clients", "Distinct clients by month", gist)


def _make_bar(row: Row, value: float | None, earlier: float | None, error: float, text: str) -> Bar:
    return Bar(
        label=calendar.month_abbr[int(row.date[5:])],
        value=value,
        earlier=earlier,
        error=error,
        received=row.days_received,
        due=row.days_due,
        text=f"{name_month(row.date)}: {text}",
    )


def _find_earlier(row: Row) -> Comparison:
    """Return the figures of the first earlier period with which a report compares."""
    return next(iter(row.comparisons.values()), Comparison())


def _make_figure(report: Report, bars: list[Bar], unit: str, title: str, gist: str) -> Figure:
    drawings = [
        charts.draw_bars(bars, unit, title=title, description=gist, width=width) for width in (WIDE, NARROW)
    ]
    legend = [charts.draw_key("bar") + name_period(parse_months(report.period.start, report.period.end))]
    if report.comparisons and any(bar.earlier is not None for bar in bars):
        earlier = report.comparisons[0]
        legend.append(charts.draw_key("ink") + name_period(parse_months(earlier.start, earlier.end)))
    if any(bar.received < bar.due for bar in bars):
        legend.append(charts.draw_key("gap") + "days not received, with the share received")
    if any(bar.error for bar in bars):
        legend.append(charts.draw_key("whisker") + "two standard errors")
    return Figure(_mark(drawings), _mark(legend))
