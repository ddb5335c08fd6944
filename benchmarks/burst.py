"""Measure 50 nodes that send a payload of 10,000 rows each at once, over HTTP to two processes.

The other side is psql, which copies and merges the same rows over one connection, in a transaction for each node.
It does not decode, check, hash or keep them. Both have an empty copy of a durable database, and run in turn.
"""

import datetime
import gzip
import json
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import psql_script, ratio, seconds_of
from eida_statistics import wire
from eida_stats_webservice.database import migrations
from eida_stats_webservice.dataselect import sums
from support import payloads
from support.node_client import make_node
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import open_store

NODES = 50
ROWS = 10_000
_WORKERS = 2
# Ratios to the time of psql.
_AIMS = {"median": 0.75, "slowest": 1.5}


def measure(console: Console, runs: int) -> None:
    """Print the time until the median and the slowest answer, and their ratios to the time of psql."""
    rows = [payloads.row(station=f"S{row % 1000}", channel=f"C{row // 1000}") for row in range(ROWS)]
    body = json.dumps(payloads.wire(*rows)).encode()
    table = Table(title=f"{NODES} × {ROWS:,} rows at once, median of {runs}", box=None, title_justify="left")
    for heading in ("ANSWER", "HTTP", "psql, ALL", "RATIO", "AIM"):
        table.add_column(heading, justify="left" if heading == "ANSWER" else "right")
    with Cluster(durable=True) as cluster, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        decoded = wire.decode(body, today=datetime.datetime.now(tz=datetime.UTC).date())
        file.write_text("".join(map(sums.write_line, decoded.stats)))
        file.chmod(0o644)
        uri = cluster.create_database("nodes")
        migrations.apply(uri)
        store = open_store(uri)
        tokens = [make_node(store, f"NODE{number}")[1] for number in range(NODES)]
        store.close()
        script = "".join(psql_script(file, node) for node in range(1, NODES + 1))
        http, psql = [], []
        for _ in range(runs):
            http.append(_send_all(cluster, Path(folder), tokens, gzip.compress(body)))
            cluster.create_database("run", "nodes")
            psql.append(seconds_of(lambda: cluster.psql("run", script)))
            cluster.drop_database("run")
    for name, place in (("median", NODES // 2), ("slowest", -1)):
        times = [seconds[place] for seconds in http]
        table.add_row(
            *(name, f"{statistics.median(times):.1f} s", f"{statistics.median(psql):.1f} s"),
            *(f"{ratio(times, psql):.2f}", f"≤ {_AIMS[name]:.2f}"),
        )
    console.print(table)


def _send_all(cluster: Cluster, folder: Path, tokens: list[str], body: bytes) -> list[float]:
    """Return the seconds of each request, in order, on a fresh copy of the database."""
    uri = cluster.create_database("run", "nodes")

    def send(token: str) -> float:
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
        }
        return seconds_of(
            lambda: requests.post(f"{service.url}/submit", body, headers=headers, timeout=120).raise_for_status()
        )

    try:
        with Service(grant_service(uri), folder, workers=_WORKERS) as service, ThreadPoolExecutor(NODES) as nodes:
            return sorted(nodes.map(send, tokens))
    finally:
        cluster.drop_database("run")
