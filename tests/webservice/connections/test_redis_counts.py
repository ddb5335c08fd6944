"""The copy of the current counts in Redis: it may be wrong or away, and no answer is older than 2 seconds."""

import datetime
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis
from flask.testing import FlaskClient

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice import config
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.connections.live_counts import LiveCounts, open_live_counts
from eida_stats_webservice.connections.models import Shown, Space
from eida_stats_webservice.connections.redis_counts import HISTORY, HISTORY_LENGTH
from eida_stats_webservice.connections.tables import ConnectionTables
from support import issued
from support.doors import install_door, make_crossings
from support.node_client import make_node
from support.redis_server import RedisServer
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store
from support.tables import select

KEY = "eida-statistics:count:a"
A = Space(1, "A", None, 1, None, restricted=False)
PASSWORD = issued.note("Pa55word0fRedis")
METRICS_TOKEN = issued.note("a-token-for-the-metrics-of-redis")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture
def keys(server: RedisServer) -> Iterator[redis.Redis]:
    """Return a client of an empty Redis."""
    with server.connect() as connected:
        connected.flushall()
        yield connected


@pytest.fixture
def service_settings(server: RedisServer, keys: redis.Redis) -> dict[str, Any]:
    return {"redis_url": server.url, "metrics_token": METRICS_TOKEN}


@pytest.fixture
def live(server: RedisServer, keys: redis.Redis, store: Store) -> LiveCounts:
    return open_live_counts(server.url, store.database, ConnectionTables(store.database))


@pytest.fixture
def door(store: Store) -> str:
    """Install an open door of node `N` above space `A`, and return a token of the node."""
    node, token = make_node(store, "N")
    install_door(store, node, "423", [("A", 1)])
    return token


def send(client: FlaskClient, count: int = 1) -> None:
    events = [{**event, "direction": 1} for event in make_crossings(["423"], count)]
    assert client.post("/send", json=events).status_code == 200


def count(client: FlaskClient, space: str = "A", **headers: str) -> Any:
    answers = [client.get(path, headers=headers) for path in (f"/count?space={space}", f"/?space={space}")]
    first, second = (answer.json["count"] for answer in answers)  # type: ignore[index] # checked above
    assert first == second
    return first


def make_shown(version: int, number: int, *, age: float = 0) -> Shown:
    created = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(seconds=age)
    return Shown(version, "A", created, created, number)


def test_count_is_copied_after_commit(client: FlaskClient, keys: redis.Redis, store: Store, door: str) -> None:
    send(client)
    assert count(client) == 1
    ((version,),) = select(store, "SELECT id FROM space_count")
    if (found := keys.get(KEY)) is not None:
        assert found == f"{version} 1"
    assert keys.pttl(KEY) <= 2000


def test_copy_answers_as_long_as_it_is_there(client: FlaskClient, keys: redis.Redis, door: str) -> None:
    send(client)
    keys.set(KEY, "99 17")
    assert count(client) == count(client, "a") == 17
    keys.set(KEY, "99 -3")
    assert count(client) == 0
    # A time is a question to the database.
    assert client.get("/count?space=A&timestamp=2030-01-01").json == {"status": "ok", "count": 1}
    keys.flushall()
    assert count(client) == 1


@ON_ONE_STORE
def test_older_count_replaces_no_newer_one(live: LiveCounts, keys: redis.Redis) -> None:
    live.publish([make_shown(9, 90)])
    live.publish([make_shown(8, 80), make_shown(10, 100)])
    live.publish([make_shown(9, 91)])
    assert keys.get(KEY) == "10 100"


@ON_ONE_STORE
def test_count_that_comes_late_is_not_shown(live: LiveCounts, keys: redis.Redis) -> None:
    # The service was held up between its commit and Redis, or Redis has hung.
    live.publish([make_shown(7, 70, age=3)])
    assert live.find(A) is None
    keys.set(KEY, "6 60")
    live.publish([make_shown(7, 70, age=3)])
    assert live.find(A) is None
    live.publish([make_shown(8, 80, age=-3600)])
    assert live.find(A) == 80
    assert 0 < keys.pttl(KEY) <= 2000


def read_history(keys: redis.Redis) -> list[Shown]:
    return [msgspec.json.decode(entry, type=Shown) for entry in keys.zrange(HISTORY, 0, -1)]


def read_recent(store: Store) -> list[tuple[Any, ...]]:
    found = select(store, "SELECT id, count FROM space_count ORDER BY id DESC")
    return sorted(found[:HISTORY_LENGTH])


def test_history_has_the_last_counts(client: FlaskClient, keys: redis.Redis, store: Store, door: str) -> None:
    send(client)
    # As if other processes had stored these before.
    (space, *_), *_ = select(store, "SELECT space_id FROM space_count")
    created = "'2026-11-22T00:00:00.000000+00:00'"
    rows = ", ".join(f"({space}, {created}, {created}, {number})" for number in range(HISTORY_LENGTH))
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(f"INSERT INTO space_count (space_id, created, recorded, count) VALUES {rows}")
    keys.flushall()
    send(client, 2)
    for sent in (3, 4):
        assert [(one.version, one.count) for one in read_history(keys)] == read_recent(store)
        send(client, sent)
    assert {one.space for one in read_history(keys)} == {"A"}


