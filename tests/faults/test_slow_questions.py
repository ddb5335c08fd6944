"""Slow queries and payloads, and readers that stop: health answers, and migrations are not blocked."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from support.payloads import row, wire
from support.processes import wait_for
from support.roles import grant_service
from support.service import PREFIX, Service, register_nodes

QUESTIONS = 40
PAYLOADS = 40
SECONDS = 10
# The longest acceptable wait.
HEALTH_SECONDS = 1
MIGRATED_WITHIN_SECONDS = 75


@contextmanager
def lock_sums(uri: str) -> Iterator[None]:
    """Lock the sums until the context is left, to make queries slow."""
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE dataselect_stats, dataselect_stats_by_network IN ACCESS EXCLUSIVE MODE")
        yield


def measure_slowest_health(service: Service, seconds: float) -> float:
    """Check health repeatedly, and return the duration of the slowest answer."""
    waited = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        begun = time.monotonic()
        assert service.get("_health").status_code == 200
        assert service.get("nodes").status_code == 200
        waited.append(time.monotonic() - begun)
        time.sleep(0.05)
    return max(waited)


@pytest.mark.alone
def test_slow_requests_do_not_delay_health(uri: str, tmp_path: Path, record_figure: Callable[[str], None]) -> None:
    tokens = register_nodes(uri, *(f"NODE{number}" for number in range(PAYLOADS)))
    body = json.dumps(wire(row())).encode()
    with Service(grant_service(uri), tmp_path) as service, ThreadPoolExecutor(QUESTIONS + PAYLOADS) as clients:
        with lock_sums(uri):
            queried = [clients.submit(service.get, "dataselect/public", start="2026-10") for _ in range(QUESTIONS)]
            sent = [clients.submit(service.post, body, token) for token in tokens]
            time.sleep(1)
            waited = measure_slowest_health(service, SECONDS)
            # Requests without a place are refused at once, and do not lengthen the queue.
            refused = [answer.result() for answer in queried if answer.done()]
            assert {answer.status_code for answer in refused} == {503}
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
            assert not any(answer.done() for answer in sent)
        assert {answer.result().status_code for answer in queried} == {200, 503}
        assert {answer.result().status_code for answer in sent} == {201}
        assert service.get("dataselect/public", start="2026-10").status_code == 200
    assert waited < HEALTH_SECONDS
    record_figure(
        f"beside {QUESTIONS} queries and {PAYLOADS} payloads that hang: health and nodes in"
        f" {waited * 1000:.0f} ms at most; {len(refused)} queries were refused"
    )


@pytest.mark.long
def test_stopped_readers_do_not_block_migrations(
    uri: str, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    fill(uri)
    with Service(grant_service(uri), tmp_path, workers=1) as service:
        readers = [open_reader(service) for _ in range(3)]
        with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:

            def count_waiting() -> int:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")
                (number,) = cursor.fetchone() or (0,)
                connection.commit()
                return int(number)

            wait_for(lambda: count_waiting() == len(readers))
            # Fail instead of waiting for ever.
            cursor.execute("SET statement_timeout = '90s'")
            connection.commit()
            begun = time.monotonic()
            cursor.execute("ALTER TABLE dataselect_stats_by_network_country ADD COLUMN something integer")
            connection.commit()
            waited = time.monotonic() - begun
        assert service.get("dataselect/public", start="2026-10").status_code == 200
        for one in readers:
            one.close()
    assert waited < MIGRATED_WITHIN_SECONDS
    record_figure(f"beside 3 readers that stopped reading: a migration took {waited:.0f} s")


def fill(uri: str) -> None:
    """Create rows for an answer of many megabytes."""
    register_nodes(uri, "GFZ")
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO dataselect_stats_by_network_country
                (node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)
            SELECT nodes.id, (date '2020-01-01' + (month || ' months')::interval)::date, 'N' || network,
                'C' || chr(65 + country), 1000, 10, 9, 1, hll_add(hll_empty(11, 5), hll_hash_integer(network))
            FROM nodes, generate_series(0, 24) month, generate_series(1, 250) network,
                generate_series(0, 19) country
            """
        )


def open_reader(service: Service) -> socket.socket:
    """Send a query, read a little of the answer, and stop."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = service.url.removeprefix("http://").partition("/")[0].partition(":")
    client.connect((host, int(port)))
    path = f"{PREFIX}/dataselect/public?start=2020-01&level=network&details=month,country&format=json"
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert client.recv(100).startswith(b"HTTP/1.1 200")
    return client
