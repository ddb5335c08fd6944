"""Measure the aggregation of a day of requests, side by side with bzip2 and with the deployed aggregator.

The days are generated, and packed with bzip2 into one stream, as SeisComP packs its logs. Both sides run in turn in
each round. A first run of each does not count, since it may read from the disk. A ratio is the median of the ratios
of the rounds. CPU time is user and system time of a command and all processes that it starts. Memory is that of all
processes of the command; shared pages count once. It is sampled in separate runs, since sampling takes time.
"""

import bz2
import datetime
import gzip
import importlib
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from rich.console import Console
from rich.table import Table

from benchmarks import aggregate_year, make_log
from benchmarks.costs import Command, Cost, Peak, measure_cost, measure_peak
from benchmarks.installation import find_command, install
from eida_statistics import hll

reference = importlib.import_module("support.reference")  # tests are not checked for types

COMMAND = "eida_stats_aggregator"
SIZES = (200_000, 1_000_000)
# The deployed aggregator takes long for a whole day.
SIZE_BESIDE_DEPLOYED = 20_000
FILES = 4
SEED = 1
DAY = datetime.date(2020, 11, 2)

# The stations of a day: with many, it has as many aggregates as that of a large data centre.
NARROW, WIDE = 400, 4000
WALL_OF_ALL_JOBS = 0.6
TIMES_DEPLOYED = 15
YEAR_BESIDE_BZIP2 = 1.1
START_CPU_SECONDS = 0.10

_NETWORKS = "networks.json"
# The code of a run that was successful, but has something to look at, such as repeated lines.
_WARNING = 4

_Run = TypeVar("_Run")


class _Day(NamedTuple):
    """A generated log and its content; sizes are in bytes."""

    log: Path
    requests: int
    stations: int
    traces: int
    unpacked: int

    @property
    def name(self) -> str:
        return f"{self.requests:,} requests{', wide' if self.stations == WIDE else ''}"

    @property
    def aims(self) -> "_Aims":
        return _AIMS.get((self.requests, self.stations), _NO_AIMS)


class _Aims(NamedTuple):
    """The aims for a day: times of `bzip2 -dc`, in wall and in CPU seconds, and MB; None where there is none."""

    wall: float | None
    cpu: float | None
    megabytes: int | None


_AIMS = {
    (20_000, NARROW): _Aims(1.25, None, 200),
    (200_000, NARROW): _Aims(0.90, 1.70, 200),
    (200_000, WIDE): _Aims(1.00, 1.85, 250),
    (1_000_000, NARROW): _Aims(1.00, 2.00, None),
    (1_000_000, WIDE): _Aims(0.80, None, 350),
}
_NO_AIMS = _Aims(None, None, None)


class _Result(NamedTuple):
    """The size of a payload: its rows, the sum of their clients, and its bytes as JSON."""

    aggregates: int
    clients: int
    json_bytes: int


class _Row(NamedTuple):
    """A row of the table of comparisons."""

    what: str
    ours: str
    beside: str
    ratio: str
    spread: str
    aim: str
    reached: str


