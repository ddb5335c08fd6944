"""Find the sessions of a ringserver, and the events that count them, from all known facts.

A *group* is all sessions with the same digits: clients behind one address that connected to one port in one second.
They cannot be told apart, and need not be. Everything here is a function of a set of facts, so that it does not
matter in which order, and how often, these were received.
"""

import datetime
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from eida_stats_webservice.connections.models import FIRST_MOMENT, Event, Session

BEGINNING_MARK, END_MARK = "!", "~"
"""The first characters of the source of an event that no log has: it is the first, or the last, of its second."""

# Two snapshots half a minute apart; the requests for them take some time.
CONFIRMED_AFTER = datetime.timedelta(seconds=25)
# Logs have whole seconds.
_SECOND = datetime.timedelta(seconds=1)


class ServerStart(NamedTuple):
    """A start of a ringserver, and the first failed request for its status before it, if there was one."""

    time: datetime.datetime
    failed: datetime.datetime | None = None


class CloseRule(NamedTuple):
    """From a time on, sessions end after so long without a confirmation; None: they do not."""

    since: datetime.datetime
    after: datetime.timedelta | None


@dataclass(frozen=True)
class Statements:
    """What a ringserver and its follower have stated about all sessions.

    Attributes:
        starts: by time; of one time, there may be several with different failed requests.
        rules: by time.
        newest_snapshot: the time of the newest snapshot.
        find_snapshot_after: returns the time of the first snapshot after a moment.
    """

    starts: Sequence[ServerStart] = ()
    rules: Sequence[CloseRule] = ()
    newest_snapshot: datetime.datetime | None = None
    find_snapshot_after: Callable[[datetime.datetime], datetime.datetime | None] = lambda _moment: None


class Group(msgspec.Struct, gc=False):
    """What is known of the sessions with the same digits.

    Attributes:
        session: the digits.
        port: the port of the server.
        connected: when they connected.
        logged: the connects and disconnects of the log files, each once.
        listings: the time of the latest snapshot that lists some of them, by their number in it.
        protocol: the protocol that a command or a snapshot shows.
        address: the keyed hash of the address, if it is known.
    """

    session: str
    port: int
    connected: datetime.datetime
    logged: list[Event] = []
    listings: dict[int, datetime.datetime] = {}
    protocol: str | None = None
    address: str | None = None


class _End(NamedTuple):
    time: datetime.datetime
    cause: str


def derive(group: Group, statements: Statements, now: datetime.datetime) -> tuple[list[Session], list[Event]]:
    """Return the sessions of a group, and the events that count them.

    A session ends by its logged disconnect. Otherwise it ends by the first of: a restart of the server; a snapshot
    without it, if another one half a minute later is without it, too; its age, if nothing confirms sessions.
    """
    connects = [event for event in group.logged if event.direction > 0]
    disconnects = sorted([event for event in group.logged if event.direction < 0])
    ended = [
        Session(number, event.recorded, "log", event.protocol or group.protocol)
        for number, event in enumerate(disconnects, 1)
    ]
    if len(connects) == len(disconnects) and not group.listings:
        # Most groups are complete, and the rest takes as long again.
        return ended, [*connects, *disconnects]
    count = max(len(connects), len(disconnects), _count_listed(group.listings, disconnects))
    beginnings = [
        Event(group.connected, f"{BEGINNING_MARK}{group.session}", number, 1, "inferred", group.session)
        for number in range(count - len(connects))
    ]
    seen = [_find_last_listing(group, disconnects, number) for number in range(1, count - len(disconnects) + 1)]
    ends = sorted(
        (_find_end(group.connected, listed, statements, now) for listed in seen),
        # Open sessions are last.
        key=lambda end: (end is None, end),
    )
    sessions = [
        *ended,
        *(
            Session(number, end and end.time, end and end.cause, group.protocol)
            for number, end in enumerate(ends, len(disconnects) + 1)
        ),
    ]
    closings = [
        Event(end.time, f"{END_MARK}{group.session}", number, -1, end.cause, group.session)
        for number, end in enumerate(ends)
        if end is not None
    ]
    return sessions, [*connects, *beginnings, *disconnects, *closings]


