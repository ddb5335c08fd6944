"""RQ runs the reconciliation: a real worker, its scheduler and Redis, which is killed once."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rq import Queue

from eida_statistics.connections import Count
from eida_stats_webservice.connections.rq_cron import QUEUE
from support.dates import DAY
from support.doors import START, install_door
from support.node_client import make_node
from support.processes import wait_for
from support.redis_server import RedisServer
from support.stores import ON_POSTGRESQL, Store
from support.tables import select

SCHEDULE = "eida_stats_webservice.connections.rq_cron"
EVERY_SECOND = f"""
from rq import cron
from {SCHEDULE} import QUEUE, reconcile
cron._job_data_registry.clear()
cron.register(reconcile, QUEUE, interval=1)
"""
"""The same job as the schedule has, since a test does not wait for minutes."""


@contextlib.contextmanager
def run_rq(*words: str, folder: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of RQ. Its log is in the folder."""
    with (folder / f"{words[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("rq"), *words],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@ON_POSTGRESQL
def test_worker_and_scheduler_reconcile(store: Store, service_uri: str, tmp_path: Path) -> None:
    node, _ = make_node(store, "N")
    install_door(store, node, "423", [("A", 1)])
    (tmp_path / "every_second.py").write_text(EVERY_SECOND)

    def store_event(days: int) -> None:
        store.intake.store(node, [Count("423", START + days * DAY, 1)])

    def is_reconciled() -> bool:
        return not select(store, "SELECT 1 FROM space_hours WHERE stale")

    with RedisServer() as redis:
        settings = {"REDIS_URL": redis.url, "DATABASE_URI": service_uri}
        store_event(1)
        assert not is_reconciled()
        with run_rq("worker", QUEUE, folder=tmp_path, **settings):
            with run_rq("cron", SCHEDULE, folder=tmp_path, **settings):
                wait_for(is_reconciled)
            with run_rq("cron", "every_second", folder=tmp_path, **settings) as scheduler:
                for days in (2, 3):
                    store_event(days)
                    wait_for(is_reconciled)
                with redis.connect() as keys:
                    assert Queue(QUEUE, connection=keys).failed_job_registry.count == 0
                redis.kill()
                # So does the worker, if it has a job at that time. Therefore systemd restarts both.
                assert scheduler.wait() == 1
        redis.start()
        store_event(4)
        with (
            run_rq("worker", QUEUE, folder=tmp_path, **settings),
            run_rq("cron", SCHEDULE, folder=tmp_path, **settings),
        ):
            wait_for(is_reconciled)
