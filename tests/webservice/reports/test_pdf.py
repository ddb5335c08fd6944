"""PDF reports: the figures of the page, in a document that is always the same, made by a child process."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zlib
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.errors import PdfFailed
from eida_stats_webservice.reports.formats import FORMATS, Format
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.page import Page, make_page
from eida_stats_webservice.reports.pdf import PdfWriter
from support.federation import fill
from support.reports import make_report
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store, open_store

URL = f"{PREFIX}/report?start=2024-01&end=2024-12&format"
CHILD = [sys.executable, "-P", "-m", "eida_stats_webservice.reports.pdf_child", "60"]


@pytest.fixture(scope="module")
def report(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    copied = shutil.copy(sqlite_template, tmp_path_factory.mktemp("pdf"))
    with closing(open_store(f"sqlite:///{copied}")) as store:
        fill(store, ["A", "<b>&"], [2023, 2024], networks=1)
        return make_report(store)


@pytest.fixture(scope="module")
def pdf(report: Report) -> bytes:
    writer = PdfWriter()
    with writer.prepare():
        return writer.write(report)


def read_text(pdf: bytes) -> str:
    return subprocess.run(
        ["pdftotext", "-layout", "-", "-"], input=pdf, capture_output=True, check=True
    ).stdout.decode()


def describe(pdf: bytes, program: str, folder: Path) -> str:
    """Return what a program of poppler says about a document. Not all of them read standard input."""
    file = folder / "report.pdf"
    file.write_bytes(pdf)
    return subprocess.run([program, file], capture_output=True, check=True, text=True).stdout


def list_rows(page: Page) -> list[list[str]]:
    """Return the words of each row of each table."""
    return [split_words(" ".join(row)) for section in page.sections for row in section.table.rows]


def list_heads(page: Page) -> set[str]:
    """Return the words above the columns of all tables. Long heads have two lines."""
    return {word for section in page.sections for column in section.table.columns for word in column.head.split()}


def split_words(line: str) -> list[str]:
    """Return the words of a line. A narrow space is no space in the text of a PDF."""
    return re.sub(r"\s+%", "%", line).split()


def test_text_has_the_rows_of_the_page(report: Report, pdf: bytes) -> None:
    text = read_text(pdf)
    lines = [split_words(line) for line in text.splitlines()]
    page = make_page(report)
    assert [row for row in list_rows(page) if row not in lines] == []
    assert list_heads(page) <= {word for line in lines for word in line}
    words = " ".join(text.split())
    for headline in page.headlines:
        assert " ".join(f"{headline.value} {headline.unit}".split()) in words
    pages = re.findall(r"^Data delivered on request in 2024 +(\d) ?/ ?(\d)$", text, re.MULTILINE)
    assert pages == [(str(number), str(len(pages))) for number in range(1, len(pages) + 1)] != []


def test_document_is_tagged_with_own_fonts(pdf: bytes, tmp_path: Path) -> None:
    about = describe(pdf, "pdfinfo", tmp_path)
    assert re.search(r"^Title: +Data delivered on request in 2024$", about, re.MULTILINE)
    assert re.search(r"^Tagged: +yes$", about, re.MULTILINE)
    assert re.search(r"^Page size: .*\(A4\)$", about, re.MULTILINE)
    streams = re.findall(rb"stream\n(x.*?)\nendstream", pdf, re.DOTALL)
    assert any(b"/Lang (en)" in zlib.decompress(stream) for stream in streams)
    fonts = [line.split() for line in describe(pdf, "pdffonts", tmp_path).splitlines()[2:]]
    assert {(name.partition("+")[2], *kind[:2]) for name, *kind in fonts} == {
        ("EIDA-Sans", "CID", "TrueType"),
        ("EIDA-Sans-Semi-Bold", "CID", "TrueType"),
    }
    assert all(embedded == "yes" for *_, embedded, _subset, _unicode, _number, _generation in fonts)


def test_child_fetches_nothing(tmp_path: Path) -> None:
    style = tmp_path / "style.css"
    style.write_text("p::after { content: ' from a file' }")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        html = (
            f'<html lang="en"><link rel="stylesheet" href="{style.as_uri()}">'
            f'<link rel="stylesheet" href="{url}/a.css"><style>@import "{url}/b.css";'
            f' @font-face {{ font-family: x; src: url("{url}/c.woff2") }} p {{ font-family: x }}</style>'
            f'<p>Plain text</p><img alt="" src="{url}/d.png"><svg><image href="{url}/e.png"/></svg>'
            "<style>@import \"data:text/css,p::before{content:'Styled '}\";</style>"
        )
        made = subprocess.run(CHILD, input=f"0\n{html}".encode(), capture_output=True, check=True)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert " ".join(read_text(made.stdout).split()) == "Styled Plain text"


def test_hanging_child_is_ended_with_its_children(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # The second process keeps the pipes open. If it went on, the writer would wait for it.
    writer = PdfWriter(["sh", "-c", 'touch "$TMPDIR/font"; sleep 600 & wait'], seconds=1)
    for _ in range(2):
        with pytest.raises(PdfFailed, match="not ready after 1 second"):
            writer.write(report)
    assert list(tmp_path.iterdir()) == []


def test_child_ends_after_its_time(tmp_path: Path) -> None:
    """As when its parent was killed."""
    (tmp_path / "weasyprint.py").write_text("import time; time.sleep(600)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([*CHILD[:-1], "1"], check=False, env=environment, stdin=subprocess.DEVNULL)
    assert ended.returncode == -signal.SIGALRM


@ON_ONE_STORE
def test_client_learns_why_there_is_no_pdf(
    store: Store, client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, ["A"], [2024], networks=1)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    # Else Python may use the compiled module of the case before.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for code, seconds, status, problem, words in (
        (
            "raise OSError('no libpango')",
            60,
            501,
            "pdf-unavailable",
            "no libpango. The administrator can add PDF: pip install",
        ),
        ("import missing_package", 60, 501, "pdf-unavailable", "libharfbuzz-subset0"),
        ("import time; time.sleep(600)", 1, 503, "pdf-failed", "not ready after 1 second"),
        ("import os; os.kill(os.getpid(), 9)", 60, 503, "pdf-failed", "signal 9"),
        ("def HTML(**_): raise ValueError('bad figure')", 60, 503, "pdf-failed", "bad figure"),
    ):
        monkeypatch.setitem(FORMATS, "pdf", Format("application/pdf", PdfWriter(seconds=seconds).write))
        (tmp_path / "weasyprint.py").write_text(f"def URLFetcher(**_): pass\n{code}\n")
        answer = client.get(f"{URL}=pdf")
        assert (answer.status_code, answer.get_json()["type"].rpartition(":")[2]) == (status, problem)
        assert words in answer.get_json()["detail"]
        assert ("Retry-After" in answer.headers) == (status == 503)
    assert client.get(f"{URL}=html").status_code == 200


def test_service_never_imports_weasyprint(pdf: bytes) -> None:
    assert pdf.startswith(b"%PDF")
    assert "weasyprint" not in sys.modules
