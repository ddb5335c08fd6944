"""Sending the days of ringservers: new, grown, quiet, changed and held ones."""

import datetime
import gzip
import itertools
import json
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.commands import run_command
from support.node_operator import Operator
from support.service import Service, register_nodes
from support.stubs import environment, find_unused_url
from support.transfer_logs import REAL_TEXT, Log, Stream

_numbers = itertools.count(1)
SALT = "some salt\n"


@pytest.fixture(scope="module")
def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('service'))}"


@pytest.fixture(scope="module")
def service(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(database, tmp_path_factory.mktemp("log")) as running:
        yield running


class RingOperator(Operator):
    """An operator of a node with ringservers."""

    def send(self, *arguments: str | Path, url: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command without retries on all logs."""
        (self.home / "salt").write_text(SALT)
        options = ("-o", "out", "--send-to", url or self.url, "--retries", "0", "--user-salt-file", "salt")
        done = run_command(
            "ringserverstats",
            [*options, *arguments, self.logs],
            folder=self.home,
            environment=environment(self.home, TOKEN=self._token, **env),
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def send_json(self, *arguments: str | Path, code: int = 0, **more: str) -> Any:
        """Run the command, and return its summary."""
        done = self.send("--json", *arguments, **more)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    def results(self, *arguments: str | Path, code: int = 0, **more: str) -> dict[str, str]:
        """Run the command, and return the result of each day."""
        days = self.send_json(*arguments, code=code, **more)["days"]
        return {one["day"][5:]: re.sub(", payload [0-9]+", "", one["result"]) for one in days}

    def write(self, name: str, *records: Log) -> Path:
        """Write a log."""
        path = self.logs / name
        path.write_bytes(b"".join(record.text() for record in records))
        return path

    def write_day(self, day: int, *records: Log, server: str = "") -> Path:
        """Write the log of a day of November."""
        prefix = f"{server}-" if server else ""
        return self.write(f"{prefix}txlog-202011{day:02d}T0000-202011{day + 1:02d}T0000", *records)

    def list_payloads(self) -> list[dict[str, Any]]:
        """Return the payloads in force, without what differs between runs."""
        return [
            {"day": one["period"]["start"][8:], "source": one["source"], "rows": one["rows"]}
            for one in self.ask("payloads?kind=ringserver")["payloads"]
            if one["state"] == "in force"
        ]

    def read_file(self, name: str) -> Any:
        """Return an aggregate file."""
        return json.loads(gzip.decompress((self.home / "out" / name).read_bytes()))


@pytest.fixture
def operator(service: Service, database: str, tmp_path: Path) -> RingOperator:
    """Return the operator of a node that has sent nothing."""
    node = f"N{next(_numbers)}"
    (token,) = register_nodes(database, node)
    return RingOperator(tmp_path / "node", service.url, token, node)


def record(day: int, number: int = 1, direction: str = "TX") -> Log:
    """Return a record of a day in November, distinct by its number."""
    return Log(
        id=b"x" * 200,
        address=f"192.0.2.{number}",
        written=f"2020-11-{day:02d} 10:{number:02d}:00",
        connected=f"2020-11-{day:02d} 09:00:00",
        streams=(Stream("FR_SURF_00_HHZ/MSEED", 512 * number, number), Stream("soh-log", 7, 1)),
        direction=direction,
    )


def test_days_are_sent_once(operator: RingOperator) -> None:
    operator.write_day(1, record(1), record(1, 2))
    operator.write_day(2, record(2))
    assert operator.results() == {"11-01": "delivered", "11-02": "delivered"}
    summary = operator.send_json()
    assert (summary["days"], summary["delivered_before"], summary["found"]["records"]) == ([], 2, 3)
    assert operator.list_payloads() == [
        {"day": "01", "source": "", "rows": 9},
        {"day": "02", "source": "", "rows": 9},
    ]
    side_file = operator.home / "out/ringserver_2020-11-01_2020-11-01.json.gz.delivery"
    assert stat.S_IMODE(side_file.stat().st_mode) == 0o600


def test_grown_day_is_corrected_by_itself(operator: RingOperator) -> None:
    log = operator.write_day(1, record(1))
    operator.send()
    operator.write_day(1, record(1), record(1, 2), record(1, 2))
    assert operator.results() == {"11-01": "delivered (corrected)"}
    log.rename(operator.logs / "txlog.old")
    assert operator.results() == {}
    assert len(operator.list_payloads()) == 1
    (row,) = operator.read_file("ringserver_2020-11-01_2020-11-01.json.gz")["places"]
    assert row["bytes"] == 512 * 5 + 7 * 3


def test_packed_and_joined_logs_change_nothing(operator: RingOperator) -> None:
    first, second = operator.write_day(1, record(1)), operator.write_day(2, record(2))
    operator.send()
    joined = first.read_bytes() + second.read_bytes()
    (operator.logs / "txlog-joined.gz").write_bytes(gzip.compress(joined))
    assert operator.results() == {}
    first.unlink()
    second.unlink()
    assert operator.results() == {}


def test_deleted_logs_leave_the_day_alone(operator: RingOperator) -> None:
    operator.write_day(1, record(1), record(1, 2))
    operator.send()
    operator.write_day(1, record(1))
    summary = operator.send_json()
    assert (summary["days"], summary["shortened"]) == ([], 1)


def test_changed_day_needs_a_decision(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.send()
    operator.write_day(1, record(1, 2))
    done = operator.send("--quiet")
    assert (done.returncode, done.stdout) == (4, "")
    assert "2020-11-01 was not sent" in done.stderr
    assert "--replace" in done.stderr
    assert operator.results("--replace") == {"11-01": "delivered (corrected)"}
    assert operator.results() == {}


def test_day_at_the_edge_is_not_replaced(operator: RingOperator) -> None:
    operator.write("txlog-20201101T0000-20201101T1200", record(1))
    operator.send()
    operator.write("txlog-20201101T0000-20201101T1200", record(1, 2))
    assert operator.send("--replace").returncode == 4
    stated = ("--since", "2020-11-01", "--until", "2020-11-01")
    assert operator.results("--replace", *stated) == {"11-01": "delivered (corrected)"}


def test_received_data_make_the_day_grow(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.write("rxlog-20201101T0000-20201102T0000", record(1, 3, "RX"))
    assert operator.results() == {"11-01": "delivered"}
    assert operator.results("--rx") == {"11-01": "delivered (corrected)"}
    rows = operator.read_file("ringserver_2020-11-01_2020-11-01.json.gz")["places"]
    assert [(row["direction"], row["bytes"]) for row in rows] == [("RX", 512 * 3 + 7), ("TX", 512 + 7)]
    assert operator.results() == {}


def test_servers_are_sources(operator: RingOperator) -> None:
    operator.write_day(1, record(1), server="a")
    operator.write_day(1, record(1), server="b-c")
    operator.send()
    assert [one["source"] for one in operator.list_payloads()] == ["a", "b-c"]


def test_quiet_day_is_delivered_without_rows(operator: RingOperator) -> None:
    operator.write_day(1)
    operator.write("txlog-20201102T0000-20201102T0700", record(2))
    operator.write_day(4)
    assert operator.results() == {"11-01": "delivered", "11-02": "delivered", "11-04": "delivered"}
    assert [one["rows"] for one in operator.list_payloads()] == [0, 9, 0]
    assert operator.results() == {}


def test_open_window_waits(operator: RingOperator) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    yesterday = now - datetime.timedelta(days=1)
    name = f"txlog-{yesterday:%Y%m%dT%H%M}-{now + datetime.timedelta(hours=1):%Y%m%dT%H%M}"
    time = f"{now - datetime.timedelta(hours=24):%Y-%m-%d %H:%M:%S}"
    operator.write(name, record(1)._replace(written=time, connected=time))
    assert operator.results() == {f"{yesterday:%m-%d}": "not ready: its window is open"}


def test_lost_delivery_record_is_no_loss(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.send()
    shutil.rmtree(operator.home / "out")
    assert operator.results() == {"11-01": "already there"}
    shutil.rmtree(operator.home / "out")
    operator.write_day(1, record(1), record(1, 2))
    done = operator.send()
    assert done.returncode == 4
    assert "--server" in done.stderr
    assert operator.send().returncode == 4
    assert operator.results("--replace") == {"11-01": "delivered (corrected)"}


def test_other_key_leaves_days_alone(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.send()
    (operator.home / "other").write_text("another salt")
    other = ("--user-salt-file", "other")
    summary = operator.send_json(*other)
    assert (summary["days"], summary["other_key"]) == ([], 1)
    assert operator.results(*other, "--replace") == {"11-01": "delivered (corrected)"}
    assert len(operator.list_payloads()) == 1


def test_days_wait_for_a_service_that_is_down(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    url = find_unused_url()
    done = operator.send(url=url)
    assert done.returncode == 3
    assert "waits for the next run" in done.stdout
    assert operator.send(url=url).returncode == 3
    operator.write_day(1, record(1), record(1, 2))
    assert operator.results("--requeue") == {"11-01": "delivered (corrected)"}
    assert operator.list_payloads() == [{"day": "01", "source": "", "rows": 9}]


def test_incomplete_file_is_written_again(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.send(url=find_unused_url())
    # A run was killed before it had written the file.
    (path,) = (operator.home / "out").glob("*.json.gz")
    path.write_bytes(path.read_bytes()[:100])
    assert operator.results("--requeue") == {"11-01": "delivered"}
    assert operator.list_payloads() == [{"day": "01", "source": "", "rows": 9}]


def test_unreadable_log_holds_only_its_days(operator: RingOperator) -> None:
    operator.write_day(1, record(1)).rename(operator.logs / "txlog-20201101T0000-20201102T0000.gz")
    packed = gzip.compress((operator.logs / "txlog-20201101T0000-20201102T0000.gz").read_bytes())
    (operator.logs / "txlog-20201101T0000-20201102T0000.gz").write_bytes(packed[:-20])
    operator.write_day(3, record(3))
    assert operator.results(code=1) == {"11-01": "not ready: a log of it cannot be read", "11-03": "delivered"}


def test_other_files_are_skipped(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    (operator.logs / "accesslog-20201101T0000-20201102T0000.jsonl").write_bytes(b'{"event":"connect"}\n')
    (operator.logs / "notes.txt").write_text("hello\n")
    summary = operator.send_json()
    assert (len(summary["days"]), summary["skipped"]) == (1, 2)


def test_foreign_file_is_an_error(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    file = operator.home / "page.html"
    file.write_text("<!DOCTYPE html>\n")
    done = operator.send(file)
    assert done.returncode == 1
    assert "a web page" in done.stderr


def test_dry_run_sends_nothing(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    assert operator.results("--dry-run") == {"11-01": "would be sent"}
    assert operator.list_payloads() == []
    assert not (operator.home / "out").exists()


def test_random_key_is_created_once(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    words = ["-o", "out", "--send-to", operator.url, operator.logs]
    variables = environment(operator.home, TOKEN=operator._token)
    first, second = (
        run_command("ringserverstats", words, folder=operator.home, environment=variables) for _ in range(2)
    )
    assert (first.returncode, second.returncode) == (0, 0)
    assert "created a random key" in first.stderr
    assert second.stderr == ""


@pytest.mark.skipif(not REAL_TEXT.exists(), reason="the real logs are not here")
def test_nothing_of_a_person_leaves_the_node(operator: RingOperator) -> None:
    registry = REAL_TEXT.parents[1] / "fdsn-networks.json"
    for path in REAL_TEXT.iterdir():
        shutil.copy(path, operator.logs)
    done = operator.send("--rx", "--networks", registry)
    assert done.returncode == 0, done.stderr
    written = b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in (operator.home / "out").iterdir()
    )
    shown = f"{done.stdout}{done.stderr}{written.decode(errors='replace')}".replace(operator.url, "")
    for text in ("127.0.0", "198.51.100", "2001:db8", "example", "sysop", "Dupont", "slinktool"):
        assert text not in shown, text
