"""Measure pages and reports over HTTP, and the command that writes a report.

The database is that of the benchmark `query`, with a payload for each node and day. A page is requested at a new
revision of the data, again, and with the ETag that the client knows. PostgreSQL is warm.
"""

import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import requests
from rich.console import Console
from rich.table import Table

from benchmarks import query
from benchmarks.ingest import seconds_of
from eida_statistics import hll
from eida_stats_webservice.database import migrations
from eida_stats_webservice.database.base import format_time
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import Store, open_store

PAGES = ("", "report")
"""The paths of the pages below the prefix. All accept the parameters of a report."""

_YEAR = 2024
_PERIOD = f"start={_YEAR}-01&end={_YEAR}-12"
_MIN_CLIENTS = "5"
_COMMAND = Path(sys.executable).with_name("eida_statsman")

# In seconds, kB and MB.
_FIRST, _AGAIN, _NOT_MODIFIED = 0.25, 0.02, 0.015
_FIRST_SUPPRESSED, _FIRST_NETWORK, _NEXT_NETWORK = 0.6, 1.5, 0.1
_FIRST_EMBEDDED = 0.3
_COMMAND_SECONDS = {"html": 1.5, "pdf": 5.0}
_COMMAND_MEGABYTES, _ALL_SECONDS = 150.0, 30.0
_KILOBYTES, _GZIP_KILOBYTES = 450.0, 80.0

_ADD_PAYLOADS = """
INSERT INTO payloads (node_id, hash, content, period_start, period_end, starts_at, ends_at, generated_at, version,
    nb_rows, body, origin)
SELECT id, hash, hash, day, day, day, day, '', '', 0, '', 'submission'
FROM nodes, generate_series(date '2022-01-01', date '2024-12-31', '1 day') AS day, md5(id || ' ' || day) AS hash;
"""
_BUMP_REVISION = "UPDATE nodes SET revision = revision + 1 WHERE id = 1"
# Pages read no table of streams.
_COPIED = {
    "nodes": "id",
    "networks": "node_id",
    "payloads": "node_id",
    "dataselect_stats_by_network_country": "node_id",
    "dataselect_stats_by_network": "node_id",
    "dataselect_stats_by_country": "node_id",
}


class _Row(NamedTuple):
    """A row of the table: the page, what was measured, its values in a unit, and the aim for their median."""

    page: str
    what: str
    values: list[float]
    aim: float
    unit: str = "ms"


def measure(console: Console, runs: int, sizes: Iterable[int], pages: Iterable[str] = PAGES) -> None:
    """Print the medians for tables of about these numbers of rows."""
    for size in sizes:
        with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
            uri = query.fill_database(cluster, "report", size)
            cluster.psql("report", _ADD_PAYLOADS + "VACUUM ANALYZE payloads")
            table = Table(title=f"pages, {size:,} rows, median of {runs}", box=None, title_justify="left")
            for heading in ("PAGE", "WHAT", "MEDIAN", "AIM"):
                table.add_column(heading, justify="left" if heading in ("PAGE", "WHAT") else "right")
            for row in _measure(uri, Path(folder), runs, list(pages)):
                scale, digits = (1000, 0) if row.unit == "ms" else (1, 2 if row.unit == "s" else 0)
                median = statistics.median(row.values) * scale
                aim = f"≤ {row.aim * scale:.{1 if row.unit == 's' else 0}f} {row.unit}"
                table.add_row(row.page or "(dashboard)", row.what, f"{median:.{digits}f} {row.unit}", aim)
        console.print(table)


def _measure(uri: str, folder: Path, runs: int, pages: list[str]) -> Iterable[_Row]:
    service_uri = grant_service(uri)
    with Service(service_uri, folder, workers=1, threads=2) as service:
        for page in pages:
            yield from _measure_page(service, uri, page, runs, "federation", _PERIOD, _FIRST)
            yield from _measure_size(service, page)
    with Service(service_uri, folder, workers=1, threads=2, MIN_CLIENTS=_MIN_CLIENTS) as service:
        for page in pages:
            what = f"federation, MIN_CLIENTS={_MIN_CLIENTS}"
            yield from _measure_page(service, uri, page, runs, what, _PERIOD, _FIRST_SUPPRESSED)
            yield from _measure_networks(service, uri, page, runs)
    embedded = _copy_node(uri, folder / "statistics.db")
    with Service(embedded, folder, workers=1, threads=2) as service:
        for page in pages:
            what = "embedded store, one node"
            yield from _measure_page(service, embedded, page, runs, what, _PERIOD, _FIRST_EMBEDDED)
    yield from _measure_commands(uri, folder, runs)


