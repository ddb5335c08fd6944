"""Measure how a transfer log is stored, side by side with psql, which copies the same events into one table.

The other table has the columns of the events, and neither index nor partitions. Storing also reads the log, makes
the sums of all tables and keeps a digest of each record. A third side leaves the events out. Each run is a process
of its own, on a fresh copy of a durable database; it reports the wall time without imports, and its peak memory.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.make_transfer_log import Shape, write_text
from eida_statistics.ringserver.collection import Settings
from eida_statistics.ringserver.identity import ClientKey
from eida_statistics.ringserver.places import Places
from eida_statistics.ringserver.windows import Grid
from eida_stats_webservice.database import migrations, open_database
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.ringserver.raw_logs.models import RawLog
from eida_stats_webservice.ringserver.raw_logs.store import RawLogStore
from eida_stats_webservice.ringserver.raw_logs.tables import RawLogTables
from eida_stats_webservice.ringserver.repository import RingserverRepository
from support.postgresql import Cluster
from support.stores import open_store

_CHUNK_BYTES = 1 << 20
_NOW = 1_700_000_000
_NODE = "NODE"
_AIM, _AIM_WITHOUT_EVENTS, _MEGABYTES = 5.0, 4.0, 150

_SHAPES = {
    "100 streams a record": Shape(220_000, 100),
    "1,000 streams a record": Shape(220_000, 1000),
    "10 lines a row": Shape(220_000, 100, streams=22_000),
}


class _Cost(NamedTuple):
    seconds: float
    cpu: float
    kilobytes: int


def measure(console: Console, runs: int) -> None:
    """Print the medians and their ratios for logs of several shapes."""
    table = Table(
        title=f"a log of 220,000 stream lines is stored, median of {runs}", box=None, title_justify="left"
    )
    table.add_column("LOG")
    for heading in ("STORE", "ITS CPU", "NO EVENTS", "psql", "STORE : psql", "NO EVENTS : psql", "MEMORY"):
        table.add_column(heading, justify="right")
    with Cluster(durable=True) as cluster, tempfile.TemporaryDirectory() as folder:
        migrations.apply(cluster.create_database("empty"))
        with closing(open_store(cluster.uri("empty"))) as store:
            store.registry.add_node(_NODE, "")
        for name, shape in _SHAPES.items():
            log, rows = Path(folder) / "log", Path(folder) / "rows"
            with log.open("wb") as file:
                file.writelines(write_text(shape))
            rounds = [_run_round(cluster, log, rows) for _ in range(runs)]
            table.add_row(name, *_describe(rounds))
    console.print(table)
    console.print(
        f"\nAims: at most {_AIM:g} × psql, without events {_AIM_WITHOUT_EVENTS:g} ×; at most {_MEGABYTES} MB"
    )


def _run_round(cluster: Cluster, log: Path, rows: Path) -> dict[str, _Cost]:
    return {
        "store": _run_store(cluster, log, "all", rows),
        "bare": _run_store(cluster, log, "no-events"),
        "psql": _run_psql(cluster, rows),
    }


def _describe(rounds: list[dict[str, _Cost]]) -> list[str]:
    """Return the cells of a row."""

    def compare(side: str) -> float:
        return statistics.median(one[side].seconds / one["psql"].seconds for one in rounds)

    def find_median(side: str, field: str) -> float:
        return float(statistics.median(getattr(one[side], field) for one in rounds))

    return [
        f"{find_median('store', 'seconds'):.2f} s",
        f"{find_median('store', 'cpu'):.2f} s",
        f"{find_median('bare', 'seconds'):.2f} s",
        f"{find_median('psql', 'seconds'):.2f} s",
        f"{compare('store'):.1f}",
        f"{compare('bare'):.1f}",
        f"{max(one['store'].kilobytes for one in rounds) / 1024:.0f} MB",
    ]


def _run_store(cluster: Cluster, log: Path, events: str, rows: Path | None = None) -> _Cost:
    """Store a log in a fresh copy of the database. With `rows`, write the events to this file."""
    uri = _copy_database(cluster)
    try:
        words = [sys.executable, "-m", "benchmarks.ringserver_store", uri, str(log), events]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        if rows is not None:
            rows.unlink(missing_ok=True)
            cluster.psql("run", f"\\copy (SELECT * FROM ringserver_events) TO '{rows}'")
            rows.chmod(0o644)
    finally:
        cluster.drop_database("run")
    seconds, cpu, kilobytes = done.stdout.split()
    return _Cost(float(seconds), float(cpu), int(kilobytes))


def _run_psql(cluster: Cluster, rows: Path) -> _Cost:
    _copy_database(cluster)
    try:
        cluster.psql("run", "CREATE TABLE copied (LIKE ringserver_events)")
        began = time.perf_counter()
        cluster.psql("run", f"\\copy copied FROM '{rows}'")
        return _Cost(time.perf_counter() - began, 0, 0)
    finally:
        cluster.drop_database("run")


def _copy_database(cluster: Cluster) -> str:
    uri = cluster.create_database("run", "empty")
    # Otherwise the copied database would be written to disk during the measurement.
    cluster.psql("run", "CHECKPOINT")
    os.sync()
    return uri


def _store(uri: str, path: str) -> None:
    settings = Settings(ClientKey(b"salt"), Places(None), Grid(), lambda code, _: code, _NOW)
    # The same parts as those of the command: to load the queries of all subjects takes longer.
    with closing(open_database(uri)) as database, Path(path).open("rb") as file:
        registry = RegistryRepository(database)
        store = RawLogStore(database, registry, RingserverRepository(database))
        chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
        store.store(registry.find_node(_NODE), [RawLog("log", "", None, chunks)], settings)


def _ignore_events(*_: object) -> None:
    """Take the place of the method that writes events."""


def main() -> None:
    """Store a log, and print the wall time, CPU seconds and peak memory of this process."""
    uri, log, events = sys.argv[1:]
    if events == "no-events":
        setattr(RawLogTables, "add_events", _ignore_events)  # noqa: B010 - mypy refuses an assignment
    began, cpu = time.perf_counter(), time.process_time()
    _store(uri, log)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()
