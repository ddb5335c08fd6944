"""The aggregator is killed, has no space, or runs twice at once: no half file, no false receipt, sent once."""

import contextlib
import datetime
import gzip
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from eida_statistics import wire
from eida_stats_aggregator.delivery.outbox import Outbox
from eida_stats_webservice.database import migrations
from support.processes import wait_for
from support.service import Service, register_nodes
from support.stores import open_store
from support.stubs import COMMAND, environment, make_log

KILLS = 40
REQUESTS = 2_000
TODAY = datetime.date(2026, 11, 1)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("log")
    made = directory / "fdsnws-requests.log.2020-11-02.bz2"
    make_log.write(made, make_log.requests(5, datetime.date(2020, 11, 2), REQUESTS, stations=60))
    (directory / "networks.json").write_text(json.dumps(make_log.registry()))
    return made


@pytest.fixture
def uri(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path / 'statistics.db'}"
    migrations.apply(made)
    return made


@pytest.fixture
def service(uri: str, tmp_path: Path) -> Iterator[Service]:
    with Service(uri, tmp_path) as running:
        yield running


def start(log: Path, service: Service, token: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(COMMAND, "-o", directory, "--networks", log.parent / "networks.json", "--retries", "0"),
            *("--send-to", f"{service.url}/submit", log),
        ],
        env=environment(directory.parent, TOKEN=token),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of the messages of a process."""
    assert process.stderr is not None
    return process.stderr.readline()


def assert_complete(directory: Path, stored: int) -> None:
    """Check that every file is complete, and that delivered ones are stored."""
    for path in directory.glob("*.json.gz"):
        assert wire.decode(gzip.decompress(path.read_bytes()), today=TODAY).stats
    for path in directory.glob("*.delivery"):
        assert not is_delivered(path) or stored


def has_file(directory: Path) -> bool:
    return any(directory.glob("*.json.gz"))


def is_delivered(side_file: Path) -> bool:
    """Return whether a side file says that a service has the file."""
    records = json.loads(side_file.read_bytes())["records"]
    return any(record["state"] == "delivered" for record in records.values())


def count_payloads(uri: str) -> int:
    with contextlib.closing(open_store(uri)) as store:
        return len(store.payloads.list_payloads())


@pytest.mark.long
def test_killed_aggregator_leaves_no_half_file(
    log: Path, service: Service, uri: str, tmp_path: Path, record_figure: Callable[[str], None]
) -> None:
    (token,) = register_nodes(uri, "GFZ")
    begun = time.monotonic()
    warm = start(log, service, token, tmp_path / "warm")
    assert warm.communicate()[1] is not None
    assert warm.returncode == 0
    takes = time.monotonic() - begun
    with contextlib.closing(open_store(uri)) as store:
        store.payloads.retract(store.payloads.list_payloads()[0].payload)
    rng = random.Random(2)
    found = {"nothing": 0, "a file": 0, "a receipt": 0}
    for number in range(KILLS):
        directory = tmp_path / f"killed{number}"
        directory.mkdir()
        process = start(log, service, token, directory)
        # The first kill finds nothing, and the second one a file, whatever the machine's speed.
        if number == 1:
            wait_for(partial(has_file, directory))
        elif number > 1:
            time.sleep(rng.uniform(0.3, 1.05) * takes)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        with contextlib.closing(open_store(uri)) as store:
            (payload,) = store.payloads.list_payloads()
        stored = payload.state == "in force"
        assert_complete(directory, stored)
        receipts = list(map(is_delivered, directory.glob("*.delivery")))
        written = list(directory.glob("*.json.gz"))
        found["a receipt" if any(receipts) else "a file" if written else "nothing"] += 1
        # The next run does the rest, and nothing twice. Its duration depends on the load of the machine.
        begun = time.monotonic()
        again = start(log, service, token, directory)
        output = again.communicate()
        takes = time.monotonic() - begun
        assert again.returncode == 0, output
        assert_complete(directory, stored=True)
        assert [path.name for path in directory.glob(".*.tmp")] == []
        with contextlib.closing(open_store(uri)) as store:
            (payload,) = store.payloads.list_payloads()
            assert payload.state == "in force"
            store.payloads.retract(payload.payload)
    assert found["nothing"]
    assert found["a file"] + found["a receipt"]
    record_figure(f"killed {KILLS} aggregators; there was left: {found}")


def test_two_runs_at_once_send_once(log: Path, service: Service, uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    directory = tmp_path / "both"
    directory.mkdir()
    # All wait for this one, so that they meet whatever the machine's speed.
    with Outbox(directory).lock():
        runs = [start(log, service, token, directory) for _ in range(4)]
        assert all("another run uses" in read_line(one) for one in runs)
    outputs = [one.communicate() for one in runs]
    assert [one.returncode for one in runs] == [0] * 4, outputs
    # The others report that run's receipt.
    assert sum("\nsent: " in output and "201" in output for output, _ in outputs) == 1
    assert sum("\ndelivered before" in output for output, _ in outputs) == 3
    assert sum("409" in output for output, _ in outputs) == 0
    assert count_payloads(uri) == 1


def test_full_disk_leaves_no_half_file(log: Path, service: Service, uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(uri, "GFZ")
    place = Path(f"/tmp/eida-full-disk-{os.getpid()}")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        place.rmdir()
        pytest.skip("this user may not mount a file system")
    try:
        full = start(log, service, token, place / "aggregates")
        output, complaint = full.communicate()
        assert full.returncode not in {0, None}, output
        assert "No space left" in complaint
        assert "Traceback" not in complaint
        assert str(place / "aggregates") in complaint
        assert list((place / "aggregates").glob("*.json.gz")) == []
        assert count_payloads(uri) == 0
        subprocess.run(["mount", "-o", "remount,size=16m", str(place)], check=True)
        again = start(log, service, token, place / "aggregates")
        assert again.communicate() is not None
        assert again.returncode == 0
        assert count_payloads(uri) == 1
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()
