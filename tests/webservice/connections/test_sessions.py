"""The sessions of a ringserver, and the events that count them, from all that is known."""

import datetime
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_stats_webservice.connections.models import Event
from eida_stats_webservice.connections.sessions import (
    CloseRule,
    Group,
    ServerStart,
    Statements,
    derive,
    merge_rules,
    merge_starts,
)
from support.live_connections import PORT, START, at

DIGITS = "0123456789abcdef"
LATER = at(10 * 365 * 86400)
NEVER = CloseRule(START, None)


def state(
    starts: Sequence[ServerStart] = (), rules: Sequence[CloseRule] = (), snapshots: Sequence[float] = ()
) -> Statements:
    times = [at(seconds) for seconds in snapshots]
    return Statements(
        merge_starts(starts),
        rules,
        max(times, default=None),
        lambda moment: min((time for time in times if time > moment), default=None),
    )


def rule(since: float, seconds: float | None) -> CloseRule:
    return CloseRule(at(since), None if seconds is None else datetime.timedelta(seconds=seconds))


def make_group(connects: int, disconnects: Sequence[float] = (), listings: dict[int, float] | None = None) -> Group:
    """Return a group of sessions that have connected at 0."""
    logged = [Event(START, "file", number, 1, "log", DIGITS) for number in range(connects)]
    logged += [Event(at(time), "file", 100 + number, -1, "log", DIGITS) for number, time in enumerate(disconnects)]
    listed = {count: at(time) for count, time in (listings or {}).items()}
    return Group(DIGITS, PORT, START, logged, listed)


def summarize(
    group: Group, statements: Statements, now: datetime.datetime = LATER
) -> list[tuple[float | None, str]]:
    """Return end and cause of each session, and check that its events count it once."""
    sessions, events = derive(group, statements, now)
    assert [one.number for one in sessions] == list(range(1, len(sessions) + 1))
    assert sum(1 for event in events if event.direction > 0) == len(sessions)
    ends = [event.recorded for event in events if event.direction < 0]
    assert sorted(ends) == sorted(one.closed_at for one in sessions if one.closed_at is not None)
    assert len({event[:3] for event in events}) == len(events)
    return [
        (None if one.closed_at is None else (one.closed_at - START).total_seconds(), one.closed_by or "open")
        for one in sessions
    ]


