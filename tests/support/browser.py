"""Headless Chromium, the faults of a page in it, and pages for it on a port of another origin."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

_WITHIN_SECONDS = 120
# Time in the page passes only while no request is open, so that a busy machine causes no failure.
_PAGE_MILLISECONDS = 10_000
# Nothing else is read. A list of all that passes takes as long as the checks.
_AXE = {"resultTypes": ["violations"]}
# Without these options, Chromium contacts its maker's hosts.
_SILENT = [
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    *("--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions"),
]


def find_chromium() -> str:
    """Return the path of Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("Chromium is missing: run tests/support/install_chromium.sh")
    return chromium


@contextmanager
def launch_browser() -> Iterator[Browser]:
    """Run a browser that tests control."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", *_SILENT])
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page of a browser, and its faults.

    Args:
        page: the page.
        is_error: whether the page is that of an error. Chromium logs its status.
    """

    def __init__(self, page: Page, *, is_error: bool = False) -> None:
        self.page = page
        self._is_error = is_error
        self._messages: list[str] = []
        self.requested: list[str] = []
        page.on("console", lambda message: self._messages.append(message.text))
        page.on("pageerror", lambda error: self._messages.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))

    def find_faults(self) -> list[str]:
        """Return messages of the console, requests to other hosts, sideways scrolling, and violations of axe."""
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(self.page.url))
        faults = [one for one in self._messages if not (self._is_error and "responded with a status of 4" in one)]
        faults += [f"request: {url}" for url in self.requested if not url.startswith((origin, "data:"))]
        width, shown = (
            self.page.evaluate(f"document.documentElement.{name}Width") for name in ("scroll", "client")
        )
        faults += [f"it is {width} pixels wide, of {shown}"] if width > shown else []
        for violation in Axe().run(self.page, options=_AXE).response["violations"]:
            faults += [f"{violation['id']}: {node['html'][:200]}" for node in violation["nodes"]]
        return faults


def render_page(url: str, home: Path) -> str:
    """Return the HTML of a page after its scripts have run."""
    done = subprocess.run(
        [
            *(find_chromium(), "--headless", "--no-sandbox", *_SILENT, f"--user-data-dir={home}"),
            *(f"--virtual-time-budget={_PAGE_MILLISECONDS}", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        timeout=_WITHIN_SECONDS,
        check=True,
    )
    return done.stdout


@contextmanager
def serve_page(html: str) -> Iterator[str]:
    """Serve a page at every path of a new origin, and yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = html.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
