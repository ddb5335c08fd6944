"""`ringserverstats_follow`: access logs are sent, each event once."""

import bz2
import gzip
import lzma
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from eida_statistics.connections import (
    Alive,
    CloseAfter,
    Command,
    Connect,
    Disconnect,
    ServerStart,
    Snapshot,
)
from eida_statistics.ringserver.access_log import MAX_LINE_BYTES
from eida_statistics.zstandard import zstd
from support.access_logs import CONNECT, DISCONNECT, REAL_ACCESS, Line, write_log
from support.follow import CONFLICT, DOWN, FUTURE, FollowOperator, serve_centre, serve_status
from support.processes import wait_for
from support.stubs import Answer, find_unused_url, problem

MANY = [Line(address=f"192.0.2.{number}") for number in range(50)]
SECOND = "accesslog-20261122T0204-20261122T0205.jsonl"
START = "2026-11-22T02:01:45Z"
# A process may start slowly while other tests run.
LONG = 120


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[FollowOperator]:
    with serve_centre() as centre:
        yield FollowOperator(tmp_path, centre)


@pytest.mark.skipif(not REAL_ACCESS.exists(), reason="the real logs are not here")
def test_real_logs_arrive(operator: FollowOperator) -> None:
    done = operator.run_once(REAL_ACCESS.name, code=2)
    assert "unexpected extra argument" in done.stderr
    for path in REAL_ACCESS.iterdir():
        (operator.logs / path.name).write_bytes(path.read_bytes())
    operator.run_once()
    events = operator.centre.events
    assert (sum(isinstance(one, Connect) for one in events), len(events)) == (91, 177)
    sessions = {one.session for one in events if isinstance(one, Connect | Disconnect)}
    commands = operator.centre.others
    assert {one.session for one in commands if isinstance(one, Command)} <= sessions


