"""Catching up: days that are sent, days that wait, and the messages about them."""

import bz2
import contextlib
import datetime
import fcntl
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from eida_statistics.errors import UnreadableLog
from eida_statistics.payload import Period
from eida_stats_aggregator.days import find_dated_logs
from eida_stats_aggregator.delivery.aggregate import read_content_hash
from eida_stats_aggregator.delivery.state import LogStamp, Record, choose_step
from eida_stats_aggregator.period import drop_strays, find_period, parse_day
from support.dates import OCTOBER as FIRST
from support.node_operator import Operator, entries, entry, write_log
from support.service import Service, register_nodes
from support.stubs import Answer, Received, find_unused_url, line, run, serve_stub, submissions

D1, D2, D3, D4, D5 = (FIRST + datetime.timedelta(days=number) for number in range(5))
STAMPS = {"log": LogStamp(1, 1)}
CHANGED = {"log": LogStamp(2, 1)}


@pytest.fixture
def operator(account: tuple[str, str, str], tmp_path: Path) -> Operator:
    """Return the operator of a node that has sent nothing."""
    return Operator(tmp_path / "node", *account)


def write_days(operator: Operator, *days: datetime.date) -> None:
    for day in days:
        write_log(operator.log(day, ".bz2"), entries(day, 10, day.toordinal() * 100))


def payloads(operator: Operator) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = operator.ask("payloads")["payloads"]
    return listed


def results(operator: Operator, *arguments: str | Path) -> dict[str, str]:
    summary = operator.catch_up_json(*arguments)
    return {one["day"]: one["result"].partition(", payload")[0] for one in summary["days"]}


# Names and periods


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("fdsnws-requests.log.2026-10-01", D1),
        ("fdsnws-requests.log.2026-10-01.bz2", D1),
        ("/logs/2025-01-01/fdsnws-requests.log.2026-10-01.gz", D1),
        ("fdsnws-requests.log", None),
        ("fdsnws-requests.log.1.gz", None),
        ("fdsnws-requests.log-2026-10-01", None),
        ("fdsnws-requests-2026-10-01.log", None),
        ("fdsnws-requests.log.2026-13-01", None),
        ("fdsnws-requests.log.2026-10-011", None),
        ("fdsnws-requests.log.2026-10-01-old", None),
        ("standard input", None),
    ],
)
def test_day_in_name(name: str, day: datetime.date | None) -> None:
    assert parse_day(name) == day


@pytest.mark.parametrize(
    ("counts", "days"),
    [
        ({D1: 24, D2: 1}, [D1]),
        ({D1: 1, D2: 20}, [D2]),
        ({D1: 1, D2: 100, D3: 100, D4: 3}, [D2, D3]),
        ({D1: 2, D2: 3}, [D1, D2]),
        ({D1: 10, D2: 100}, [D1, D2]),
        ({D1: 100, D2: 1, D3: 100}, [D1, D2, D3]),
        ({D1: 1}, [D1]),
        ({D1: 0, D2: 5}, [D2]),
        ({}, []),
    ],
)
def test_strays_are_not_in_the_period(counts: dict[datetime.date, int], days: list[datetime.date]) -> None:
    assert drop_strays(counts) == days


@pytest.mark.parametrize(
    ("names", "counts", "stated", "expected"),
    [
        (["a.log.2026-10-01"], {D1: 1, D2: 5}, None, (Period(D1, D1), "names")),
        (["a.log.2026-10-01"], {}, Period(D1, D5), (Period(D1, D1), "names")),
        (["a.log.2026-10-01", "a.log.2026-10-03"], {D1: 1}, None, (Period(D1, D3), "names")),
        (["a.log"], {D1: 24, D2: 1}, None, (Period(D1, D1), "requests")),
        (["a.log"], {D1: 24, D3: 24}, None, (Period(D1, D3), "requests")),
        (["a.log", "a.log.2026-10-04"], {D3: 4}, None, (Period(D3, D4), "requests")),
        (["a.log"], {D1: 24}, Period(D1, D2), (Period(D1, D2), "options")),
        (["a.log"], {}, Period(D1, D2), None),
    ],
)
def test_period_of_logs(
    names: list[str],
    counts: dict[datetime.date, int],
    stated: Period | None,
    expected: tuple[Period, str] | None,
) -> None:
    found = find_period(names, counts, stated)
    assert (found and (found.period, found.origin)) == expected


