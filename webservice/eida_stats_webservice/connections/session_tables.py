"""The tables of the sessions of ringservers, and of the facts about them."""

import datetime
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any, NamedTuple

from eida_stats_webservice.connections.copy_lines import SESSION_COLUMNS, write_session_line
from eida_stats_webservice.connections.models import Event, Sensor, Session
from eida_stats_webservice.connections.sessions import Group, Statements, merge_rules, merge_starts
from eida_stats_webservice.connections.tables import (
    ConnectionTables,
    format_optional,
    parse_optional,
)
from eida_stats_webservice.database.base import format_moment, parse_time
from eida_stats_webservice.registry.models import Node


class Known(NamedTuple):
    """The content of the tables about some sessions.

    Attributes:
        sessions: the group without its facts, and the sessions as they are stored.
        events: the events.
        listings: the time of the last snapshot that lists them, by their number in it.
        protocols: the protocols that commands have shown.
    """

    sessions: dict[str, tuple[Group, list[Session]]]
    events: dict[str, list[Event]]
    listings: dict[str, dict[int, datetime.datetime]]
    protocols: dict[str, str]


class SessionTables:
    """Reads and changes the tables of sessions. All methods take a connection in a transaction."""

    def __init__(self, tables: ConnectionTables) -> None:
        self._tables = tables
        self._queries = tables.queries

    def read_statements(self, connection: Any, node: Node, instance: str) -> Statements:
        """Return what a ringserver and its follower have stated about all sessions."""

        def list_stated(event: str, key: str) -> list[tuple[datetime.datetime, Any]]:
            found = self._queries.statements_of(connection, node_id=node.id, sensor=instance, event=event)
            return [(parse_time(recorded), json.loads(details).get(key)) for recorded, details in found]

        def find_snapshot_after(moment: datetime.datetime) -> datetime.datetime | None:
            found = self._queries.snapshot_after(
                connection, node_id=node.id, sensor=instance, moment=format_moment(moment)
            )
            return parse_optional(found)

        return Statements(
            starts=merge_starts(
                (time, parse_optional(failed)) for time, failed in list_stated("server_start", "failed")
            ),
            rules=merge_rules(list_stated("close_after", "seconds")),
            newest_snapshot=self.find_newest_snapshot(connection, node, instance),
            find_snapshot_after=find_snapshot_after,
        )

    def find_newest_snapshot(self, connection: Any, node: Node, instance: str) -> datetime.datetime | None:
        """Return the time of the newest snapshot of a ringserver."""
        return parse_optional(self._queries.newest_snapshot(connection, node_id=node.id, sensor=instance))

    def read_snapshot(self, connection: Any, sensor: Sensor) -> str | None:
        """Return the sessions of the last snapshot that was received, as JSON."""
        found = self._queries.find_state(connection, sensor_id=sensor.id)
        return None if found is None else found[2]

    def put_state(
        self, connection: Any, sensor: Sensor, now: datetime.datetime, *, unconfirmed: bool, snapshot: str | None
    ) -> None:
        """Record what is known of a ringserver, which was heard of now."""
        self._queries.put_state(
            connection,
            sensor_id=sensor.id,
            heard_at=format_moment(now),
            unconfirmed=unconfirmed,
            snapshot=snapshot,
        )

    def put_listings(
        self, connection: Any, sensor: Sensor, listings: Mapping[tuple[str, int], datetime.datetime]
    ) -> None:
        """Record when snapshots have listed sessions last, by their digits and their number."""
        self._queries.put_listing(
            connection,
            [
                {
                    "sensor_id": sensor.id,
                    "session": session,
                    "count": count,
                    "listed_at": format_moment(time),
                }
                for (session, count), time in listings.items()
            ],
        )

    def put_protocols(self, connection: Any, sensor: Sensor, protocols: Iterable[tuple[str, str]]) -> None:
        """Record the protocols that commands show, by session."""
        self._queries.put_protocol(
            connection,
            [
                {"sensor_id": sensor.id, "session": session, "protocol": protocol}
                for session, protocol in sorted(protocols)
            ],
        )

    def find_unlogged_ends(self, connection: Any, sensor: Sensor, moment: datetime.datetime) -> set[str]:
        """Return the sessions that are open, or have ended from a moment on without a disconnect in the log."""
        found = self._queries.unlogged_ends(connection, sensor_id=sensor.id, moment=format_moment(moment))
        return {session for (session,) in found}

    def read_known(self, connection: Any, sensor: Sensor, sessions: Collection[str], listed: Set[str]) -> Known:
        """Return the stored rows, events, listings and protocols of some sessions.

        Args:
            connection: the connection.
            sensor: the ringserver.
            sessions: the sessions.
            listed: those of them that may have listings although they have no row. Others without a row have none.
        """
        known = Known({}, defaultdict(list), defaultdict(dict), {})
        if not sessions:
            return known
        wanted = {"sensor_id": sensor.id, "sessions": json.dumps(list(sessions))}
        for row in self._queries.rows_of_sessions(connection, **wanted):
            session, number, address, port, connected, closed_at, closed_by, protocol = row
            group, stored = known.sessions.setdefault(session, (Group(session, port, parse_time(connected)), []))
            group.address = group.address or address
            stored.append(Session(number, parse_optional(closed_at), closed_by, protocol))
        known.protocols.update(self._queries.protocols_of_sessions(connection, **wanted))
        # Most sessions of a batch are new.
        if known.sessions:
            for recorded, *values in self._queries.events_of_sessions(
                connection, **self._make_key(sensor, known.sessions)
            ):
                event = Event(parse_time(recorded), *values)
                known.events[str(event.session)].append(event)
        if old := known.sessions.keys() | listed:
            for session, count, listed_at in self._queries.listings_of_sessions(
                connection, **self._make_key(sensor, old)
            ):
                known.listings[session][count] = parse_time(listed_at)
        return known

    def _make_key(self, sensor: Sensor, sessions: Iterable[str]) -> dict[str, Any]:
        return {"sensor_id": sensor.id, "sessions": self._tables.database.to_list(sessions)}

    def add_sessions(self, connection: Any, sensor: Sensor, rows: Iterable[tuple[Group, Session]]) -> None:
        """Add sessions."""
        sensor_id = sensor.id
        listed = (
            (
                *(sensor_id, group.session, one.number, group.address, group.port, group.connected),
                *(one.closed_at, one.closed_by, one.protocol),
            )
            for group, one in rows
        )
        self._tables.load(connection, self._queries.load_sessions, listed, SESSION_COLUMNS, write_session_line)

    def put_sessions(self, connection: Any, sensor: Sensor, rows: Iterable[tuple[Group, Session]]) -> None:
        """Change sessions."""
        changed = [
            (
                *(sensor.id, group.session, one.number),
                *(group.address, format_optional(one.closed_at), one.closed_by, one.protocol),
            )
            for group, one in rows
        ]
        if changed:
            self._queries.put_sessions(connection, rows=json.dumps(changed))
