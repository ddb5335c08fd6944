"""Write the page, and the pages of its errors."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flask import Response
from jinja2 import Environment

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.dashboard.assets import load_assets
from eida_stats_webservice.dashboard.form import Form, Mistake
from eida_stats_webservice.dashboard.links import (
    make_downloads,
    make_kind_links,
    make_other_kinds,
    make_period_link,
    make_sorting,
    make_sources,
)
from eida_stats_webservice.dashboard.live import INCOMPLETE, STALE, UNCONFIRMED, LivePage
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.reports.html import TEMPLATES, make_context, make_environment
from eida_stats_webservice.reports.kinds import KINDS, ReportKind
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.page import KICKER
from eida_stats_webservice.reports.periods import parse_months
from eida_stats_webservice.reports.view import View

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ABOVE = "../"
_OWN_TEMPLATES = Path(__file__).parent / "templates"


def write_dashboard(report: Report, view: View, values: Mapping[str, str], form: Form) -> str:
    """Return the page.

    Args:
        report: the figures.
        view: the view.
        values: the parameters of the request.
        form: the form.
    """
    last = report.last_month
    kinds = make_kind_links(values, KINDS[view.scope.kind])
    has_none = report.no_statistics_in in ("selection", "database")
    return _render(
        "dashboard.html",
        **make_context(report, view.layout),
        form=form,
        kinds=kinds,
        further=make_other_kinds(values, KINDS[view.scope.kind]) if has_none else [],
        downloads=make_downloads(values, view),
        links=make_sources(view),
        sorting=make_sorting(values, view),
        last_link=None if last is None else make_period_link(values, parse_months(last, last)),
    )


def write_error(
    error: EidaStatisticsError,
    kind: ReportKind,
    values: Mapping[str, str],
    detail: str,
    form: Form | None,
    mistake: Mistake | None,
) -> str:
    """Return the page of an error.

    Args:
        error: the error.
        kind: the kind of statistics.
        values: the parameters of the request.
        detail: the cause, and how a client can mend it.
        form: the form as it was filled in; None without a database.
        mistake: the value that cannot be used, if it is one.
    """
    wrong = None if mistake is None else mistake.parameter
    usable = {name: value for name, value in values.items() if name != wrong}
    return _render(
        "problem.html",
        page=None,
        kicker=KICKER,
        title=_name_error(error),
        kinds=[] if form is None else make_kind_links(usable, kind),
        detail=detail,
        form=form,
        mistake=mistake,
    )


def write_live(live: LivePage) -> str:
    """Return the page of live connections, which is in a folder below the dashboard."""
    words = {"stale": STALE, "incomplete": INCOMPLETE, "unconfirmed": UNCONFIRMED}
    kinds = make_kind_links({}, None, _ABOVE)
    return _render("live.html", root=_ABOVE, page=None, kicker=KICKER, kinds=kinds, live=live, **words)


def write_live_error(error: EidaStatisticsError, detail: str) -> str:
    """Return the page of an error of this page."""
    return _render(
        "problem.html",
        root=_ABOVE,
        page=None,
        kicker=KICKER,
        title=error.title,
        kinds=make_kind_links({}, None, _ABOVE),
        detail=detail,
        form=None,
        mistake=None,
    )


def _name_error(error: EidaStatisticsError) -> str:
    """Return the heading of an error. Programs get another one, about their request."""
    return "This view cannot be shown" if isinstance(error, BadParameter) else error.title


def make_page_response(text: str | bytes, status: int = 200) -> Response:
    """Return an answer with a page and its policy."""
    response = Response(text, status=status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _render(name: str, **context: object) -> str:
    """Return a page. `root` is the path from the page to the dashboard; it is empty for the dashboard itself."""
    return _load_templates().get_template(name).render({"assets": load_assets(), "root": "", **context})


@cache
def _load_templates() -> Environment:
    return make_environment(_OWN_TEMPLATES, TEMPLATES)
