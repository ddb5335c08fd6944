"""Records that a follower sends about the status of a ringserver."""

import datetime

import pytest

from eida_statistics.connections import CloseAfter, ServerStart, Snapshot
from eida_statistics.ringserver.identity import ClientKey
from eida_stats_aggregator.ringserver.confirmations import Confirmations
from eida_stats_aggregator.ringserver.follow_state import FollowState
from eida_stats_aggregator.ringserver.status import Status, parse_sessions
from support.access_logs import REAL_CONNECTIONS

NOW = datetime.datetime(2026, 11, 22, 2, 3, tzinfo=datetime.UTC)
START = NOW - datetime.timedelta(hours=1)
RESTART = NOW + datetime.timedelta(minutes=3)
MONTH = 30 * 86400


def at(seconds: int) -> datetime.datetime:
    return NOW + datetime.timedelta(seconds=seconds)


def answer(seconds: int, start: datetime.datetime | None = START, *, lists: bool = False) -> Status:
    return Status(at(seconds), start, [] if lists else None, [])


def fail(seconds: int) -> Status:
    return Status(at(seconds), None, None, ["connection refused"])


@pytest.fixture
def state() -> FollowState:
    return FollowState("http://centre.example", "rs-a", "key", close_after=None)


@pytest.fixture
def confirmations(state: FollowState) -> Confirmations:
    return Confirmations("rs-a", MONTH, state)


def test_start_is_sent_once(confirmations: Confirmations, state: FollowState) -> None:
    confirmations.note(answer(0))
    confirmations.note(answer(30))
    assert confirmations.list_waiting() == [ServerStart("rs-a", START)]
    confirmations.acknowledge()
    confirmations.note(answer(60))
    assert confirmations.list_waiting() == []
    assert state.server_start == START


def test_restart_has_the_first_failure(confirmations: Confirmations, state: FollowState) -> None:
    state.server_start = START
    for status in (answer(0), fail(30), fail(60), answer(200, RESTART)):
        confirmations.note(status)
    assert confirmations.list_waiting() == [ServerStart("rs-a", RESTART, at(30))]


def test_failure_without_restart_is_forgotten(confirmations: Confirmations, state: FollowState) -> None:
    state.server_start = START
    for status in (fail(30), answer(60), answer(200, RESTART)):
        confirmations.note(status)
    assert confirmations.list_waiting() == [ServerStart("rs-a", RESTART)]


def test_failure_after_the_start_says_nothing(confirmations: Confirmations) -> None:
    confirmations.note(fail(30))
    confirmations.note(answer(60, at(20)))
    assert confirmations.list_waiting() == [ServerStart("rs-a", at(20))]


def test_last_two_lists_are_kept(confirmations: Confirmations, state: FollowState) -> None:
    state.server_start = START
    for seconds in (0, 30, 60):
        confirmations.note(answer(seconds, lists=True))
    assert confirmations.list_waiting() == [Snapshot("rs-a", at(30), []), Snapshot("rs-a", at(60), [])]


def test_rule_is_in_force_while_nothing_confirms(confirmations: Confirmations, state: FollowState) -> None:
    state.server_start = START
    for seconds in (0, 30, 120):
        confirmations.note(fail(seconds))
    assert confirmations.list_waiting() == []
    confirmations.note(fail(121))
    confirmations.note(fail(150))
    assert confirmations.list_waiting() == [CloseAfter("rs-a", at(121), MONTH)]
    confirmations.acknowledge()
    confirmations.note(fail(180))
    assert confirmations.list_waiting() == []
    confirmations.note(answer(210))
    assert confirmations.list_waiting() == [CloseAfter("rs-a", at(210), None)]
    confirmations.acknowledge()
    assert state.close_after is None


def test_first_status_is_sent_as_a_rule() -> None:
    state = FollowState("http://centre.example", "rs-a", "key", server_start=START)
    confirmations = Confirmations("rs-a", MONTH, state)
    confirmations.note(answer(0))
    confirmations.note(answer(30))
    assert confirmations.list_waiting() == [CloseAfter("rs-a", at(0), None)]
    confirmations.acknowledge()
    assert state.close_after is None


def test_list_alone_confirms(confirmations: Confirmations) -> None:
    confirmations.note(fail(0))
    confirmations.note(answer(30, None, lists=True))
    confirmations.note(fail(60))
    confirmations.note(fail(150))
    assert [type(one) for one in confirmations.list_waiting()] == [Snapshot]


@pytest.mark.skipif(not REAL_CONNECTIONS.exists(), reason="the real answers are not here")
def test_real_list_has_its_length() -> None:
    sessions = parse_sessions(REAL_CONNECTIONS.read_bytes(), ClientKey(b"salt"))
    assert sum(one.count for one in sessions) == 22
    assert {one.protocol for one in sessions} <= {"HTTP", "SeedLink", "DataLink", None}


@pytest.mark.parametrize("text", [b"", b"<html>", b"{}", b'{"connections":[]}', b"\xff"])
def test_other_answers_are_no_lists(text: bytes) -> None:
    with pytest.raises(Exception, match="not a list of connections"):
        parse_sessions(text, ClientKey(b"salt"))
