"""The database is away, full or closed: the service reports it, loses nothing, and recovers."""

import datetime
import gzip
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import requests

from eida_stats_aggregator.command import RETRIES
from eida_stats_aggregator.delivery.client import ServiceClient
from eida_stats_aggregator.delivery.state import Terms
from eida_stats_webservice.database import migrations
from support.payloads import row, sketch, wire
from support.postgresql import Cluster
from support.roles import SERVICE, grant_service
from support.service import Service, fetch_rows, lock_nodes, register_nodes

WITHIN_SECONDS = 60
# A little more than the service itself waits.
HEALTH_SECONDS = 7
GONE_SECONDS = 60
ANSWERED_WITHIN_SECONDS = 2


def post(service: Service, token: str, size: int) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(
            f"{service.url}/submit",
            json=wire(row(bytes=size)),
            headers={"Authorization": f"Bearer {token}"},
            timeout=WITHIN_SECONDS,
        )


def assert_unavailable(service: Service, token: str) -> None:
    """Check that sending is refused for now, that no internals leak, and that health reports it."""
    for answer in (
        post(service, token, 7),
        service.get("dataselect/public", start="2026-10"),
        service.get("_health"),
    ):
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert "postgres" not in answer.text.lower().replace("urn:eida-statistics", "")


def assert_works(service: Service, token: str, size: int) -> None:
    assert service.get("_health").status_code == 200
    assert post(service, token, size).status_code == 201
    assert service.get("dataselect/public", start="2026-10").status_code == 200


def total(uri: str) -> int:
    with lock_nodes(uri) as connection:
        return int(fetch_rows(connection, "SELECT coalesce(sum(bytes), 0) FROM dataselect_stats")[0][0])


