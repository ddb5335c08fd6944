"""Store what the follower of one ringserver has sent: find its sessions, and the events that count them."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eida_statistics.connections import (
    CloseAfter,
    Command,
    Connect,
    Disconnect,
    ListedSession,
    Record,
    ServerStart,
    Snapshot,
)
from eida_stats_webservice.connections.copy_lines import Row
from eida_stats_webservice.connections.errors import ArchivedEvents, ConflictingEvent, SnapshotUnknown
from eida_stats_webservice.connections.models import FIRST_MOMENT, Event, Sensor, Session
from eida_stats_webservice.connections.session_tables import Known, SessionTables
from eida_stats_webservice.connections.sessions import CONFIRMED_AFTER, Group, Statements, derive
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.registry.models import Node

KEEP_ADDRESS = datetime.timedelta(days=30)
"""How long after the end of a session the hash of its address is kept."""

Line = Connect | Disconnect
_LISTED = msgspec.json.Decoder(list[ListedSession])


class Change:
    """The events of a sensor that a transaction adds and removes."""

    def __init__(self) -> None:
        self.added: list[Event] = []
        self.removed: list[Event] = []
        self.created = 0


class RingserverBatch:
    """Stores the records of one ringserver in a transaction that has locked the node."""

    def __init__(
        self, tables: ConnectionTables, connection: Any, node: Node, sensor: Sensor, now: datetime.datetime
    ) -> None:
        self._tables = tables
        self._sessions = SessionTables(tables)
        self._connection = connection
        self._node = node
        self._sensor = sensor
        self._instance = sensor.name.removeprefix(f"{node.name}/")
        self._now = now
        self._first_kept = tables.find_first_kept(connection)
        self._groups: dict[str, Group] = {}
        self._protocols: set[tuple[str, str]] = set()
        self._touched: set[str] = set()
        self._listings: dict[tuple[str, int], datetime.datetime] = {}

    def store(self, records: Sequence[Record]) -> Change:
        """Store records, and return the events that they add and remove.

        Raises:
            ConflictingEvent: if a line differs from one that was received before.
            SnapshotUnknown: if a snapshot without sessions is the first one.
            ArchivedEvents: if a session has begun in a month whose events are archived.
        """
        before = snapshot = self._sessions.read_snapshot(self._connection, self._sensor)
        rows: list[Line | Row] = []
        lines: list[Line] = []
        moments: list[datetime.datetime] = []
        has_snapshot = False
        for record in records:
            if isinstance(record, (Connect, Disconnect)):
                lines.append(record)
                rows.append(record)
            elif isinstance(record, Command):
                self._protocols.add((record.session, record.protocol))
            elif isinstance(record, Snapshot):
                listed, details = _expand_snapshot(record, snapshot)
                rows.append(self._list_statement(record, details))
                self._list(record.time, listed)
                snapshot = _encode_listed(listed)
                moments.append(record.time)
                has_snapshot = True
            elif isinstance(record, ServerStart | CloseAfter):
                rows.append(self._list_statement(record, _encode_statement(record)))
                moments += _list_moments(record)
        if has_snapshot:
            moments += self._find_unconfirmed()
        # Written while the database stores the first ones.
        self._tables.add_to_log(self._connection, map(self._list_row, rows))
        self._sessions.put_protocols(self._connection, self._sensor, self._protocols)
        self._sessions.put_listings(self._connection, self._sensor, self._listings)
        self._touched.update(session for session, _ in self._protocols)
        if moments:
            self._touched |= self._sessions.find_unlogged_ends(self._connection, self._sensor, min(moments))
        new = self._find_new(lines)
        statements = self._sessions.read_statements(self._connection, self._node, self._instance)
        change = self._derive(statements)
        change.created = new
        self._sessions.put_state(
            self._connection,
            self._sensor,
            self._now,
            unconfirmed=not statements.rules or statements.rules[-1].after is not None,
            snapshot=None if snapshot == before else snapshot,
        )
        return change

    def derive_again(self, sessions: Iterable[str]) -> Change:
        """Derive some sessions again, since time has passed or statements have changed."""
        self._touched.update(sessions)
        statements = self._sessions.read_statements(self._connection, self._node, self._instance)
        return self._derive(statements)

    def _list_row(self, record: Line | Row) -> Row:
        """Return the row of the log for a line, or one that is written already."""
        if isinstance(record, tuple):
            return record
        if isinstance(record, Connect):
            event, direction, connected = "connect", 1, None
        else:
            event, direction, connected = "disconnect", -1, record.connected
        return (
            *(self._now, record.time, self._node.id, self._instance, event, direction),
            *(record.source, record.position, record.session, connected, record.port, record.protocol, None),
        )

    def _list_statement(self, record: Snapshot | ServerStart | CloseAfter, details: str) -> Row:
        tag = str(record.__struct_config__.tag)
        return (
            *(self._now, record.time, self._node.id, self._instance, tag),
            *(None, "", None, None, None, None, None, details),
        )

    def _list(self, time: datetime.datetime, listed: Iterable[ListedSession]) -> None:
        """Collect what a snapshot lists."""
        for one in listed:
            # Also if the snapshot before is the same: each one proves that the sessions were still open.
            self._touch(one.session, one.port, one.connected, one.address)
            if one.protocol is not None:
                self._protocols.add((one.session, one.protocol))
            known = self._listings.setdefault((one.session, one.count), time)
            self._listings[one.session, one.count] = max(known, time)

    def _find_unconfirmed(self) -> list[datetime.datetime]:
        """Return the time since which sessions may be missing in snapshots, if only a new snapshot confirms it."""
        newest = self._sessions.find_newest_snapshot(self._connection, self._node, self._instance)
        return [] if newest is None else [newest - CONFIRMED_AFTER]

    def _touch(self, session: str, port: int, connected: datetime.datetime, address: str | None) -> Group:
        """Return the group of a session, of which this is known, and derive it later.

        Raises:
            ConflictingEvent: if records disagree about it.
        """
        group = self._groups.get(session)
        if group is None:
            group = self._groups[session] = Group(session, port, connected)
        elif group.port != port or group.connected != connected:
            raise ConflictingEvent(f"session {session} has two ports or connect times")
        if group.address is None:
            group.address = address
        self._touched.add(session)
        return group

    def _find_new(self, lines: Sequence[Line]) -> int:
        """Add the lines that were not received before to their groups. Return their number.

        All their sessions are touched.
        """
        by_file: dict[str, list[Line]] = defaultdict(list)
        for line in lines:
            by_file[line.source].append(line)
        new = 0
        for source, some in by_file.items():
            positions = [line.position for line in some]
            known = self._tables.find_lines(self._connection, self._sensor, source, min(positions), max(positions))
            for line in some:
                event = _make_event(line)
                stored = known.setdefault(line.position, event)
                if stored is not event and stored != event:
                    raise ConflictingEvent(f"{source}, position {line.position}: another line was received before")
                # Also if it is known, to find out whether the port and the connect time are the same.
                connected = line.time if isinstance(line, Connect) else line.connected
                group = self._touch(line.session, line.port, connected, line.address)
                if stored is event:
                    group.logged.append(event)
                    new += 1
        return new

    def _derive(self, statements: Statements) -> Change:
        """Derive the sessions that are touched, and store how they and their events have changed."""
        listed = {session for session, _ in self._listings}
        known = self._sessions.read_known(self._connection, self._sensor, self._touched, listed)
        change = Change()
        added: list[tuple[Group, Session]] = []
        changed: list[tuple[Group, Session]] = []
        forgotten = self._now - KEEP_ADDRESS
        for session in sorted(self._touched):
            group = self._find_group(session, known)
            if group is None:
                # A command of a session that no log has.
                continue
            before = known.events.get(session)
            if before is None:
                if group.connected < self._first_kept:
                    if group.logged:
                        raise ArchivedEvents(f"a session has begun in {group.connected:%Y-%m}")
                    # It is listed, but nothing is known of it.
                    continue
                # Most sessions are new, and comparing takes time.
                sessions, events = derive(group, statements, self._now)
                change.added += events
            else:
                group.logged += [event for event in before if event.cause == "log"]
                sessions, events = derive(group, statements, self._now)
                change.added += set(events).difference(before)
                change.removed += set(before).difference(events)
            if all(one.closed_at is not None and one.closed_at < forgotten for one in sessions):
                group.address = None
            if session in known.sessions:
                old, stored = known.sessions[session]
                added += [(group, one) for one in sessions[len(stored) :]]
                changed += [
                    (group, one)
                    for one, as_stored in zip(sessions, stored, strict=False)
                    if one != as_stored or group.address != old.address
                ]
            else:
                added += [(group, one) for one in sessions]
        self._sessions.add_sessions(self._connection, self._sensor, added)
        self._sessions.put_sessions(self._connection, self._sensor, changed)
        return change

    def _find_group(self, session: str, known: Known) -> Group | None:
        """Return the group of a session, without its logged events; None if nothing else is known of it."""
        if session in known.sessions:
            old, _ = known.sessions[session]
            self._touch(session, old.port, old.connected, old.address)
        group = self._groups.get(session)
        if group is not None:
            group.listings = known.listings.get(session, {})
            group.protocol = known.protocols.get(session)
        return group


def _make_event(line: Line) -> Event:
    if isinstance(line, Connect):
        return Event(line.time, line.source, line.position, 1, "log", line.session, line.protocol)
    # The clock of a server may go back between the two.
    recorded = max(line.time, line.connected)
    return Event(recorded, line.source, line.position, -1, "log", line.session, line.protocol)


def _expand_snapshot(record: Snapshot, before: str | None) -> tuple[list[ListedSession], str]:
    """Return the sessions of a snapshot, and its details in the log."""
    if record.sessions is None:
        if before is None:
            raise SnapshotUnknown("a snapshot without sessions is the first one", hint="Send the sessions.")
        return _LISTED.decode(before), "{}"
    listed = _merge_listed(record.sessions)
    encoded = _encode_listed(listed)
    return listed, "{}" if encoded == before else f'{{"sessions":{encoded}}}'


def _merge_listed(sessions: Iterable[ListedSession]) -> list[ListedSession]:
    """Return the sessions of a snapshot, each once with its number, in the order of their digits."""
    merged: dict[str, ListedSession] = {}
    for one in sessions:
        same = merged.get(one.session)
        count = one.count + (0 if same is None else same.count)
        merged[one.session] = msgspec.structs.replace(one, count=count)
    return [merged[session] for session in sorted(merged)]


def _encode_listed(listed: Iterable[ListedSession]) -> str:
    """Return the sessions of a snapshot as JSON, without the hashes of addresses."""
    return msgspec.json.encode([msgspec.structs.replace(one, address=None) for one in listed]).decode()


def _encode_statement(record: ServerStart | CloseAfter) -> str:
    if isinstance(record, CloseAfter):
        return msgspec.json.encode({"seconds": record.seconds}).decode()
    return msgspec.json.encode({} if record.failed is None else {"failed": record.failed}).decode()


def _list_moments(record: ServerStart | CloseAfter) -> list[datetime.datetime]:
    """Return moments from which on sessions may have ended by a statement."""
    if isinstance(record, CloseAfter):
        # The first rule also counts for the time before it.
        return [FIRST_MOMENT]
    return [record.time] if record.failed is None else [record.time, record.failed]
