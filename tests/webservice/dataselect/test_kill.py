"""kill -9 during a submission: the payload is stored completely or not at all, and can be sent again."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import psycopg2
import requests

from eida_stats_webservice.database import migrations
from eida_stats_webservice.database.uri import parse_sqlite_path
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import (
    COUNTS,
    STATISTICS,
    PayloadMaker,
    Service,
    compute_roll_ups,
    compute_statistics,
    differences,
    fetch_rows,
    lock_nodes,
    read_contents,
    register_nodes,
)

ROWS = 10_000
# Each round spreads some kills over a submission. Two others wait for their moment, whatever the machine's speed.
SPREAD_A_ROUND = 3
ROUNDS = 4

_SUMS = ", ".join(f"sum({count})" for count in COUNTS)
_TABLES = [
    STATISTICS,
    *(f"{STATISTICS}_by_{group}" for group in ("network_country", "network", "country", "station")),
]

Moment: TypeAlias = float | Literal["writing", "answered"]


class Blow(NamedTuple):
    """Whether a kill hit a transaction, the answer, and whether the payload was stored."""

    in_transaction: bool
    answer: int | None
    stored: bool


def test_killed_worker_leaves_no_half_payload(store_uri: str, service_uri: str, tmp_path: Path) -> None:
    with Service(service_uri, tmp_path, workers=1) as service:

        def kill_worker() -> None:
            (worker,) = service.workers()
            os.kill(worker, signal.SIGKILL)

        blows = submit_and_kill(store_uri, service, kill_worker, lambda: None)
    # The worker had answered already, or never does.
    assert {blow.answer for blow in blows} <= {None, 201}


def test_killed_postgresql_leaves_no_half_payload(tmp_path: Path) -> None:
    with Cluster(durable=True) as cluster:
        uri = cluster.create_database("statistics")
        migrations.apply(uri)
        with Service(grant_service(uri), tmp_path, workers=2) as service:
            master = service.pid
            blows = submit_and_kill(uri, service, cluster.kill, cluster.start)
            assert service.pid == master
    # The service keeps running and always answers.
    assert {blow.answer for blow in blows} <= {201, 503}


def submit_and_kill(
    uri: str, service: Service, strike: Callable[[], None], recover: Callable[[], None]
) -> list[Blow]:
    """Send payloads and strike meanwhile, until kills have hit a transaction, and before and after a commit.

    After each kill, all tables agree on whether the payload is stored, and sending it again agrees and stores
    it. At the end everything is counted once.
    """
    (token,) = register_nodes(uri, "KILLED")
    maker, rng = PayloadMaker(3, ROWS), random.Random(3)
    sent = [maker.make("2021-03-01")]
    begun = time.monotonic()
    assert service.post(encode(sent[0]), token).status_code == 201
    takes = time.monotonic() - begun
    blows: list[Blow] = []
    for number, moment in enumerate(draw_moments(rng), start=2):
        payload = maker.make(f"2021-03-{number:02}")
        body = encode(payload)
        with ThreadPoolExecutor(1) as client:
            sending = client.submit(send, service, body, token)
            try:
                wait_for_moment(moment, sending, uri, takes)
                in_transaction = is_writing(uri)
            finally:
                strike()
            answer = sending.result()
        recover()
        stored = check_whole(uri, sent, payload)
        assert stored or answer != 201, "it was acknowledged, but not stored"
        begun = time.monotonic()
        again = service.post(body, token)
        if stored:
            assert again.status_code == 409, again.text
            assert again.json()["type"].endswith(":duplicate")
        else:
            assert again.status_code == 201, again.text
            takes = time.monotonic() - begun
        sent.append(payload)
        blows.append(Blow(in_transaction, answer, stored))
        hit = any(blow.in_transaction for blow in blows) and {blow.stored for blow in blows} == {True, False}
        if hit and len(blows) % (SPREAD_A_ROUND + 2) == 0:
            break
    else:
        raise AssertionError(f"some kind of moment was not hit: {blows}")
    check_all(uri, sent)
    return blows


def draw_moments(rng: random.Random) -> Iterator[Moment]:
    """Yield the moments of each round: shares of a submission, when it is written, and when it is answered."""
    for _ in range(ROUNDS):
        shares = [(place + rng.random()) / SPREAD_A_ROUND for place in range(SPREAD_A_ROUND)]
        moments: list[Moment] = [*shares, "writing", "answered"]
        yield from rng.sample(moments, len(moments))


def wait_for_moment(moment: Moment, sending: Future[int | None], uri: str, takes: float) -> None:
    """Wait for a moment of a submission that takes some seconds, or until it ends."""
    if moment == "writing":
        while not sending.done() and not is_writing(uri):
            time.sleep(0.001)
    else:
        wait([sending], timeout=None if moment == "answered" else moment * takes)


def send(service: Service, body: bytes, token: str) -> int | None:
    """Send a payload and return the status of the answer, or None if there is none."""
    try:
        return service.post(body, token).status_code
    except requests.RequestException:
        return None


def is_writing(uri: str) -> bool:
    """Return whether the service is in a transaction that has written something."""
    path = parse_sqlite_path(uri)
    if path is None:
        with contextlib.closing(psycopg2.connect(uri)) as connection:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL"
            return bool(fetch_rows(connection, f"SELECT 1 {others}"))
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def check_whole(uri: str, before: list[dict[str, Any]], payload: dict[str, Any]) -> bool:
    """Check that all tables hold the earlier payloads, with or without the new one; return whether with it."""
    with lock_nodes(uri) as connection:
        ((payloads,),) = fetch_rows(connection, "SELECT count(*) FROM payloads")
        ((days,),) = fetch_rows(connection, "SELECT count(*) FROM payload_days")
        found = {table: fetch_rows(connection, f"SELECT {_SUMS} FROM {table}") for table in _TABLES}
    assert payloads - len(before) in (0, 1)
    stored = bool(payloads - len(before))
    counted = [*before, payload] if stored else before
    assert days == payloads
    names = ("bytes", "nb_requests", "nb_successful_requests", "nb_unsuccessful_requests")
    sums = tuple(sum(row[name] for one in counted for row in one["stats"]) for name in names)
    assert found == {table: [sums] for table in _TABLES}
    return stored


def check_all(uri: str, sent: list[dict[str, Any]]) -> None:
    """Check that a database holds each of these payloads exactly once."""
    found = read_contents(uri)
    assert len(found["payloads"]) == len(found["payload_days"]) == len(sent)
    assert differences({STATISTICS: compute_statistics({"KILLED": sent})}, found) == []
    rolled_up = compute_roll_ups(found)
    assert sorted([STATISTICS, *rolled_up]) == sorted(_TABLES)
    assert differences(rolled_up, found) == []


def encode(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()
