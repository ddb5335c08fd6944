"""Measure public queries with MIN_CLIENTS=5 over HTTP, side by side with the same queries without.

The database is that of `query`, but three eighths of the rows by network, month and country have fewer than five
clients. *First* is the first query after a change of closed months or networks, *renewed* one 20 seconds after such
a change, *posted* the first one after a node has sent a day of an open month, and *again* one without a change.
Both services have one process, and all sides take turns.
"""

import datetime
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import ROLL_UP, ratio, seconds_of
from benchmarks.query import PERIOD, SIZES, fill_database
from eida_statistics import hll
from eida_statistics.payload import Payload, Row
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import Service
from support.stores import Store, open_store

_AIM = 3.0
# The service may rest for a dozen seconds after the last renewal.
_RENEWAL_SECONDS = 20
_QUESTIONS = (
    "level=network",
    "details=month,country",
    "level=network&details=month",
    "level=network&details=country",
    "level=network&details=month,country",
    "level=network&details=month,country&merge=nodes",
    "network=N7",
    "network=N7&details=month,country",
    "level=network&country=AF",
    "level=network&hllvalues=true",
    "usage?network=N7&details=month,country",
)

# In half of the networks, most countries have the same few clients.
_THIN_OUT = """
UPDATE dataselect_stats SET clients = hll_add(hll_empty(11, 5),
    hll_hash_integer(ascii(country) * 1000 + ascii(right(country, 1)) * 10 + abs(hashtext(station || channel)) % 3))
WHERE right(network, 1) IN ('1', '3', '5', '7', '9') AND country >= 'AK';
TRUNCATE dataselect_stats_by_network_country, dataselect_stats_by_network, dataselect_stats_by_country,
    dataselect_stats_by_station;
"""
_CHANGE = "UPDATE registry_state SET revision = revision + 1, changed_at = now()"


def measure(console: Console, runs: int, sizes: Iterable[int] = SIZES) -> None:
    """Print the medians and their ratios for tables of about these numbers of rows."""
    for size in sizes:
        _measure(console, runs, size)


def _measure(console: Console, runs: int, size: int) -> None:
    title = f"questions with MIN_CLIENTS, {size:,} rows, median of {runs}"
    table = Table(title=title, box=None, title_justify="left")
    ratios = ("FIRST : W.", "RENEWED : W.", "POSTED : W.", "AGAIN : W.")
    for heading in ("QUESTION", "WITHOUT", "FIRST", "RENEWED", "POSTED", "AGAIN", *ratios, "AIM"):
        table.add_column(heading, justify="left" if heading == "QUESTION" else "right")
    with Cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        uri = fill_database(cluster, "query", size)
        cluster.psql("query", _THIN_OUT + ROLL_UP)
        cluster.psql("query", "VACUUM FULL ANALYZE")
        service_uri = grant_service(uri)
        store = open_store(uri)
        post = _make_poster(store)
        plain, protecting = Path(folder) / "plain", Path(folder) / "protecting"
        for directory in (plain, protecting):
            directory.mkdir()
        with Service(service_uri, plain, workers=1, threads=2) as without:
            for question in _QUESTIONS:
                # A new one, which does not renew what it has decided for other questions.
                with (
                    Service(service_uri, protecting, workers=1, threads=2, MIN_CLIENTS="5") as with_minimum,
                    requests.Session() as session,
                ):
                    urls = without.url, with_minimum.url
                    times = _measure_question(cluster, session, urls, question, post, runs)
                table.add_row(
                    question,
                    *(f"{statistics.median(seconds) * 1000:.0f} ms" for seconds in times),
                    *(f"{ratio(seconds, times[0]):.2f}" for seconds in times[1:]),
                    f"≤ {_AIM:.0f}",
                )
        store.close()
    console.print(table)


def _make_poster(store: Store) -> Callable[[], None]:
    """Return a function that lets a node send yesterday once more, with another size."""
    node = store.registry.find_node("NODE1")
    yesterday = datetime.datetime.now(tz=datetime.UTC).date() - datetime.timedelta(days=1)
    sizes = itertools.count(1)

    def post() -> None:
        clients = hll.to_hex(hll.encode([1]))
        sent = Row(yesterday.replace(day=1), "N1", "S1", "", "BHZ", "DE", next(sizes), 1, 1, 0, clients)
        store.dataselect.replace(
            node,
            Payload(generated_at="", version="", days_coverage=[yesterday], aggregation_score=0, stats=[sent]),
        )

    return post


def _measure_question(
    cluster: Cluster,
    session: requests.Session,
    urls: tuple[str, str],
    question: str,
    post: Callable[[], None],
    runs: int,
) -> tuple[list[float], ...]:
    """Return the seconds without MIN_CLIENTS, and those with it: first, renewed, posted and again."""

    def ask(url: str) -> float:
        query = f"{url}/{path or 'dataselect/public'}?{PERIOD}&{parameters}"
        return seconds_of(lambda: session.get(query).raise_for_status())

    without, with_minimum = urls
    path, _, parameters = question.rpartition("?")
    plain: list[float] = []
    first: list[float] = []
    renewed: list[float] = []
    posted: list[float] = []
    again: list[float] = []
    # One round more, to warm up.
    for _ in range(runs + 1):
        cluster.psql("query", _CHANGE)
        plain.append(ask(without))
        first.append(ask(with_minimum))
        post()
        posted.append(ask(with_minimum))
        again.append(ask(with_minimum))
        cluster.psql("query", _CHANGE)
        time.sleep(_RENEWAL_SECONDS)
        renewed.append(ask(with_minimum))
    return plain[1:], first[1:], renewed[1:], posted[1:], again[1:]
