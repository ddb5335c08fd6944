"""Measure crawls of archives, side by side with other programs that read miniSEED.

These are `mseedindex` by EarthScope, a bare loop over `pymseed`, the same with its list of records, and ObsPy. Each
measurement is a process of its own, which reports the CPU seconds and seconds of the work without imports, and its
peak memory. Sides take turns, and a ratio is the median of those of the rounds.
"""

import importlib.util
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pymseed import DataEncoding, MS3TraceList
from rich.console import Console
from rich.table import Table

from eida_stats_aggregator.archive.crawler import Options, crawl
from eida_stats_aggregator.archive.describe import Wanted

_DAYS = 365
_FILES = {"LHZ": 1460, "HHZ": 96}
# Those of HHZ take long to make. The others are hard links to them.
_DISTINCT_FILES = {"LHZ": 1460, "HHZ": 24}
# Paths of the archive that is crawled again: hard links to the day files of LHZ.
_PATHS = 43_800
_TIMES_MSEEDINDEX, _TIMES_PYMSEED, _SINCE_AIM, _TIMES_ONE_PROCESS = 5.0, 0.6, 20_000, 1.5


class _Cost(NamedTuple):
    files: int
    cpu_seconds: float
    seconds: float
    kilobytes: int

    @property
    def rate(self) -> float:
        """Files per second of one core."""
        return self.files / self.cpu_seconds


_Sides = dict[str, Callable[[], _Cost]]


def measure(console: Console, runs: int) -> None:
    """Print the medians of files per second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for channel, samples, amplitude in (("LHZ", 86_400, 65), ("HHZ", 8_640_000, 72)):
            archive = folder / channel
            size = _make_archive(archive, channel, samples, amplitude)
            title = f"{channel}: {_FILES[channel]:,} day files of {size / 1000:,.0f} kB"
            console.print(_compare(title, archive, runs))
            console.print()
        console.print(_measure_again(folder, runs))
    console.print(
        f"\nAims: {_TIMES_MSEEDINDEX:g} × mseedindex, {_TIMES_PYMSEED:g} × pymseed; --since {_SINCE_AIM:,} files/s;"
        f" two processes {_TIMES_ONE_PROCESS:g} × one; the same memory"
    )


def _make_archive(archive: Path, channel: str, samples: int, amplitude: int) -> int:
    """Create day files of a channel, and return their mean size."""
    generator = np.random.default_rng(1)
    made: list[Path] = []
    for number in range(_FILES[channel]):
        station, day = f"ST{number // _DAYS:02d}", number % _DAYS + 1
        path = archive / "2015" / "GE" / station / f"{channel}.D" / f"GE.{station}..{channel}.D.2015.{day:03d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number >= _DISTINCT_FILES[channel]:
            path.hardlink_to(made[number % len(made)])
            continue
        traces = MS3TraceList()
        data = np.cumsum(generator.integers(-amplitude, amplitude, samples)).astype(np.int32)
        sid = f"FDSN:GE_{station}__{'_'.join(channel)}"
        traces.add_data(sid, data, "i", samples / 86_400, starttime_str=f"2015-{day:03d}T00:00:00Z")
        traces.to_file(path, max_record_length=512, encoding=DataEncoding.STEIM2, format_version=2)
        made.append(path)
    return sum(path.stat().st_size for path in made) // len(made)


def _compare(title: str, archive: Path, runs: int) -> Table:
    """Return the table of a crawl beside other programs."""
    sides: _Sides = {
        "eida_archive": lambda: _run("crawl", archive, 1),
        "pymseed": lambda: _run("pymseed", archive, 0),
        "pymseed, list of records": lambda: _run("pymseed", archive, 1),
    }
    if shutil.which("mseedindex"):
        sides["mseedindex -json"] = lambda: _run_mseedindex(archive)
    if importlib.util.find_spec("obspy"):
        sides["ObsPy, headers only"] = lambda: _run("obspy", archive, 0)
    sides["eida_archive, two processes"] = lambda: _run("crawl", archive, 2)
    rounds = [{name: side() for name, side in sides.items()} for _ in range(runs)]
    table = Table(title=f"{title}, median of {runs}", box=None, title_justify="left")
    table.add_column("PROGRAM")
    for heading in ("FILES/CPU S", "EIDA_ARCHIVE : IT", "FILES/S", "MEMORY"):
        table.add_column(heading, justify="right")
    for name in sides:
        rate = statistics.median(one[name].rate for one in rounds)
        ratio = statistics.median(one["eida_archive"].rate / one[name].rate for one in rounds)
        files = statistics.median(one[name].files / one[name].seconds for one in rounds)
        memory = max(one[name].kilobytes for one in rounds)
        # The CPU seconds of two processes are not those of one.
        cells = ("", "") if "two" in name else (f"{rate:,.0f}", f"{ratio:.2f}")
        table.add_row(name, *cells, f"{files:,.0f}", f"{memory / 1024:.0f} MB" if memory else "")
    return table


def _measure_again(folder: Path, runs: int) -> Table:
    """Return the table of crawls of archives of two sizes, and of unchanged files."""
    small, large = folder / "small", folder / "large"
    paths = _link_files(folder / "LHZ", large, _PATHS)
    _link_files(folder / "LHZ", small, _PATHS // 4)
    table = Table(title=f"larger archives of LHZ, median of {runs}", box=None, title_justify="left")
    table.add_column("CRAWL")
    for heading in ("FILES/CPU S", "FILES/S", "TIMES ONE", "MEMORY"):
        table.add_column(heading, justify="right")
    sides: _Sides = {
        f"{paths // 4:,} files": lambda: _run("crawl", small, 1),
        f"{paths:,} files": lambda: _run("crawl", large, 1),
        f"{paths:,} files, two processes": lambda: _run("crawl", large, 2),
        f"{paths // 4:,} files, --since": lambda: _run("since", small, 1),
        f"{paths:,} files, --since": lambda: _run("since", large, 1),
        f"{paths:,} files, --since, two processes": lambda: _run("since", large, 2),
    }
    rounds = [{name: side() for name, side in sides.items()} for _ in range(runs)]
    for name in sides:
        costs = [one[name] for one in rounds]
        files = statistics.median(one.files / one.seconds for one in costs)
        rate, ratio = f"{statistics.median(one.rate for one in costs):,.0f}", ""
        if "two" in name:
            alone = name.removesuffix(", two processes")
            rate, ratio = "", f"{statistics.median(one[alone].seconds / one[name].seconds for one in rounds):.2f}"
        table.add_row(name, rate, f"{files:,.0f}", ratio, f"{max(one.kilobytes for one in costs) / 1024:.0f} MB")
    return table


def _link_files(source: Path, target: Path, count: int) -> int:
    """Create many names of the same files, and return their number."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    for number in range(count):
        file = files[number % len(files)]
        folder = target / f"{number // _DAYS:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).hardlink_to(file)
    return count