def test_gaps_between_named_logs() -> None:
    found = find_period(["a.log.2026-10-01", "a.log.2026-10-04"], {}, None)
    assert found is not None
    assert found.gaps == [D2, D3]


def test_logs_are_found_by_name_alone(tmp_path: Path) -> None:
    for name in (
        "a.log",
        "a.log.2026-10-02.bz2",
        "old/a.log.2026-10-01",
        "old/a.log.2026-10-02",
        ".x.log.2026-10-03",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        # They cannot be read.
        (tmp_path / name).touch(0o000)
    found = find_dated_logs([str(tmp_path), str(tmp_path / "old/*-01")])
    assert found.undated == [tmp_path / "a.log"]
    assert found.by_day == {
        D1: [tmp_path / "old/a.log.2026-10-01"],
        D2: [tmp_path / "a.log.2026-10-02.bz2", tmp_path / "old/a.log.2026-10-02"],
    }
    for missing in ("missing", "missing*"):
        with pytest.raises(UnreadableLog, match="missing"):
            find_dated_logs([str(tmp_path / missing)])


@pytest.mark.parametrize(
    ("record", "known", "decided", "step"),
    [
        (None, {}, False, "aggregate"),
        (Record("delivered"), STAMPS, False, "skip"),
        (Record("delivered"), CHANGED, False, "check"),
        (Record("delivered"), {}, False, "check"),
        (Record("pending"), STAMPS, False, "wait"),
        (Record("pending"), CHANGED, False, "aggregate"),
        (Record("unknown"), CHANGED, False, "wait"),
        (Record("held"), CHANGED, False, "hold"),
        (Record("held"), STAMPS, True, "aggregate"),
    ],
)
def test_step_of_a_day(record: Record | None, known: dict[str, LogStamp], decided: bool, step: str) -> None:
    assert choose_step(record, known, STAMPS, decided=decided) == step


# Days that are sent


def test_each_day_becomes_a_file_of_its_own(operator: Operator, service: Service) -> None:
    write_days(operator, D2, D1, D3)
    write_log(operator.logs / "fdsnws-requests.log", entries(D4, 5))
    assert results(operator) == {str(day): "delivered" for day in (D1, D2, D3)}
    assert sorted(path.name for path in (operator.home / "out").glob("*.gz")) == [
        f"{day}_{day}.json.gz" for day in (D1, D2, D3)
    ]
    assert operator.stored_requests() == 30
    again = operator.catch_up()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    summary = operator.catch_up_json()
    assert (summary["days"], summary["sent"], summary["delivered_before"]) == ([], [], 3)


def test_today_is_not_over(operator: Operator, service: Service) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    yesterday = today - datetime.timedelta(days=1)
    write_days(operator, yesterday, today)
    assert list(results(operator)) == [str(yesterday)]
    assert operator.stored_requests() == 10


def test_strays_are_counted_with_their_log(operator: Operator, service: Service) -> None:
    write_log(operator.log(D2, ".bz2"), entries(D2, 10, 100), [entry(D1, 7, datetime.time(23, 59, 59))])
    write_days(operator, D1)
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 21


def test_since_and_until_choose_days(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D2, D3, D4)
    assert list(results(operator, "--since", str(D2), "--until", str(D3))) == [str(D2), str(D3)]
    # Days before the first one stay left out.
    assert list(results(operator)) == [str(D4)]
    # The first day never moves forward.
    assert results(operator, "--since", str(D4)) == {}
    assert operator.stored_requests() == 30
    assert list(results(operator, "--since", "all")) == [str(D1)]


def test_sources_are_apart(operator: Operator, service: Service) -> None:
    for number, source in enumerate(("a", "b")):
        write_log(operator.log(D1), entries(D1, 10, 100 * number))
        assert operator.catch_up("--source", source).returncode == 0
    assert operator.stored_requests() == 20


def test_service_with_statistics_needs_a_start(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D2)
    assert operator.run(operator.log(D1, ".bz2"), directory="elsewhere").returncode == 0
    asked = operator.catch_up()
    assert asked.returncode == 1
    assert "--since DAY" in asked.stderr
    assert operator.catch_up("--since", str(D2)).returncode == 0
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 20


def test_duplicate_is_remembered_as_delivered(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    assert operator.run(operator.log(D1, ".bz2"), directory="elsewhere").returncode == 0
    assert results(operator, "--since", "all") == {str(D1): "already there"}
    assert results(operator) == {}
    assert operator.stored_requests() == 10


def test_second_run_ends_at_once(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    (operator.home / "out").mkdir()
    with (operator.home / "out/.eida_stats_aggregator.catch-up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = operator.run("--catch-up", operator.logs)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Another run uses the output directory" in done.stdout
    assert operator.stored_requests() == 0


def test_dry_run_changes_nothing(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D2)
    done = operator.run("--catch-up", "--dry-run", operator.logs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("would be sent") >= 2
    assert not (operator.home / "out").exists()
    assert operator.stored_requests() == 0


# Which file is the log of a day


def test_log_of_another_day_is_skipped(operator: Operator, service: Service) -> None:
    """With two log handlers, a plain log keeps the name of a day and holds the next one."""
    write_days(operator, D1, D2)
    write_log(operator.log(D1), entries(D2, 10, D2.toordinal() * 100))
    done = operator.catch_up()
    assert done.returncode == 4
    assert f"{operator.log(D1)} was skipped: most of its requests are of other days" in done.stderr
    assert operator.stored_requests() == 20
    assert operator.catch_up().returncode == 0


def test_day_without_a_log_of_its_own_is_named_once(operator: Operator, service: Service) -> None:
    write_log(operator.log(D1), entries(D2, 10))
    done = operator.catch_up()
    assert done.returncode == 4
    assert f"{D1} was not sent: most requests in {operator.log(D1).name} are of other days" in done.stderr
    again = operator.catch_up()
    assert (again.returncode, again.stderr) == (0, "")
    assert operator.stored_requests() == 0


def test_plain_log_beside_torn_copy_is_used(operator: Operator, service: Service) -> None:
    whole = write_log(operator.log(D1), entries(D1, 10))
    packed = bz2.compress(whole.read_bytes())
    operator.log(D1, ".bz2").write_bytes(packed[: len(packed) // 2])
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 10
    # When it is packed, nothing has changed.
    operator.log(D1, ".bz2").write_bytes(packed)
    operator.log(D1).unlink()
    done = operator.catch_up()
    assert (done.returncode, done.stderr) == (0, "")
    assert results(operator) == {}
    assert operator.stored_requests() == 10


@pytest.mark.parametrize("content", [b"", b"no JSON\n" * 20])
def test_bad_plain_log_does_not_hide_packed(content: bytes, operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    operator.log(D1).write_bytes(content)
    (operator.logs / f"scmaster.log.{D1}").write_text("started\n" * 20)
    done = operator.catch_up()
    assert (done.returncode, done.stderr) == (0, "")
    assert operator.stored_requests() == 10


def test_several_logs_of_a_day_are_one(operator: Operator, service: Service) -> None:
    for number, folder in enumerate(("a", "b")):
        write_log(operator.logs / folder / operator.log(D1, ".bz2").name, entries(D1, 10, 100 * number))
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 20


def test_log_without_a_day_is_named_once(operator: Operator) -> None:
    write_days(operator, D1)
    write_log(operator.logs / "fdsnws-requests.log", entries(D2, 5))
    write_log(operator.logs / "fdsnws-requests.log.1.gz", entries(D1, 5))
    (operator.logs / "seedlink.log").write_text("something else\n")
    done = operator.catch_up()
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "the name has no day: " in done.stderr
    assert "fdsnws-requests.log.1.gz" in done.stderr
    assert operator.catch_up().returncode == 0


def test_directory_without_dated_logs_is_an_error(operator: Operator) -> None:
    write_log(operator.logs / "fdsnws-requests.log", entries(D2, 5))
    done = operator.catch_up()
    assert done.returncode == 1
    assert ".log.YYYY-MM-DD" in done.stderr


# Days that wait


def test_unreadable_log_is_named_after_a_day(operator: Operator, service: Service) -> None:
    packed = write_log(operator.log(D1, ".bz2"), entries(D1, 10)).read_bytes()
    operator.log(D1, ".bz2").write_bytes(packed[:-20])
    write_days(operator, D2)
    first = operator.catch_up()
    assert (first.returncode, first.stderr) == (0, "")
    assert operator.stored_requests() == 10
    long_ago = time.time() - 25 * 3600
    os.utime(operator.log(D1, ".bz2"), (long_ago, long_ago))
    late = operator.catch_up()
    assert late.returncode == 4
    assert f"{D1} could not be sent for more than 24 hours" in late.stderr
    again = operator.catch_up()
    assert (again.returncode, again.stderr) == (0, "")


def test_missing_registry_is_reported_once(operator: Operator, service: Service) -> None:
    """The logs may be old: the 24 hours begin when their days were first left."""
    temporary = {"net": "Z3", "sta": "A", "loc": "", "cha": "BHZ", "status": "OK", "bytes": 1, "start": f"{D1}"}
    for day in (D1, D2):
        write_log(operator.log(day), [entry(day, 1, trace=[temporary])])
        os.utime(operator.log(day), (0, 0))
    away = find_unused_url()
    first = operator.catch_up(FDSN_NETWORKS_URL=away)
    assert (first.returncode, first.stderr) == (0, "")
    memory_file = operator.home / "out/catch-up.json"
    memories = json.loads(memory_file.read_bytes())
    (memory,) = memories.values()
    assert memory["not_ready"].keys() == {str(D1), str(D2)}
    memory["not_ready"] = dict.fromkeys(memory["not_ready"], "2026-10-03T00:00:00Z")
    memory_file.write_text(json.dumps(memories))
    late = operator.catch_up(FDSN_NETWORKS_URL=away)
    assert (late.returncode, late.stderr.count("\n")) == (4, 1)
    assert f"{D1}, {D2} could not be sent for more than 24 hours" in late.stderr
    again = operator.catch_up(FDSN_NETWORKS_URL=away)
    assert (again.returncode, again.stderr) == (0, "")


def test_token_of_other_node_sends_nothing(operator: Operator, service: Service, database: str) -> None:
    write_days(operator, D1)
    assert operator.catch_up().returncode == 0
    write_days(operator, D2, D3)
    (token,) = register_nodes(database, f"{operator.node}B")
    other = Operator(operator.home, operator.url, token, f"{operator.node}B")
    for run_with_other in (other.catch_up, lambda: other.run(operator.log(D2, ".bz2"))):
        wrong = run_with_other()
        assert wrong.returncode == 3
        assert f"the token is that of node {operator.node}B, and the files of this" in wrong.stderr
    assert other.stored_requests() == 0
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 30


def test_logs_of_another_source_are_refused(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D2)
    assert operator.catch_up("--source", "a").returncode == 0
    mistyped = operator.catch_up("--source", "A")
    assert mistyped.returncode == 4
    assert f"these are the logs of {D1}_{D1}_a.json.gz, of source a. Correct --source." in mistyped.stderr
    again = operator.catch_up("--source", "A")
    assert (again.returncode, again.stderr) == (0, "")
    single = operator.run("--source", "A", operator.log(D1, ".bz2"))
    assert (single.returncode, "Correct --source" in single.stderr) == (1, True)
    assert operator.stored_requests() == 20
    assert operator.run("--source", "A", "--beside", operator.log(D1, ".bz2")).returncode == 0
    assert operator.stored_requests() == 30


def test_beside_never_replaces(operator: Operator, service: Service) -> None:
    """The file of a period counts once; other files of it belong to another directory or source."""
    write_log(operator.log(D1), entries(D1, 10))
    assert operator.catch_up().returncode == 0
    write_log(operator.log(D1), entries(D1, 7, 100))
    single = operator.run("--beside", operator.log(D1))
    assert (single.returncode, "has other content" in single.stderr) == (1, True)
    days = operator.catch_up("--beside")
    assert (days.returncode, "--replace sends a correction" in days.stderr) == (4, True)
    assert operator.stored_requests() == 10
    assert operator.run("--beside", operator.log(D1), directory="elsewhere").returncode == 4
    assert operator.stored_requests() == 17


def test_wrong_path_is_no_service_with_statistics(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    wrong = Operator(operator.home, operator.url.replace("statistics", "statistic"), "token")
    done = wrong.catch_up()
    assert done.returncode == 1
    assert f"there is no {wrong.url}/payloads" in done.stderr


def test_order_is_answered_each_time(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D2)
    assert operator.run(*sorted(operator.logs.iterdir())).returncode == 0
    write_log(operator.log(D1, ".bz2"), entries(D1, 12, D1.toordinal() * 100))
    assert operator.catch_up().returncode == 4
    assert operator.catch_up().returncode == 0
    for _ in range(2):
        ordered = operator.catch_up("--replace")
        assert (ordered.returncode, "run all logs of" in ordered.stderr) == (4, True)


def test_held_file_is_listed_without_a_log(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D2)
    operator.run(*sorted(operator.logs.iterdir()), directory="elsewhere")
    assert operator.run(operator.log(D1, ".bz2")).returncode == 3
    assert operator.run().stdout == f"waits for your decision: out/{D1}_{D1}.json.gz\n"


def test_day_without_requests_can_be_a_correction(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    assert operator.catch_up().returncode == 0
    operator.log(D1, ".bz2").unlink()
    assert operator.run("--no-requests", str(D1), "--replace").returncode == 0
    assert operator.stored_requests() == 0


def test_empty_queue_is_said(operator: Operator, service: Service) -> None:
    assert operator.run().stdout == "Nothing is queued.\n"


def test_empty_token_file_is_named(operator: Operator) -> None:
    (operator.home / "token").touch()
    done = run("--send-to", operator.url, "--token-file", "token", cwd=operator.home)
    assert done.returncode == 2
    assert "no token in token: it is empty" in done.stderr


def test_changed_log_is_named_once_and_corrected(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D2)
    operator.catch_up()
    write_log(operator.log(D1, ".bz2"), entries(D1, 12, D1.toordinal() * 100))
    done = operator.catch_up()
    assert done.returncode == 4
    assert f"{D1} was not sent: its log has changed since it was delivered" in done.stderr
    again = operator.catch_up()
    assert (again.returncode, again.stderr) == (0, "")
    assert operator.stored_requests() == 20
    corrected = operator.catch_up("--replace")
    assert (corrected.returncode, corrected.stderr) == (0, "")
    assert operator.stored_requests() == 22
    assert results(operator) == {}


def test_packing_a_log_is_no_change(operator: Operator) -> None:
    plain = write_log(operator.log(D1), entries(D1, 10))
    assert operator.run(plain).returncode == 0
    write_log(operator.log(D1, ".bz2"), entries(D1, 10))
    plain.unlink()
    done = operator.catch_up()
    assert (done.returncode, done.stderr) == (0, "")


def test_unreadable_memory_is_named(operator: Operator) -> None:
    write_days(operator, D1)
    operator.catch_up()
    (operator.home / "out/catch-up.json").write_text("{")
    done = operator.catch_up()
    assert done.returncode == 1
    assert "out/catch-up.json cannot be read" in done.stderr


def test_touched_log_is_no_change(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    operator.catch_up()
    lines = bz2.decompress(operator.log(D1, ".bz2").read_bytes()).splitlines(keepends=True)
    operator.log(D1, ".bz2").write_bytes(bz2.compress(b"".join(reversed(lines))))
    done = operator.catch_up()
    assert (done.returncode, done.stderr) == (0, "")
    assert operator.stored_requests() == 10


def test_waiting_day_is_brought_up_to_date(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    service.stop()
    assert operator.catch_up("--since", "all").returncode == 3
    write_log(operator.log(D1, ".bz2"), entries(D1, 12, D1.toordinal() * 100))
    assert operator.catch_up().returncode == 3
    service.start()
    assert operator.catch_up().returncode == 0
    assert operator.stored_requests() == 12


def test_overlapping_day_is_held_until_decided(operator: Operator, service: Service) -> None:
    """An old aggregator has sent two days as one payload."""
    write_days(operator, D1, D2)
    operator.run("--since", str(D1), *sorted(operator.logs.iterdir()), directory="elsewhere")
    held = operator.catch_up("--since", "all")
    assert held.returncode == 3
    (number,) = (one["payload"] for one in payloads(operator))
    assert held.stderr.count(f"the service has payload {number} for 2026-10-01 to 2026-10-02") == 1
    assert f"{D1}_{D1}.json.gz, {D2}_{D2}.json.gz to {operator.url}" in held.stderr
    assert "\n  To keep all in force: --beside (overlap=accept)." in held.stderr
    again = operator.catch_up()
    assert (again.returncode, again.stderr) == (0, "")
    assert results(operator) == {str(day): "waits for your decision" for day in (D1, D2)}
    assert operator.stored_requests() == 20
    assert operator.catch_up("--since", str(D1), "--until", str(D1), "--replaces", str(number)).returncode == 0
    assert operator.stored_requests() == 10
    assert operator.catch_up("--beside").returncode == 0
    assert operator.stored_requests() == 20


def test_forgotten_source_can_be_added(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    operator.run("--source", "b", operator.log(D1, ".bz2"), directory="elsewhere")
    write_days(operator, D1)
    forgotten = operator.catch_up("--since", "all")
    assert (forgotten.returncode, "Correct --source" in forgotten.stderr) == (3, False)
    named = operator.catch_up("--since", "all", "--source", "a")
    assert (named.returncode, named.stderr) == (0, "")
    assert operator.stored_requests() == 20


def test_rejected_logs_are_no_quiet_days(operator: Operator, service: Service) -> None:
    operator.log(D1).write_bytes(b"no JSON\n" * 20)
    done = operator.catch_up()
    assert done.returncode == 4
    assert "20 rejected lines" in done.stderr
    assert payloads(operator) == []
    assert operator.catch_up().returncode == 0


def test_many_rejected_lines_are_named(operator: Operator) -> None:
    write_days(operator, D1)
    write_log(operator.log(D2), entries(D2, 50))
    with operator.log(D2).open("ab") as log:
        log.write(b"no JSON\n" * 11)
    done = operator.catch_up()
    assert done.returncode == 4
    assert "11 of 61 lines were rejected" in done.stderr
    assert operator.catch_up().returncode == 0


# Quiet days


def test_gap_is_named_once_and_reported_on_request(operator: Operator, service: Service) -> None:
    write_days(operator, D1, D3)
    done = operator.catch_up()
    assert done.returncode == 4
    assert f"there is no log of {D2}" in done.stderr
    assert f"--no-requests {D2}" in done.stderr
    assert operator.catch_up().returncode == 0
    assert len(payloads(operator)) == 2
    assert operator.catch_up("--no-requests", str(D2)).returncode == 0
    quiet = payloads(operator)[-1]
    assert (quiet["period"], quiet["rows"], quiet["days"]) == ({"start": str(D2), "end": str(D2)}, 0, [])
    assert operator.catch_up("--no-requests", str(D2)).returncode == 0
    assert len(payloads(operator)) == 3
    # The day has a log after all.
    write_days(operator, D2)
    found = operator.catch_up()
    assert found.returncode == 4
    assert f"{D2} was not sent: its log has changed since it was delivered" in found.stderr
    refused = operator.catch_up("--no-requests", str(D2))
    assert refused.returncode == 1
    assert f"there is a log of {D2}" in refused.stderr


def test_quiet_day_is_reported_without_logs(operator: Operator, service: Service) -> None:
    done = operator.run("--no-requests", str(D2), "--no-requests", str(D1))
    assert done.returncode == 0, done.stderr
    assert [one["period"]["start"] for one in payloads(operator)] == [str(D1), str(D2)]


def test_first_day_does_not_move_forward(operator: Operator) -> None:
    write_days(operator, D1)
    operator.catch_up()
    write_days(operator, D2, D3)
    assert list(results(operator, "--replace", "--since", str(D3))) == [str(D3)]
    assert list(results(operator)) == [str(D2)]


def test_log_added_to_sent_period_is_named(operator: Operator) -> None:
    write_days(operator, D1, D3)
    assert operator.run(operator.log(D1, ".bz2"), operator.log(D3, ".bz2")).returncode == 4
    assert operator.catch_up().returncode == 0
    write_days(operator, D2)
    write_log(operator.log(D3, ".bz2"), entries(D3, 12, 900))
    done = operator.catch_up()
    assert done.returncode == 4
    for day in (D2, D3):
        assert f"{day} was not sent: its log was added or changed after" in done.stderr
    assert operator.catch_up().returncode == 0


def test_memory_of_another_directory_is_asked_for(operator: Operator) -> None:
    write_days(operator, D1, D2)
    operator.catch_up("--since", str(D2))
    (operator.home / "out/catch-up.json").unlink()
    # All that the service has was sent from here.
    assert list(results(operator)) == [str(D1)]
    elsewhere = write_log(operator.home / "copy" / operator.log(D4).name, entries(D4, 5))
    assert operator.run(elsewhere, directory="elsewhere").returncode == 0
    (operator.home / "out/catch-up.json").unlink()
    assert operator.catch_up().returncode == 1


def test_rejected_lines_are_no_quiet_day(operator: Operator) -> None:
    write_log(operator.log(D1), [line(service="fdsnws-station", finished=f"{D1}T12:00:00Z")])
    with operator.log(D1).open("ab") as log:
        log.write(b"no JSON\n" * 500)
    done = operator.catch_up()
    assert done.returncode == 4
    assert "500 rejected lines" in done.stderr
    assert payloads(operator) == []


def test_strange_names_do_no_harm(operator: Operator) -> None:
    operator.logs = operator.home / "l\udcffgs"
    write_days(operator, D1)
    os.mkfifo(operator.log(D2))
    write_log(operator.logs / "fdsnws-requests.log.0001-01-02", entries(D1, 1, 5))
    write_log(operator.logs / "fdsnws-requests.log.1999-01-01", entries(D1, 1, 6))
    done = operator.catch_up()
    assert done.returncode == 4
    assert "there is no log of" not in done.stderr
    assert operator.stored_requests() == 10


def test_log_of_other_services_is_a_quiet_day(operator: Operator, service: Service) -> None:
    write_log(operator.log(D1), [line(service="fdsnws-station", finished=f"{D1}T12:00:00Z")])
    done = operator.catch_up()
    assert done.returncode == 4
    assert "no request of this service" in done.stderr
    (quiet,) = payloads(operator)
    assert quiet["rows"] == 0
    assert operator.catch_up().returncode == 0


# Deployed services, and directories of earlier versions


def deployed(request: Received) -> Answer:
    if request.method != "POST":
        return Answer(404)
    if json.loads(gzip.decompress(request.body))["stats"]:
        return Answer(200, b"Statistic successfully ingested to database!")
    return Answer(500, b"Error on statistics ingestion.")


def test_deployed_service_gets_days_with_requests(tmp_path: Path) -> None:
    with serve_stub(deployed) as stub:
        operator = Operator(tmp_path, f"{stub.url}/submit", "a-token-of-the-node")
        write_days(operator, D1, D3)
        asked = operator.catch_up()
        assert asked.returncode == 1
        assert "--since" in asked.stderr
        waits = operator.catch_up("--since", "all", "--no-requests", str(D2))
        assert waits.returncode == 3
        assert "cannot take a day without requests, which waits" in waits.stderr
        assert len(submissions(stub)) == 2
        write_days(operator, D4)
        operator.catch_up()
        assert len(submissions(stub)) == 3


def test_failing_day_does_not_keep_the_next(tmp_path: Path) -> None:
    def fails_once(request: Received) -> Answer:
        if request.path.startswith("/payloads"):
            return Answer(200, b'{"payloads": []}')
        days = json.loads(gzip.decompress(request.body))["days_coverage"]
        return Answer(500) if days == [str(D1)] else Answer(201)

    with serve_stub(fails_once) as stub:
        operator = Operator(tmp_path, stub.url, "a-token-of-the-node")
        write_days(operator, D1, D2, D3)
        assert operator.catch_up().returncode == 3
        assert results(operator) == {str(D1): "waits for the next run"}


def test_old_file_of_two_days_covers_neither(operator: Operator, service: Service) -> None:
    """It was named after the days of its requests, one of which was a stray."""
    write_days(operator, D1, D2)
    assert operator.run(operator.log(D1, ".bz2"), directory="elsewhere").returncode == 0
    content = read_content_hash(operator.home / "elsewhere" / f"{D1}_{D1}.json.gz")
    out = operator.home / "out"
    out.mkdir()
    state = {"hash": content, "sent": [{"url": f"{service.url}/submit", "hash": content,
             "sent_at": "2026-10-03T00:00:00Z", "answer": "201 CREATED"}]}  # fmt: skip
    for first, last in ((D1, D2), (D1, D1)):
        (out / f"{first}_{last}.json.gz.delivery").write_text(json.dumps(state))
    assert list(results(operator, "--since", "all")) == [str(D2)]
    assert operator.stored_requests() == 20


def test_killed_while_it_wrote_heals_itself(operator: Operator, service: Service) -> None:
    write_days(operator, D1)
    service.stop()
    operator.catch_up("--since", "all")
    service.start()
    with contextlib.suppress(FileNotFoundError):
        (operator.home / "out" / f"{D1}_{D1}.json.gz").unlink()
    done = operator.catch_up()
    assert done.returncode == 0, done.stderr
    assert operator.stored_requests() == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--catch-up", "--no-requests", "2999-01-01", "logs"], "not over"),
        (["--catch-up"], "needs the directory"),
        (["--catch-up", "-"], "needs the directory"),
        (["--catch-up", "--replaces", "1", "logs"], "for one day"),
        (["--since", "all", "logs"], "for --catch-up"),
        (["--catch-up", "--since", "some", "logs"], "--since"),
    ],
)
def test_wrong_command_line_is_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    operator = Operator(tmp_path, "http://127.0.0.1:9", "a-token-of-the-node")
    done = operator.run(*arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()
