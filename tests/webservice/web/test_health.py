"""`_health`: answered in time, and 503 if the service lacks anything that it needs."""

import itertools
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.errors import DatabaseNotReady, DatabaseTooSlow
from eida_stats_webservice.web import health
from eida_stats_webservice.web.health import Check
from support.disks import fill
from support.payloads import row, sketch, wire
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import PREFIX, register_nodes

WITHIN_SECONDS = 20


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Shorten the wait for a check that hangs until the event is set."""
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.2)
    event = threading.Event()
    yield event
    event.set()


def test_hanging_check_runs_once_for_all_clients(release: threading.Event) -> None:
    free = threading.Semaphore(1)
    check = Check(lambda: _hang(free, release))

    def ask(_: int) -> None:
        with pytest.raises(DatabaseTooSlow):
            check()

    with ThreadPoolExecutor(10) as clients:
        list(clients.map(ask, range(10)))
    with pytest.raises(DatabaseTooSlow):
        check()
    release.set()
    free.release()
    assert check._under_way is not None
    assert check._under_way.over.wait(WITHIN_SECONDS)
    check()


def _hang(free: threading.Semaphore, event: threading.Event) -> None:
    assert free.acquire(blocking=False), "it was asked again while it hung"
    assert event.wait(WITHIN_SECONDS)


def test_failed_check_runs_again() -> None:
    found: list[Exception | None] = [DatabaseNotReady("no tables"), None, DatabaseNotReady("no tables")]

    def ask() -> None:
        if (error := found.pop(0)) is not None:
            raise error

    check = Check(ask)
    with pytest.raises(DatabaseNotReady):
        check()
    check()
    with pytest.raises(DatabaseNotReady):
        check()


def test_unexpected_error_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: reported.set())
    with pytest.raises(EidaStatisticsError):
        Check(lambda: int("nonsense"))()
    # The error goes to the log.
    assert reported.wait(WITHIN_SECONDS)


def test_moved_database_file_is_noticed(sqlite_uri: str, tmp_path: Path) -> None:
    path = tmp_path / "statistics.db"
    (token,) = register_nodes(sqlite_uri, "GFZ")
    client = create_app(Config(sqlite_uri)).test_client()
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
        create_app(Config(sqlite_uri))
        .test_client()
        .post(f"{PREFIX}/submit", json=wire(row()), headers=headers)
        .status_code
        == 409
    )


# A full disk


_numbers = itertools.count(1)


@pytest.fixture(params=["postgresql", "sqlite"])
def uri_on_small_disk(request: pytest.FixtureRequest, small_disk: Path) -> Iterator[str]:
    """Create a database on a small disk, and yield its URI."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), small_disk)}"
        return
    postgresql: Cluster = request.getfixturevalue("postgresql")
    template = request.getfixturevalue("template")
    name = f"small_{next(_numbers)}"
    space = small_disk / "space"
    space.mkdir()
    if os.geteuid() == 0:
        shutil.chown(space, "postgres", "postgres")
    postgresql.psql("postgres", f"CREATE TABLESPACE {name} LOCATION '{space}'")
    uri = postgresql.create_database(name, template)
    postgresql.psql("postgres", f"ALTER DATABASE {name} SET TABLESPACE {name}")
    yield uri
    postgresql.drop_database(name)
    postgresql.psql("postgres", f"DROP TABLESPACE {name}")


def send_large(client: FlaskClient, token: str) -> int:
    rows = [row(station=f"S{number}", clients=sketch(range(20))) for number in range(3000)]
    headers = {"Authorization": f"Bearer {token}"}
    return client.post(f"{PREFIX}/submit", json=wire(*rows), headers=headers).status_code


def test_full_disk_is_unhealthy(uri_on_small_disk: str, small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    (token,) = register_nodes(uri_on_small_disk, "GFZ")
    client = create_app(Config(grant_service(uri_on_small_disk))).test_client()
    filler = fill(small_disk, leaving=200_000)
    unhealthy = client.get(f"{PREFIX}/_health")
    assert (unhealthy.status_code, unhealthy.headers["Retry-After"]) == (503, "30")
    assert unhealthy.get_json()["title"] == "The disk of the database is full"
    assert send_large(client, token) == 503
    assert [record.getMessage().count("The disk of the database is full") for record in caplog.records] == [1, 1]
    assert not any(record.exc_info for record in caplog.records)
    filler.unlink()
    assert client.get(f"{PREFIX}/_health").status_code == 200
    assert send_large(client, token) == 201


def test_file_on_full_disk_can_be_opened(sqlite_template: Path, small_disk: Path) -> None:
    path = shutil.copy(sqlite_template, small_disk)
    fill(small_disk, leaving=0)
    client = create_app(Config(f"sqlite:///{path}")).test_client()
    for question in ("_health", "nodes"):
        assert client.get(f"{PREFIX}/{question}").get_json()["title"] == "The disk of the database is full"


def test_read_only_disk_is_unhealthy(sqlite_template: Path, small_disk: Path) -> None:
    path = shutil.copy(sqlite_template, small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    client = create_app(Config(f"sqlite:///{path}")).test_client()
    unhealthy = client.get(f"{PREFIX}/_health")
    assert (unhealthy.status_code, unhealthy.get_json()["title"]) == (503, "The database is read-only")
