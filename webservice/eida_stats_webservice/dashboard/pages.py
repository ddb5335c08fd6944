"""Write the page, and the pages of its errors."""

import datetime
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flask import Response
from jinja2 import Environment

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.dashboard.assets import load_assets
from eida_stats_webservice.dashboard.form import Form, Mistake
from eida_stats_webservice.dashboard.links import make_downloads, make_period_link, make_sorting, make_sources
from eida_stats_webservice.reports.html import TEMPLATES, make_context, make_environment
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.page import KICKER
from eida_stats_webservice.reports.periods import MonthRange, name_period
from eida_stats_webservice.reports.view import View

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_OWN_TEMPLATES = Path(__file__).parent / "templates"


def write_dashboard(
    report: Report, view: View, values: Mapping[str, str], form: Form, last_month: datetime.date | None
) -> str:
    """Return the page.

    Args:
        report: the figures.
        view: the view.
        values: the parameters of the request.
        form: the form.
        last_month: the last month with statistics, if the period has none.
    """
    last = None if last_month is None else MonthRange(last_month, last_month)
    return _render(
        "dashboard.html",
        **make_context(report, view.layout),
        form=form,
        downloads=make_downloads(values, view),
        links=make_sources(view),
        sorting=make_sorting(values, view),
        is_empty=is_empty(report),
        period=name_period(view.period),
        last=None if last is None else (make_period_link(values, last), name_period(last)),
    )


def is_empty(report: Report) -> bool:
    """Return whether a report has no statistics."""
    (total,) = report.select("total")
    return not (total.bytes or total.nb_successful_reqs or total.nb_unsuccessful_reqs)


def write_error(error: EidaStatisticsError, detail: str, form: Form | None, mistake: Mistake | None) -> str:
    """Return the page of an error.

    Args:
        error: the error.
        detail: what a client can do.
        form: the form as it was filled in; None without a database.
        mistake: the value that cannot be used, if it is one.
    """
    return _render(
        "problem.html", page=None, kicker=KICKER, title=error.title, detail=detail, form=form, mistake=mistake
    )


def make_page_response(text: str | bytes, status: int = 200) -> Response:
    """Return an answer with a page and its policy."""
    response = Response(text, status=status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _render(name: str, **context: object) -> str:
    return _load_templates().get_template(name).render(assets=load_assets(), **context)


@cache
def _load_templates() -> Environment:
    return make_environment(_OWN_TEMPLATES, TEMPLATES)
