"""kill -9 of everything, at random moments, while nodes send: every payload is counted exactly once."""

import contextlib
import gzip
import json
import os
import queue
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from eida_stats_aggregator.delivery.client import ServiceClient
from eida_stats_aggregator.delivery.state import Terms
from eida_stats_aggregator.errors import NotDelivered
from eida_stats_webservice.database import migrations
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import (
    STATISTICS,
    PayloadMaker,
    Service,
    compute_roll_ups,
    compute_statistics,
    differences,
    read_contents,
    register_nodes,
)
from support.stores import open_store

CLIENTS = 8
SUBMISSIONS = 200
# A quarter of the payloads are sent twice, by any clients.
DISTINCT = 150
ROWS = 1_500
PAUSE_SECONDS = (0.2, 1.2)
REST_SECONDS = (0, 1)
# The last payloads are sent after as many kills, which end each target three times.
KILLS = 12
WITHIN_SECONDS = 400


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(durable=True) as running:
        yield running


@pytest.mark.long
def test_payloads_are_counted_once_despite_kills(
    cluster: Cluster, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    uri = cluster.create_database("statistics")
    migrations.apply(uri)
    tokens = dict(zip("ABC", register_nodes(uri, *"ABC"), strict=True))
    sent = write_payloads(tmp_path)
    work: queue.SimpleQueue[tuple[str, Path]] = queue.SimpleQueue()
    for one in sent:
        work.put(one)
    retries: Counter[str] = Counter()
    enough = threading.Event()
    begun = time.monotonic()
    with (
        Service(grant_service(uri), tmp_path, workers=2) as service,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):

        def client() -> list[str]:
            failed = []
            with contextlib.suppress(queue.Empty):
                while True:
                    if work.qsize() <= CLIENTS:
                        enough.wait(WITHIN_SECONDS)
                    node, path = work.get_nowait()
                    failed += deliver(path, f"{service.url}/submit", tokens[node])
                    time.sleep(random.uniform(*REST_SECONDS))
            return failed

        sending = [clients.submit(client) for _ in range(CLIENTS)]
        kills = strike(cluster, service, sending, enough)
        for one in sending:
            retries.update(one.result())
    assert min(kills[target] for target in ("worker", "master", "postgresql")) >= 3, kills
    found = read_contents(uri)
    assert len(found["payloads"]) == DISTINCT
    stored = {
        node: [json.loads(gzip.decompress(path.read_bytes())) for of, path in dict.fromkeys(sent) if of == node]
        for node in tokens
    }
    assert differences({STATISTICS: compute_statistics(stored)}, found) == []
    assert differences(compute_roll_ups(found), found) == []
    with contextlib.closing(open_store(uri)) as store:
        assert [difference for *_, here in store.verification.verify() for difference in here] == []
    record_figure(
        f"{SUBMISSIONS} submissions of {ROWS:,} rows by {CLIENTS} clients: {time.monotonic() - begun:.0f} s,"
        f" killed {dict(kills)}, {sum(retries.values())} attempts that failed"
    )


def write_payloads(directory: Path) -> list[tuple[str, Path]]:
    """Write payload files of three nodes, and return the order in which they are sent, some twice."""
    rng = random.Random(5)
    makers = {node: PayloadMaker(number, ROWS) for number, node in enumerate("ABC")}
    made: list[tuple[str, Path]] = []
    for number in range(DISTINCT):
        node = "ABC"[number % 3]
        path = directory / f"{number}.json.gz"
        path.write_bytes(gzip.compress(json.dumps(makers[node].make(f"2021-03-{1 + number % 28:02}")).encode()))
        made.append((node, path))
    sent = [*made, *rng.sample(made, SUBMISSIONS - DISTINCT)]
    rng.shuffle(sent)
    return sent


def deliver(path: Path, url: str, token: str) -> Iterator[str]:
    """Send as the aggregator and its next runs do, and yield the reason of each failed attempt."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        try:
            ServiceClient(url, token, retries=0).submit(path.name, path.read_bytes(), Terms(), empty=False)
        except NotDelivered as error:
            if time.monotonic() > deadline:
                raise
            yield str(error)
            time.sleep(random.uniform(0.1, 0.5))
        else:
            return


def strike(
    cluster: Cluster, service: Service, sending: list[Future[list[str]]], enough: threading.Event
) -> Counter[str]:
    """Kill one target after the other while clients send, and restart those that do not recover alone.

    The event is set after enough kills.
    """
    rng = random.Random(9)
    kills: Counter[str] = Counter()
    deadline = time.monotonic() + WITHIN_SECONDS
    while not all(one.done() for one in sending) and time.monotonic() < deadline:
        time.sleep(rng.uniform(*PAUSE_SECONDS))
        target = ("worker", "master", "worker", "postgresql")[sum(kills.values()) % 4]
        if target == "worker":
            with contextlib.suppress(IndexError, ProcessLookupError):
                os.kill(rng.choice(service.workers()), signal.SIGKILL)
        elif target == "master":
            service.kill_master()
            service.start()
        else:
            cluster.kill()
            time.sleep(rng.uniform(0, 0.5))
            cluster.start()
        kills[target] += 1
        if sum(kills.values()) == KILLS:
            enough.set()
    return kills
