"""Sending the days of ringservers: new, grown, quiet and changed ones."""

import datetime
import gzip
import shutil
import stat

import pytest

from support.commands import run_command
from support.ring_operator import RingOperator, record
from support.stubs import environment, find_unused_url
from support.transfer_logs import REAL_TEXT


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


def test_other_key_leaves_days_alone(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.send()
    (operator.home / "other").write_text("another salt")
    other = ("--user-salt-file", "other")
    summary = operator.send_json(*other, code=4)
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
    done = operator.send()
    assert done.returncode == 1
    assert "so its days wait for the next run: " in done.stderr
    assert "nothing was written" not in done.stderr
    assert [one["day"] for one in operator.list_payloads()] == ["03"]
    assert operator.results(code=1) == {"11-01": "not ready: a log of it cannot be read"}


def test_other_files_are_skipped(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    (operator.logs / "accesslog-20201101T0000-20201102T0000.jsonl").write_bytes(b'{"event":"connect"}\n')
    (operator.logs / "notes.txt").write_text("hello\n")
    operator.write("rxlog-20201101T0000-20201102T0000", record(1, 3, "RX"))
    summary = operator.send_json()
    assert (len(summary["days"]), summary["skipped"], summary["skipped_rx"]) == (1, 2, 1)


def test_directory_of_received_data_names_the_option(operator: RingOperator) -> None:
    operator.write("rxlog-20201101T0000-20201102T0000", record(1, 3, "RX"))
    done = operator.send()
    assert done.returncode == 1
    assert "--rx" in done.stderr
    assert operator.results("--rx") == {"11-01": "delivered"}


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


@pytest.mark.parametrize(
    "content",
    [b"\0" * 400, record(2).text()[:-20], record(2)._replace(written="1969-11-21T12:00:00Z").text()],
    ids=["NULs", "cut", "rejected"],
)
def test_damaged_log_is_no_quiet_day(operator: RingOperator, content: bytes) -> None:
    for day in (1, 2, 3):
        operator.write_day(day, record(day))
    assert operator.send().returncode == 0
    before = operator.list_payloads()
    operator.write_day(2).write_bytes(content)
    operator.write_day(4).write_bytes(content)
    for words in ([], ["--replace"]):
        done = operator.send("--quiet", *words)
        assert (done.returncode, "2020-11-04 was not sent: its log is damaged" in done.stderr) == (4, True)
        assert operator.list_payloads() == before


def test_damaged_day_outside_the_range_is_not_named(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.write_day(2).write_bytes(b"\0" * 400)
    assert operator.results("--until", "2020-11-01") == {"11-01": "delivered"}
    assert operator.results("--since", "2020-11-03") == {}
    assert operator.results(code=4) == {"11-02": "not sent: its log is damaged"}


def test_name_is_for_logs_of_one_server(operator: RingOperator) -> None:
    operator.write_day(1, record(1))
    operator.write_day(1, record(1, 2), server="rs-b")
    refused = operator.send("--server", "a")
    assert (refused.returncode, "no prefix, rs-b" in refused.stderr) == (2, True)
    assert operator.results("--server", "a", logs=operator.logs / "txlog-*") == {"11-01": "delivered"}


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
