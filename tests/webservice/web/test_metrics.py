"""Metrics for Prometheus: of all processes together, with a token, and without changing any answer."""

import datetime
import hmac
import os
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.web import metrics_directory
from support import issued
from support.disks import fill
from support.kinds import make_quiet_day
from support.payloads import row, wire
from support.postgresql import Cluster
from support.processes import list_children, wait_for
from support.roles import grant_service
from support.service import PREFIX, Service, register_nodes
from support.stores import ON_ONE_STORE

TOKEN = issued.note("token-of-prometheus")
PATH = f"{PREFIX}/metrics"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def service(service_uri: str, tmp_path: Path) -> Iterator[Service]:
    with Service(service_uri, tmp_path, workers=3, threads=1, METRICS_TOKEN=TOKEN) as running:
        yield running


def read_metrics(service: Service) -> dict[tuple[str, ...], float]:
    """Return all values by name and labels."""
    response = requests.get(f"{service.url}/metrics", headers=BEARER, timeout=60)
    assert (response.status_code, response.headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
    return {
        (sample.name.removeprefix("eida_statistics_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


@ON_ONE_STORE
def test_metrics_include_ended_processes(service: Service, store_uri: str) -> None:
    (token,) = register_nodes(store_uri, "GFZ")
    body = [wire(row(bytes=number), row(station="B", bytes=number)) for number in range(12)]
    for one in [*body, *body[:5], {}]:
        with requests.Session() as session:
            session.post(f"{service.url}/submit", json=one, headers={"Authorization": f"Bearer {token}"})
    for _ in range(10):
        service.get("dataselect/public", start="2026-10")
    found = read_metrics(service)
    assert found["submissions_total", "stored"] == 12
    assert found["submissions_total", "duplicate"] == 5
    assert found["submissions_total", "invalid-payload"] == 1
    assert found["rows_total",] == 24
    assert found["requests_total", "dataselect.public", "200"] == 10
    assert found["request_seconds_count", "dataselect.public"] == 10
    assert found["database_up",] == 1
    # An ended worker's counts remain.
    os.kill(service.workers()[0], signal.SIGTERM)
    assert read_metrics(service)["submissions_total", "stored"] == 12
    # Nothing is left behind.
    directory = find_directory(service)
    assert directory.is_dir()
    service.stop()
    assert not directory.exists()


def find_directory(service: Service) -> Path:
    environment = Path(f"/proc/{service.pid}/environ").read_text()
    return Path(re.findall(r"PROMETHEUS_MULTIPROC_DIR=([^\0]+)", environment)[0])


def test_newest_day_age_reveals_silent_node(service: Service, store_uri: str) -> None:
    tokens = register_nodes(store_uri, "GFZ", "ODC", "NEW")
    today = datetime.datetime.now(tz=datetime.UTC).date()
    for token, age in zip(tokens, (1, 9), strict=False):
        day = today - datetime.timedelta(days=age)
        sent = wire(row(month=f"{day:%Y-%m}-01"), days_coverage=[day.isoformat()])
        answer = requests.post(
            f"{service.url}/submit", json=sent, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        assert answer.status_code == 201
    # A quiet day counts as reported; a stray request of another day does not.
    quiet = today - datetime.timedelta(days=5)
    sent = wire(
        row(month=f"{today:%Y-%m}-01"),
        days_coverage=[today.isoformat()],
        period={"start": quiet.isoformat(), "end": quiet.isoformat()},
    )
    (token,) = register_nodes(store_uri, "QUIET")
    answer = requests.post(
        f"{service.url}/submit", json=sent, headers={"Authorization": f"Bearer {token}"}, timeout=60
    )
    assert answer.status_code == 201
    quiet_day = make_quiet_day(today - datetime.timedelta(days=3))
    answer = requests.post(
        f"{service.url}/ringserver",
        data=quiet_day.to_json(),
        headers={"Authorization": f"Bearer {tokens[0]}"},
        timeout=60,
    )
    assert answer.status_code == 201
    found = read_metrics(service)
    assert {key[1:]: age for key, age in found.items() if key[0] == "newest_day_age_days"} == {
        ("dataselect", "QUIET"): 5,
        ("dataselect", "GFZ"): 1,
        ("dataselect", "ODC"): 9,
        ("ringserver", "GFZ"): 3,
    }
    assert found["submissions_total", "stored"] == 4


def test_lost_database_is_reported(database_uri: str, postgresql: Cluster, tmp_path: Path) -> None:
    with Service(grant_service(database_uri), tmp_path, workers=1, threads=1, METRICS_TOKEN=TOKEN) as service:
        assert read_metrics(service)["database_up",] == 1
        postgresql.psql("postgres", f"ALTER DATABASE {parse_name(database_uri)} ALLOW_CONNECTIONS false")
        postgresql.psql(
            "postgres",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{parse_name(database_uri)}'",
        )
        assert read_metrics(service)["database_up",] == 0
        postgresql.psql("postgres", f"ALTER DATABASE {parse_name(database_uri)} ALLOW_CONNECTIONS true")
        assert read_metrics(service)["database_up",] == 1


def parse_name(uri: str) -> str:
    return uri.partition("postgres@/")[2].partition("?")[0]


def test_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *both: compared.append(both) or compare(*both))
    client = create_app(Config("sqlite:////nowhere/statistics.db", metrics_token=TOKEN)).test_client()
    assert client.get(PATH, headers={"Authorization": f"Bearer {TOKEN[:-1]}x"}).status_code == 403
    assert compared == [(f"{TOKEN[:-1]}x".encode(), TOKEN.encode())]


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("configured", "headers", "status"),
    [
        (TOKEN, {}, 401), (TOKEN, {"Authorization": "Bearer other"}, 403), (TOKEN, BEARER, 200), ("", {}, 404),
        ("", BEARER, 404), ("", {"Authorization": "Bearer "}, 404), (TOKEN, {"Authorization": "Bearer \xe9"}, 403),
    ],
)  # fmt: skip
def test_metrics_need_the_token(service_uri: str, configured: str, headers: dict[str, str], status: int) -> None:
    response = create_app(Config(service_uri, metrics_token=configured)).test_client().get(PATH, headers=headers)
    assert response.status_code == status
    assert TOKEN not in response.text


def test_files_of_killed_master_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = {
        name: tmp_path / f"{metrics_directory.METRICS_PREFIX}{name}"
        for name in (f"{os.getpid()}-a", "4194305-b", "c")
    }
    for directory in names.values():
        directory.mkdir()
        (directory / "counter.db").touch()
    metrics_directory.remove_abandoned_metrics()
    # No process has such a large number.
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        directory.name for name, directory in names.items() if name != "4194305-b"
    )


@ON_ONE_STORE
def test_metrics_survive_a_binary_upgrade(service_uri: str, tmp_path: Path) -> None:
    with Service(service_uri, tmp_path, workers=1, METRICS_TOKEN=TOKEN, TMPDIR=str(tmp_path)) as service:
        old = service.pid
        os.kill(old, signal.SIGUSR2)
        # The new master and its worker; the old ones are one process each.
        wait_for(lambda: any(list_children(child) for child in service.workers()))
        (new,) = (child for child in service.workers() if list_children(child))
        try:
            os.kill(old, signal.SIGTERM)
            os.waitid(os.P_PID, old, os.WEXITED | os.WNOWAIT)
            assert service.get("nodes").status_code == 200
            assert read_metrics(service)["requests_total", "policies.nodes", "200"] == 1
        finally:
            os.kill(new, signal.SIGTERM)
        wait_for(lambda: not is_answered(service))
    wait_for(lambda: not list(tmp_path.glob(f"{metrics_directory.METRICS_PREFIX}*")))


def is_answered(service: Service) -> bool:
    try:
        return service.get("nodes").ok
    except requests.RequestException:
        return False


# Faults of the directory change no answer


@pytest.fixture
def runtime_directory(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.fixture
def supervised_service(service_uri: str, tmp_path: Path, runtime_directory: Path) -> Iterator[Service]:
    """Run the service as systemd does, with a directory that nothing cleans."""
    settings = {"METRICS_TOKEN": TOKEN, "RUNTIME_DIRECTORY": str(runtime_directory)}
    with Service(service_uri, tmp_path, workers=2, **settings) as running:
        yield running


def post(service: Service, token: str, size: int) -> int:
    sent = wire(row(bytes=size))
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{service.url}/submit", json=sent, headers=headers, timeout=60).status_code


@ON_ONE_STORE
def test_counting_survives_a_removed_directory(
    supervised_service: Service, store_uri: str, runtime_directory: Path
) -> None:
    (token,) = register_nodes(store_uri, "GFZ")
    directory = find_directory(supervised_service)
    assert directory.parent == runtime_directory
    assert post(supervised_service, token, 0) == 201
    shutil.rmtree(directory)
    # The workers keep running.
    assert {post(supervised_service, token, size) for size in range(1, 6)} == {201}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert read_metrics(supervised_service)["submissions_total", "stored"] == 5
    shutil.rmtree(directory)
    # Reading the metrics notices it first.
    assert read_metrics(supervised_service)["database_up",] == 1
    shutil.rmtree(directory)
    old = supervised_service.workers()
    os.kill(old[0], signal.SIGKILL)
    wait_for(lambda: len(supervised_service.workers()) == 2 and set(supervised_service.workers()) != set(old))
    assert {post(supervised_service, token, size) for size in range(6, 18)} == {201}
    assert read_metrics(supervised_service)["submissions_total", "stored"] == 12
    # A cleaner may also remove only old files.
    for file in directory.iterdir():
        file.unlink()
    assert {post(supervised_service, token, size) for size in range(18, 22)} == {201}
    assert read_metrics(supervised_service)["submissions_total", "stored"] == 4
    assert 1 <= supervised_service.log.count("metrics files were removed") <= 4 * 2 + 1
    assert "Traceback" not in supervised_service.log


@ON_ONE_STORE
def test_service_works_without_metrics_files(
    supervised_service: Service, store_uri: str, runtime_directory: Path
) -> None:
    (token,) = register_nodes(store_uri, "GFZ")
    shutil.rmtree(runtime_directory)
    runtime_directory.touch()
    assert {post(supervised_service, token, size) for size in range(10)} == {201}
    assert read_metrics(supervised_service)["database_up",] == 1
    assert ("submissions_total", "stored") not in read_metrics(supervised_service)
    # One line from each process; the other one says that the metrics cannot be read.
    assert supervised_service.log.count("failed after a request") <= 2
    runtime_directory.unlink()
    assert post(supervised_service, token, 10) == 201
    assert read_metrics(supervised_service)["submissions_total", "stored"] == 1
    # In a public directory, somebody else may have created one in its place.
    foreign = runtime_directory / "theirs"
    foreign.mkdir()
    shutil.rmtree(find_directory(supervised_service))
    find_directory(supervised_service).symlink_to(foreign)
    assert {post(supervised_service, token, size) for size in range(11, 16)} == {201}
    assert list(foreign.iterdir()) == []


@ON_ONE_STORE
def test_full_disk_changes_no_answer(service_uri: str, store_uri: str, tmp_path: Path, small_disk: Path) -> None:
    (token,) = register_nodes(store_uri, "GFZ")
    fill(small_disk, leaving=0)
    settings = {"METRICS_TOKEN": TOKEN, "RUNTIME_DIRECTORY": str(small_disk)}
    logs = "--access-logfile /dev/full"
    with Service(service_uri, tmp_path, workers=2, GUNICORN_CMD_ARGS=logs, **settings) as service:
        workers = service.workers()
        assert {post(service, token, size) for size in range(10)} == {201}
        assert read_metrics(service)["database_up",] == 1
        assert service.workers() == workers
        assert service.log.count("the access log cannot be written") <= 2
        assert "Logging error" not in service.log
        (small_disk / "filler").unlink()
        assert post(service, token, 10) == 201
        assert read_metrics(service)["submissions_total", "stored"] == 1
