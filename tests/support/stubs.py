"""Small servers on the loopback interface with scripted answers, log lines, and the aggregator's command."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from support.commands import run_command
from support.paths import ROOT

REAL_LOG = ROOT.parent / "shared/data/fdsnws-requests.log.2020-09-18.bz2"
REAL_REGISTRY = ROOT.parent / "shared/data/fdsn-networks.json"
COMMAND = Path(sys.executable).with_name("eida_stats_aggregator")

# pytest does not put the checkout on its path when it runs as a command.
sys.path.append(str(ROOT))
make_log = importlib.import_module("benchmarks.make_log")


class Received(NamedTuple):
    """A request that a stub received; names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """A stub's answer; status 0 closes the connection without one, and `missing` bytes of the body never arrive."""

    status: int = 201
    body: bytes = b"{}"
    headers: Mapping[str, str] = MappingProxyType({})
    reason: str | None = None
    missing: int = 0


class Stub(NamedTuple):
    """A running server's URL, and the requests that it has received."""

    url: str
    received: list[Received]


def problem(status: int, name: str, title: str = "A title") -> Answer:
    """Return an answer in the format of RFC 9457."""
    body = {"type": f"urn:eida-statistics:problem:{name}", "title": title, "detail": "A detail", "status": status}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/problem+json"})


@contextlib.contextmanager
def serve_stub(answer: Callable[[Received], Answer], port: int = 0) -> Iterator[Stub]:
    """Serve on a free port unless one is given; the function answers every request."""
    received: list[Received] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, body)
            received.append(request)
            status, content, more, reason, missing = answer(request)
            if status == 0:
                self.connection.close()
                return
            self.send_response(status, reason)
            for name, value in more.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(content) + missing))
            self.end_headers()
            if status != 204:
                self.wfile.write(content)

        do_POST = do_PUT = do_GET  # noqa: N815 - the name is given by http.server

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Stub(f"http://127.0.0.1:{server.server_address[1]}", received)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def serve_answers(*answers: Answer) -> Iterator[Stub]:
    """Serve these answers one after the other; repeat the last one."""
    left = list(answers)
    lock = threading.Lock()

    def next_answer(_: Received) -> Answer:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    with serve_stub(next_answer) as stub:
        yield stub


@contextlib.contextmanager
def serve_corrections(*answers: Answer, version: Answer = Answer(200, b"0.9.0\n")) -> Iterator[Stub]:  # noqa: B008
    """Serve as `serve_answers`, but answer /version with `version`, as a service that accepts corrections."""
    left = list(answers)
    lock = threading.Lock()

    def next_answer(request: Received) -> Answer:
        with lock:
            if request.path == "/version":
                return version
            return left.pop(0) if len(left) > 1 else left[0]

    with serve_stub(next_answer) as stub:
        yield stub


def submissions(stub: Stub) -> list[Received]:
    """Return the requests that send something (all but GET)."""
    return [request for request in stub.received if request.method != "GET"]


def find_unused_url() -> str:
    """Return the URL of a port on which nothing listens."""
    with serve_answers(Answer()) as stub:
        return stub.url


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment without the settings of the developer."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **more}


def run(
    *arguments: str | Path, cwd: Path, stdin: bytes | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory that is also its home."""
    done = run_command(COMMAND.name, arguments, folder=cwd, environment=environment(cwd, **env), stdin=stdin)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def trace(
    net: str = "GE", sta: str = "EIL", size: object = 512, status: str = "OK", **more: object
) -> dict[str, Any]:
    """Return a trace as SeisComP logs it."""
    return {
        "cha": "BHZ",
        "sta": sta,
        "start": "1997-08-09T00:00:00.0000Z",
        "net": net,
        "restricted": False,
        "loc": "",
        "bytes": size,
        "status": status,
        "end": "1997-08-09T01:00:00.0000Z",
        **more,
    }


def line(*, without: tuple[str, ...] = (), **more: object) -> dict[str, Any]:
    """Return a request as SeisComP logs it: one trace from Germany; `without` names keys to leave out."""
    entry = {
        "clientID": "ObsPy/1.2.2 (Windows-10-10.0.18362-SP0, Python 3.7.8)",
        "finished": "2020-09-18T00:00:00.758768Z",
        "userLocation": {"country": "DE"},
        # Without a fraction, only equal lines are the same request.
        "created": "2020-09-18T00:00:00Z",
        "bytes": 512,
        "service": "fdsnws-dataselect",
        "userEmail": None,
        "trace": [trace()],
        "status": "OK",
        "userID": 1497164453,
        **more,
    }
    return {key: value for key, value in entry.items() if key not in without}


def encode_log(*entries: dict[str, Any]) -> bytes:
    """Return entries in the format of a log."""
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
