"""The page of live connections in Chromium: it updates itself, and works without scripts."""

import datetime
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from eida_statistics.connections import Alive, encode_records
from support.browser import Watched, launch_browser
from support.live import fill_live
from support.node_client import make_node
from support.sensors import connect
from support.service import Service
from support.stores import open_store

MODES: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}, "has_touch": True},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def uri(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    copied = tmp_path_factory.mktemp("live") / "statistics.db"
    copied.write_bytes(sqlite_template.read_bytes())
    with closing(open_store(f"sqlite:///{copied}")) as store:
        fill_live(store, {f"N{number:02}": number for number in range(12)}, stale="N05", unconfirmed="N08")
    return f"sqlite:///{copied}"


@pytest.fixture(scope="module")
def service(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(uri, tmp_path_factory.mktemp("service"), workers=1, MIN_CLIENTS="3") as service:
        yield service


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_page() as page:
        yield page


def get_count(page: Page, space: str) -> Any:
    return page.locator(f'tr[data-space="{space}"] [data-count]')


@pytest.mark.parametrize("mode", MODES)
def test_page_has_no_faults(browser: Browser, service: Service, mode: str) -> None:
    with browser.new_context(**MODES[mode]) as context:
        watched = Watched(context.new_page())
        with watched.page.expect_response("**/now?format=json"):
            watched.page.goto(f"{service.url}/connections/live")
        assert watched.find_faults() == []


def test_sparklines_are_wide_on_phones(browser: Browser, service: Service) -> None:
    with browser.new_context(**MODES["phone"]) as context:
        page = context.new_page()
        page.goto(f"{service.url}/connections/live")
        row = page.locator('tr[data-space="N09"]')
        box = row.locator("svg").bounding_box()
        assert box is not None
        assert box["width"] >= 80
        assert row.locator(".scale").inner_text().startswith("0 to")


def test_counts_are_updated(page: Page, service: Service, uri: str) -> None:
    with closing(open_store(uri)) as store:
        token = make_node(store, "N08")[1]

    def send(*records: Any) -> None:
        requests.post(
            f"{service.url}/connections",
            data=encode_records(list(records)),
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ).raise_for_status()

    send(Alive("other"))
    page.goto(f"{service.url}/connections/live")
    expect(get_count(page, "N08")).to_have_text("8")
    expect(get_count(page, "N01")).to_have_text("fewer than 3")
    expect(page.get_by_text("Stale: nothing received since")).to_have_count(1)
    # The second request has the ETag of the first answer.
    with page.expect_response(lambda answer: answer.status == 304, timeout=30_000) as known:
        pass
    assert "if-none-match" in known.value.request.headers
    begun = page.locator("#as-of").inner_text()
    send(connect(1, datetime.datetime.now(tz=datetime.UTC)))
    expect(get_count(page, "N08")).to_have_text("9", timeout=30_000)
    expect(page.locator('tr[data-space="N08"] [data-unconfirmed]')).to_have_text("9 unconfirmed")
    assert page.locator("#as-of").inner_text() != begun
    page.get_by_role("button", name="Pause").press("Enter")
    expect(page.get_by_role("button", name="Continue")).to_be_focused()


def test_failure_is_reported(page: Page, service: Service) -> None:
    page.goto(f"{service.url}/connections/live")
    page.route("**/now?format=json", lambda route: route.fulfill(status=503))
    expect(page.get_by_role("status")).to_have_text(
        "The service does not answer. The page tries again.", timeout=30_000
    )
    page.unroute("**/now?format=json")
    expect(page.get_by_role("status")).to_have_text("", timeout=30_000)


def test_page_works_without_scripts(browser: Browser, service: Service) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{service.url}/connections/live")
        expect(get_count(page, "N07")).to_have_text("7")
        assert page.get_by_role("button").count() == 0
        assert page.locator('meta[http-equiv="refresh"]').get_attribute("content") == "30"
