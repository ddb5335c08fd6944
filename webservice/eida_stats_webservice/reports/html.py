"""Write reports as one HTML file that needs no other file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eida_stats_webservice.reports.charts import NARROW, WIDE
from eida_stats_webservice.reports.figures import draw_cells, draw_figures
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.page import KICKER, make_page
from eida_stats_webservice.reports.view import ALL_ROWS, Layout

TEMPLATES = Path(__file__).parent / "templates"
FONT = Path(__file__).parent / "data" / "eida-sans.woff2"


def write_html(report: Report, layout: Layout = ALL_ROWS) -> bytes:
    """Return a report as an HTML document."""
    return render("report.html", make_context(report, layout))


def render(template: str, context: Mapping[str, object]) -> bytes:
    """Return an HTML document that needs no other file, with the style of reports."""
    # The style is our own file.
    style = Markup(_read_style())  # noqa: S704
    return _load_templates().get_template(template).render(context, style=style, policy=make_policy()).encode()


def write_print(report: Report, layout: Layout = ALL_ROWS) -> bytes:
    """Return a report as an HTML document for paper, without the charts for phones: its PDF takes less time."""
    return render("report.html", make_context(report, layout, [WIDE]))


def make_context(report: Report, layout: Layout, widths: Sequence[int] = (WIDE, NARROW)) -> dict[str, object]:
    """Return the texts, tables and charts that the templates of a report need."""
    page = make_page(report, layout)
    return {
        "kicker": KICKER,
        "page": page,
        "figures": draw_figures(report, layout, widths),
        "drawings": {section.name: draw_cells(report, section) for section in page.sections},
    }


@cache
def make_policy() -> str:
    """Return the Content-Security-Policy of a report: its own style and font, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(_read_style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; font-src data:; img-src data:; base-uri 'none'"


@cache
def _read_style() -> str:
    """Return the style, with the font in it."""
    font = base64.b64encode(FONT.read_bytes()).decode()
    return make_style(f"data:font/woff2;base64,{font}")


def make_style(font: str) -> str:
    """Return the style of all pages, with the font at a URL."""
    face = f'font-family: "EIDA Sans"; font-weight: 400 600; src: url({font}) format("woff2")'
    return f"@font-face {{ {face} }}\n{(TEMPLATES / 'style.css').read_text()}"


@cache
def _load_templates() -> Environment:
    return make_environment(TEMPLATES)


def make_environment(*folders: Path) -> Environment:
    """Return an environment for the templates in some folders, in which all text is escaped."""
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
