"""`ringserverstats` and its web application are killed while days grow: each record counts once."""

import contextlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eida_stats_webservice.database import migrations
from support.paths import ROOT
from support.processes import list_children, wait_for
from support.service import Service, register_nodes
from support.stores import open_store
from support.stubs import environment, find_unused_url
from support.tables import count
from support.transfer_logs import Log, Stream

# Each is in another phase of a run. KILLS=100 takes some minutes.
KILLS = int(os.environ.get("KILLS", "8"))
DAYS = 4
COMMAND = Path(sys.executable).with_name("ringserverstats")
NETWORKS = '{"networks": [{"fdsn_code": "FR", "start_date": "1994-01-01"}]}'


@pytest.fixture
def chosen() -> random.Random:
    """Return random numbers, whose seed a failure shows."""
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    return random.Random(seed)


def choose_moments(chosen: random.Random, first: float, last: float) -> list[float]:
    """Return moments from all phases of a run, as parts of its time, in random order."""
    moments = [first + (last - first) * (number + chosen.random()) / KILLS for number in range(KILLS)]
    chosen.shuffle(moments)
    return moments


def run_killed(words: Sequence[str | Path], variables: dict[str, str], seconds: float | None) -> tuple[bool, float]:
    """Run a command, and kill it after some time; return whether this hit it, and how long it ran."""
    begun = time.monotonic()
    process = subprocess.Popen(words, env=variables, start_new_session=True, stdout=subprocess.DEVNULL)
    hit = False
    if seconds is not None:
        time.sleep(seconds)
        hit = process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return hit, time.monotonic() - begun


def make_records(number: int) -> list[Log]:
    """Return records of each day, distinct by their number."""
    return [
        Log(
            id=b"x" * 200,
            address=f"192.0.2.{number % 200}",
            written=f"2020-11-{day:02d} 10:{number // 60:02d}:{number % 60:02d}",
            connected=f"2020-11-{day:02d} 09:00:00",
            streams=tuple(Stream(f"FR_S{stream}_00_HHZ/MSEED", 512 + number, 1) for stream in range(40)),
        )
        for day in range(1, DAYS + 1)
    ]


def check_tables(uri: str, written: list[Log]) -> None:
    """Check that each record counts once."""
    with contextlib.closing(open_store(uri)) as store:
        assert [difference for *_, here in store.verification.verify() for difference in here] == []
        with store.database.transaction() as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT sum(bytes), sum(records) FROM ringserver_by_day")
            found = cursor.fetchone()
        in_force = [one for one in store.payloads.list_payloads() if one.state == "in force"]
    assert tuple(map(int, found)) == (sum(one.total for one in written), 40 * len(written))
    assert len(in_force) == DAYS


def check_records(uri: str, written: list[Log]) -> None:
    """Check that each record has its events, and is known once."""
    with contextlib.closing(open_store(uri)) as store:
        assert count(store, "ringserver_events") == 40 * len(written)
        assert count(store, "ringserver_records") == len(written)


def test_killed_command_loses_and_repeats_nothing(
    tmp_path: Path, chosen: random.Random, record_figure: Callable[[str], None]
) -> None:
    uri = f"sqlite:///{tmp_path / 'statistics.db'}"
    migrations.apply(uri)
    (token,) = register_nodes(uri, "GFZ")
    logs = tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "salt").write_text("salt")
    written: list[Log] = []
    takes, killed = 0.0, 0
    with Service(uri, tmp_path) as service:
        words = [
            *(COMMAND, "--send-to", service.url, "--retries", "0", "-o", tmp_path / "out"),
            *("--user-salt-file", tmp_path / "salt", logs),
        ]
        variables = environment(tmp_path, TOKEN=token)
        for number, moment in enumerate([None, *choose_moments(chosen, 0.4, 1.05)]):
            new = make_records(number)
            for day, one in enumerate(new, 1):
                with (logs / f"txlog-202011{day:02d}T0000-202011{day + 1:02d}T0000").open("ab") as file:
                    file.write(one.text())
            written += new
            hit, seconds = run_killed(words, variables, None if moment is None else moment * takes)
            killed += hit
            takes = takes or seconds
        done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_tables(uri, written)
    record_figure(f"ringserverstats was killed {killed} times while {DAYS} days grew: {takes:.1f} s without a kill")