# The group, what the server has stated, and the end of each session.
CASES = {
    "connect alone": (make_group(1), state(), [(None, "open")]),
    "disconnect alone": (make_group(0, [9]), state(), [(9, "log")]),
    "equal lines": (make_group(5, [9, 9]), state(), [(9, "log"), (9, "log"), *[(None, "open")] * 3]),
    "more disconnects": (make_group(1, [4, 9]), state(), [(4, "log"), (9, "log")]),
    "restart": (make_group(1), state([ServerStart(at(60))]), [(60, "restart")]),
    "two restarts": (make_group(1), state([ServerStart(at(90)), ServerStart(at(60))]), [(60, "restart")]),
    "restart in the second of the connect": (make_group(1), state([ServerStart(at(0))]), [(None, "open")]),
    "restart before": (make_group(1), state([ServerStart(at(-9))]), [(None, "open")]),
    "failed request": (make_group(1), state([ServerStart(at(60), at(50))]), [(50, "restart")]),
    "failed request before the connect": (make_group(1), state([ServerStart(at(60), at(-5))]), [(60, "restart")]),
    "failed request before a listing": (
        make_group(1, [], {1: 55}), state([ServerStart(at(60), at(50))]), [(60, "restart")],
    ),
    "disconnect after a restart": (make_group(1, [70]), state([ServerStart(at(60))]), [(70, "log")]),
    "listed": (make_group(0, [], {2: 30}), state(snapshots=[30]), [(None, "open")] * 2),
    "listed after a restart": (make_group(1, [], {1: 90}), state([ServerStart(at(60))]), [(None, "open")]),
    "listed after a disconnect": (make_group(1, [5], {1: 30}), state(), [(5, "log"), (None, "open")]),
    "listed in the second of its disconnect": (make_group(1, [30], {1: 30.9}), state(), [(30, "log")]),
    "missing once": (make_group(1), state(snapshots=[30]), [(None, "open")]),
    "missing in two snapshots": (make_group(1), state(snapshots=[30, 60]), [(30, "snapshot")]),
    "missing in two that are close": (make_group(1), state(snapshots=[30, 40]), [(None, "open")]),
    "missing after a listing": (make_group(1, [], {1: 30}), state(snapshots=[30, 60, 90]), [(60, "snapshot")]),
    "some are missing": (
        make_group(3, [], {3: 30, 1: 90}), state(snapshots=[30, 60, 90]), [(60, "snapshot")] * 2 + [(None, "open")],
    ),
    "snapshot in the second of the connect": (make_group(1), state(snapshots=[0.5, 30.5]), [(None, "open")]),
    "missing before a restart": (
        make_group(1), state([ServerStart(at(40))], snapshots=[30, 60]), [(30, "snapshot")],
    ),
    "restart before it is missing": (
        make_group(1), state([ServerStart(at(20))], snapshots=[30, 60]), [(20, "restart")],
    ),
    "old": (make_group(1), state(rules=[rule(-9, 100)]), [(100, "age")]),
    "old before the first rule": (make_group(1), state(rules=[rule(150, 100)]), [(100, "age")]),
    "old since a later rule": (
        make_group(1), state(rules=[rule(-9, None), rule(50, 100)]), [(150, "age")],
    ),
    "shorter rule": (make_group(1), state(rules=[rule(-9, 500), rule(50, 20)]), [(50, "age")]),
    "longer rule": (make_group(1), state(rules=[rule(-9, 80), rule(50, 100)]), [(100, "age")]),
    "old since a listing": (make_group(1, [], {1: 30}), state(rules=[rule(-9, 100)]), [(130, "age")]),
    "confirmed again in time": (make_group(1), state(rules=[rule(-9, 100), rule(100, None)]), [(None, "open")]),
    "confirmed again too late": (make_group(1), state(rules=[rule(-9, 100), rule(101, None)]), [(100, "age")]),
    "no rule": (make_group(1), state(rules=[rule(-9, None)]), [(None, "open")]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_sessions_end(case: str) -> None:
    group, statements, expected = CASES[case]
    assert summarize(group, statements) == expected


@pytest.mark.parametrize("rules", [[rule(-9, 100)], [rule(-9, 100), rule(200, None)]])
def test_no_session_ends_in_the_future(rules: list[CloseRule]) -> None:
    statements = state(rules=rules)
    assert summarize(make_group(1), statements, at(99)) == [(None, "open")]
    assert summarize(make_group(1), statements, at(100)) == [(100, "age")]


def test_inferred_events_are_first_and_last_in_their_second() -> None:
    _, events = derive(make_group(0, [], {1: 0}), state([ServerStart(at(60))]), LATER)
    begin, end = events
    assert (begin.source[0], begin.cause, end.source[0], end.cause) == ("!", "inferred", "~", "restart")
    assert begin.source < "2024-04-22T02:00:00Z" < end.source


def test_protocol_of_the_log_wins_over_that_of_a_command() -> None:
    group = make_group(2, [9])
    group.protocol = "HTTP"
    group.logged = [event._replace(protocol="SeedLink" if event.direction < 0 else None) for event in group.logged]
    assert [one.protocol for one in derive(group, state(), LATER)[0]] == ["SeedLink", "HTTP"]


def test_equal_starts_and_rules_are_merged() -> None:
    start = (at(5), None)
    assert merge_starts([(at(9), at(7)), start, start]) == [ServerStart(at(5)), ServerStart(at(9), at(7))]
    assert merge_rules([(at(9), 5), (at(0), 5), (at(9), 8)]) == [rule(0, 5), rule(9, 8)]
    assert merge_rules([(at(9), 5), (at(9), None), (at(9), 8)]) == [rule(9, None)]


SECONDS = st.integers(-5, 200)


@given(
    st.integers(0, 3),
    st.lists(st.integers(0, 200), max_size=3),
    st.dictionaries(st.integers(1, 4), SECONDS),
    st.lists(st.tuples(SECONDS, st.none() | SECONDS), max_size=3),
    st.lists(st.tuples(SECONDS, st.none() | st.integers(1, 100)), max_size=3),
    st.sets(SECONDS),
    st.randoms(),
)
def test_each_session_is_counted_once_and_never_negative(
    connects: int,
    disconnects: list[float],
    listings: dict[int, float],
    starts: list[tuple[float, float | None]],
    rules: list[tuple[float, int | None]],
    snapshots: set[float],
    random: Random,
) -> None:
    group = make_group(connects, disconnects, listings)
    statements = state(
        [ServerStart(at(time), None if failed is None else at(failed)) for time, failed in starts],
        merge_rules((at(since), seconds) for since, seconds in rules),
        [*snapshots, *listings.values()],
    )
    ends = summarize(group, statements)
    assert len(ends) >= max(connects, len(disconnects))
    assert sum(1 for _, cause in ends if cause == "log") == len(disconnects)
    assert all(time is None or time >= 0 for time, _ in ends)
    before = derive(group, statements, LATER)
    random.shuffle(group.logged)
    after = derive(group, statements, LATER)
    assert (after[0], sorted(after[1])) == (before[0], sorted(before[1]))