def test_service_recovers_with_its_database(cluster: Cluster, uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    service_uri = grant_service(uri)
    cluster.stop()
    with Service(service_uri, tmp_path, healthy=False) as service:
        master = service.pid
        assert_unavailable(service, token)
        cluster.start()
        assert_works(service, token, 1)
        cluster.kill()
        assert_unavailable(service, token)
        cluster.start()
        assert_works(service, token, 2)
        assert service.pid == master
    assert total(uri) == 3


def test_unnoticed_restart_of_database_loses_nothing(cluster: Cluster, uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    with Service(grant_service(uri), tmp_path, workers=1) as service:
        assert_works(service, token, 1)
        # No request came meanwhile, so all pooled connections are dead.
        cluster.kill()
        cluster.start()
        assert post(service, token, 2).status_code == 201
        cluster.kill()
        cluster.start()
        assert_works(service, token, 4)
    assert total(uri) == 1 + 2 + 4


@pytest.mark.alone
def test_hanging_database_is_reported_to_all(
    cluster: Cluster, uri: str, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    (token,) = register_nodes(uri, "GFZ")
    with Service(grant_service(uri), tmp_path, workers=1) as service, ThreadPoolExecutor(10) as clients:
        assert_works(service, token, 1)
        with cluster.suspend():
            sent_checks = [clients.submit(time_health, service) for _ in range(10)]
            first = [answer.result() for answer in sent_checks]
            later = time_health(service)
        assert {status for status, _ in [*first, later]} == {503}
        slowest = max(seconds for _, seconds in first)
        assert slowest < HEALTH_SECONDS
        # The result is known by then.
        assert later[1] < 1
        wait_until_healthy(service)
        assert_works(service, token, 2)
    assert total(uri) == 3
    record_figure(
        f"PostgreSQL hangs: 10 health checks reported it in {slowest:.1f} s at most, the next in {later[1]:.1f} s"
    )


def test_locked_table_is_reported_and_logged(
    cluster: Cluster, uri: str, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    tokens = register_nodes(uri, *(f"NODE{number}" for number in range(20)))
    with Service(grant_service(uri), tmp_path, workers=1) as service, ThreadPoolExecutor(20) as nodes:
        with closing(psycopg2.connect(uri)) as administrator, administrator.cursor() as cursor:
            cursor.execute("LOCK TABLE nodes IN ACCESS EXCLUSIVE MODE")
            sent = [nodes.submit(post, service, token, 1) for token in tokens]
            time.sleep(1)
            checks = [time_health(service) for _ in range(2)]
            answers = [answer.result() for answer in sent]
        assert {status for status, _ in checks} == {503}
        slowest = max(seconds for _, seconds in checks)
        assert slowest < HEALTH_SECONDS
        assert {answer.status_code for answer in answers} == {503}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert "lock timeout" in service.log
        assert "Traceback" not in service.log
        wait_until_healthy(service)
        assert {post(service, token, 1).status_code for token in tokens} == {201}
    assert total(uri) == 20
    record_figure(f"a locked table beside 20 nodes that send: health checks reported it in {slowest:.1f} s at most")


def test_missing_database_does_not_fill_the_log(
    cluster: Cluster, uri: str, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    with Service(grant_service(uri), tmp_path, workers=1) as service:
        cluster.stop()
        before = len(service.log)
        for _ in range(100):
            assert service.get("nodes").status_code == 503
        written = (len(service.log) - before) / 100
    assert written < 1000
    record_figure(f"PostgreSQL away: {written:.0f} bytes of log for each request")


def time_health(service: Service) -> tuple[int, float]:
    """Return the status of a health check, and its duration."""
    begun = time.monotonic()
    return service.get("_health").status_code, time.monotonic() - begun


def wait_until_healthy(service: Service) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while service.get("_health").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.long
def test_aggregator_delivers_after_a_minute_of_outage(
    cluster: Cluster, uri: str, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    (token,) = register_nodes(uri, "GFZ")
    aggregate = tmp_path / "2026-10-14_2026-10-14.json.gz"
    aggregate.write_bytes(gzip.compress(_encode(wire(row(bytes=2)))))
    waited = []
    with Service(grant_service(uri), tmp_path) as service, ThreadPoolExecutor(1) as aggregator:
        assert_works(service, token, 1)
        processes = [service.pid, *service.workers()]
        cluster.kill()
        gone = time.monotonic()
        assert_unavailable(service, token)
        # It tries again every 30 seconds, as Retry-After says: soon after the minute, not just before its end.
        time.sleep(3)
        client = ServiceClient(service.url, token, retries=RETRIES)
        sending = aggregator.submit(client.submit, aggregate.name, aggregate.read_bytes(), Terms(), empty=False)
        while time.monotonic() < gone + GONE_SECONDS:
            sent_checks = time.monotonic()
            assert service.get("_health").status_code == 503
            waited.append(time.monotonic() - sent_checks)
            time.sleep(0.5)
        assert not sending.done()
        cluster.start()
        back = time.monotonic()
        assert_works(service, token, 3)
        healthy = time.monotonic() - back
        # It also reports the payloads of the same day that were sent meanwhile.
        assert "counts beside payload 1 for 2026-10-14" in sending.result(WITHIN_SECONDS).answer
        delivered = time.monotonic() - back
        assert [service.pid, *service.workers()] == processes
    assert total(uri) == 1 + 2 + 3
    assert max(waited) < ANSWERED_WITHIN_SECONDS
    checks = f"{len(waited)} health checks reported it in {max(waited) * 1000:.0f} ms at most"
    again = f"back, all worked after {healthy * 1000:.0f} ms and the payload was there after {delivered:.0f} s"
    record_figure(f"PostgreSQL gone for {back - gone:.0f} s: {checks}; {again}")


def test_read_only_database_is_reported(cluster: Cluster, uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    with Service(grant_service(uri), tmp_path) as service:
        assert_works(service, token, 1)
        set_read_only(cluster, "on")
        assert post(service, token, 2).status_code == 503
        assert service.get("_health").status_code == 503
        assert service.get("dataselect/public", start="2026-10").status_code == 200
        set_read_only(cluster, "off")
        assert_works(service, token, 2)
    assert total(uri) == 3


def set_read_only(cluster: Cluster, value: str) -> None:
    cluster.psql("postgres", f"ALTER DATABASE statistics SET default_transaction_read_only = {value}")
    cluster.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'statistics'")


def test_exhausted_connections_are_reported(cluster: Cluster, uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    service_uri = grant_service(uri)
    cluster.psql("postgres", f"ALTER ROLE {SERVICE} CONNECTION LIMIT 0")
    with Service(service_uri, tmp_path, healthy=False) as service:
        assert_unavailable(service, token)
        cluster.psql("postgres", f"ALTER ROLE {SERVICE} CONNECTION LIMIT 5")
        assert_works(service, token, 1)
    assert total(uri) == 1


def test_full_disk_is_reported_and_payload_can_be_resent(
    cluster: Cluster, small_disk: Path, tmp_path: Path
) -> None:
    space = small_disk / "space"
    space.mkdir()
    if os.geteuid() == 0:
        shutil.chown(space, "postgres", "postgres")
    cluster.psql("postgres", f"CREATE TABLESPACE small LOCATION '{space}'")
    uri = cluster.create_database("statistics")
    cluster.psql("postgres", "ALTER DATABASE statistics SET TABLESPACE small")
    migrations.apply(uri)
    (token,) = register_nodes(uri, "GFZ")
    filler = small_disk / "filler"
    with Service(grant_service(uri), tmp_path, workers=1) as service:
        assert_works(service, token, 1)
        free = os.statvfs(small_disk)
        filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 200_000))
        answer = send_large(service, token)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert total(uri) == 1
        filler.unlink()
        assert send_large(service, token).status_code == 201
        assert_works(service, token, 2)
    assert total(uri) == 1 + 2 + 5000 * 10


def send_large(service: Service, token: str) -> requests.Response:
    rows = [row(station=f"S{number}", bytes=10, clients=sketch(range(20))) for number in range(5000)]
    return service.post(_encode(wire(*rows)), token)


def _encode(payload: dict[str, object]) -> bytes:
    return requests.Request("POST", "http://x", json=payload).prepare().body or b""


def test_no_connection_is_left_in_a_transaction(uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    with Service(grant_service(uri), tmp_path) as service:
        for size in range(20):
            post(service, token, size % 7)
            service.get("dataselect/public", start="2026-10", level="network")
            service.get("dataselect/public", start="2026-10", network="none")
            service.get("networks")
        with psycopg2.connect(uri) as connection:
            idle = fetch_rows(
                connection,
                "SELECT state, query FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'",
            )
        connection.close()
    assert idle == []


@pytest.mark.alone
def test_fifty_nodes_send_at_once(uri: str, tmp_path: Path, record_figure: Callable[[str], None]) -> None:
    tokens = register_nodes(uri, *(f"NODE{number}" for number in range(50)))
    rows = [row(station=f"S{number % 1000}", channel=f"C{number // 1000}") for number in range(10_000)]
    body = _encode(wire(*rows))

    def post_timed(token: str) -> tuple[int, float]:
        begun = datetime.datetime.now(tz=datetime.UTC)
        answer = service.post(body, token)
        return answer.status_code, (datetime.datetime.now(tz=datetime.UTC) - begun).total_seconds()

    with Service(grant_service(uri), tmp_path, workers=2) as service, ThreadPoolExecutor(50) as nodes:
        answers = list(nodes.map(post_timed, tokens))
    assert {status for status, _ in answers} == {201}
    assert total(uri) == 50 * 10_000 * 512
    seconds = sorted(taken for _, taken in answers)
    record_figure(f"50 nodes, 10,000 rows each, at once: median {seconds[25]:.1f} s, p99 {seconds[-1]:.1f} s")