def test_killed_store_loses_and_repeats_nothing(
    tmp_path: Path, database_uri: str, chosen: random.Random, record_figure: Callable[[str], None]
) -> None:
    log, salt = tmp_path / "txlogs.log", tmp_path / "salt"
    salt.write_text("salt")
    (tmp_path / "networks.json").write_text(NETWORKS)
    words = [COMMAND, "--user-salt-file", salt, "--networks", tmp_path / "networks.json", log]
    variables = environment(tmp_path, DATABASE_URI=database_uri)
    written: list[Log] = []
    takes, killed = 0.0, 0
    for number, moment in enumerate([None, *choose_moments(chosen, 0.5, 1.1)]):
        written += make_records(number)
        log.write_bytes(b"".join(record.text() for record in written))
        hit, seconds = run_killed(words, variables, None if moment is None else moment * takes)
        killed += hit
        takes = takes or seconds
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_tables(database_uri, written)
    check_records(database_uri, written)
    record_figure(f"ringserverstats was killed {killed} times while it stored a log that grew")


class WebApplication:
    """The web application, which starts again whenever it was killed."""

    def __init__(self, url: str, variables: dict[str, str]) -> None:
        address = url.removeprefix("http://")
        self._words = [Path(sys.executable).with_name("gunicorn"), "--workers", "1", "--bind", address, "webapp"]
        self._variables = variables
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._words,
            cwd=ROOT / "ringserverstats",
            env=self._variables,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )

    def kill_worker(self) -> None:
        """Kill the process that stores logs. The one that started it starts another one."""
        for child in list_children(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def kill(self) -> None:
        """Kill all its processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Kill all its processes, and start it again."""
        self.kill()
        self.start()


def post(url: str, body: bytes) -> bool:
    """Send a log, and return whether the answer says that it is stored."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return bool(json.load(answer)["streams"] >= 0)
    except urllib.error.HTTPError as error:
        if error.code < 500:
            raise
    except (OSError, http.client.HTTPException):
        pass
    return False


def test_killed_web_application_loses_and_repeats_nothing(
    tmp_path: Path, database_uri: str, chosen: random.Random, record_figure: Callable[[str], None]
) -> None:
    (tmp_path / "networks.json").write_text(NETWORKS)
    url = find_unused_url()
    variables = environment(
        tmp_path,
        DATABASE_URI=database_uri,
        RINGSERVER_USER_SALT="salt",
        NETWORKS_FILE=str(tmp_path / "networks.json"),
    )
    written: list[Log] = []
    takes, failures = 0.0, 0
    application = WebApplication(url, variables)
    try:
        # The first log waits until the application has started; the second one shows how long a log takes.
        for number, moment in enumerate([None, None, *choose_moments(chosen, 0, 1.05)]):
            written += make_records(number)
            body = b"".join(record.text() for record in written)
            kill = application.kill_worker if number % 2 else application.restart
            timer = threading.Timer((moment or 0) * takes, kill)
            if moment is not None:
                timer.start()
            begun = time.monotonic()
            while not post(url, body):
                failures += 1
                assert time.monotonic() < begun + 60
                time.sleep(0.05)
            if moment is None:
                takes = time.monotonic() - begun
            else:
                timer.join()
        # The last kill may be later than the answer.
        wait_for(lambda: post(url, body))
    finally:
        application.kill()
    check_tables(database_uri, written)
    check_records(database_uri, written)
    record_figure(
        f"the web application was killed {KILLS} times while it stored; clients tried {failures} times again"
    )
