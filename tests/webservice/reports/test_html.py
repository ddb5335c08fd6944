"""HTML reports: one file that needs no other, with the figures of the other formats."""

import base64
import datetime
import hashlib
import re
from html.parser import HTMLParser

import pytest

from eida_stats_webservice.reports.html import write_html
from eida_stats_webservice.reports.models import Report
from eida_stats_webservice.reports.page import make_page
from support.federation import fill
from support.reports import make_report
from support.stores import ON_ONE_STORE, Store

pytestmark = ON_ONE_STORE

GAP = (datetime.date(2024, 3, 10), datetime.date(2024, 3, 19))


@pytest.fixture
def report(store: Store) -> Report:
    fill(store, ["A", "<b>&"], [2023, 2024], gaps={"A": [GAP]}, networks=1)
    return make_report(store)


class Reader(HTMLParser):
    """Collects the tags, their attributes, and the cells of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._is_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self._is_cell = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_cell = self._is_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._is_cell:
            self.cells[-1] += data


def test_file_needs_no_other(report: Report) -> None:
    reader = Reader(write_html(report).decode())
    for tag, attributes in reader.tags:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "style", "onclick", "href"} & attributes.keys(), tag
    assert b"url(" not in write_html(report).replace(b"url(data:", b"")


def test_policy_allows_only_its_own_style(report: Report) -> None:
    text = write_html(report).decode()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in Reader(text).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy


def test_tables_have_the_figures_of_the_page(report: Report) -> None:
    cells = Reader(write_html(report).decode()).cells
    expected = [
        cell
        for section in make_page(report).sections
        for row in ([column.head for column in section.table.columns], *section.table.rows)
        for cell in row
    ]
    assert cells == expected


def test_names_are_escaped(report: Report) -> None:
    text = write_html(report).decode()
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_same_state_makes_the_same_bytes(store: Store, report: Report) -> None:
    assert write_html(report) == write_html(make_report(store))


def test_month_alone_has_no_chart(store: Store, report: Report) -> None:
    text = write_html(make_report(store, "2024-02", "2024-02")).decode()
    assert "<figure>" not in text
    assert "February 2024" in text


def test_empty_report_says_so(store: Store) -> None:
    assert "There are no statistics of requests yet." in write_html(make_report(store)).decode()
