"""A centre that receives records of connections, a ringserver's status, and the operator of a follower."""

import contextlib
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from eida_statistics.connections import Alive, Connect, Disconnect, Record, decode_records
from support.commands import run_command
from support.stubs import Answer, Received, Stub, environment, problem, serve_stub

INSTANCE = "rs-a"
TOKEN = "token-of-the-node"
DOWN = Answer(503, b"")
FUTURE = problem(400, "unusable-time", "record 1: the time is in the future")
CONFLICT = problem(409, "event-conflict", "Another event has this position")
_START = "from eida_stats_aggregator.ringserver.follow import main; main()"


class Centre:
    """A service that keeps each event once. While `failure` is set, it answers with that."""

    def __init__(self) -> None:
        self.url = ""
        self.failure: Answer | None = None
        self.node = "NODE 1"
        self.requests: list[list[Record]] = []
        self._events: dict[tuple[str, int], Record] = {}

    def answer(self, request: Received) -> Answer:
        """Store the records of a request."""
        if self.failure is not None:
            return self.failure
        assert (request.method, request.path) == ("POST", "/connections")
        assert request.headers["content-type"] == "application/x-ndjson"
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        records = decode_records(gzip.decompress(request.body))
        headers = {"Token-Node": quote(self.node)}
        before = len(self._events)
        for record in records:
            if isinstance(record, Connect | Disconnect):
                known = self._events.setdefault((record.source, record.position), record)
                assert known == record
        if records:
            self.requests.append(records)
        return Answer(200, json.dumps({"status": "OK", "created": len(self._events) - before}).encode(), headers)

    @property
    def events(self) -> list[Record]:
        """The connects and disconnects, each once, in the order of the log."""
        return [self._events[key] for key in sorted(self._events)]

    @property
    def others(self) -> list[Record]:
        """All other records that say more than that the follower is alive."""
        records = [record for request in self.requests for record in request]
        return [record for record in records if not isinstance(record, Connect | Disconnect | Alive)]


@contextlib.contextmanager
def serve_centre() -> Iterator[Centre]:
    """Serve a centre."""
    centre = Centre()
    with serve_stub(centre.answer) as stub:
        centre.url = stub.url
        yield centre


@contextlib.contextmanager
def serve_status(start: str, clients: list[dict[str, str]] | None = None) -> Iterator[Stub]:
    """Serve the status of a ringserver; without clients, their list is refused."""

    def answer(request: Received) -> Answer:
        if request.path == "/id/json":
            return Answer(200, json.dumps({"software": "ringserver/4.5.3", "server_start": start}).encode())
        if clients is None:
            return Answer(403, b"Forbidden, no soup for you!")
        listed = {"connections": {"client": clients, "client_count": 99}}
        return Answer(200, json.dumps(listed).encode())

    with serve_stub(answer) as stub:
        yield stub


class FollowOperator:
    """An operator of a ringserver, with a directory of logs."""

    def __init__(self, home: Path, centre: Centre) -> None:
        self.home = home
        self.centre = centre
        self.logs = home / "logs"
        self.state = home / "state.json"
        self.logs.mkdir()
        (home / "token").write_text(TOKEN)
        (home / "key").write_text("salt\n")

    def make_words(self, *options: str | Path) -> list[str]:
        """Return the words of a command line. Of equal options, the last one counts."""
        words = (
            *(self.logs, "--instance", INSTANCE, "--send-to", self.centre.url, "--token-file", "token"),
            *("--key-file", "key", "--state", self.state, *options),
        )
        return [str(word) for word in words]

    def run_once(self, *options: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Make one pass."""
        done = run_command(
            "ringserverstats_follow",
            self.make_words("--once", *options),
            folder=self.home,
            environment=environment(self.home),
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done
        return done

    @contextlib.contextmanager
    def follow(self, *options: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run a follower in a process of its own. Its errors are in `errors.txt`."""
        words = [sys.executable, "-c", _START, *self.make_words("--every", "0.1s", *options)]
        with (self.home / "errors.txt").open("ab") as errors:
            process = subprocess.Popen(words, cwd=self.home, env=environment(self.home), stderr=errors)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def read_errors(self) -> str:
        """Return the errors of all followers."""
        return (self.home / "errors.txt").read_text()
