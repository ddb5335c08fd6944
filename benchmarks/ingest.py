"""Measure a payload of 100,000 rows over HTTP, side by side with psql, which copies and merges the same rows.

Both sides merge into the same tables with the same SQL, in one transaction, on the same durable PostgreSQL. psql
does not decode, check, hash or keep the payload. A third side is the same service without roll-ups, which shows
their cost. Each run has a fresh copy of the database, and a warm service, which has just refused a payload of that
size. All sides run in turn in each round. A ratio is the median of the ratios of the rounds.
"""

import contextlib
import datetime
import gzip
import json
import os
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eida_statistics import hll, wire
from eida_stats_webservice.database import migrations
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.dataselect import sums
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import open_store

ROWS = 100_000
PRESENT_ROWS = 2_000_000
# These make 3,640 groups in the largest roll-up.
NETWORKS = 91
COUNTRIES = 40
DAYS = ["2026-10-14"]
_ROLL_UPS = (
    "aggregate_by_network",
    "merge_by_network_country",
    "merge_by_network",
    "merge_by_country",
    "merge_by_station",
)
_MERGES = ("merge_stats", *_ROLL_UPS)

# Python runs this before the service, and switches its roll-ups off.
_WITHOUT_ROLL_UPS = f"""
from pathlib import Path

from eida_stats_webservice import dataselect
from eida_stats_webservice.database.postgresql import PostgreSQL

queries = PostgreSQL.load_queries(Path(dataselect.__file__).parent)
for name in {_ROLL_UPS}:
    setattr(queries, name, lambda *_, **__: None)
"""

# Builds the roll-ups of rows that were inserted directly.
ROLL_UP = """
INSERT INTO dataselect_stats_by_network_country
SELECT node_id, date, network, country, sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests),
    hll_union_agg(clients) FROM dataselect_stats GROUP BY 1, 2, 3, 4;
INSERT INTO dataselect_stats_by_network
SELECT node_id, date, network, sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests),
    hll_union_agg(clients) FROM dataselect_stats GROUP BY 1, 2, 3;
INSERT INTO dataselect_stats_by_country
SELECT node_id, date, country, sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests),
    hll_union_agg(clients) FROM dataselect_stats GROUP BY 1, 2, 3;
INSERT INTO dataselect_stats_by_station
SELECT node_id, date, network, station, sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests),
    hll_union_agg(clients) FROM dataselect_stats GROUP BY 1, 2, 3, 4;
"""

# The rows of the payload are among the rows of these months, networks, stations and countries.
_FILL = """
INSERT INTO dataselect_stats (node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)
SELECT 1, date '2026-10-01' - (month || ' months')::interval, 'N' || stream % {networks},
    'S' || stream / ({networks} * {countries}),
    '', (ARRAY['BHZ', 'BHN', 'BHE'])[1 + stream % 3],
    chr(65 + stream / {networks} % {countries} / 26) || chr(65 + stream / {networks} % {countries} % 26),
    1000, 10, 10, 0, hll_add(hll_add(hll_empty(11, 5), (stream % 977)::bigint::hll_hashval),
    stream::bigint::hll_hashval)
FROM generate_series(0, {months} - 1) AS month, generate_series(0, {rows} - 1) AS stream;
"""