@ON_ONE_STORE
def test_hanging_redis_is_left_alone(
    client: FlaskClient,
    server: RedisServer,
    keys: redis.Redis,
    door: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    send(client)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        send(client, 2)
        assert count(client) == 2
    finally:
        os.kill(server.pid, signal.SIGCONT)
    # It is not asked again for some seconds.
    keys.set(KEY, "99 17")
    assert count(client) == 2
    messages = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert messages == ["Redis does not answer (TimeoutError); the database does"]


@ON_ONE_STORE
def test_absent_redis_changes_no_answer(service_uri: str, door: str) -> None:
    client = create_app(Config(service_uri, redis_url="unix:///nowhere/socket")).test_client()
    send(client, 3)
    assert count(client) == 3


@ON_ONE_STORE
def test_restarted_redis_is_used_again(live: LiveCounts, server: RedisServer, keys: redis.Redis) -> None:
    live.publish([make_shown(1, 10)])
    server.kill()
    assert live.is_up() is False
    server.start()
    assert live.is_up()
    # No request failed meanwhile, so nobody has to wait.
    live.publish([make_shown(2, 20)])
    assert live.find(A) == 20


@ON_ONE_STORE
def test_copy_decides_nothing_about_access(
    service_uri: str, server: RedisServer, keys: redis.Redis, store: Store, door: str
) -> None:
    client = create_app(Config(service_uri, redis_url=server.url, min_clients=5)).test_client()
    # As a ringserver with two clients, in a restricted space below a public one.
    with store.database.transaction(write=True) as connection:
        execute = connection.cursor().execute
        execute("UPDATE sensors SET kind = 'ringserver', name = 'N/main'")
        execute("UPDATE spaces SET parent_id = (SELECT id FROM spaces WHERE name = 'federation') WHERE name = 'A'")
        execute(
            "INSERT INTO spaces (name, parent_id, node_id, restricted)"
            " SELECT 'N/main', id, node_id, true FROM spaces WHERE name = 'A'"
        )
        for space in ("A", "N/main"):
            execute(
                "INSERT INTO space_days (space_id, day, entries, exits)"
                f" SELECT id, '2026-11-22', 2, 0 FROM spaces WHERE name = '{space}'"
            )
            execute(
                "INSERT INTO space_hours (space_id, hour, entries, exits, stale)"
                f" SELECT id, '2026-11-22T00:00:00.000000+00:00', 2, 0, true FROM spaces WHERE name = '{space}'"
            )
    for space in ("a", "federation", "n/main"):
        keys.set(f"eida-statistics:count:{space}", "99 17")
    token = {"Authorization": f"Bearer {door}"}
    assert count(client) is None
    assert count(client, "N/main") is None
    assert count(client, "N/main", **token) == 17
    assert count(client, **token) == 17
    # The federation is above the nodes: its count is a sum.
    assert count(client, "federation", **token) is None
    everything = create_app(Config(service_uri, redis_url=server.url)).test_client()
    assert count(everything, "federation") == 2
    assert count(everything) == 17


@ON_ONE_STORE
def test_metrics_show_whether_redis_answers(client: FlaskClient, server: RedisServer, service_uri: str) -> None:
    def read(of: FlaskClient) -> list[str]:
        headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
        answer = of.get(f"{PREFIX}/metrics", headers=headers)
        assert answer.status_code == 200
        return [line for line in answer.text.splitlines() if line.startswith("eida_statistics_redis_up")]

    assert read(client) == ["eida_statistics_redis_up 1.0"]
    server.kill()
    assert read(client) == ["eida_statistics_redis_up 0.0"]
    assert client.get(f"{PREFIX}/_health").status_code == 200
    server.start()
    without = create_app(Config(service_uri, metrics_token=METRICS_TOKEN)).test_client()
    assert read(without) == []


@pytest.mark.parametrize(
    "url", [f"localhost:6379/{PASSWORD}", f"http://:{PASSWORD}@localhost", f"redis://:{PASSWORD}@local host"]
)
def test_bad_url_is_refused_unquoted(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL must be empty, or a URL like redis") as caught:
        config.read({"REDIS_URL": url})
    assert PASSWORD not in str(caught.value)


@ON_ONE_STORE
@pytest.mark.parametrize("url", [f"redis://localhost:{PASSWORD}/0", f"redis://localhost?protocol={PASSWORD}"])
def test_unusable_url_is_refused_unquoted(url: str, store: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"REDIS_URL cannot be used\nSet it like") as caught:
        open_live_counts(url, store.database, ConnectionTables(store.database))
    assert PASSWORD not in str(caught.value)


@ON_ONE_STORE
def test_failed_login_is_logged_without_password(
    server: RedisServer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url.replace("unix://", f"unix://user:{PASSWORD}@")
    live = open_live_counts(url, store.database, ConnectionTables(store.database))
    assert live.find(A) is None
    assert not live.is_up()
    # `conftest` searches the log.
    assert "Redis does not answer (AuthenticationError); the database does" in caplog.messages


@ON_ONE_STORE
def test_missing_package_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "eida_stats_webservice.connections.redis_counts")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match="REDIS_URL needs the package redis"):
        open_live_counts("redis://localhost", store.database, ConnectionTables(store.database))
