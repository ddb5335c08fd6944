"""`ringserverstats_follow`: its checks and messages before it sends anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eida_statistics.connections import decode_records
from support.access_logs import COMMAND, CONNECT, DISCONNECT, write_log
from support.commands import run_command
from support.follow import FollowOperator, serve_centre
from support.processes import wait_for
from support.stubs import environment, find_unused_url

# A process may start slowly while other tests run.
LONG = 120


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[FollowOperator]:
    with serve_centre() as centre:
        yield FollowOperator(tmp_path, centre)


def test_start_names_logs_and_service(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT, name="rs-b-accesslog-20261122T0203-20261122T0204.jsonl")
    done = operator.run_once()
    assert f"follows {operator.logs} as instance rs-a, sent to {operator.centre.url}/connections\n" in done.stdout
    assert "reads the logs of rs-b as instance rs-a" in done.stderr


def test_directory_without_log_is_named_once(operator: FollowOperator) -> None:
    text = f"no access log in {operator.logs} yet"
    assert text in operator.run_once(code=1).stderr
    with operator.follow():
        wait_for(lambda: text in operator.read_errors(), LONG)
        write_log(operator.logs, CONNECT)
        wait_for(lambda: operator.centre.events, LONG)
    assert operator.read_errors().count(text) == 1


def test_dry_run_shows_records_and_writes_nothing(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT, COMMAND, DISCONNECT)
    before = sorted(operator.home.rglob("*"))
    words = [operator.logs, "--instance", "rs-a", "--dry-run"]
    done = run_command(
        "ringserverstats_follow", words, folder=operator.home, environment=environment(operator.home)
    )
    assert done.returncode == 0, done
    assert "these hashes are not those that will be sent" in done.stderr
    records = decode_records(done.stdout.encode())
    assert [type(one).__name__ for one in records] == ["Connect", "Command", "Disconnect", "CloseAfter"]
    assert not operator.centre.requests
    assert sorted(operator.home.rglob("*")) == before


def test_second_follower_is_refused(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    with operator.follow():
        wait_for(lambda: operator.centre.events, LONG)
        assert f"Another process has this state file open: {operator.state}" in operator.run_once(code=1).stderr


def test_other_key_stops(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    operator.run_once()
    (operator.home / "key").write_text("other")
    assert "was written with another key" in operator.run_once(code=2).stderr
    assert len(operator.centre.events) == 1


def test_other_service_or_instance_stops(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    operator.run_once()
    assert "is for the ringserver rs-a" in operator.run_once("--instance", "rs-b", code=2).stderr
    done = operator.run_once("--send-to", "http://other.example", code=2)
    assert f"is for the service {operator.centre.url}" in done.stderr
    done = operator.run_once("--dry-run", "--send-to", "http://other.example", code=2)
    assert f"is for the service {operator.centre.url}" in done.stderr


def test_unused_state_belongs_to_nothing(operator: FollowOperator) -> None:
    write_log(operator.logs, CONNECT)
    operator.run_once("--send-to", find_unused_url(), "--instance", "rs-b", code=3)
    operator.run_once()
    assert len(operator.centre.events) == 1


def test_token_of_another_node_stops(operator: FollowOperator) -> None:
    path = write_log(operator.logs, CONNECT)
    operator.run_once()
    write_log(operator.logs, CONNECT, DISCONNECT, name=path.name)
    operator.centre.node = "NODE 2"
    before = len(operator.centre.requests)
    done = operator.run_once(code=2)
    assert "it is that of node NODE 2, and the logs were sent for node NODE 1" in done.stderr
    assert len(operator.centre.requests) == before
    operator.centre.node = "NODE 1"
    operator.run_once()
    assert len(operator.centre.events) == 2


def test_bad_state_file_is_named(operator: FollowOperator) -> None:
    operator.state.write_text("{")
    assert "is damaged" in operator.run_once(code=1).stderr
    assert "cannot be used" in operator.run_once("--state", "/proc/x/state.json", code=1).stderr
    assert not operator.centre.requests


@pytest.mark.parametrize(
    "options",
    [
        ("--instance", ""),
        ("--instance", "a/b"),
        ("--send-to", "elsewhere"),
        ("--every", "1h"),
        ("--every", "fast"),
        ("--close-after", "0d"),
        ("--close-after", "99999d"),
        ("--status", "127.0.0.1:18000"),
        ("--key-file", "missing"),
    ],
)
def test_bad_options_are_refused(operator: FollowOperator, options: tuple[str, str]) -> None:
    assert options[0] in operator.run_once(*options, code=2).stderr