def _count_listed(listings: Mapping[int, datetime.datetime], disconnects: Sequence[Event]) -> int:
    """Return how many sessions there were at least, according to the snapshots."""
    return max(
        (
            number + sum(1 for event in disconnects if event.recorded + _SECOND <= time)
            for number, time in listings.items()
        ),
        default=0,
    )


def _find_last_listing(group: Group, disconnects: Sequence[Event], number: int) -> datetime.datetime | None:
    """Return the time of the last snapshot in which so many of the sessions without a disconnect were listed."""
    return max(
        (
            time
            for count, time in group.listings.items()
            if count - sum(1 for event in disconnects if event.recorded + _SECOND > time) >= number
        ),
        default=None,
    )


def _find_end(
    connected: datetime.datetime,
    listed: datetime.datetime | None,
    statements: Statements,
    now: datetime.datetime,
) -> _End | None:
    """Return the end of a session without a disconnect, None if it is open.

    Args:
        connected: when it connected.
        listed: when it was listed last.
        statements: those of its server.
        now: the present time; a session does not end by its age in the future.
    """
    seen = max(connected, listed or connected)
    ends = (
        _find_restart(seen, statements.starts),
        _find_absence(connected, listed, statements),
        _find_old_age(seen, statements.rules, now),
    )
    return min((end for end in ends if end is not None), key=lambda end: end.time, default=None)


def _find_restart(seen: datetime.datetime, starts: Sequence[ServerStart]) -> _End | None:
    following = starts[bisect_right(starts, seen, key=lambda start: start.time) :]
    # A request may fail although the server runs; a later session proves it.
    ends = (failed if failed is not None and seen <= failed < time else time for time, failed in following)
    first = min(ends, default=None)
    return None if first is None else _End(first, "restart")


def _find_absence(
    connected: datetime.datetime, listed: datetime.datetime | None, statements: Statements
) -> _End | None:
    newest = statements.newest_snapshot
    # A snapshot in the second of the connect may be older than it.
    seen = max(connected + _SECOND, listed or connected)
    if newest is None or newest < seen + CONFIRMED_AFTER:
        return None
    absent = statements.find_snapshot_after(seen)
    return _End(absent, "snapshot") if absent is not None and newest - absent >= CONFIRMED_AFTER else None


def _find_old_age(seen: datetime.datetime, rules: Sequence[CloseRule], now: datetime.datetime) -> _End | None:
    """Return the end of a session by its age, counted since it was seen, or since nothing confirms sessions."""
    unconfirmed_since: datetime.datetime | None = None
    for number, (since, after) in enumerate(rules, 1):
        if after is None:
            unconfirmed_since = None
            continue
        if unconfirmed_since is None:
            # Before the first rule, nothing has confirmed sessions either.
            unconfirmed_since = FIRST_MOMENT if number == 1 else since
            end = max(seen, unconfirmed_since) + after
        else:
            # A shorter time ends sessions from now on.
            end = max(max(seen, unconfirmed_since) + after, since)
        if end <= now and (number == len(rules) or end < rules[number].since):
            return _End(end, "age")
    return None


def merge_starts(stated: Iterable[tuple[datetime.datetime, datetime.datetime | None]]) -> list[ServerStart]:
    """Return the starts of a server by time, each once."""
    return [ServerStart(*start) for start in sorted(set(stated), key=lambda start: start[0])]


def merge_rules(stated: Iterable[tuple[datetime.datetime, int | None]]) -> list[CloseRule]:
    """Return the rules of a server by time. Of two at one time, the one that ends no session counts."""
    rules: dict[datetime.datetime, int | None] = {}
    for since, seconds in stated:
        known = rules.get(since, seconds)
        rules[since] = None if known is None or seconds is None else max(known, seconds)
    return [
        CloseRule(since, None if (seconds := rules[since]) is None else datetime.timedelta(seconds=seconds))
        for since in sorted(rules)
    ]
