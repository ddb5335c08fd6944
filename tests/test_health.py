"""Whether all is well: told in time, whatever hangs."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from eida_statistics.errors import EidaStatisticsError, StoreNotReady, StoreTooSlow
from eida_stats_webservice import health
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.health import Check
from eida_stats_webservice.store import migrations
from payloads import row, wire
from service import PREFIX, register

WITHIN_SECONDS = 20


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Wait only a little for what hangs; it goes on when the event is set."""
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.2)
    event = threading.Event()
    yield event
    event.set()


def test_what_hangs_is_told_to_all_who_ask_and_is_asked_once(soon: threading.Event) -> None:
    asked = threading.Semaphore(1)
    check = Check(lambda: _hang(asked, soon))

    def ask(_: int) -> None:
        with pytest.raises(StoreTooSlow):
            check()

    with ThreadPoolExecutor(10) as clients:
        list(clients.map(ask, range(10)))
    with pytest.raises(StoreTooSlow):
        check()
    soon.set()
    asked.release()
    assert check._under_way is not None
    assert check._under_way.over.wait(WITHIN_SECONDS)
    check()


def _hang(asked: threading.Semaphore, event: threading.Event) -> None:
    assert asked.acquire(blocking=False), "it was asked again while it hung"
    assert event.wait(WITHIN_SECONDS)


def test_what_is_wrong_is_told_and_asked_anew() -> None:
    found: list[Exception | None] = [StoreNotReady("no tables"), None, StoreNotReady("no tables")]

    def ask() -> None:
        if (error := found.pop(0)) is not None:
            raise error

    check = Check(ask)
    with pytest.raises(StoreNotReady):
        check()
    check()
    with pytest.raises(StoreNotReady):
        check()


def test_a_fault_is_not_taken_for_health(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: told.set())
    with pytest.raises(EidaStatisticsError):
        Check(lambda: int("nonsense"))()
    # It is for the log.
    assert told.wait(WITHIN_SECONDS)


def test_a_file_that_was_moved_away_is_told_and_one_in_its_place_is_used(tmp_path: Path) -> None:
    path = tmp_path / "statistics.db"
    uri = f"sqlite:///{path}"
    migrations.apply(uri)
    (token,) = register(uri, "GFZ")
    client = create_app(Config(uri)).test_client()
    headers = {"Authorization": f"Bearer {token}"}
    copy = tmp_path / "copy.db"
    assert client.get(f"{PREFIX}/_health").status_code == 200
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])
    path.rename(tmp_path / "away.db")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert client.get(f"{PREFIX}/_health").status_code == 503
    assert client.post(f"{PREFIX}/submit", json=wire(row()), headers=headers).status_code == 503
    copy.rename(path)
    assert client.get(f"{PREFIX}/_health").status_code == 200
    assert client.post(f"{PREFIX}/submit", json=wire(row()), headers=headers).status_code == 201
    assert (
        create_app(Config(uri))
        .test_client()
        .post(f"{PREFIX}/submit", json=wire(row()), headers=headers)
        .status_code
        == 409
    )
