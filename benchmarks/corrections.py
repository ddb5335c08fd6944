"""Measure corrections of one day of a month over HTTP, side by side with a POST of the same rows.

A node has sent a payload for each of 30 days. Half of the streams are requested every day, the others on one day
only. Some corrections only add; others lose clients, and read the payloads of the other days. Each run has a fresh
copy of the database, on a durable PostgreSQL, and a warm service. All sides run in turn in each round.
"""

import datetime
import gzip
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import prepare, ratio, seconds_of
from eida_statistics import hll, wire
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import open_store

ROWS = 20_000
DAYS = 30
_CORRECTED = 15
_NETWORKS = 91
_COUNTRIES = 40
_TODAY = datetime.date(2026, 11, 1)
_AIM = 2.0

Shape = Callable[[int, list[int]], list[int]]
# How the clients of a stream change. The names are those of the rows of the table.
_SHAPES: dict[str, Shape] = {
    "one in ten streams grows": lambda stream, clients: clients if stream % 10 else [*clients, -stream],
    "all streams grow": lambda stream, clients: [*clients, -stream],
    "one in twenty loses a client": lambda stream, clients: clients if stream % 20 else clients[1:],
    "no client stays": lambda stream, _: [-stream, -stream - 1],
}


def measure(console: Console, runs: int) -> None:
    """Print the medians, and their ratios to that of a POST."""
    table = Table(title=f"corrections of {ROWS:,} rows, median of {runs}", box=None, title_justify="left")
    for heading in ("WORK", "TIME", ": POST", "AIM"):
        table.add_column(heading, justify="left" if heading == "WORK" else "right")
    with Cluster(durable=True) as cluster, tempfile.TemporaryDirectory() as folder:
        token = prepare(cluster, "month")
        store = open_store(cluster.uri("month"))
        node = store.registry.find_node("NODE")
        for day in range(1, DAYS + 1):
            store.dataselect.ingest(node, wire.receive(_make_payload(day), today=_TODAY).payload)
        number = store.payloads.list_payloads()[_CORRECTED - 1].payload
        store.close()
        cluster.psql("month", "VACUUM ANALYZE")
        seconds: dict[str, list[float]] = {
            "POST of another day": [],
            **{shape: [] for shape in _SHAPES},
            "DELETE": [],
        }
        for _ in range(runs):
            for work, times in seconds.items():
                times.append(_one_run(cluster, Path(folder), token, work, number))
    posted, *others = seconds.items()
    table.add_row(posted[0], f"{statistics.median(posted[1]):.2f} s")
    for work, times in others:
        table.add_row(work, f"{statistics.median(times):.2f} s", f"{ratio(times, posted[1]):.2f}", f"≤ {_AIM:.2f}")
    console.print(table)


def _make_payload(day: int, change: Shape = lambda _, clients: clients) -> bytes:
    """Return the payload of a day, with changed clients. Another client makes another request."""
    stats = []
    for number in range(ROWS):
        # Beyond the first half, each day has streams of its own.
        stream = number if number < ROWS // 2 else number + day * ROWS
        clients = change(stream, _list_clients(stream, day))
        stats.append(
            {
                "month": "2026-10-01",
                "network": f"N{stream % _NETWORKS}",
                "station": f"S{stream // (_NETWORKS * _COUNTRIES)}",
                "location": "",
                "channel": ("BHZ", "BHN", "BHE")[stream % 3],
                "country": _name_country(stream // _NETWORKS % _COUNTRIES),
                "bytes": 512 * len(clients),
                "nb_requests": len(clients),
                "nb_successful_requests": len(clients),
                "nb_unsuccessful_requests": 0,
                "clients": hll.to_hex(hll.encode(clients)),
            }
        )
    # An aggregator sends its rows in order.
    stats.sort(key=lambda row: [row[field] for field in ("network", "station", "channel", "country")])
    return json.dumps({"days_coverage": [f"2026-10-{day:02}"], "stats": stats}).encode()


def _list_clients(stream: int, day: int) -> list[int]:
    """Return the clients of a stream on a day: few or many, of which half are the same every day."""
    count = 40 if stream % 100 == 0 else 1 + stream % 4
    return [stream * 100 + client * (1 if client % 2 else day) for client in range(count)]


def _name_country(number: int) -> str:
    return chr(65 + number // 26) + chr(65 + number % 26)


def _one_run(cluster: Cluster, folder: Path, token: str, work: str, number: int) -> float:
    """Return the seconds of some work on a fresh copy of the database."""
    uri = cluster.create_database("run", "month")
    try:
        # Otherwise the copied database would be written to disk during the measurement.
        cluster.psql("run", "CHECKPOINT")
        os.sync()
        with Service(grant_service(uri), folder, workers=1, threads=1) as service, requests.Session() as session:
            session.headers.update({"Authorization": f"Bearer {token}"})
            # Refused, since its days are of another month.
            refused = _make_payload(1).replace(b"2026-10-01", b"2026-09-01", 1)
            session.post(f"{service.url}/submit", json=json.loads(refused))
            send = _make_request(session, service.url, work, number)
            return seconds_of(lambda: send().raise_for_status())
    finally:
        cluster.drop_database("run")


def _make_request(session: requests.Session, url: str, work: str, number: int) -> Callable[[], Any]:
    if work == "DELETE":
        return lambda: session.delete(f"{url}/payloads/{number}")
    day, change = (_CORRECTED, _SHAPES[work]) if work in _SHAPES else (DAYS + 1, lambda _, clients: clients)
    body = gzip.compress(_make_payload(day, change))
    method = "PUT" if work in _SHAPES else "POST"
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return lambda: session.request(method, f"{url}/submit", data=body, headers=headers)
