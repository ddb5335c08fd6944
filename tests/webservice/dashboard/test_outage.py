"""The pages of the dashboard without a database."""

from pathlib import Path

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support.dashboard import show
from support.pages import Page


def test_page_without_a_database_says_so(tmp_path: Path) -> None:
    client = create_app(Config(f"sqlite:///{tmp_path / 'missing.db'}")).test_client()
    for query in ({}, {"top": "0"}):
        response = show(client, **query)
        assert (response.status_code, response.mimetype) == (400 if query else 503, "text/html")
        page = Page(response.text)
        assert ("Try again" in page.sections[""].links) == (not page.find_all("form"))
    assert "Retry-After" in show(client).headers