def test_log_is_sent_once_as_it_grows(operator: FollowOperator) -> None:
    path = write_log(operator.logs, CONNECT, CONNECT)
    assert "sent, 2 new events, 0 rejected" in operator.run_once().stdout
    with path.open("ab") as log:
        log.write(DISCONNECT.text() + DISCONNECT.text()[:50])
    operator.run_once()
    with path.open("ab") as log:
        log.write(DISCONNECT.text()[50:])
    operator.run_once()
    sent = [one for request in operator.centre.requests for one in request if isinstance(one, Connect | Disconnect)]
    length = len(CONNECT.text())
    assert [one.position for one in sent] == [
        *(0, length, 2 * length, 2 * length + len(DISCONNECT.text())),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_packed_log_is_the_same(operator: FollowOperator, pack: Callable[[bytes], bytes]) -> None:
    path = write_log(operator.logs, *MANY)
    operator.run_once()
    packed = path.with_name("old-accesslog.packed")
    packed.write_bytes(pack(path.read_bytes() + DISCONNECT.text()))
    path.unlink()
    assert "1 new event," in operator.run_once().stdout
    assert len(operator.centre.events) == len(MANY) + 1


def test_cut_archive_is_read_once_it_is_whole(operator: FollowOperator) -> None:
    packed = gzip.compress(b"".join(line.text() for line in MANY))
    path = operator.logs / f"{SECOND}.gz"
    path.write_bytes(packed[:-9])
    assert f"{path.name}: " in operator.run_once(code=1).stderr
    path.write_bytes(packed)
    operator.run_once()
    assert len(operator.centre.events) == len(MANY)


def test_damaged_line_is_reported(operator: FollowOperator) -> None:
    path = write_log(operator.logs, CONNECT)
    path.write_bytes(path.read_bytes()[:90] + DISCONNECT.text() + bytes(7) + CONNECT.text())
    done = operator.run_once(code=4)
    assert f"{path.name}: rejected: line 1: not JSON (90 bytes), line 2: NUL bytes (7 bytes)" in done.stderr
    assert [type(one) for one in operator.centre.events] == [Disconnect, Connect]
    assert operator.run_once().stderr == ""


def test_other_logs_are_left_alone(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT, name="txlog-20261122T0203-20261122T0204.jsonl")
    write_log(operator.logs, CONNECT, name="rs-b-accesslog-20261122T0203-20261122T0204.jsonl")
    write_log(operator.logs, CONNECT, CONNECT, name="rs-a-accesslog-20261122T0203-20261122T0204.jsonl")
    operator.run_once()
    assert len(operator.centre.events) == 2
    done = operator.run_once("--instance", "rs-c", "--state", "other", code=1)
    assert "begin with rs-a, rs-b" in done.stderr


def test_foreign_file_is_named(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    (operator.logs / SECOND).write_bytes(b"x" * (MAX_LINE_BYTES + 1))
    assert "have no record of an access log" in operator.run_once(code=1).stderr
    assert len(operator.centre.events) == 1


def test_truncated_log_is_named(operator: FollowOperator) -> None:
    path = write_log(operator.logs, *MANY)
    operator.run_once()
    path.write_bytes(path.read_bytes()[:900])
    assert "Was it truncated?" in operator.run_once(code=1).stderr


def test_changed_log_is_named(operator: FollowOperator) -> None:
    path = write_log(operator.logs, *MANY)
    operator.run_once()
    path.write_bytes(b"".join([MANY[0].text(), *(line.text() for line in reversed(MANY)), *[CONNECT.text()] * 9]))
    assert "it has changed before byte" in operator.run_once(code=1).stderr
    assert len(operator.centre.events) == len(MANY)


def test_replaced_log_is_another_one(operator: FollowOperator) -> None:
    path = write_log(operator.logs, *MANY)
    operator.run_once()
    write_log(operator.logs, DISCONNECT, name=path.name)
    operator.run_once()
    assert len(operator.centre.events) == len(MANY) + 1


def test_batches_are_limited(operator: FollowOperator) -> None:
    write_log(operator.logs, *(Line(port=number) for number in range(10_050)))
    operator.run_once()
    assert max(map(len, operator.centre.requests)) <= 10_000
    assert len(operator.centre.events) == 10_050


def test_down_centre_loses_nothing(operator: FollowOperator) -> None:
    path = write_log(operator.logs, CONNECT)
    operator.centre.failure = DOWN
    with operator.follow() as process:
        wait_for(lambda: "Trying again" in operator.read_errors(), LONG)
        with path.open("ab") as log:
            log.write(DISCONNECT.text())
        operator.centre.failure = None
        wait_for(lambda: len(operator.centre.events) == 2, LONG)
        wait_for(lambda: "the service takes records again" in operator.read_errors(), LONG)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG) == 0
    assert operator.read_errors().count("Trying again") == 1


def test_record_of_the_future_is_sent_later(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    operator.centre.failure = FUTURE
    with operator.follow() as process:
        wait_for(lambda: "Check the clocks" in operator.read_errors(), LONG)
        operator.centre.failure = None
        wait_for(lambda: operator.centre.events, LONG)
        assert process.poll() is None


def test_killed_follower_goes_on(operator: FollowOperator) -> None:
    path = write_log(operator.logs, CONNECT)
    with operator.follow() as process:
        wait_for(lambda: operator.centre.events, LONG)
        process.kill()
    write_log(operator.logs, *MANY, name=SECOND)
    with path.open("ab") as log:
        log.write(DISCONNECT.text())
    with operator.follow():
        wait_for(lambda: len(operator.centre.events) == len(MANY) + 2, LONG)


def test_vanished_directory_is_reported_once(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    away = operator.home / "away"
    with operator.follow():
        wait_for(lambda: operator.centre.events, LONG)
        operator.logs.rename(away)
        wait_for(lambda: "No such file" in operator.read_errors(), LONG)
        write_log(away, CONNECT, DISCONNECT)
        away.rename(operator.logs)
        wait_for(lambda: len(operator.centre.events) == 2, LONG)
    assert operator.read_errors().count("No such file") == 1


def test_state_has_nothing_of_a_person(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    operator.run_once()
    text = operator.state.read_text()
    assert "192.0.2" not in text
    assert "Jane" not in text
    assert stat.S_IMODE(operator.state.stat().st_mode) == 0o600


def test_lost_state_sends_again(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT, DISCONNECT)
    operator.run_once()
    operator.state.unlink()
    assert "0 new events" in operator.run_once().stdout


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (CONFLICT, "Another event has this position"),
        (problem(400, "invalid-records"), "400"),
        (problem(401, "unauthorized"), "Check the token"),
        (Answer(404, b""), "Check the URL"),
        (Answer(200, b"<html>"), "Check the URL"),
        (Answer(301, b"", {"Location": "https://elsewhere.example/"}), "Use --send-to https://elsewhere.example/"),
    ],
)
def test_refusal_is_named(operator: FollowOperator, answer: Answer, expected: str) -> None:
    write_log(operator.logs, CONNECT)
    operator.centre.failure = answer
    assert expected in operator.run_once(code=3).stderr
    operator.centre.failure = None
    operator.run_once()
    assert len(operator.centre.events) == 1


def test_conflict_stops_the_follower(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    operator.centre.failure = CONFLICT
    with operator.follow() as process:
        assert process.wait(LONG) == 3
    assert "move it out of the directory" in operator.read_errors()


def test_status_is_sent(operator: FollowOperator) -> None:
    client = {"ip_address": "192.0.2.17", "server_port": "18000", "type": "SeedLink:TLS"}
    client["connect_time"] = "2026-11-22T02:03:11Z"
    write_log(operator.logs, CONNECT)
    with serve_status(START, [client, client]) as ringserver:
        operator.run_once("--status", f"{ringserver.url}/")
        operator.run_once("--status", ringserver.url)
    start, first, rule, second = operator.centre.others
    assert isinstance(rule, CloseAfter)
    assert rule.seconds is None
    assert (start, type(second)) == (ServerStart("rs-a", start.time), Snapshot)  # type: ignore[union-attr]
    assert isinstance(first, Snapshot)
    (connect,) = operator.centre.events
    (session,) = first.sessions or []
    assert (session.session, session.address) == (connect.session, connect.address)  # type: ignore[union-attr]
    assert (session.count, session.protocol) == (2, "SeedLink")


def test_refused_list_is_reported(operator: FollowOperator) -> None:
    write_log(operator.logs)
    with serve_status(START) as ringserver:
        done = operator.run_once("--status", ringserver.url)
    assert "/connections/json: 403" in done.stderr
    assert "Ends of sessions that the log does not show are not seen." in done.stderr
    assert [type(one) for one in operator.centre.others] == [ServerStart, CloseAfter]


def test_silent_ringserver_is_reported(operator: FollowOperator) -> None:
    url = find_unused_url()
    write_log(operator.logs)
    assert "/id/json: connection refused" in operator.run_once("--status", url).stderr
    assert not operator.centre.others
    assert "failed_since" in msgspec.json.decode(operator.state.read_bytes())


def test_rule_is_sent_when_it_changes(operator: FollowOperator) -> None:
    write_log(operator.logs)
    for days in ("30d", "30d", "10d"):
        operator.run_once("--close-after", days)
    assert [one.seconds for one in operator.centre.others if isinstance(one, CloseAfter)] == [30 * 86400, 864000]


def test_quiet_follower_is_alive(operator: FollowOperator) -> None:
    write_log(operator.logs)
    with serve_status(START) as ringserver, operator.follow("--status", ringserver.url):
        wait_for(lambda: operator.centre.requests, LONG)
    operator.run_once("--status", find_unused_url())
    assert [type(one) for one in operator.centre.requests[-1]] == [Alive]


def test_installation_needs_no_web_service(operator: FollowOperator) -> None:
    code = "import sys; import eida_stats_aggregator.ringserver.follow; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"eida_stats_webservice", "flask", "psycopg2", "aiosql"}
