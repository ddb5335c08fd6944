"""Measure the aggregator where it runs often: with nothing to do, and with a year of days to catch up."""

import datetime
import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.costs import Command, Cost, measure_cost
from support.stubs import Answer, Received, serve_stub

LOGS = 30

_TOKEN = {"TOKEN": "of-the-benchmark"}


def write_year(folder: Path, day: datetime.date, text: bytes, number: int) -> list[Path]:
    """Write logs of consecutive days, each with the requests of one day, and return their paths."""
    folder.mkdir()
    days = [day + datetime.timedelta(days=after) for after in range(number)]
    paths = [folder / f"fdsnws-requests.log.{day}.bz2" for day in days]

    def pack(path: Path, its_day: datetime.date) -> None:
        moved = text.replace(str(day).encode(), str(its_day).encode())
        path.write_bytes(subprocess.run(["bzip2"], input=moved, stdout=subprocess.PIPE, check=True).stdout)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(pack, paths, days))
    return paths


@contextmanager
def serve() -> Iterator[str]:
    """Serve a central service that takes each payload at once, and yield its URL."""

    def answer(request: Received) -> Answer:
        return Answer(200, b'{"payloads": []}') if request.method == "GET" else Answer(201, b'{"payload": 1}')

    with serve_stub(answer) as stub:
        yield stub.url


def measure_catch_up(command: Command, url: str, output: Path, logs: Path) -> Cost:
    """Return the cost of catching up with all logs of a directory."""
    return measure_cost(
        [*command, "-o", output, "--send-to", url, "--catch-up", "--since", "all", logs], os.environ | _TOKEN
    )


def measure_unpack(paths: list[Path]) -> Cost:
    """Return the cost of unpacking all logs, one after another."""
    return measure_cost(["bzip2", "-dc", *paths])


def measure_start(command: Command, url: str) -> Cost:
    """Return the cost of a run without a log, and with an empty queue."""
    with tempfile.TemporaryDirectory() as output:
        return measure_cost([*command, "-o", output, "--send-to", url], os.environ | _TOKEN)
