"""`ringserverstats` is killed at random moments while days grow: each record counts once."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from eida_stats_webservice.database import migrations
from support.service import Service, register_nodes
from support.stores import open_store
from support.stubs import environment
from support.transfer_logs import Log, Stream

KILLS = 25
DAYS = 4
COMMAND = Path(sys.executable).with_name("ringserverstats")


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


def test_killed_command_loses_and_repeats_nothing(tmp_path: Path, record_figure: Callable[[str], None]) -> None:
    uri = f"sqlite:///{tmp_path / 'statistics.db'}"
    migrations.apply(uri)
    (token,) = register_nodes(uri, "GFZ")
    logs = tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "salt").write_text("salt")
    written: list[Log] = []
    chosen = random.Random(3)
    with Service(uri, tmp_path) as service:
        words = [
            *(COMMAND, "--send-to", service.url, "--retries", "0", "-o", tmp_path / "out"),
            *("--user-salt-file", tmp_path / "salt", logs),
        ]
        variables = environment(tmp_path, TOKEN=token)
        takes = 0.0
        for number in range(KILLS):
            new = make_records(number)
            for day, one in enumerate(new, 1):
                with (logs / f"txlog-202011{day:02d}T0000-202011{day + 1:02d}T0000").open("ab") as file:
                    file.write(one.text())
            written += new
            begun = time.monotonic()
            process = subprocess.Popen(words, env=variables, start_new_session=True, stdout=subprocess.DEVNULL)
            if number:
                time.sleep(chosen.uniform(0.4, 1.05) * takes)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            takes = takes or time.monotonic() - begun
        done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_tables(uri, written)
    record_figure(
        f"ringserverstats was killed {KILLS - 1} times while {DAYS} days grew: {takes:.1f} s without a kill"
    )


def test_killed_store_loses_and_repeats_nothing(
    tmp_path: Path, database_uri: str, record_figure: Callable[[str], None]
) -> None:
    log, salt = tmp_path / "txlogs.log", tmp_path / "salt"
    salt.write_text("salt")
    (tmp_path / "networks.json").write_text('{"networks": [{"fdsn_code": "FR", "start_date": "1994-01-01"}]}')
    words = [*(COMMAND, "--user-salt-file", salt, "--networks", tmp_path / "networks.json", log)]
    variables = environment(tmp_path, DATABASE_URI=database_uri)
    written: list[Log] = []
    chosen = random.Random(5)
    takes, killed = 0.0, 0
    for number in range(KILLS):
        written += make_records(number)
        log.write_bytes(b"".join(record.text() for record in written))
        begun = time.monotonic()
        process = subprocess.Popen(words, env=variables, start_new_session=True, stdout=subprocess.DEVNULL)
        if number:
            time.sleep(chosen.uniform(0.5, 1.1) * takes)
            killed += process.poll() is None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        takes = takes or time.monotonic() - begun
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_tables(database_uri, written)
    with contextlib.closing(open_store(database_uri)) as store, store.database.transaction() as connection:
        cursor = connection.cursor()
        for table, expected in (("events", 40 * len(written)), ("records", len(written))):
            cursor.execute(f"SELECT count(*) FROM ringserver_{table}")
            assert cursor.fetchone() == (expected,)
    record_figure(f"ringserverstats was killed {killed} times while it stored a log that grew")
