"""Measure queries of holdings over HTTP, and the refresh of the holdings of a shard.

12 nodes and 100 networks, each at one node. 86,400 streams are held, with data of ten years: 864,000 rows of
holdings. Seven of ten streams were served in each of ten months: 604,800 rows of statistics. PostgreSQL is warm.
"""

import datetime
import statistics
import tempfile
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import ROLL_UP, seconds_of
from eida_stats_webservice.archive.models import Stream
from eida_stats_webservice.database import migrations
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import Store, open_store

SEGMENTS = 300_000
_STREAMS = 864
_YEARS = 10
_MONTHS = 10
_PERIOD = "start=2025-01&end=2025-12"
# With the seconds that each may take.
_QUESTIONS = {
    "level=network": 0.1,
    "level=network&merge=nodes": 0.1,
    "level=network&details=held_year": 0.1,
    "level=network&streams=true": 3.0,
    "growth=month&level=network": None,
}

_ADD_NODES = """
INSERT INTO nodes (id, name, contact) SELECT n, 'NODE' || n, 'operator@node.example' FROM generate_series(1, 12) n;
INSERT INTO networks (node_id, name) SELECT 1 + n % 12, 'N' || n FROM generate_series(0, 99) n;
"""
_FILL = f"""
UPDATE shards SET refreshed_at = now();
INSERT INTO holdings (
    sh_code, node_id, network, station, location, channel, year, bytes, files, seconds, first, last
)
SELECT 'node' || 1 + net % 12, 1 + net % 12, 'N' || net, 'S' || s / 12, (ARRAY['', '00', '10', '20'])[1 + s % 4],
    (ARRAY['BHZ', 'BHN', 'BHE'])[1 + s / 4 % 3], 2015 + y, 1000000 + s, 365, 31536000,
    make_timestamptz(2015 + y, 1, 1, 0, 0, 0, 'UTC'), make_timestamptz(2015 + y, 12, 31, 0, 0, 0, 'UTC')
FROM generate_series(0, 99) net, generate_series(0, {_STREAMS} - 1) s, generate_series(0, {_YEARS} - 1) y;
INSERT INTO holdings_history (month, node_id, network, year, bytes, files, seconds, first, last)
SELECT month, node_id, network, year, sum(bytes), sum(files), sum(seconds), min(first), max(last)
FROM holdings, generate_series(date_trunc('month', now()) - interval '11 months', now(), interval '1 month') month
GROUP BY 1, 2, 3, 4;
INSERT INTO dataselect_stats (node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)
SELECT 1 + net % 12, make_date(2025, 1 + m, 1), 'N' || net, 'S' || s / 12, (ARRAY['', '00', '10', '20'])[1 + s % 4],
    (ARRAY['BHZ', 'BHN', 'BHE'])[1 + s / 4 % 3], 'DE', 1000, 10, 9, 1,
    hll_add(hll_empty(11, 5), hll_hash_integer(s * m))
FROM generate_series(0, 99) net, generate_series(0, {_STREAMS} - 1) s, generate_series(0, {_MONTHS} - 1) m
WHERE (s * 7 + net) % 10 < 7;
"""
# Day files of one year and more.
_FILL_SHARD = """
INSERT INTO shard.spans
SELECT md5('/' || n)::uuid, 'N1', 'S' || n % 300, '', (ARRAY['BHZ', 'BHN', 'BHE'])[1 + n / 300 % 3], 'D', 100,
    timestamptz '2020-01-01 00:00Z' + (n / 900 || ' days')::interval,
    timestamptz '2020-01-01 23:59:59.99Z' + (n / 900 || ' days')::interval, 10000000
FROM generate_series(0, {segments} - 1) n;
INSERT INTO shard.metadata (md_hash, md_type, md_json)
SELECT md5('/' || n)::uuid, 'posix', jsonb_build_object('type', 'file', 'dev', 2049, 'inode', n, 'size', 10000000,
    'mode', '-rw-r--r--', 'uid', 1000, 'gid', 1000, 'atime', 1600000000, 'ctime', 1600000000, 'mtime', 1600000000,
    'nlink', 1, 'mtime_ns', 1600000000000000000)
FROM generate_series(0, {segments} - 1) n;
"""


def measure(console: Console, runs: int) -> None:
    """Print the medians of queries, and the time of a refresh."""
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        uri = cluster.create_database("holdings")
        migrations.apply(uri)
        cluster.psql("holdings", _ADD_NODES)
        store = open_store(uri)
        for number in range(1, 13):
            store.shards.create(f"node{number}", f"/NODE{number}", f"NODE{number}", open_paths=False)
        cluster.psql("holdings", _FILL + ROLL_UP)
        cluster.psql("holdings", "VACUUM ANALYZE")
        console.print(_measure_queries(store, uri, Path(folder), runs))
        console.print(_measure_refresh(store, cluster))
        store.close()


def _measure_queries(store: Store, uri: str, folder: Path, runs: int) -> Table:
    table = Table(title=f"holdings, median of {runs}", box=None, title_justify="left")
    for heading in ("QUESTION", "ROWS", "HTTP", "AIM"):
        table.add_column(heading, justify="left" if heading == "QUESTION" else "right")
    now = datetime.datetime.now(tz=datetime.UTC)
    day = datetime.timedelta(days=1)
    token = store.registry.add_network_token("N7", now - day, now + day)[1]
    with (
        Service(grant_service(uri), folder, workers=1, threads=2) as service,
        requests.Session() as session,
    ):
        questions = [("GET", "public", question, aim) for question, aim in _QUESTIONS.items()]
        questions.append(("POST", "restricted", "network=N7&level=channel&streams=true", 1.0))
        for method, path, question, aim in questions:
            period = "" if question.startswith("growth") else f"{_PERIOD}&"
            url = f"{service.url}/holdings/{path}?{period}{question}&header=plain"
            found: list[requests.Response] = []

            def ask(method: str = method, url: str = url, found: list[requests.Response] = found) -> None:
                found[:] = [session.request(method, url, headers={"Authorization": f"Bearer {token}"})]

            seconds = [seconds_of(ask) for _ in range(runs + 1)][1:]
            found[0].raise_for_status()
            table.add_row(
                f"{path}, {question}",
                f"{len(found[0].text.splitlines()) - 1:,}",
                f"{statistics.median(seconds) * 1000:.0f} ms",
                "" if aim is None else f"{aim * 1000:.0f} ms",
            )
    return table


def _measure_refresh(store: Store, cluster: Cluster) -> Table:
    store.shards.create("shard", "/shard", "NODE1", open_paths=False)
    cluster.psql("holdings", _FILL_SHARD.format(segments=SEGMENTS))
    cluster.psql("holdings", "VACUUM ANALYZE")
    table = Table(title=f"refresh of {SEGMENTS:,} segments of 900 streams", box=None, title_justify="left")
    table.add_column("STREAMS")
    table.add_column("TIME", justify="right")
    one = Stream("N1", "S7", "", "BHZ")
    for name, streams in (("one", [one]), ("all", None)):

        def refresh(streams: list[Stream] | None = streams) -> None:
            with store.database.transaction(write=True) as connection:
                store.holdings.refresh(connection, store.shards.get(connection, "shard"), streams)

        table.add_row(name, f"{seconds_of(refresh):.2f} s")
    return table
