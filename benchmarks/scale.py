"""Measure how the service slows down as its tables grow: queries, payloads of 100,000 rows, and a retraction.

The databases are those of `query`, on a durable PostgreSQL, and differ in the number of stations. The first one is
the other side of all others. Payloads are of a month without rows; the retracted day is one of three of that month.
"""

import datetime
import gzip
import os
import statistics
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import psycopg2
import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import DAYS, make_payload, seconds_of
from benchmarks.query import PERIOD, fill_database
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import open_store

SIZES = (2_000_000, 20_000_000)
_QUESTIONS = (
    "level=node",
    "level=network",
    "details=month,country",
    "level=network&details=month",
    "level=network&details=country",
)
_RESTRICTED = "network=N7&level=station"
_MONTH = DAYS[0][:7]
_SIZE = "SELECT pg_total_relation_size('{0}'), count(*) FROM {0}"

Figures = dict[str, float]


def measure(console: Console, runs: int, sizes: Iterable[int] = SIZES) -> None:
    """Print the seconds for each size, their ratios to those of the first one, and the bytes of a row."""
    found: dict[int, Figures] = {}
    with Cluster(durable=True) as cluster:
        for size in sizes:
            uri = fill_database(cluster, "rows", size)
            # Else PostgreSQL and the kernel write all rows to disk while queries are measured.
            cluster.psql("rows", "CHECKPOINT")
            os.sync()
            found[size] = measure_database(uri, runs)
            cluster.drop_database("rows")
    print_figures(console, found)


def print_figures(console: Console, found: dict[int, Figures]) -> None:
    """Print the figures of databases by their sizes."""
    first, *_ = found.values()
    table = Table(title="by rows", box=None, title_justify="left")
    for heading in ("WORK", *(f"{size:,}" for size in found), *(f": {next(iter(found)):,}" for _ in [*found][1:])):
        table.add_column(heading, justify="left" if heading == "WORK" else "right")
    for work in first:
        values = [figures[work] for figures in found.values()]
        table.add_row(
            work, *(f"{value:.3g}" for value in values), *(f"{one / values[0]:.2f}" for one in values[1:])
        )
    console.print(table)


def measure_database(uri: str, runs: int) -> Figures:
    """Return the median seconds of each work, and the bytes of a row with its indexes."""
    store = open_store(uri)
    now = datetime.datetime.now(tz=datetime.UTC)
    network = store.registry.add_network_token("N7", now, now + datetime.timedelta(days=1))[1]
    node = store.registry.add_token("NODE1", now, now + datetime.timedelta(days=1))[1]
    store.close()
    found: Figures = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Service(grant_service(uri), Path(folder), workers=1, threads=2) as service,
        requests.Session() as session,
    ):
        for question in _QUESTIONS:
            url = f"{service.url}/dataselect/public?{PERIOD}&{question}"
            found[question] = _find_median(session.prepare_request(requests.Request("GET", url)), session, runs)
        url = f"{service.url}/dataselect/restricted?{PERIOD}&{_RESTRICTED}"
        headers = {"Authorization": f"Bearer {network}"}
        request = session.prepare_request(requests.Request("POST", url, headers=headers))
        found[f"restricted, {_RESTRICTED}"] = _find_median(request, session, runs)
        found |= _measure_month(session, service.url, node)
    return found | _measure_rows(uri)


def _find_median(request: requests.PreparedRequest, session: requests.Session, runs: int) -> float:
    seconds = [seconds_of(lambda: session.send(request).raise_for_status()) for _ in range(runs + 1)]
    return statistics.median(seconds[1:])


def _measure_month(session: requests.Session, url: str, token: str) -> Figures:
    """Send three days of a month, and retract the second one."""
    session.headers.update({"Authorization": f"Bearer {token}"})
    posted, numbers = [], []
    for day in (14, 15, 16):
        body = gzip.compress(make_payload().replace(DAYS[0].encode(), f"{_MONTH}-{day}".encode()))

        def send(body: bytes = body) -> None:
            headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
            answer = session.post(f"{url}/submit", data=body, headers=headers)
            answer.raise_for_status()
            numbers.append(answer.json()["payload"])

        posted.append(seconds_of(send))
    retracted = seconds_of(lambda: session.delete(f"{url}/payloads/{numbers[1]}").raise_for_status())
    return {
        "POST of 100,000 rows": posted[0],
        "the same keys again": statistics.median(posted[1:]),
        "retract a day": retracted,
    }


def _measure_rows(uri: str) -> Figures:
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute(_SIZE.format("dataselect_stats"))
        (found,) = cursor.fetchall()
    size, rows = found
    return {"rows": rows, "bytes of a row": size / rows}