def measure(console: Console, runs: int) -> None:
    """Print the medians and their ratio, on empty tables and with two million rows present."""
    body = make_payload()
    payload = wire.decode(body, today=datetime.datetime.now(tz=datetime.UTC).date())
    table = Table(title=f"ingestion of {ROWS:,} rows, median of {runs}", box=None, title_justify="left")
    sides = {"gzip": "POST, gzip", "plain": "PLAIN", "bare": "NO ROLL-UPS", "psql": "psql"}
    compared = [("gzip", "psql"), ("plain", "psql"), ("gzip", "bare")]
    for heading in ("TABLES", *sides.values(), *(f"{one} : {other}" for one, other in compared)):
        table.add_column(heading, justify="right")
    with Cluster(durable=True) as cluster, tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        rows.write_text("".join(map(sums.write_line, payload.stats)))
        rows.chmod(0o644)
        (Path(folder) / "sitecustomize.py").write_text(_WITHOUT_ROLL_UPS)
        token = prepare(cluster, "empty")
        cluster.create_database("full", "empty")
        sizes = {"months": PRESENT_ROWS // ROWS, "rows": ROWS, "networks": NETWORKS, "countries": COUNTRIES}
        cluster.psql("full", _FILL.format(**sizes) + ROLL_UP)
        cluster.psql("full", "VACUUM ANALYZE")
        for template in ("empty", "full"):
            seconds: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(runs):
                for side, times in seconds.items():
                    times.append(one_run(cluster, template, Path(folder), side, body, token))
            table.add_row(
                "empty" if template == "empty" else f"{PRESENT_ROWS:,}",
                *(f"{statistics.median(times):.2f} s" for times in seconds.values()),
                *(f"{ratio(seconds[one], seconds[other]):.2f}" for one, other in compared),
            )
    console.print(table)


def make_payload() -> bytes:
    """Return a payload as an aggregator sends it: most streams have few clients, some have many."""
    sketches = [
        hll.to_hex(hll.encode(range(clients * 7919, clients * 7920))) for clients in (1, 1, 1, 2, 2, 3, 5, 40)
    ]
    stats = [
        {
            "month": "2026-10-01",
            "network": f"N{stream % NETWORKS}",
            "station": f"S{stream // (NETWORKS * COUNTRIES)}",
            "location": "",
            "channel": ("BHZ", "BHN", "BHE")[stream % 3],
            "country": _country(stream // NETWORKS % COUNTRIES),
            "bytes": 512 * stream,
            "nb_requests": 12,
            "nb_successful_requests": 12,
            "nb_unsuccessful_requests": 0,
            "clients": sketches[stream % len(sketches)],
        }
        for stream in range(ROWS)
    ]
    # An aggregator sends its rows in order.
    stats.sort(key=lambda row: [row[field] for field in ("network", "station", "channel", "country")])
    return json.dumps({"days_coverage": DAYS, "stats": stats}).encode()


def _country(number: int) -> str:
    return chr(65 + number // 26) + chr(65 + number % 26)


def prepare(cluster: Cluster, name: str) -> str:
    """Create a database with the schema and one node, and return the node's token."""
    uri = cluster.create_database(name)
    migrations.apply(uri)
    store = open_store(uri)
    store.registry.add_node("NODE", "operator@node.example")
    now = datetime.datetime.now(tz=datetime.UTC)
    _, token = store.registry.add_token("NODE", now, now + datetime.timedelta(days=1))
    store.close()
    return token


def one_run(cluster: Cluster, template: str, folder: Path, side: str, body: bytes, token: str) -> float:
    """Return the seconds that one side takes on a fresh copy of a database."""
    uri = cluster.create_database("run", template)
    try:
        # Otherwise the copied database would be written to disk during the measurement.
        cluster.psql("run", "CHECKPOINT")
        os.sync()
        if side == "psql":
            script = psql_script(folder / "rows")
            return seconds_of(lambda: cluster.psql("run", script))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        if side != "plain":
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        settings: dict[str, Any] = {"PYTHONPATH": str(folder)} if side == "bare" else {}
        with Service(grant_service(uri), folder, workers=1, threads=1, **settings) as service:
            warm_up(service.url, token)
            request = urllib.request.Request(f"{service.url}/submit", body, headers)
            return seconds_of(lambda: urllib.request.urlopen(request).close())
    finally:
        cluster.drop_database("run")


def warm_up(url: str, token: str) -> None:
    """Send a payload that is refused, since its days are of another month."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    other = make_payload().replace(DAYS[0].encode(), b"2026-09-14")
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(f"{url}/submit", other, headers))


def ratio(times: list[float], others: list[float]) -> float:
    """Return the median ratio of times that were measured in pairs."""
    return statistics.median(time / other for time, other in zip(times, others, strict=True))


def psql_script(rows: Path, node: int = 1) -> str:
    """Return a script that copies the rows of a node and merges them, with the statements of the service."""
    queries = PostgreSQL.load_queries(Path(sums.__file__).parent)
    merges = ";\n".join(getattr(queries, name).sql.replace("%(node_id)s", str(node)) for name in _MERGES)
    tables = f"{queries.create_staging.sql};\n{queries.create_staging_by_network.sql}"
    return f"BEGIN;\n{tables};\n\\copy staging FROM '{rows}'\n{merges};\nCOMMIT;\n"


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall time of some work."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before