def _run(side: str, archive: Path, number: int) -> _Cost:
    words = [sys.executable, "-m", "benchmarks.archive", side, str(archive), str(number)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    files, cpu_seconds, seconds, kilobytes = done.stdout.split()
    return _Cost(int(files), float(cpu_seconds), float(seconds), int(kilobytes))


def _run_mseedindex(archive: Path) -> _Cost:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        paths = _list_files(str(archive))
        listed.write("".join(f"{path}\n" for path in paths))
        listed.flush()
        began, used = time.perf_counter(), _get_cpu_of_children()
        subprocess.run(
            ["mseedindex", "-ns", "-json", os.devnull, f"@{listed.name}"], check=True, capture_output=True
        )
        return _Cost(len(paths), _get_cpu_of_children() - used, time.perf_counter() - began, 0)


def _get_cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _list_files(archive: str) -> list[str]:
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(archive) for name in names)  # noqa: PTH118


def _crawl(archive: str, jobs: int, since: Path | None = None) -> None:
    output = Path(f"{archive}.tsv.gz")
    crawl(Options(Path(archive), "/XA/archive", output, Wanted(), list, jobs, since), lambda _bytes, _paths: None)


def _read_with_pymseed(archive: str, record_list: int) -> None:
    for path in _list_files(archive):
        for trace in MS3TraceList.from_file(path, record_list=bool(record_list)):
            for segment in trace:
                _ = trace.sourceid, segment.starttime, segment.endtime, segment.samprate, segment.samplecnt


def _read_with_obspy(archive: str) -> None:
    for path in _list_files(archive):
        for trace in sys.modules["obspy"].read(path, format="MSEED", headonly=True):
            _ = trace.id, trace.stats.starttime, trace.stats.endtime


def _measure_side(side: str, archive: str, number: int) -> Iterator[float]:
    """Yield the number of files, the CPU seconds, the seconds, and the peak memory in kilobytes."""
    files = len(_list_files(archive))
    if side == "obspy":
        importlib.import_module("obspy")
    sides: dict[str, Callable[[], None]] = {
        "crawl": lambda: _crawl(archive, number),
        "since": lambda: _crawl(archive, number, Path(f"{archive}.tsv.gz")),
        "pymseed": lambda: _read_with_pymseed(archive, number),
        "obspy": lambda: _read_with_obspy(archive),
    }
    began, used = time.perf_counter(), time.process_time()
    sides[side]()
    yield files
    yield time.process_time() - used
    yield time.perf_counter() - began
    # Unlike the figure of getrusage, it leaves out the process that has started this one.
    status = Path("/proc/self/status").read_text()
    yield int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    print(*_measure_side(sys.argv[1], sys.argv[2], int(sys.argv[3])))
