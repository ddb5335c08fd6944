"""The service works behind PgBouncer, in session mode and in transaction mode."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import psycopg2
import pytest

from support.paths import ROOT
from support.payloads import row, sketch, wire
from support.postgresql import Cluster
from support.roles import SERVICE, grant_service
from support.service import Service, register_nodes
from support.stores import open_store

UNPACKED = ROOT / ".venv" / "pgbouncer"
PORT = 6432
WORKERS = 2
# Fewer than there are threads: in transaction mode they take turns.
CONNECTIONS = {"session": 13 * WORKERS, "transaction": 3}
PAYLOADS = 16
READY_WITHIN_SECONDS = 30


@contextmanager
def pgbouncer(cluster: Cluster, mode: str) -> Iterator[str]:
    """Run PgBouncer in front of the cluster, as Debian configures it, and yield the database's URI there."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    libraries = ":".join(map(str, UNPACKED.glob("usr/lib/*")))
    # The path of a socket is limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="eida-pgbouncer-", dir="/tmp") as name:
        directory = Path(name)
        (directory / "users").write_text(f'"{SERVICE}" ""\n')
        settings = directory / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\nstatistics = host={cluster.directory} port=5432\n"
            f"[pgbouncer]\npool_mode = {mode}\ndefault_pool_size = {CONNECTIONS[mode]}\n"
            f"listen_port = {PORT}\nunix_socket_dir = {directory}\n"
            f"auth_type = trust\nauth_file = {directory}/users\n"
        )
        # It refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            for path in (directory, *directory.iterdir()):
                shutil.chown(path, user, user)
        process = subprocess.Popen(
            [binary or UNPACKED / "usr" / "sbin" / "pgbouncer", settings],
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "" if binary else libraries},
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
        try:
            uri = f"postgresql://{SERVICE}@/statistics?host={directory}&port={PORT}"
            wait_until_ready(uri)
            yield uri
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(uri: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while True:
        try:
            psycopg2.connect(uri).close()
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_service_works_behind_pgbouncer(cluster: Cluster, uri: str, mode: str, tmp_path: Path) -> None:
    nodes = [f"NODE{number}" for number in range(4)]
    tokens = register_nodes(uri, *nodes)
    grant_service(uri)
    cluster.psql("statistics", "ALTER DATABASE statistics SET bytea_output = 'escape'")
    bodies = [
        msgspec.json.encode(wire(row(clients=sketch(range(number))), days_coverage=[f"2026-10-{number + 1:02}"]))
        for number in range(PAYLOADS)
    ]
    question = {"start": "2026-10", "hllvalues": "true", "level": "node"}
    with (
        pgbouncer(cluster, mode) as through,
        Service(through, tmp_path, workers=WORKERS, MIN_CLIENTS="5") as service,
        ThreadPoolExecutor(12) as senders,
        # Not more: if one process gets all of them, four run and eight wait.
        ThreadPoolExecutor(12) as readers,
    ):
        posted = [
            senders.submit(service.post, body, tokens[number % len(tokens)]) for number, body in enumerate(bodies)
        ]
        queried = [readers.submit(service.get, "dataselect/public", **question) for _ in range(2 * PAYLOADS)]
        checked = [senders.submit(service.get, "_health") for _ in range(PAYLOADS)]
        assert {answer.result().status_code for answer in posted} == {201}
        assert {answer.result().status_code for answer in (*queried, *checked)} <= {200, 404}
        behind = service.get("dataselect/public", **question).text
        assert "rror" not in service.log
    with Service(grant_service(uri), tmp_path, MIN_CLIENTS="5") as service:
        direct = service.get("dataselect/public", **question).text
    assert remove_time(behind) == remove_time(direct)
    assert direct.count("NODE") == len(nodes)
    with closing(open_store(uri)) as store:
        assert [found for *_, differences in store.verification.verify() for found in differences] == []


def remove_time(answer: str) -> list[str]:
    return [line for line in answer.splitlines() if "generated" not in line.lower()]
