"""Payloads that the service deployed before lost for good are not lost here."""

import datetime
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import requests

from support.payloads import row, wire
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import (
    STATISTICS,
    PayloadMaker,
    Service,
    compute_statistics,
    differences,
    fetch_rows,
    read_contents,
    register_nodes,
)

ROUNDS = 25
ROWS = 1_000
WITHIN_SECONDS = 60
FIRST_DAY = datetime.date(2021, 3, 1)


@pytest.mark.parametrize("path", ["submit", "dataselectstats"])
def test_payload_with_wrong_method_is_not_lost(uri: str, tmp_path: Path, path: str) -> None:
    (token,) = register_nodes(uri, "GFZ")
    body = json.dumps(wire(row())).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    wrong = ["DELETE", "PATCH", "HEAD", "GET", "OPTIONS", *(["PUT"] if path == "dataselectstats" else [])]
    with Service(grant_service(uri), tmp_path, workers=1) as service, requests.Session() as session:
        session.trust_env = False
        for method in wrong:
            answer = session.request(
                method, f"{service.url}/{path}", data=body, headers=headers, timeout=WITHIN_SECONDS
            )
            assert answer.status_code == (200 if method == "OPTIONS" else 405), method
            assert "POST" in answer.headers["Allow"]
        # None of them left a mark that makes this a duplicate.
        again = session.post(f"{service.url}/{path}", data=body, headers=headers, timeout=WITHIN_SECONDS)
        assert again.status_code == 201, again.text
    assert len(read_contents(uri)["payloads"]) == 1


@pytest.mark.parametrize("nodes", ["A", "AB"], ids=["of one node", "of two nodes"])
def test_opposite_row_orders_do_not_deadlock(cluster: Cluster, uri: str, tmp_path: Path, nodes: str) -> None:
    tokens = dict(zip(nodes, register_nodes(uri, *nodes), strict=True))
    senders = [nodes[0], nodes[-1]]
    maker = PayloadMaker(6, ROWS)
    days = [str(FIRST_DAY + datetime.timedelta(days=number)) for number in range(ROUNDS)]
    sent = [[maker.make(day) for day in days] for _ in senders]
    together = threading.Barrier(len(senders), timeout=WITHIN_SECONDS)

    def send_all(place: int) -> set[int]:
        statuses = set()
        for payload in sent[place]:
            rows = payload["stats"] if place == 0 else payload["stats"][::-1]
            body = json.dumps({**payload, "stats": rows}).encode()
            together.wait()
            statuses.add(service.post(body, tokens[senders[place]]).status_code)
        return statuses

    with (
        Service(grant_service(uri), tmp_path, workers=2, threads=2) as service,
        ThreadPoolExecutor(len(senders)) as clients,
    ):
        assert list(clients.map(send_all, range(len(senders)))) == [{201}, {201}]
    assert "deadlock" not in cluster.log
    stored = {
        node: [
            payload
            for sender, payloads in zip(senders, sent, strict=True)
            if sender == node
            for payload in payloads
        ]
        for node in nodes
    }
    assert differences({STATISTICS: compute_statistics(stored)}, read_contents(uri)) == []


def test_payload_can_be_resent_after_a_deadlock(cluster: Cluster, uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    body = json.dumps(wire(row(bytes=7))).encode()
    with (
        Service(grant_service(uri), tmp_path, workers=1) as service,
        ThreadPoolExecutor(1) as node,
        closing(psycopg2.connect(uri)) as administrator,
    ):
        assert service.post(json.dumps(wire(row())).encode(), token).status_code == 201
        with administrator, administrator.cursor() as cursor:
            # The service gives up first, and it merges into the roll-ups last.
            cursor.execute("SET deadlock_timeout = '1min'")
            cursor.execute(f"SELECT 1 FROM {STATISTICS}_by_network FOR UPDATE")
            sending = node.submit(service.post, body, token)
            wait_until_it_waits(uri)
            cursor.execute(f"SELECT 1 FROM {STATISTICS} FOR UPDATE")
        answer = sending.result()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30"), answer.text
        assert "deadlock detected" in cluster.log
        assert service.post(body, token).status_code == 201
        assert service.post(body, token).status_code == 409
    found = read_contents(uri)
    assert len(found["payloads"]) == 2
    assert [values[0] for values in found[STATISTICS].values()] == [512 + 7]


def wait_until_it_waits(uri: str) -> None:
    """Wait until a connection of the service waits for a lock."""
    deadline = time.monotonic() + WITHIN_SECONDS
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'eida-statistics'"
        )
        while not fetch_rows(connection, waiting):
            assert time.monotonic() < deadline, "it does not wait"
            time.sleep(0.01)
