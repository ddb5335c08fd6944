"""Compare the events and sessions with those that follow from the log."""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from eida_stats_webservice.connections.differences import ConnectionDifference, write_moment
from eida_stats_webservice.connections.merging import merge_groups
from eida_stats_webservice.connections.models import Event, Installation, Sensor, Session
from eida_stats_webservice.connections.session_tables import SessionTables
from eida_stats_webservice.connections.sessions import Group, Statements, derive
from eida_stats_webservice.connections.sums import find_placed
from eida_stats_webservice.connections.tables import ConnectionTables, parse_optional
from eida_stats_webservice.database.base import Database, format_moment, parse_time, select_rows, to_records
from eida_stats_webservice.registry.models import Node

_MOMENT = datetime.timedelta(microseconds=1)
Derived = tuple[list[Session], list[Event]]


class _NamedSensor(Sensor, frozen=True):
    """A sensor with the name of its node."""

    node: str


class SessionVerification:
    """Verifies the events of doors, and the events and sessions of ringservers, in a snapshot of the database."""

    def __init__(
        self,
        database: Database,
        tables: ConnectionTables,
        queries: Any,
        connection: Any,
        now: datetime.datetime,
    ) -> None:
        self._database = database
        self._tables = tables
        self._sessions = SessionTables(tables)
        self._queries = queries
        self._connection = connection
        self._now = now
        self._first_kept = tables.find_first_kept(connection)
        rows = select_rows(connection, queries.list_sensors_of_nodes)
        self._sensors = {sensor.id: sensor for sensor in to_records(_NamedSensor, rows)}
        self._installations = tables.find_installations(connection, self._sensors)
        self._statements: tuple[int, Statements] | None = None

    def verify(self) -> Iterator[ConnectionDifference]:
        """Yield the differences."""
        yield from self._verify_doors()
        facts = self._stream(self._tables.queries.list_facts)
        lists = [facts, self._stream(self._queries.stored_events), self._stream(self._queries.stored_sessions)]
        for (sensor_id, session), found in merge_groups(lists, lambda row: (row[0], row[1])):
            yield from self._verify_group(self._sensors[sensor_id], session, *found)

    def _stream(self, query: Any, **parameters: object) -> Iterator[tuple[Any, ...]]:
        return self._database.stream(self._connection, query.sql, parameters)

    # Doors

    def _verify_doors(self) -> Iterator[ConnectionDifference]:
        start = format_moment(self._first_kept)
        lists = [self._stream(self._queries.counts_in_log, start=start)]
        lists.append(self._stream(self._queries.stored_counts, start=start))
        for (sensor_id, moment, _), (logged, stored) in merge_groups(lists, lambda row: (row[0], row[1], row[2])):
            sensor = self._sensors[sensor_id]
            recorded = parse_time(moment)
            placed = any(one.covers(recorded) for one in self._installations[sensor_id])
            due = [_describe_count(row[2], placed) for row in logged]
            found = [_describe_count(row[3], bool(row[4])) for row in stored]
            if due != found:
                yield _make("sensor_events", sensor, write_moment(recorded), found, due)

    # Ringservers

    def _verify_group(
        self,
        sensor: _NamedSensor,
        session: str,
        facts: Sequence[tuple[Any, ...]],
        stored_events: Sequence[tuple[Any, ...]],
        stored_sessions: Sequence[tuple[Any, ...]],
    ) -> Iterator[ConnectionDifference]:
        """Yield the differences of the sessions with the same digits."""
        connected = [parse_time(row[6]) for row in facts[:1]] + [parse_time(row[6]) for row in stored_sessions[:1]]
        is_old = bool(connected) and connected[0] < self._first_kept
        if is_old and not stored_events:
            return
        events = [
            Event(parse_time(row[2]), row[3], row[4], row[5], row[6], session, row[8]) for row in stored_events
        ]
        placed = {event for event, row in zip(events, stored_events, strict=True) if row[7]}
        sessions = [Session(row[2], parse_optional(row[3]), row[4], row[5]) for row in stored_sessions]
        group = None if not facts else self._make_group(sensor, session, facts, is_old=is_old)
        due = ([], []) if group is None else self._derive(sensor, group, events)
        yield from _compare_events(sensor, session, (events, placed), due[1], self._installations[sensor.id])
        yield from _compare_sessions(sensor, session, sessions, due[0])

    def _make_group(self, sensor: Sensor, session: str, facts: Sequence[tuple[Any, ...]], *, is_old: bool) -> Group:
        group = Group(session, int(facts[0][7]), parse_time(facts[0][6]))
        logged: dict[tuple[str, int], Event] = {}
        for _, _, event, recorded, source, position, connected, _, protocol in facts:
            moment = parse_time(recorded)
            if event == "listed":
                group.listings[position] = max(moment, group.listings.get(position, moment))
                continue
            direction = 1 if event == "connect" else -1
            moment = max(moment, parse_time(connected))
            logged.setdefault(
                (source, position), Event(moment, source, position, direction, "log", session, protocol)
            )
        group.logged = list(logged.values())
        if is_old:
            # The snapshots that listed it may be archived.
            known = self._sessions.read_known(self._connection, sensor, [session], {session})
            group.listings = known.listings.get(session, {})
        return group

    def _derive(self, sensor: _NamedSensor, group: Group, stored: Sequence[Event]) -> Derived:
        """Return the sessions and events that are due now, or were due when the stored ones were derived.

        A session may have grown too old since then.
        """
        statements = self._read_statements(sensor)
        due = derive(group, statements, self._now)
        if set(due[1]) == set(stored):
            return due
        for end in sorted({event.recorded for event in due[1] if event.cause == "age"}):
            earlier = derive(group, statements, end - _MOMENT)
            if set(earlier[1]) == set(stored):
                return earlier
        return due

    def _read_statements(self, sensor: _NamedSensor) -> Statements:
        if self._statements is None or self._statements[0] != sensor.id:
            node = Node(sensor.node_id, sensor.node)
            instance = sensor.name.removeprefix(f"{sensor.node}/")
            self._statements = (
                sensor.id,
                self._sessions.read_statements(self._connection, node, instance),
            )
        return self._statements[1]


