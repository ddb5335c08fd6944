"""The deployed aggregator, unmodified, in its own virtual environment: the reference for our numbers.

Its command has the same name as ours, and needs libmagic1.
"""

import contextlib
import fcntl
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

from eida_statistics import hll
from support.paths import ROOT
from support.stubs import Answer, Received, serve_stub

VERSION = "0.8.1"
FOLDER = ROOT / ".venv-reference"

# Reads paths of logs and prints payloads, one JSON text a line. Starting the command takes a second.
_DRIVER = """
import json, logging, os, sys
answers = os.fdopen(os.dup(1), "w")
sys.stdout = sys.stderr
from eida_statistics_aggregator.stat_collection import StatCollection
logging.disable(logging.CRITICAL)
for path in sys.stdin:
    statistics = StatCollection()
    statistics.parse(json.loads(path))
    print(statistics.to_json() if statistics.nbaggs() else "null", file=answers, flush=True)
"""


def python() -> Path:
    """Return the interpreter of the environment, creating it at the first call.

    Raises:
        subprocess.CalledProcessError: if creating it fails. Nothing can be compared then, and tests must fail.
    """
    interpreter = FOLDER / "bin/python"
    complete = FOLDER / f"complete-{VERSION}"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
            package = f"eida-statistics-aggregator=={VERSION}"
            pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, package], check=True)
            subprocess.run([interpreter, "-c", "import magic"], check=True)  # fails without libmagic1
            complete.touch()
    return interpreter


@contextlib.contextmanager
def registry_service(registry: dict[str, Any]) -> Iterator[str]:
    """Serve the FDSN networks service as a proxy would, from epochs in its format, and yield the proxy's URL.

    The deployed aggregator fails if an end date is null, so it gets one that no log reaches.
    """

    def answer(request: Received) -> Answer:
        code = parse_qs(urlsplit(request.path).query)["fdsn_code"][0]
        epochs = [
            {**epoch, "end_date": epoch["end_date"] or "2599-12-31"}
            for epoch in registry["networks"]
            if epoch["fdsn_code"] == code
        ]
        return Answer(200, json.dumps({"networks": epochs}).encode()) if epochs else Answer(204, b"")

    with serve_stub(answer) as stub:
        yield stub.url


def environment(proxy: str) -> dict[str, str]:
    """Return an environment in which the aggregator asks the stub, whatever proxies this machine uses."""
    return {"PATH": os.environ["PATH"], "http_proxy": proxy, "LANG": "C.UTF-8"}


def aggregate(log: Path, registry: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Run the command on a plain or bz2 log and return the payload that it writes."""
    directory.mkdir(parents=True, exist_ok=True)
    with registry_service(registry) as proxy:
        subprocess.run(
            [python().with_name("eida_stats_aggregator"), "-o", directory, log],
            env=environment(proxy),
            check=True,
            capture_output=True,
            timeout=300,
        )
    (written,) = directory.glob("*.json.gz")
    return json.loads(gzip.decompress(written.read_bytes()))


class Driver:
    """The module behind the command, in one process for many logs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def aggregate(self, log: Path) -> dict[str, Any] | None:
        """Return the payload of a log, or None if it has no row (the command reports an error then)."""
        _pipe(self._process.stdin).write(f"{json.dumps(str(log))}\n")
        _pipe(self._process.stdin).flush()
        return json.loads(_pipe(self._process.stdout).readline())


@contextlib.contextmanager
def driver(registry: dict[str, Any]) -> Iterator[Driver]:
    """Start the deployed module with the given registry."""
    with (
        registry_service(registry) as proxy,
        subprocess.Popen(
            [python(), "-c", _DRIVER],
            env=environment(proxy),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        yield Driver(process)
        _pipe(process.stdin).close()


def index_rows(payload: dict[str, Any]) -> dict[tuple[str, ...], tuple[int | str, ...]]:
    """Return the rows by key as plain values: a null country is empty, hexadecimal digits are small.

    Rows that differ only in a null and an empty country are added up.
    """
    rows: dict[tuple[str, ...], tuple[int | str, ...]] = {}
    for row in payload["stats"]:
        key = tuple(row[name] or "" for name in ("month", "network", "station", "location", "channel", "country"))
        values = _values(row)
        rows[key] = _add((rows[key], values)) if key in rows else values
    return rows


def _values(row: dict[str, Any]) -> tuple[int | str, ...]:
    counts = ("bytes", "nb_requests", "nb_successful_requests", "nb_unsuccessful_requests")
    return (*(row[name] for name in counts), row["clients"].lower())


def _add(both: Iterable[tuple[Any, ...]]) -> tuple[int | str, ...]:
    *counts, sketches = zip(*both, strict=True)
    return (*map(sum, counts), hll.to_hex(hll.merge(map(hll.from_hex, sketches))))


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
