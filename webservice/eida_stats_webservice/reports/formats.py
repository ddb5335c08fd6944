"""The formats of reports."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from eida_stats_webservice.reports.html import write_html
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.pdf import PdfWriter, check_packages
from eida_stats_webservice.reports.view import ALL_ROWS, Layout
from eida_stats_webservice.reports.writers import write_csv, write_json, write_markdown


class Write(Protocol):
    """Writes a report in a layout, by default with all rows."""

    def __call__(self, report: Report, layout: Layout = ALL_ROWS, /) -> bytes:
        """Return the report in this format."""


class Format(NamedTuple):
    """A format of reports."""

    content_type: str
    write: Write
    prepare: Callable[[], AbstractContextManager[None]] = nullcontext
    """Returns a context for making and writing a report. In it, writing takes less time."""
    check: Callable[[], None] = lambda: None
    """Raises an error if the format cannot be written."""


_PDF = PdfWriter()

FORMATS = {
    "html": Format("text/html; charset=utf-8", write_html),
    "pdf": Format("application/pdf", _PDF.write, _PDF.prepare, check_packages),
    "csv": Format("text/csv; charset=utf-8", write_csv),
    "json": Format("application/json", write_json),
    "md": Format("text/markdown; charset=utf-8", write_markdown),
}
