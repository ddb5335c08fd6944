"""The dashboard and the report in Chromium: in light and dark mode, on a phone, by keyboard, without scripts."""

import datetime
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from eida_stats_webservice.reports.html import write_html
from support.browser import Watched, launch_browser
from support.federation import fill
from support.postgresql import Cluster
from support.reports import make_report
from support.ringserver_federation import fill_streaming
from support.roles import grant_service
from support.service import Service
from support.stores import open_store

MODES: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}, "has_touch": True},
}
PAGES = {
    "federation": "?start=2024-01&end=2024-12",
    "network": "?start=2023-01&end=2024-12&network=GE&show=requests",
    "years": "?start=2023-01&end=2024-12&show=clients&by=year&top=2",
    "error": "?start=2024-01&node=GFX",
    "restricted": "?start=2024-01&network=A0",
    "empty": "?start=2025-01&end=2025-01",
    "report": "report?start=2024-01&end=2024-12",
    "streaming": "?kind=ringserver&start=2024-02&end=2024-03&show=packets",
    "streaming error": "?kind=streaming",
    "streaming of a node without any": "?kind=ringserver&start=2024-02&end=2024-03&node=B",
    "streaming report": "report?kind=ringserver&start=2024-03&end=2024-03",
}
GAP = (datetime.date(2024, 3, 10), datetime.date(2024, 3, 19))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launch_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def database(postgresql: Cluster, template: str) -> Iterator[str]:
    uri = postgresql.create_database("pages", template)
    with closing(open_store(uri)) as store:
        fill(store, ["A", "B"], [2023, 2024], gaps={"B": [GAP]}, networks=2)
        fill_streaming(store, ["A"], [GAP[0].replace(day=1)], gaps={"A": [GAP]})
        store.registry.set_network_policy("A", "A0", inverted=True)
    yield uri
    postgresql.drop_database("pages")


@pytest.fixture(scope="module")
def url(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Service(grant_service(database), tmp_path_factory.mktemp("service"), workers=1) as service:
        yield f"{service.url}/"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_page() as page:
        yield page


@pytest.mark.parametrize("mode", MODES)
def test_pages_have_no_faults(browser: Browser, url: str, mode: str) -> None:
    for name, path in PAGES.items():
        with browser.new_context(**MODES[mode]) as context:
            watched = Watched(context.new_page(), is_error="error" in name or name == "restricted")
            watched.page.goto(f"{url}{path}")
            watched.page.wait_for_load_state("networkidle")
            assert watched.find_faults() == [], name
            if name in ("federation", "report"):
                # The service answers 304, whose headers count for the page that the browser has.
                watched.page.reload(wait_until="networkidle")
                assert watched.find_faults() == [], name


def test_page_with_an_inline_script_has_faults(browser: Browser, url: str) -> None:
    with browser.new_context() as context:
        watched = Watched(context.new_page())

        def add_script(route: Any) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, body=answer.text().replace("</main>", "<script>1</script></main>"))

        watched.page.route("**/?*", add_script)
        watched.page.goto(f"{url}{PAGES['federation']}")
        assert any("Content Security Policy" in fault for fault in watched.find_faults())


def test_form_is_applied_at_once(page: Page, url: str) -> None:
    page.goto(f"{url}{PAGES['federation']}")
    page.get_by_label("Node", exact=True).focus()
    page.evaluate("scrollTo(0, 100)")
    page.get_by_label("Node", exact=True).select_option("A")
    expect(page.get_by_role("heading", level=1)).to_have_text("Data delivered on request by A in 2024")
    assert "node=A" in page.url
    assert page.title() == "Data delivered on request by A in 2024"
    expect(page.get_by_label("Node", exact=True)).to_be_focused()
    assert page.evaluate("scrollY") == 100
    page.get_by_label("Show").select_option("clients")
    expect(page.locator("#view h2").first).to_have_text("Distinct clients")
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Data delivered on request in 2024")
    expect(page.get_by_label("Node", exact=True)).to_have_value("")


