"""Measure queries over HTTP, side by side with the same SQL without the service.

12 nodes, 36 months, 100 networks (each at one node), stations of 3 channels, 40 countries; two million rows are
of 1,000 stations, twenty million of 10,000. Countries are not alike: the first has forty times the clients of the
last. PostgreSQL is warm; both sides take turns, and a ratio is the median of those of the rounds.
"""

import datetime
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import ROLL_UP, ratio, seconds_of
from eida_stats_webservice.database import migrations
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query.parameters import parse_query
from eida_stats_webservice.registry.models import PUBLIC
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import Store, open_store

SIZES = (2_000_000,)
# With a station in each network: 46 of 100 of 36 months x 100 networks x 3 channels x 40 countries.
_ROWS_OF_A_STATION = 198_720

PERIOD = "start=2022-01&end=2024-12"
_AIM_SECONDS = 0.1
_STATION_AIM_SECONDS = 0.3
# With the time that each may take; the last two are compared with each other.
_QUESTIONS = {
    "": _AIM_SECONDS,
    "level=node": _AIM_SECONDS,
    "level=network": _AIM_SECONDS,
    "details=month,country": _AIM_SECONDS,
    "level=network&details=month": _AIM_SECONDS,
    "level=network&merge=nodes": _AIM_SECONDS,
    "level=network&details=month&merge=nodes": 2 * _AIM_SECONDS,
    "level=network&details=country": None,
    "level=network&details=country&merge=nodes": None,
}

# Most rows have a client or two, some have many; whose clients they are goes with the country.
_FILL = """
INSERT INTO nodes (id, name, contact) SELECT n, 'NODE' || n, 'operator@node.example' FROM generate_series(1, 12) n;
INSERT INTO networks (node_id, name) SELECT 1 + n % 12, 'N' || n FROM generate_series(0, 99) n;
CREATE TEMPORARY TABLE pool AS
SELECT country, i, (
    SELECT hll_add_agg(
        hll_hash_integer(country * 100000 + abs(hashint4(i * 131 + k)) % (8000 / (1 + country))), 11, 5)
    FROM generate_series(1, CASE WHEN i % 100 = 0 THEN 150 WHEN i % 10 = 0 THEN 20 ELSE 1 + i % 2 END) k
) AS clients
FROM generate_series(0, 39) country, generate_series(0, 499) i;
CREATE UNIQUE INDEX ON pool (country, i);
ANALYZE pool;
INSERT INTO dataselect_stats (node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)
SELECT 1 + net % 12, (date '2022-01-01' + (m || ' months')::interval)::date, 'N' || net,
    'S' || (net * {stations} + s), '', (ARRAY['BHZ', 'BHN', 'BHE'])[1 + c],
    chr(65 + pool.country / 26) || chr(65 + pool.country % 26),
    1000, 10, 9, 1, pool.clients
FROM generate_series(0, 35) m, generate_series(0, 99) net, generate_series(0, {stations} - 1) s,
    generate_series(0, 2) c, generate_series(0, 39) k, pool
WHERE abs(hashint8((((m * 100 + net) * {stations}::bigint + s) * 120 + c * 40 + k))) % 100 < 46
    AND pool.country = k
    AND pool.i = abs(hashint8((((m * 100 + net) * {stations}::bigint + s) * 840 + c * 280 + k))) % 500;
"""


def measure(console: Console, runs: int, sizes: Iterable[int] = SIZES) -> None:
    """Print the medians and their ratios for tables of about these numbers of rows."""
    for size in sizes:
        _measure(console, runs, size)


def fill_database(cluster: Cluster, name: str, size: int) -> str:
    """Create a database with about a number of rows, and return its URI."""
    uri = cluster.create_database(name)
    migrations.apply(uri)
    cluster.psql(name, _FILL.format(stations=_count_stations(size)) + ROLL_UP)
    cluster.psql(name, "VACUUM ANALYZE")
    return uri


def _count_stations(size: int) -> int:
    """Return the number of stations of each network that make about a number of rows."""
    return max(1, round(size / _ROWS_OF_A_STATION))


def _measure(console: Console, runs: int, size: int) -> None:
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        uri = fill_database(cluster, "query", size)
        rows = cluster.psql("query", "SELECT count(*) FROM dataselect_stats").strip()
        table = Table(title=f"questions, {int(rows):,} rows, median of {runs}", box=None, title_justify="left")
        for heading in ("QUESTION", "ROWS", "HTTP", "SQL", "RATIO", "AIM"):
            table.add_column(heading, justify="left" if heading == "QUESTION" else "right")
        store = open_store(uri)
        now = datetime.datetime.now(tz=datetime.UTC)
        token = store.registry.add_network_token("N7", now, now + datetime.timedelta(days=1))[1]
        with (
            Service(grant_service(uri), Path(folder), workers=1, threads=2) as service,
            requests.Session() as session,
        ):
            for asked, aim in _QUESTIONS.items():
                query = f"{PERIOD}&{asked}".rstrip("&")
                http, sql, found = _side_by_side(store, session, f"{service.url}/dataselect/public", query, runs)
                table.add_row(
                    *(asked or "(all together)", str(found)),
                    *(f"{statistics.median(seconds) * 1000:.0f} ms" for seconds in (http, sql)),
                    *(f"{ratio(http, sql):.2f}", "" if aim is None else f"{aim * 1000:.0f} ms, 1.5"),
                )
            url = f"{service.url}/dataselect/restricted?{PERIOD}&network=N7&level=station"
            header = {"Authorization": f"Bearer {token}"}
            seconds = [seconds_of(lambda: session.post(url, headers=header).content) for _ in range(runs + 1)][1:]
            table.add_row(
                *(
                    "restricted, network=N7&level=station",
                    str(_count_stations(size)),
                    f"{statistics.median(seconds) * 1000:.0f} ms",
                ),
                *("", "", f"{_STATION_AIM_SECONDS * 1000:.0f} ms"),
            )
        store.close()
    console.print(table)


def _side_by_side(
    store: Store, session: requests.Session, url: str, query: str, runs: int
) -> tuple[list[float], list[float], int]:
    """Return the seconds over HTTP and of the SQL alone, after one round to warm up, and the number of rows."""
    pairs = [pair.split("=") for pair in query.split("&")]
    question, _ = parse_query(
        DATASELECT, ((name, value) for name, value in pairs), datetime.date(2026, 11, 1), restricted=False
    )
    statement, parameters = store.statistics.prepare(question, PUBLIC, sketches=False)
    found: list[Any] = []

    def run_sql() -> None:
        with store.database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            found[:] = cursor.fetchall()

    http, sql = [], []
    for _ in range(runs + 1):
        http.append(seconds_of(lambda: session.get(f"{url}?{query}").content))
        sql.append(seconds_of(run_sql))
    return http[1:], sql[1:], len(found)
