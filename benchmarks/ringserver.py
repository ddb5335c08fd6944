"""Measure how transfer logs are read and added up, side by side with the published program.

That is `ringserverstats` 0.17.4, in its own virtual environment. It only reads the text format. Each measurement is
a process of its own, which reports the CPU seconds of the work without imports, and its peak memory. Sides take
turns, and a ratio is the median of those of the rounds.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.make_transfer_log import Shape, write_json, write_text
from eida_statistics.ringserver.collection import Collection, Settings
from eida_statistics.ringserver.identity import ClientKey
from eida_statistics.ringserver.places import Places
from eida_statistics.ringserver.reader import read_events
from eida_statistics.ringserver.windows import Grid

_PUBLISHED = "0.17.4"
_FOLDER = Path(__file__).resolve().parents[1] / ".venv-reference-ringserverstats"
# It looks places up in a database that is part of a package.
_PACKAGES = (f"ringserverstats=={_PUBLISHED}", "fdsnnetextender<4", "setuptools<70")
_DRIVER = """
import logging, resource, sys, time
from ringserverstats import ringserverstats
logging.disable(logging.CRITICAL)
began = time.process_time()
lines = len(ringserverstats.parse_ringserver_log(sys.argv[1]))
print(lines, time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_CHUNK_BYTES = 1 << 20
_NOW = 1_700_000_000

_PARSE_AIM, _PAYLOAD_AIM = 1_000_000, 300_000
_TIMES_PUBLISHED_PARSE, _TIMES_PUBLISHED_PAYLOAD = 5.0, 1.5
_MEGABYTES = 150

_SHAPES = {
    "10 streams a record": Shape(400_000, 10),
    "100 streams a record": Shape(400_000, 100),
    "1,000 streams a record": Shape(400_000, 1000),
    # Ten lines make a row.
    "10 lines a row": Shape(130_000, 100, streams=13_000),
    "10 lines a row, ten days": Shape(1_300_000, 100, streams=13_000, days=10),
}


class _Cost(NamedTuple):
    lines: int
    seconds: float
    kilobytes: int

    @property
    def rate(self) -> float:
        """Stream lines per CPU second."""
        return self.lines / self.seconds


def measure(console: Console, runs: int) -> None:
    """Print the medians for logs of several shapes."""
    published = _install_published()
    table = Table(title=f"stream lines per CPU second, median of {runs}", box=None, title_justify="left")
    table.add_column("LOG")
    for heading in ("PARSE", "JSON LINES", "TO PAYLOADS", "MEMORY", "PUBLISHED", "PARSE : IT", "PAYLOADS : IT"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in _SHAPES.items():
            table.add_row(name, *_measure_shape(Path(folder), shape, runs, published))
    console.print(table)
    console.print(
        f"\nAims: {_PARSE_AIM / 1e6:g} M, and {_TIMES_PUBLISHED_PARSE:g} × the published program; payloads"
        f" {_PAYLOAD_AIM / 1e6:g} M where 10 lines make a row, and {_TIMES_PUBLISHED_PAYLOAD:g} ×; {_MEGABYTES} MB"
    )


def _measure_shape(folder: Path, shape: Shape, runs: int, published: Path) -> Iterator[str]:
    """Yield the cells of a row."""
    text, lines = folder / "text", folder / "json"
    _write(text, write_text(shape))
    _write(lines, write_json(shape))
    sides: dict[str, Callable[[], _Cost]] = {
        "parse": lambda: _run(sys.executable, "-m", "benchmarks.ringserver", "parse", str(text)),
        "json": lambda: _run(sys.executable, "-m", "benchmarks.ringserver", "parse", str(lines)),
        "payload": lambda: _run(sys.executable, "-m", "benchmarks.ringserver", "payload", str(text)),
        "published": lambda: _run(str(published), "-c", _DRIVER, str(text)),
    }
    rounds = [{name: side() for name, side in sides.items()} for _ in range(runs)]
    for name in ("parse", "json", "payload"):
        yield f"{statistics.median(one[name].rate for one in rounds) / 1e6:.2f} M"
    yield f"{max(one['payload'].kilobytes for one in rounds) / 1024:.0f} MB"
    yield f"{statistics.median(one['published'].rate for one in rounds) / 1e6:.2f} M"
    for name in ("parse", "payload"):
        yield f"{statistics.median(one[name].rate / one['published'].rate for one in rounds):.1f}"


def _write(path: Path, records: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(records)


def _run(*words: str) -> _Cost:
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    lines, seconds, kilobytes = done.stdout.split()
    return _Cost(int(lines), float(seconds), int(kilobytes))


def _install_published() -> Path:
    """Return the interpreter of the environment of the published program."""
    interpreter = _FOLDER / "bin/python"
    complete = _FOLDER / f"complete-{_PUBLISHED}"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", _FOLDER], check=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *_PACKAGES], check=True)
        complete.touch()
    return interpreter


def _read_chunks(path: str) -> Iterator[bytes]:
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _parse(path: str) -> int:
    return sum(len(getattr(event, "ids", ())) for event in read_events(_read_chunks(path), path))


def _make_payloads(path: str) -> int:
    settings = Settings(ClientKey(b"salt"), Places(None), Grid(), lambda code, _: code, _NOW)
    collection = Collection(settings)
    collection.read(path, "", None, _read_chunks(path))
    for key in collection.list_days():
        payload = collection.get_records(key).make_payload()
        payload.to_json()
        payload.hash()
    return collection.found.streams


def main() -> None:
    """Run one measurement, and print its stream lines, CPU seconds and peak memory."""
    work = {"parse": _parse, "payload": _make_payloads}[sys.argv[1]]
    began = time.process_time()
    lines = work(sys.argv[2])
    seconds = time.process_time() - began
    print(lines, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()
