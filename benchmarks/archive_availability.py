"""Measure the FDSN availability service over HTTP, on a catalogue of ten million segments.

A shard has ten years of 2,720 channels of 120 networks; the largest network has an eighth of the channels. Their
503,200 spans are generated in the database. Requests read no other table, so the others stay empty.
"""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import seconds_of
from eida_stats_webservice.database import migrations
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import PREFIX, Service
from support.stores import open_store
from support.timelines import AVAILABILITY

NETWORKS, CHANNELS, SPANS = 120, 2_720, 185
SEGMENTS_OF_A_SPAN = 20

# An eighth of the channels is of the network N000. A station has three channels.
_FILL = """
INSERT INTO gfz.timeline
SELECT
    'N' || lpad(CASE WHEN channel % 8 = 0 THEN 0 ELSE 1 + channel / 8 % ({networks} - 1) END::text, 3, '0'),
    'S' || lpad((channel / 24)::text, 4, '0'), '', 'BH' || substr('ZNE', 1 + channel / 8 % 3, 1)
        || CASE WHEN channel % 8 = 0 THEN '' ELSE (channel % 8)::text END,
    'D', 20,
    '2015-01-01'::timestamptz + span * width,
    '2015-01-01'::timestamptz + (span + 1) * width - interval '1 hour' * (1 + (channel * 7 + span) % 12),
    '2026-01-01'::timestamptz + span * interval '1 second', {segments}
FROM generate_series(0, {channels} - 1) AS channel, generate_series(0, {spans} - 1) AS span,
    (SELECT interval '3653 days' / {spans} AS width) AS years;
UPDATE shards SET generation = 1;
"""

_DAY = "start=2020-06-15T00:00:00&end=2020-06-16T00:00:00"
_HOUR = "start=2020-06-15T10:00:00&end=2020-06-15T11:00:00"
# Requests and their aims in seconds.
_REQUESTS = {
    "one channel": ("query", "net=N000&sta=S0000&loc=--&cha=BHZ", 0.05),
    "one network for a day": ("query", f"net=N000&{_DAY}", 0.05),
    "all networks for an hour": ("query", f"net=*&{_HOUR}", 0.05),
    "the same as JSON": ("query", f"net=*&{_HOUR}&format=json", None),
    "ten years of a network": ("query", "net=N000", 1.0),
    "the same, overlaps joined": ("query", "net=N000&merge=overlap", None),
    "the same, by latest update": ("query", "net=N000&orderby=latestupdate", None),
    "extents of the network": ("extent", "net=N000", None),
    "extents of all networks": ("extent", "net=*", None),
    "all spans": ("query", "net=*", None),
}
# A body with lines, as clients send it after a request of format=request.
_LINES = 300


def measure(console: Console, runs: int) -> None:
    """Print the medians of requests over HTTP."""
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        uri = fill_database(cluster, "availability")
        with Service(grant_service(uri), Path(folder), workers=1, threads=2) as service:
            console.print(_measure_requests(cluster, service.url.removesuffix(PREFIX) + AVAILABILITY, runs))


def fill_database(cluster: Cluster, name: str) -> str:
    """Create a database with the catalogue, and return its URI."""
    uri = cluster.create_database(name)
    migrations.apply(uri)
    with closing(open_store(uri)) as store:
        store.registry.add_node("GFZ", "")
        store.shards.create("gfz", "/GFZ/archive", "GFZ", open_paths=False)
    cluster.psql(name, _FILL.format(networks=NETWORKS, channels=CHANNELS, spans=SPANS, segments=SEGMENTS_OF_A_SPAN))
    cluster.psql(name, "VACUUM ANALYZE")
    return uri


def _measure_requests(cluster: Cluster, url: str, runs: int) -> Table:
    rows, segments = cluster.psql("availability", "SELECT count(*), sum(tl_spans) FROM timeline").strip().split("|")
    title = f"availability, {int(rows):,} spans of {int(segments):,} segments, median of {runs}"
    table = Table(title=title, box=None, title_justify="left")
    for heading in ("REQUEST", "ROWS", "HTTP", "AIM"):
        table.add_column(heading, justify="left" if heading == "REQUEST" else "right")
    with requests.Session() as session:
        for name, (path, parameters, aim) in _REQUESTS.items():
            _add_row(table, name, partial(session.get, f"{url}/{path}?{parameters}"), aim, runs)
        chosen = session.get(f"{url}/query?net=N000&format=request&limit={_LINES}").text
        _add_row(table, f"{_LINES} lines", partial(session.post, f"{url}/query", data=chosen), None, runs)
        etag = session.get(f"{url}/query?net=N000&{_DAY}").headers["ETag"]
        get = partial(session.get, f"{url}/query?net=N000&{_DAY}", headers={"If-None-Match": etag})
        _add_row(table, "not modified", get, None, runs)
    return table


def _add_row(table: Table, name: str, ask: Callable[[], requests.Response], aim: float | None, runs: int) -> None:
    answer = ask()
    answer.raise_for_status()
    is_json = answer.headers.get("Content-Type") == "application/json"
    rows = "" if is_json else f"{max(0, answer.text.count(chr(10)) - (answer.text[:1] == '#')):,}"
    seconds = statistics.median(seconds_of(ask) for _ in range(runs))
    table.add_row(name, rows, f"{seconds * 1000:.0f} ms", "" if aim is None else f"{aim * 1000:.0f} ms")
