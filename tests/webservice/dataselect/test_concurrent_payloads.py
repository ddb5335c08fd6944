"""Concurrent payloads, some equal and some overlapping, leave the same as sending them one by one."""

import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

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

CLIENTS = 8
NODES = ("FIRST", "SECOND")
MONTHS = ("2021-03", "2021-04")


class Load(NamedTuple):
    """How much is sent, and to how many threads."""

    rounds: int
    rows: int
    workers: int
    threads: int


LOADS = {"postgresql": Load(3, 2000, 4, 3), "sqlite": Load(3, 400, 2, 4)}


class Submission(NamedTuple):
    """One payload in one order of rows, and its node."""

    node: str
    number: int
    body: bytes


@pytest.fixture
def load(store_uri: str) -> Load:
    return LOADS[store_uri.split(":", maxsplit=1)[0]]


@pytest.fixture
def other_uri(store_uri: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Create a second database of the same kind, and yield its URI."""
    if store_uri.startswith("sqlite"):
        uri = f"sqlite:///{tmp_path / 'other.db'}"
        migrations.apply(uri)
        yield uri
    else:
        cluster: Cluster = request.getfixturevalue("postgresql")
        yield cluster.create_database("one_by_one", request.getfixturevalue("template"))
        cluster.drop_database("one_by_one")


def test_concurrent_payloads_equal_sequential_ones(
    store_uri: str, service_uri: str, other_uri: str, load: Load, tmp_path: Path
) -> None:
    payloads, rounds = plan(load)
    with Service(service_uri, tmp_path, workers=load.workers, threads=load.threads) as service:
        tokens = dict(zip(NODES, register_nodes(store_uri, *NODES), strict=True))
        answers = send_at_once(service, tokens, rounds)
    check_counted_once(answers)

    (home := tmp_path / "one_by_one").mkdir()
    with Service(grant_service(other_uri), home, workers=1, threads=1) as service:
        tokens = dict(zip(NODES, register_nodes(other_uri, *NODES), strict=True))
        for submission in itertools.chain.from_iterable(rounds):
            assert service.post(submission.body, tokens[submission.node]).status_code in (201, 409)

    found = read_contents(store_uri)
    assert differences(found, read_contents(other_uri)) == []
    # Sending one by one could be wrong as well.
    assert differences(found, {**found, STATISTICS: compute_statistics(payloads)}) == []
    assert differences(found, {**found, **compute_roll_ups(found)}) == []
    assert {table: len(rows) for table, rows in found.items() if table in ("payloads", "payload_days")} == {
        "payloads": sum(map(len, payloads.values())),
        "payload_days": sum(map(len, payloads.values())) * len(MONTHS),
    }
    known = {row["network"] for row in payloads[NODES[0]][0]["stats"]} - {"NEW0"}
    assert {(dict(key)["node_id"], dict(key)["name"]) for key in found["networks"]} == {
        (node, name) for node in NODES for name in (*known, *(f"NEW{number}" for number in range(load.rounds)))
    }


def test_concurrent_copies_are_counted_once(store_uri: str, service_uri: str, load: Load, tmp_path: Path) -> None:
    maker = PayloadMaker(12, load.rows, MONTHS)
    payloads = [maker.make(f"2021-03-{number + 1:02}", "2021-04-01") for number in range(load.rounds)]
    rounds = [
        [Submission(NODES[0], number, encode(maker.shuffle_rows(payload))) for _ in range(CLIENTS)]
        for number, payload in enumerate(payloads)
    ]
    with Service(service_uri, tmp_path, workers=load.workers, threads=load.threads) as service:
        tokens = dict(zip(NODES, register_nodes(store_uri, *NODES), strict=True))
        answers = send_at_once(service, tokens, rounds)
    check_counted_once(answers)
    found = read_contents(store_uri)
    assert len(found["payloads"]) == load.rounds
    assert differences(found, {**found, STATISTICS: compute_statistics({NODES[0]: payloads})}) == []
    assert differences(found, {**found, **compute_roll_ups(found)}) == []


def plan(load: Load) -> tuple[dict[str, list[dict[str, Any]]], list[list[Submission]]]:
    """Return the payloads of each node, and rounds with one submission for each client.

    In a round, each node sends two payloads twice, or four once, with rows in a different order each time. All
    payloads share the same rows of the database, and those of a round bring the same new network.
    """
    maker = PayloadMaker(11, load.rows, MONTHS)
    payloads: dict[str, list[dict[str, Any]]] = {node: [] for node in NODES}
    rounds = []
    for number, copies in zip(range(load.rounds), itertools.cycle((2, 1)), strict=False):
        submissions = []
        for node, _ in itertools.product(NODES, range(CLIENTS // len(NODES) // copies)):
            place = len(payloads[node])
            payload = maker.make(*(f"{month}-{place + 1:02}" for month in MONTHS), networks=[f"NEW{number}"])
            payloads[node].append(payload)
            submissions += [Submission(node, place, encode(maker.shuffle_rows(payload))) for _ in range(copies)]
        rounds.append(submissions)
    return payloads, rounds


def send_at_once(
    service: Service, tokens: dict[str, str], rounds: list[list[Submission]]
) -> list[tuple[Submission, requests.Response]]:
    """Send round after round, each by all clients at once."""
    together = threading.Barrier(CLIENTS, timeout=300)

    def client(place: int) -> list[tuple[Submission, requests.Response]]:
        answers = []
        for submissions in rounds:
            together.wait()
            submission = submissions[place]
            answers.append((submission, service.post(submission.body, tokens[submission.node])))
        return answers

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(itertools.chain.from_iterable(clients.map(client, range(CLIENTS))))


def check_counted_once(answers: list[tuple[Submission, requests.Response]]) -> None:
    """Check that one copy of each payload was stored, and that the answers to the others name it."""
    answers_of = defaultdict(list)
    for submission, answer in answers:
        assert answer.status_code in (201, 409), answer.text
        answers_of[submission.node, submission.number].append(answer)
    for copies in answers_of.values():
        (stored,) = (answer.json() for answer in copies if answer.status_code == 201)
        problems = [answer.json() for answer in copies if answer.status_code == 409]
        duplicate = ("urn:eida-statistics:problem:duplicate", stored["payload"])
        assert [(problem["type"], problem["payload"]) for problem in problems] == [duplicate] * (len(copies) - 1)


def encode(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()
