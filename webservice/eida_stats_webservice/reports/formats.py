"""The formats of reports."""

from collections.abc import Callable
from typing import NamedTuple

from eida_stats_webservice.reports.html import write_html
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.writers import write_csv, write_json, write_markdown


class Format(NamedTuple):
    """A format of reports."""

    content_type: str
    write: Callable[[Report], bytes]


FORMATS = {
    "html": Format("text/html; charset=utf-8", write_html),
    "csv": Format("text/csv; charset=utf-8", write_csv),
    "json": Format("application/json", write_json),
    "md": Format("text/markdown; charset=utf-8", write_markdown),
}