def test_kind_is_changed_for_the_same_view(page: Page, url: str) -> None:
    page.goto(f"{url}?start=2024-03&end=2024-03&show=requests&sort=-nb_successful_reqs")
    page.get_by_label("Node", exact=True).select_option("A")
    expect(page.get_by_role("heading", level=1)).to_have_text("Data delivered on request by A in March 2024")
    page.get_by_role("link", name="Streaming (ringserver)").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Data streamed in real time by A in March 2024")
    expect(page.get_by_role("link", name="Streaming (ringserver)")).to_have_attribute("aria-current", "page")
    expect(page.get_by_label("Show").locator("option")).to_have_text(["data", "packets", "clients"])
    # The form keeps the kind.
    page.get_by_label("Show").select_option("packets")
    expect(page.locator("#networks thead")).to_contain_text("Packets")
    expect(page.get_by_role("heading", level=1)).to_contain_text("streamed")
    page.get_by_label("Node", exact=True).select_option("B")
    expect(page.locator(".empty")).to_have_text(
        "Node B has no statistics of streaming in any period. Show requests (dataselect)"
    )
    page.get_by_role("link", name="Show requests (dataselect)").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Data delivered on request by B in March 2024")


def test_quick_changes_leave_no_errors(page: Page, url: str) -> None:
    watched = Watched(page)
    page.goto(f"{url}{PAGES['federation']}")
    # Each change aborts the request of the one before.
    for name in ("requests", "clients", "bytes", "requests", "clients"):
        page.get_by_label("Show").select_option(name)
    expect(page.locator("#view h2").first).to_have_text("Distinct clients")
    assert watched.find_faults() == []


def test_mistake_is_shown_at_its_field(page: Page, url: str) -> None:
    page.goto(f"{url}{PAGES['federation']}")
    page.get_by_label("Network", exact=True).fill("ge")
    page.get_by_label("Network", exact=True).press("Enter")
    expect(page.get_by_label("Network", exact=True)).to_be_focused()
    expect(page.get_by_label("Network", exact=True)).to_have_accessible_description(
        "No network 'ge' (capitals matter). Did you mean GE?"
    )
    page.get_by_role("link", name="GE", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Data of network GE delivered on request in 2024")


def test_values_are_shown_at_pointer_and_focus(page: Page, url: str) -> None:
    page.goto(f"{url}{PAGES['federation']}")
    chart = page.locator("#months svg.w720")
    tip = page.locator("#tip[role=status]")
    chart.focus()
    expect(tip).to_contain_text("January 2024: ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("March 2024: ")
    expect(tip).to_contain_text("of days received")
    page.keyboard.press("Escape")
    expect(tip).to_be_empty()
    chart.locator("g").nth(11).hover()
    expect(tip).to_contain_text("December 2024: ")
    box, frame = tip.bounding_box(), page.locator("main").bounding_box()
    assert box is not None
    assert frame is not None
    assert frame["x"] <= box["x"] <= box["x"] + box["width"] <= frame["x"] + frame["width"]


def test_keyboard_alone_reaches_the_csv(page: Page, url: str) -> None:
    page.goto(f"{url}{PAGES['federation']}")
    for name in ("Requests (dataselect)", "Streaming (ringserver)", "Live connections"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name).first).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("From")).to_be_focused()
    link = page.get_by_role("link", name="This view as CSV")
    for _ in range(30):
        page.keyboard.press("Tab")
        if link.evaluate("one => one === document.activeElement"):
            break
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert Path(download.value.path()).read_text().startswith("table,date,node,network,")


def test_tables_are_sorted_by_their_heads(page: Page, url: str) -> None:
    page.goto(f"{url}{PAGES['federation']}")
    head = page.locator("#nodes").get_by_role("link", name="Node")
    head.click()
    expect(page.locator("#nodes th[aria-sort=ascending]")).to_have_text("Node")
    expect(head).to_be_focused()
    head.click()
    expect(page.locator("#nodes tbody th").first).to_have_text("B")
    assert "sort=-name" in page.url


def test_form_works_without_scripts(browser: Browser, url: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{url}{PAGES['federation']}")
        page.get_by_label("Node", exact=True).select_option("B")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Data delivered on request by B in 2024")
        assert "node=B" in urlsplit(page.url).query
        page.locator("#months summary").click()
        expect(page.locator("#months table")).to_be_visible()


def test_saved_report_opens_offline(browser: Browser, database: str, tmp_path: Path) -> None:
    with closing(open_store(database)) as store:
        (tmp_path / "report.html").write_bytes(write_html(make_report(store)))
    with browser.new_context(offline=True) as context:
        watched = Watched(context.new_page())
        watched.page.goto((tmp_path / "report.html").as_uri())
        expect(watched.page.get_by_role("heading", level=1)).to_have_text("Data delivered on request in 2024")
        assert [one for one in watched.requested if not one.startswith("data:")] == [watched.page.url]
        assert watched.page.evaluate("document.fonts.check('600 16px \"EIDA Sans\"')")
