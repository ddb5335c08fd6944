"""The tables that ingestion reads and writes."""

import datetime
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from eida_stats_webservice.connections.models import Event, Installation, LineContent, Sensor, Session, Space
from eida_stats_webservice.connections.sessions import Group, Statements, merge_rules, merge_starts
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.sums import HourSums, add_up_days, find_placed
from eida_stats_webservice.database.base import Database, parse_time, select_rows, to_records
from eida_stats_webservice.registry.models import Node

LOG_COLUMNS = (
    *("created", "recorded", "node_id", "sensor", "event", "direction", "source", "position", "session"),
    *("connected", "port", "protocol", "details"),
)
_EVENT_COLUMNS = (
    *("sensor_id", "recorded", "source", "position", "direction", "cause", "placed", "session", "protocol"),
)
_SESSION_COLUMNS = (
    *("sensor_id", "session", "number", "address", "port", "connected", "closed_at", "closed_by", "protocol"),
)

Row = tuple[Any, ...]


class Known(NamedTuple):
    """What the tables have about some sessions.

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


# A batch has each time in several rows.
@lru_cache(1 << 13)
def format_moment(moment: datetime.datetime) -> str:
    """Return a time with microseconds in the form of the database; as texts, they have the order of times."""
    if moment.tzinfo is not datetime.UTC:
        moment = moment.astimezone(datetime.UTC)
    return moment.isoformat(timespec="microseconds")


def format_optional(moment: datetime.datetime | None) -> str | None:
    """Return a time in the form of the database; None stays None."""
    return None if moment is None else format_moment(moment)


def parse_optional(value: Any) -> datetime.datetime | None:
    """Parse a time of the database; None stays None."""
    return None if value is None else parse_time(value)


class ConnectionTables:
    """Reads and changes the tables. All methods take a connection in a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.queries = database.load_queries(Path(__file__).parent)

    def lock(self, connection: Any, node: Node) -> None:
        """Lock the events of a node against other writers.

        Raises:
            DatabaseLocked: if another transaction holds the lock for too long.
        """
        self.queries.lock_node(connection, node_id=node.id)

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service."""
        return bool(self.queries.has_rights(connection))

    def read_tree(self, connection: Any) -> SpaceTree:
        """Return all spaces."""
        return SpaceTree(to_records(Space, select_rows(connection, self.queries.list_spaces)))

    def find_first_kept(self, connection: Any) -> datetime.datetime:
        """Return the first moment of which events are kept."""
        day = datetime.date.fromisoformat(self.queries.find_archived(connection))
        return datetime.datetime.combine(day, datetime.time(), datetime.UTC)

    # Sensors

    def find_sensors(self, connection: Any, node: Node, names: Iterable[str]) -> dict[str, Sensor]:
        """Return sensors by name. Unknown sensors of other nodes do not count."""
        if not (wanted := self._database.to_list(names)):
            return {}
        found = to_records(Sensor, select_rows(connection, self.queries.list_sensors, names=wanted))
        return {
            sensor.name: sensor
            # One that is known has precedence.
            for sensor in sorted(found, key=lambda one: one.kind != "unknown")
            if sensor.kind != "unknown" or sensor.node_id == node.id
        }

    def add_sensor(self, connection: Any, node: Node, name: str, kind: str, *, is_open: bool = False) -> Sensor:
        """Add a sensor."""
        values: dict[str, Any] = {"name": name, "node_id": node.id, "kind": kind, "open": is_open}
        return Sensor(id=int(self.queries.add_sensor(connection, **values)), **values)

    def add_space(
        self, connection: Any, name: str, parent: Space | None, node: Node | None, *, restricted: bool = False
    ) -> Space:
        """Add a space."""
        values: dict[str, Any] = {
            "name": name,
            "parent_id": parent and parent.id,
            "node_id": node and node.id,
            "capacity": None,
            "restricted": restricted,
        }
        return Space(id=int(self.queries.add_space(connection, **values)), **values)

    def add_installation(self, connection: Any, installation: Installation) -> None:
        """Let a sensor count a space."""
        self.queries.add_installation(
            connection,
            sensor_id=installation.sensor_id,
            space_id=installation.space_id,
            doorway=installation.doorway,
            orientation=installation.orientation,
            installed_at=format_moment(installation.installed_at),
            removed_at=format_optional(installation.removed_at),
        )

    def find_installations(self, connection: Any, sensors: Iterable[int]) -> dict[int, list[Installation]]:
        """Return the installations of some sensors, by sensor."""
        found: dict[int, list[Installation]] = {number: [] for number in sensors}
        if found:
            rows = select_rows(connection, self.queries.list_installations, sensors=self._database.to_list(found))
            for one in to_records(Installation, rows):
                found[one.sensor_id].append(one)
        return found

    # What was received

    def add_to_log(self, connection: Any, rows: Iterable[Row]) -> None:
        """Add rows with the values of `LOG_COLUMNS`."""
        self._load(connection, self.queries.load_log, LOG_COLUMNS, rows)

    def find_lines(
        self, connection: Any, sensor: Sensor, source: str, first: int, last: int
    ) -> dict[int, LineContent]:
        """Return the events of a part of a log file by position."""
        found = self.queries.events_in_file(connection, source=source, first=first, last=last)
        return {
            position: LineContent(parse_time(recorded), *content)
            for position, sensor_id, recorded, *content in found
            if sensor_id == sensor.id
        }

    def find_counts(
        self, connection: Any, sensor: Sensor, times: Iterable[datetime.datetime]
    ) -> set[tuple[datetime.datetime, int]]:
        """Return what a door has counted at some times: time and direction."""
        wanted = self._database.to_list(set(map(format_moment, times)))
        found = self.queries.events_at(connection, sensor_id=sensor.id, times=wanted)
        return {(parse_time(recorded), position) for recorded, position in found}

    def read_statements(self, connection: Any, node: Node, instance: str) -> Statements:
        """Return what a ringserver and its follower have stated about all sessions."""

        def list_stated(event: str, key: str) -> list[tuple[datetime.datetime, Any]]:
            found = self.queries.statements_of(connection, node_id=node.id, sensor=instance, event=event)
            return [(parse_time(recorded), json.loads(details).get(key)) for recorded, details in found]

        def find_snapshot_after(moment: datetime.datetime) -> datetime.datetime | None:
            found = self.queries.snapshot_after(
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
        return parse_optional(self.queries.newest_snapshot(connection, node_id=node.id, sensor=instance))

    def read_snapshot(self, connection: Any, sensor: Sensor) -> str | None:
        """Return the sessions of the last snapshot that was received, as JSON."""
        found = self.queries.find_state(connection, sensor_id=sensor.id)
        return None if found is None else found[2]

    def put_state(
        self, connection: Any, sensor: Sensor, now: datetime.datetime, *, unconfirmed: bool, snapshot: str | None
    ) -> None:
        """Record what is known of a ringserver, which was heard of now."""
        self.queries.put_state(
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
        self.queries.put_listing(
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
        self.queries.put_protocol(
            connection,
            [
                {"sensor_id": sensor.id, "session": session, "protocol": protocol}
                for session, protocol in sorted(protocols)
            ],
        )

    # Sessions and events

    def find_unlogged_ends(self, connection: Any, sensor: Sensor, moment: datetime.datetime) -> set[str]:
        """Return the sessions that are open, or have ended from a moment on without a disconnect in the log."""
        found = self.queries.unlogged_ends(connection, sensor_id=sensor.id, moment=format_moment(moment))
        return {session for (session,) in found}

    def read_known(self, connection: Any, sensor: Sensor, sessions: Iterable[str]) -> "Known":
        """Return what is known of some sessions."""
        known = Known({}, defaultdict(list), defaultdict(dict), {})
        key = {"sensor_id": sensor.id, "sessions": self._database.to_list(sessions)}
        if not key["sessions"]:
            return known
        for (
            session,
            number,
            address,
            port,
            connected,
            closed_at,
            closed_by,
            protocol,
        ) in self.queries.rows_of_sessions(connection, **key):
            group, stored = known.sessions.setdefault(session, (Group(session, port, parse_time(connected)), []))
            group.address = group.address or address
            stored.append(Session(number, parse_optional(closed_at), closed_by, protocol))
        for recorded, *values in self.queries.events_of_sessions(connection, **key):
            event = Event(parse_time(recorded), *values)
            known.events[str(event.session)].append(event)
        for session, count, listed_at in self.queries.listings_of_sessions(connection, **key):
            known.listings[session][count] = parse_time(listed_at)
        known.protocols.update(self.queries.protocols_of_sessions(connection, **key))
        return known

    def add_events(
        self, connection: Any, sensor: Sensor, events: Sequence[Event], installations: Sequence[Installation]
    ) -> None:
        """Add events."""
        number = sensor.id
        rows = (
            (number, format_moment(recorded), source, position, direction, cause, placed, session, protocol)
            for (recorded, source, position, direction, cause, session, protocol), placed in zip(
                events, find_placed(events, installations), strict=True
            )
        )
        self._load(connection, self.queries.load_events, _EVENT_COLUMNS, rows)

    def delete_events(self, connection: Any, sensor: Sensor, events: Iterable[Event]) -> None:
        """Delete events that no log has."""
        self.queries.delete_event(
            connection,
            [
                {
                    "sensor_id": sensor.id,
                    "recorded": format_moment(event.recorded),
                    "source": event.source,
                    "position": event.position,
                }
                for event in events
            ],
        )

    def add_sessions(self, connection: Any, sensor: Sensor, rows: Iterable[tuple[Group, Session]]) -> None:
        """Add sessions."""
        self._load(
            connection,
            self.queries.load_sessions,
            _SESSION_COLUMNS,
            (_list_session(sensor, group, session) for group, session in rows),
        )

    def put_sessions(self, connection: Any, sensor: Sensor, rows: Iterable[tuple[Group, Session]]) -> None:
        """Add or change sessions."""
        parameters = [
            dict(zip(_SESSION_COLUMNS, _list_session(sensor, group, session), strict=True))
            for group, session in rows
        ]
        if parameters:
            self.queries.put_session(connection, parameters)

    # Sums

    def add_to_sums(self, connection: Any, sums: HourSums) -> None:
        """Add to the sums of hours, which become stale, and of days."""
        # In the same order in all transactions.
        self.queries.add_to_hour(
            connection,
            [
                {"space_id": space_id, "hour": format_moment(hour), "entries": entries, "exits": exits}
                for (space_id, hour), (entries, exits) in sorted(sums.items())
            ],
        )
        self.queries.add_to_day(
            connection,
            [
                {"space_id": space_id, "day": day.isoformat(), "entries": entries, "exits": exits}
                for (space_id, day), (entries, exits) in sorted(add_up_days(sums).items())
                if entries or exits
            ],
        )

    def add_shown(
        self, connection: Any, space_id: int, created: datetime.datetime, recorded: datetime.datetime, count: int
    ) -> int:
        """Record the count that is shown from now on. Return its number, which grows."""
        return int(
            self.queries.add_shown(
                connection,
                space_id=space_id,
                created=format_moment(created),
                recorded=format_moment(recorded),
                count=count,
            )
        )

    def _load(self, connection: Any, query: Any, columns: Sequence[str], rows: Iterable[Row]) -> None:
        self._database.load_rows(
            connection,
            query,
            rows,
            to_line=_write_line,
            to_parameters=lambda row: dict(zip(columns, row, strict=True)),
        )


def _list_session(sensor: Sensor, group: Group, session: Session) -> Row:
    return (
        *(sensor.id, group.session, session.number, group.address, group.port, format_moment(group.connected)),
        *(format_optional(session.closed_at), session.closed_by, session.protocol),
    )


def _write_line(row: Row) -> str:
    """Return a row as a line for COPY."""
    # No text of the database can hold a NUL.
    line = "\t".join(["\0" if value is None else value if type(value) is str else str(value) for value in row])
    if "\\" in line:
        line = line.replace("\\", "\\\\")
    return line.replace("\0", "\\N") + "\n"
