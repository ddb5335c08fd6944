"""Chromium without a screen, and pages for it on a loopback port of their own: another origin than the service."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

_WITHIN_SECONDS = 120
# Time in the page goes on when all its requests are answered, so that a busy machine is no failure.
_PAGE_MILLISECONDS = 10_000
# Without these, Chromium looks for its maker's hosts.
_SILENT = [
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    *("--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions"),
]


def rendered(url: str, home: Path) -> str:
    """Return the document of a page as HTML after its scripts have run."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("Chromium is missing: run tests/install_chromium.sh")
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", *_SILENT, f"--user-data-dir={home}"),
            *(f"--virtual-time-budget={_PAGE_MILLISECONDS}", "--dump-dom", url),
        ],
        capture_output=True,
        text=True,
        timeout=_WITHIN_SECONDS,
        check=True,
    )
    return done.stdout


@contextmanager
def serving_page(html: str) -> Iterator[str]:
    """Serve a page at every path of an origin of its own, and yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = html.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
