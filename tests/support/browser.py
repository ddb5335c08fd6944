"""Headless Chromium, and pages for it on a loopback port: another origin than the service."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

_WITHIN_SECONDS = 120
# Time in the page passes only while no request is open, so that a busy machine causes no failure.
_PAGE_MILLISECONDS = 10_000
# Without these options, Chromium contacts its maker's hosts.
_SILENT = [
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
    *("--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions"),
]


def render_page(url: str, home: Path) -> str:
    """Return the HTML of a page after its scripts have run."""
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