def measure(console: Console, runs: int, sizes: Iterable[int] = SIZES, logs: int = aggregate_year.LOGS) -> None:
    """Print time and memory for days of several sizes, beside bzip2, a single process and the deployed aggregator.

    Then the time for `logs` small days that are caught up, and for a run with nothing to do.

    Raises:
        click.ClickException: if this machine cannot measure it, or the rows differ from those of the deployed one.
    """
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists() or not Path("/proc/self/smaps_rollup").exists():
        raise click.ClickException("memory is read from /proc, as Linux has it")
    sizes = sorted(set(sizes))
    small = min(SIZE_BESIDE_DEPLOYED, sizes[0])
    rows: list[_Row] = []
    memory: list[tuple[_Day, _Result, list[Peak]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install(folder)
        (folder / _NETWORKS).write_text(json.dumps(make_log.registry()))
        small_day = _make_day(folder, small, NARROW)
        days = [small_day, *(_make_day(folder, size, wide) for size in sizes for wide in (NARROW, WIDE))]
        for day in days:
            _introduce(console, day)
            memory.append((day, *_memory(folder, day, runs)))
            rows += _beside_bzip2(folder, day, runs)
        rows += _measure_repeats(folder, sizes[0], runs)
        rows += [_memory_row(day, peaks) for day, _, peaks in memory]
        rows.append(_beside_one_job(folder, sizes[0], runs))
        rows += _measure_frequent_runs(folder, small_day, logs, runs)
        rows.append(_beside_deployed(console, folder, small_day, runs))
    console.print()
    console.print(_comparisons(rows, runs))
    console.print()
    console.print(_memory_table(memory, runs))


def _make_day(folder: Path, number: int, stations: int) -> _Day:
    traces = 0

    def watched() -> Iterator[make_log.Entry]:
        nonlocal traces
        for entry in _requests(number, stations):
            traces += len(entry.get("trace", ()))
            yield entry

    log = folder / f"{number}-{stations}.bz2"
    return _Day(log, number, stations, unpacked=_pack(log, watched()), traces=traces)


def _requests(number: int, stations: int = NARROW) -> Iterator[make_log.Entry]:
    """Yield a day of requests; with one seed, days of any size have the same streams and regular clients."""
    seen: set[int] = set()
    for entry in make_log.requests(SEED, DAY, number, stations=stations):
        # Two requests of a client at the same moment count as one that was logged twice.
        key = hash((entry["created"], entry["userID"]))
        if key not in seen:
            seen.add(key)
            yield entry


def _pack(log: Path, entries: Iterable[make_log.Entry]) -> int:
    """Write a log as one stream of bzip2, and return its unpacked size."""
    size = 0
    with log.open("wb") as packed, subprocess.Popen(["bzip2"], stdin=subprocess.PIPE, stdout=packed) as bzip2:
        assert bzip2.stdin is not None
        for entry in entries:
            size += bzip2.stdin.write(f"{json.dumps(entry)}\n".encode())
        bzip2.stdin.close()
    if bzip2.returncode:
        raise click.ClickException("bzip2 failed")
    return size


def _introduce(console: Console, day: _Day) -> None:
    packed = day.log.stat().st_size
    console.print(
        f"{day.name}, {day.traces / day.requests:.1f} traces each:"
        f" {_megabytes(day.unpacked)}, packed {_megabytes(packed)}"
    )


def _beside_bzip2(folder: Path, day: _Day, runs: int) -> list[_Row]:
    return _compare_with_bzip2(folder, day.log, day.name, day.aims, runs)


def _measure_repeats(folder: Path, number: int, runs: int) -> list[_Row]:
    """Compare a wide day on which each line was written twice with bzip2."""
    log = folder / "twice.bz2"
    _pack(log, (entry for entry in _requests(number, WIDE) for _ in range(2)))
    what = f"{number:,} requests, wide, each line twice"
    return _compare_with_bzip2(folder, log, what, _NO_AIMS, runs, code=_WARNING)


def _compare_with_bzip2(folder: Path, log: Path, what: str, aims: _Aims, runs: int, *, code: int = 0) -> list[_Row]:
    unpack: Command = ["bzip2", "-dc", log]
    pairs = _in_turn(runs, lambda: measure_cost(_ours(folder, [log])[0], code=code), lambda: measure_cost(unpack))
    cpus = [(ours.cpu, theirs.cpu) for ours, theirs in pairs]
    return [
        _at_most(f"{what}, wall", _walls(pairs), "bzip2 -dc", aims.wall),
        _at_most(f"{what}, CPU", cpus, "bzip2 -dc", aims.cpu),
    ]


def _beside_one_job(folder: Path, number: int, runs: int) -> _Row:
    """Compare all jobs with one job, on several files of one day."""
    entries = _requests(number)
    logs = [folder / f"quarter-{count}.bz2" for count in range(FILES)]
    for count, log in enumerate(logs):
        _pack(log, islice(entries, number * (count + 1) // FILES - number * count // FILES))
    pairs = _in_turn(
        runs,
        lambda: measure_cost(_ours(folder, logs)[0]),
        lambda: measure_cost(_ours(folder, logs, "--jobs", "1")[0]),
    )
    return _at_most(f"{FILES} files of {number // FILES:,}, wall", _walls(pairs), "--jobs 1", WALL_OF_ALL_JOBS)


def _measure_frequent_runs(folder: Path, day: _Day, number: int, runs: int) -> list[_Row]:
    """Compare catching up with bzip2, and measure a run with nothing to do."""
    text = bz2.decompress(day.log.read_bytes())
    logs = aggregate_year.write_year(folder / "year", DAY, text, number)
    command: Command = [find_command(folder, COMMAND), "--quiet", "--networks", folder / _NETWORKS]
    with aggregate_year.serve() as url:
        pairs = _in_turn(
            runs,
            lambda: aggregate_year.measure_catch_up(command, url, _fresh(folder), folder / "year"),
            lambda: aggregate_year.measure_unpack(logs),
        )
        starts = [aggregate_year.measure_start(command, url).cpu for _ in range(runs)]
    cpu = statistics.median(starts)
    reached = _said(cpu <= START_CPU_SECONDS)
    spread = f"{min(starts):.2f}–{max(starts):.2f}"
    return [
        _at_most(f"{number} logs of {day.requests:,}, wall", _walls(pairs), "bzip2 -dc", YEAR_BESIDE_BZIP2),
        _Row("nothing to do, CPU", f"{cpu:.2f} s", "", "", spread, f"≤ {START_CPU_SECONDS:.2f} s", reached),
    ]


def _beside_deployed(console: Console, folder: Path, day: _Day, runs: int) -> _Row:
    """Compare with the whole deployed command.

    Raises:
        click.ClickException: if its rows are not ours.
    """
    command: Path = reference.python().with_name(COMMAND)
    with reference.registry_service(make_log.registry()) as proxy:
        environment = reference.environment(proxy)

        def deployed() -> tuple[Cost, Path]:
            output = _fresh(folder)
            return measure_cost([command, "-o", output, day.log], environment), output

        def ours() -> tuple[Cost, Path]:
            aggregate, output = _ours(folder, [day.log])
            return measure_cost(aggregate), output

        pairs = _in_turn(runs, ours, deployed)
    for (_, ours_written), (_, theirs_written) in pairs:
        rows, theirs = (reference.index_rows(_payload(output)) for output in (ours_written, theirs_written))
        if rows != theirs:
            different = sum(rows.get(key) != theirs.get(key) for key in rows.keys() | theirs.keys())
            raise click.ClickException(f"{different:,} rows are not those of the deployed aggregator")
    console.print(f"{day.name}: all {len(rows):,} rows are those of the deployed aggregator {reference.VERSION}")
    walls = _walls((ours, theirs) for (ours, _), (theirs, _) in pairs)
    faster = [theirs / ours for ours, theirs in walls]
    reached = statistics.median(faster) >= TIMES_DEPLOYED
    what = f"{day.name}, times faster"
    return _row(what, walls, reference.VERSION, faster, f"≥ {TIMES_DEPLOYED}", reached=reached)


def _memory(folder: Path, day: _Day, runs: int) -> tuple[_Result, list[Peak]]:
    peaks = []
    for _ in range(runs):
        aggregate, output = _ours(folder, [day.log])
        peaks.append(measure_peak(aggregate))
    payload = _payload(output)
    clients = sum(hll.cardinality(hll.from_hex(row["clients"])) for row in payload["stats"])
    return _Result(len(payload["stats"]), clients, len(json.dumps(payload))), peaks


def _ours(folder: Path, logs: Sequence[Path], *options: str) -> tuple[Command, Path]:
    """Return the command and its output directory, which is new, so that there is nothing to replace."""
    output = _fresh(folder)
    command = find_command(folder, COMMAND)
    return [command, "--quiet", "--networks", folder / _NETWORKS, "-o", output, *options, *logs], output


def _fresh(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="output-", dir=folder))


def _payload(output: Path) -> dict[str, Any]:
    (written,) = output.glob("*.json.gz")
    payload: dict[str, Any] = json.loads(gzip.decompress(written.read_bytes()))
    return payload


def _in_turn(runs: int, ours: Callable[[], _Run], theirs: Callable[[], _Run]) -> list[tuple[_Run, _Run]]:
    ours(), theirs()
    return [(ours(), theirs()) for _ in range(runs)]


def _walls(pairs: Iterable[tuple[Cost, Cost]]) -> list[tuple[float, float]]:
    return [(ours.wall, theirs.wall) for ours, theirs in pairs]


def _at_most(what: str, pairs: Sequence[tuple[float, float]], beside: str, limit: float | None) -> _Row:
    ratios = [ours / theirs for ours, theirs in pairs]
    aim = "" if limit is None else f"≤ {limit:.2f}"
    return _row(what, pairs, beside, ratios, aim, reached=limit is None or statistics.median(ratios) <= limit)


def _row(
    what: str,
    pairs: Sequence[tuple[float, float]],
    beside: str,
    ratios: Sequence[float],
    aim: str,
    *,
    reached: bool,
) -> _Row:
    ours, theirs = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
    return _Row(
        what,
        f"{ours:.2f} s",
        f"{beside}: {theirs:.2f} s",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f}–{max(ratios):.2f}",
        aim,
        _said(reached) if aim else "",
    )


def _memory_row(day: _Day, peaks: Sequence[Peak]) -> _Row:
    together = [peak.together for peak in peaks]
    limit = day.aims.megabytes
    median = statistics.median(together)
    return _Row(
        f"{day.name}, memory",
        _megabytes(median),
        "",
        "",
        f"{min(together) / 1e6:.1f}–{max(together) / 1e6:.1f}",
        "" if limit is None else f"≤ {limit} MB",
        "" if limit is None else _said(median <= limit * 1e6),
    )


def _comparisons(rows: Iterable[_Row], runs: int) -> Table:
    table = Table(title=f"aggregation, medians of {runs}", box=None, title_justify="left")
    table.add_column("WHAT")
    for heading in ("OURS", "BESIDE", "RATIO", "MIN–MAX", "AIM", "REACHED"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _memory_table(memory: Sequence[tuple[_Day, _Result, Sequence[Peak]]], runs: int) -> Table:
    """Return a table of memory and payload sizes, and of their growth from each size to the next."""
    table = Table(title=f"memory and payloads, medians of {runs}", box=None, title_justify="left")
    for heading in ("REQUESTS", "AGGREGATES", "CLIENTS IN THEM", "JSON", "ALL PROCESSES", "LARGEST PROCESS"):
        table.add_column(heading, justify="right")
    before: Sequence[float] = ()
    for day, result, peaks in memory:
        together = statistics.median(peak.together for peak in peaks)
        largest = statistics.median(peak.largest for peak in peaks)
        figures = (day.requests, *result, together, largest)
        if before:
            table.add_row(*(f"× {now / then:.1f}" for now, then in zip(figures, before, strict=True)), style="dim")
        before = figures
        table.add_row(
            day.name.replace(" requests", ""),
            f"{result.aggregates:,}",
            f"{result.clients:,}",
            *(_megabytes(size) for size in (result.json_bytes, together, largest)),
        )
    return table


def _said(reached: bool) -> str:
    return "yes" if reached else "NO"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"