def _measure_page(
    service: Service, uri: str, page: str, runs: int, what: str, parameters: str, aim: float
) -> Iterable[_Row]:
    """Measure a page at a new revision, again, and as not modified."""
    url = f"{service.url}/{page}?{parameters}"
    first, again, known = [], [], []
    with requests.Session() as session, closing(open_store(uri)) as store:
        _get(session, url)
        for _ in range(runs):
            _bump_revision(store)
            first.append(seconds_of(lambda: _get(session, url)))
            again.append(seconds_of(lambda: _get(session, url)))
            etag = _get(session, url).headers["ETag"]
            known.append(seconds_of(partial(_get, session, url, etag)))
    yield _Row(page, f"{what}, first time", first, aim)
    yield _Row(page, f"{what}, again", again, _AGAIN)
    yield _Row(page, f"{what}, not modified", known, _NOT_MODIFIED)


def _measure_networks(service: Service, uri: str, page: str, runs: int) -> Iterable[_Row]:
    """Measure the page of a network at a new revision, again, and then that of another network."""
    one, other = (f"{service.url}/{page}?{_PERIOD}&network={code}" for code in ("N7", "N8"))
    first, again, following = [], [], []
    with requests.Session() as session, closing(open_store(uri)) as store:
        _get(session, one)
        for _ in range(runs):
            _bump_revision(store)
            first.append(seconds_of(lambda: _get(session, one)))
            again.append(seconds_of(lambda: _get(session, one)))
            following.append(seconds_of(lambda: _get(session, other)))
    what = f"MIN_CLIENTS={_MIN_CLIENTS}"
    yield _Row(page, f"network, {what}, first time", first, _FIRST_NETWORK)
    yield _Row(page, f"network, {what}, again", again, _AGAIN)
    yield _Row(page, f"another network of the period, {what}", following, _NEXT_NETWORK)


def _measure_size(service: Service, page: str) -> Iterable[_Row]:
    url = f"{service.url}/{page}?{_PERIOD}"
    for what, encoding, aim in (("size", "identity", _KILOBYTES), ("size, gzip", "gzip", _GZIP_KILOBYTES)):
        with requests.get(url, headers={"Accept-Encoding": encoding}, stream=True, timeout=60) as response:
            yield _Row(page, what, [len(response.raw.read()) / 1000], aim, "kB")


def _measure_commands(uri: str, folder: Path, runs: int) -> Iterable[_Row]:
    """Measure the wall time and the peak memory of `eida_statsman report`."""
    for form, aim in _COMMAND_SECONDS.items():
        output = str(folder / f"report.{form}")
        found = [_run_report(uri, "0", "--year", str(_YEAR), "-o", output) for _ in range(runs)]
        what = f"report --year, {form}"
        yield _Row(_COMMAND.name, what, [seconds for seconds, _ in found], aim, "s")
        yield _Row(_COMMAND.name, f"{what}, memory", [size for _, size in found], _COMMAND_MEGABYTES, "MB")
    for minimum in ("0", _MIN_CLIENTS):
        words = ("--all", "--year", str(_YEAR), "--format", "html", "-o", str(folder / f"all-{minimum}"))
        seconds, _ = _run_report(uri, minimum, *words)
        what = f"report --all --year, MIN_CLIENTS={minimum}, one run"
        yield _Row(_COMMAND.name, what, [seconds], _ALL_SECONDS, "s")


def _run_report(uri: str, minimum: str, *words: str) -> tuple[float, float]:
    """Run the command, and return its seconds and the megabytes of its largest process."""
    environment = {**os.environ, "DATABASE_URI": uri, "MIN_CLIENTS": minimum}
    began = time.monotonic()
    pid = os.posix_spawn(_COMMAND, [str(_COMMAND), "report", *words], environment)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"eida_statsman report {' '.join(words)} failed")
    return time.monotonic() - began, used.ru_maxrss / 1024


def _get(session: requests.Session, url: str, etag: str | None = None) -> requests.Response:
    response = session.get(url, headers={} if etag is None else {"If-None-Match": etag})
    if response.status_code != (200 if etag is None else 304):
        raise RuntimeError(f"{url}: {response.status_code}")
    return response


def _bump_revision(store: Store) -> None:
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(_BUMP_REVISION)


def _copy_node(uri: str, path: Path) -> str:
    """Copy the first node to an embedded store, and return its URI. Pages do not read the table of streams."""
    embedded = f"sqlite:///{path}"
    migrations.apply(embedded)
    with (
        closing(open_store(uri)) as source,
        closing(open_store(embedded)) as target,
        source.database.transaction() as reading,
        target.database.transaction(write=True) as writing,
    ):
        for table, key in _COPIED.items():
            cursor = reading.cursor()
            cursor.execute(f"SELECT * FROM {table} WHERE {key} = 1")
            names = [column[0] for column in cursor.description]
            rows = [[_to_sqlite(name, value) for name, value in zip(names, row, strict=True)] for row in cursor]
            marks = ", ".join("?" * len(names))
            writing.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
    return embedded


def _to_sqlite(name: str, value: Any) -> Any:
    """Return a value of PostgreSQL as the embedded store has it."""
    if name == "clients":
        return hll.canonicalize(hll.from_hex(value))
    if isinstance(value, datetime.datetime):
        return format_time(value)
    return value.isoformat() if isinstance(value, datetime.date) else value
