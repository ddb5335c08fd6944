"""The limit on slow requests leaves threads and connections for quick ones."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import pool
from eida_stats_webservice.errors import Busy, DatabaseUnavailable
from eida_stats_webservice.server import gunicorn_config
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from support.payloads import row, wire
from support.service import PREFIX, register_nodes
from support.stores import ON_ONE_STORE, Store, open_store

WITHIN_SECONDS = 20


def test_limited_number_runs_at_once() -> None:
    lines = ConcurrencyLimit(at_once=3, waiting=100)
    present, most, lock = 0, 0, threading.Lock()
    all_present = threading.Barrier(3)

    def work(number: int) -> None:
        nonlocal present, most
        with lines.slot():
            with lock:
                present += 1
                most = max(most, present)
            if number < 3:
                all_present.wait(WITHIN_SECONDS)
            with lock:
                present -= 1

    with ThreadPoolExecutor(30) as threads:
        list(threads.map(work, range(30)))
    assert (present, most) == (0, 3)


def test_full_queue_or_timeout_raises_busy() -> None:
    lines = ConcurrencyLimit(at_once=1, waiting=1, wait_seconds=0.05)
    with lines.slot(), pytest.raises(Busy), lines.slot():
        pytest.fail("there was only one slot")
    lines = ConcurrencyLimit(at_once=1, waiting=0)
    with lines.slot(), pytest.raises(Busy), lines.slot():
        pytest.fail("there was only one place")
    # A failed request frees its place as well.
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), lines.slot():
            raise ZeroDivisionError
    with lines.slot():
        pass


@pytest.fixture
def token(store_uri: str) -> str:
    return register_nodes(store_uri, "GFZ")[0]


@ON_ONE_STORE
def test_threads_are_left_for_quick_requests(monkeypatch: pytest.MonkeyPatch, service_uri: str) -> None:
    made: list[int] = []
    real = ConcurrencyLimit.__init__

    def note(self: ConcurrencyLimit, *, at_once: int, waiting: int, wait_seconds: float = 60) -> None:
        made.append(at_once + waiting)
        real(self, at_once=at_once, waiting=waiting, wait_seconds=wait_seconds)

    monkeypatch.setattr(ConcurrencyLimit, "__init__", note)
    create_app(Config(service_uri))
    assert len(made) == 6
    assert sum(made) + 4 <= gunicorn_config.threads


@ON_ONE_STORE
@pytest.mark.parametrize(
    "path", ["submit", "payloads", "payloads/1", "dataselect/public?start=2026-10&format=json"]
)
def test_slow_request_without_a_place_is_refused(
    monkeypatch: pytest.MonkeyPatch, service_uri: str, token: str, path: str
) -> None:
    monkeypatch.setattr(ConcurrencyLimit, "__init__", _remove_places)
    client = create_app(Config(service_uri)).test_client()
    method = {"submit": "POST", "payloads/1": "DELETE"}.get(path, "GET")
    answer = client.open(
        f"{PREFIX}/{path}", method=method, json=wire(row()), headers={"Authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, answer.get_json()["type"].rpartition(":")[2]) == (503, "busy")
    assert answer.get_json()["detail"] == "Try again later."
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get(f"{PREFIX}/_health").status_code == 200
    assert client.get(f"{PREFIX}/nodes").status_code == 200


def _remove_places(self: ConcurrencyLimit, *, at_once: int, waiting: int, wait_seconds: float = 60) -> None:
    self._places = threading.Semaphore(0)
    self._slots = threading.Semaphore(0)
    self._wait_seconds = 0


@pytest.mark.parametrize("min_clients", [0, 5])
def test_no_request_needs_two_connections_at_once(
    monkeypatch: pytest.MonkeyPatch, service_uri: str, token: str, min_clients: int
) -> None:
    monkeypatch.setattr(pool, "CONNECTIONS", 1)
    monkeypatch.setattr(pool, "_TIMEOUT_SECONDS", 0.1)
    header = {"Authorization": f"Bearer {token}"}
    client = create_app(Config(service_uri, min_clients=min_clients, metrics_token="m")).test_client()
    assert client.post(f"{PREFIX}/submit", json=wire(row(bytes=1)), headers=header).status_code == 201
    assert client.put(f"{PREFIX}/submit", json=wire(row(bytes=2)), headers=header).status_code == 201
    for path in (
        *("_health", "nodes", "networks", "node_restriction_policy?node=GFZ", "payloads"),
        *("network_restriction_policy?node=GFZ&network=GE", "_isRestricted?node=GFZ&network=GE"),
        *("dataselect/public?start=2026-10", "dataselect/public?start=2026-10&level=network&details=country"),
        *("dataselect/public?start=2026-10&network=GE", "dataselect/public?start=2026-10&node=GFZ"),
    ):
        assert client.get(f"{PREFIX}/{path}", headers=header).status_code == 200, path
    assert client.delete(f"{PREFIX}/payloads/2", headers=header).status_code == 200
    shown = client.get(f"{PREFIX}/metrics", headers={"Authorization": "Bearer m"})
    assert "eida_statistics_database_up 1.0" in shown.text


def test_connections_are_pooled(store: Store, store_uri: str) -> None:
    (_token,) = register_nodes(store_uri, "GFZ")
    barrier = threading.Barrier(5)

    def look(_: int) -> None:
        with store.database.transaction():
            barrier.wait(WITHIN_SECONDS)

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(look, range(5)))
    idle = store.database._pool._idle
    assert len(idle) == 5
    last = idle[-1]
    for _ in range(3):
        with store.database.transaction() as connection:
            assert connection is last
    store.close()
    assert idle == []


def test_exhausted_pool_is_reported(monkeypatch: pytest.MonkeyPatch, store_uri: str) -> None:
    monkeypatch.setattr(pool, "CONNECTIONS", 2)
    monkeypatch.setattr(pool, "_TIMEOUT_SECONDS", 0.05)
    store = open_store(store_uri)
    with (
        store.database.transaction(),
        store.database.transaction(),
        pytest.raises(DatabaseUnavailable, match="in use"),
    ):
        store.ping()
    store.ping()
    store.close()
