"""Write reports as PDF. A child process does that, so no process of the service imports WeasyPrint."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from eida_stats_webservice.errors import PdfFailed, PdfUnavailable
from eida_stats_webservice.reports.html import write_print
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.pdf_child import UNAVAILABLE
from eida_stats_webservice.reports.view import ALL_ROWS, Layout
from eida_stats_webservice.web.concurrency import ConcurrencyLimit

_INSTALL = (
    "The administrator can add PDF: pip install '.[webservice,report]' in the source, and on Debian or Ubuntu"
    " apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
)
# A PDF of a year takes about 3 seconds.
_SECONDS = 30
# -P: Python imports nothing from the current directory.
_COMMAND = (sys.executable, "-P", "-m", "eida_stats_webservice.reports.pdf_child")


def has_packages() -> bool:
    """Return whether WeasyPrint is installed. Libraries of the system that it needs may still be missing."""
    return find_spec("weasyprint") is not None


def check_packages() -> None:
    """Check that WeasyPrint is installed.

    Raises:
        PdfUnavailable: if it is not.
    """
    if not has_packages():
        raise PdfUnavailable(f"WeasyPrint is not installed. {_INSTALL}")


class PdfWriter:
    """Writes reports as PDF, one at a time.

    Args:
        command: the program that turns HTML into PDF, see `pdf_child`.
        seconds: how long it may take, and how long a caller waits for the PDF of another one.
    """

    def __init__(self, command: Sequence[str] = _COMMAND, seconds: float = _SECONDS) -> None:
        self._command = command
        self._seconds = seconds
        self._limit = ConcurrencyLimit(at_once=1, waiting=2, wait_seconds=seconds)
        self._prepared: _Child | None = None

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Start the child of the next report: it loads WeasyPrint while the caller makes the report.

        This is for commands, since it is not safe with threads.
        """
        self._prepared = self._start()
        try:
            yield
        finally:
            if self._prepared is not None:
                self._prepared.close()
                self._prepared = None

    def write(self, report: Report, layout: Layout = ALL_ROWS, /) -> bytes:
        """Return a report as a PDF document.

        Raises:
            PdfUnavailable: if WeasyPrint or a library of the system is missing.
            PdfFailed: if it fails, or takes too long.
            Busy: if too many callers wait.
        """
        with self._limit.slot():
            child, self._prepared = self._prepared or self._start(), None
            with contextlib.closing(child):
                return child.print(write_print(report, layout), round(report.changed_at.timestamp()))

    def _start(self) -> "_Child":
        return _Child(self._command, self._seconds)


class _Child:
    """A child process and its directory for temporary files."""

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._seconds = seconds
        self._folder = TemporaryDirectory(prefix="eida-report-")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                # The child ends itself only if this process cannot do that.
                [*command, str(round(seconds) + 5)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "TMPDIR": self._folder.name},
                start_new_session=True,
            )
        except OSError as error:
            self._folder.cleanup()
            raise PdfFailed(f"the process did not start: {error.strerror}") from error

    def print(self, html: bytes, moment: int) -> bytes:
        """Return a document as PDF."""
        try:
            pdf, messages = self._process.communicate(b"%d\n%b" % (moment, html), self._seconds)
        except subprocess.TimeoutExpired:
            raise PdfFailed(f"it was not ready after {self._seconds:g} seconds") from None
        code = self._process.returncode
        ended = f"it ended with signal {-code}" if code < 0 else f"exit code {code}"
        reason = (messages.decode(errors="replace").strip().splitlines() or [ended])[-1]
        if code == UNAVAILABLE:
            raise PdfUnavailable(f"{reason}. {_INSTALL}")
        if code:
            raise PdfFailed(reason)
        return pdf

    def close(self) -> None:
        """End the process, with its children, and remove its files."""
        with self._folder, self._process:
            # Once it was waited for, its number may belong to another process.
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