def _compare_events(
    sensor: Sensor,
    session: str,
    stored: tuple[Sequence[Event], set[Event]],
    due: Sequence[Event],
    installations: Sequence[Installation],
) -> Iterator[ConnectionDifference]:
    placed = stored[1]
    found = {_identify(event): _describe(event, event in placed) for event in stored[0]}
    expected = {
        _identify(event): _describe(event, is_counted)
        for event, is_counted in zip(due, find_placed(due, installations), strict=True)
    }
    for key in sorted(found.keys() | expected.keys()):
        if found.get(key) != expected.get(key):
            where = f"{write_moment(key[0])} {key[1]} {key[2]} of session {session}"
            yield ConnectionDifference("sensor_events", sensor.name, where, found.get(key), expected.get(key))


def _compare_sessions(
    sensor: Sensor, session: str, stored: Sequence[Session], due: Sequence[Session]
) -> Iterator[ConnectionDifference]:
    """Yield the sessions that differ. The log has no protocols of commands, which are not compared."""
    found = {one.number: one for one in stored}
    expected = {one.number: one for one in due}
    for number in sorted(found.keys() | expected.keys()):
        one, other = found.get(number), expected.get(number)
        if one is not None and other is not None and other.protocol is None:
            one = msgspec.structs.replace(one, protocol=None)
        if one != other:
            texts = [None if each is None else _describe_session(each) for each in (one, other)]
            yield ConnectionDifference("sessions", sensor.name, f"{session} {number}", *texts)


def _identify(event: Event) -> tuple[datetime.datetime, str, int]:
    return event.recorded, event.source, event.position


def _describe(event: Event, is_counted: bool) -> str:
    return (
        f"{_describe_count(event.direction, is_counted)} by {event.cause}, protocol {event.protocol or 'unknown'}"
    )


def _describe_count(direction: int, is_counted: bool) -> str:
    return f"{direction:+}{'' if is_counted else ' (unplaced)'}"


def _describe_session(session: Session) -> str:
    return f"{write_moment(session.closed_at)} by {session.closed_by}, protocol {session.protocol or 'unknown'}"


def _make(table: str, sensor: Sensor, key: str, stored: Sequence[str], due: Sequence[str]) -> ConnectionDifference:
    return ConnectionDifference(table, sensor.name, key, next(iter(stored), None), next(iter(due), None))
