"""Live connections in a database: sensors, records, and everything that was derived from them."""

import datetime
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from eida_statistics.connections import Command, Connect, Disconnect, ListedSession, Record
from eida_stats_webservice.connections.counts import END_OF_TIME, Counts
from eida_stats_webservice.connections.intake import ConnectionIntake, Stored
from eida_stats_webservice.connections.models import DOOR, Installation, Sensor, Space
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database, format_moment, parse_time
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository
from support.stores import Store
from support.tables import select

START = datetime.datetime(2024, 4, 22, 2, tzinfo=datetime.UTC)
PORT = 18000


def at(seconds: float) -> datetime.datetime:
    """Return a time by the seconds since 02:00."""
    return START + datetime.timedelta(seconds=seconds)


def name_session(client: str, connected: datetime.datetime, port: int = PORT) -> str:
    return _hash(f"{client},{port},{connected}")


def name_file(number: int = 0) -> str:
    """Return the source of a log file; larger numbers are newer."""
    return f"{at(3600 * number):%Y-%m-%dT%H:%M:%SZ}-{number:016x}"


def connect(
    client: str,
    connected: float,
    position: int,
    *,
    file: int = 0,
    instance: str = "main",
    protocol: str | None = None,
    address: str | None = None,
) -> Connect:
    time = at(connected)
    session = name_session(client, time)
    return Connect(instance, name_file(file), position, time, session, PORT, protocol, address)


def disconnect(
    client: str,
    connected: float,
    ended: float,
    position: int,
    *,
    file: int = 0,
    instance: str = "main",
    protocol: str | None = None,
) -> Disconnect:
    since = at(connected)
    session = name_session(client, since)
    return Disconnect(instance, name_file(file), position, at(ended), since, session, PORT, protocol)


def list_session(client: str, connected: float, count: int = 1) -> ListedSession:
    return ListedSession(name_session(client, at(connected)), PORT, at(connected), count=count)


class LiveConnections:
    """Stores records and reads what was derived."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.database: Database = store.database
        self.tables = ConnectionTables(store.database)
        self.intake = ConnectionIntake(store.database, RegistryRepository(store.database), self.tables)

    def empty(self) -> None:
        """Delete all nodes, sensors, spaces and counts."""
        self.execute(
            "DELETE FROM spaces WHERE name <> 'federation'",
            "DELETE FROM nodes",
            # Those of the federation.
            "DELETE FROM space_hours",
            "UPDATE connections_archived SET events_from = '2000-01-01'",
        )

    def execute(self, *statements: str) -> None:
        with self.database.transaction(write=True) as connection:
            for statement in statements:
                connection.cursor().execute(statement)

    def add_node(self, name: str) -> Node:
        self.store.registry.add_node(name, "operator@node.example")
        return self.store.registry.find_node(name)

    def add_space(self, name: str, parent: Space | None = None, node: Node | None = None) -> Space:
        with self.database.transaction(write=True) as connection:
            return self.tables.add_space(connection, name, parent, node)

    def add_door(self, node: Node, name: str) -> Sensor:
        with self.database.transaction(write=True) as connection:
            return self.tables.add_sensor(connection, node, name, DOOR)

    def install(
        self,
        sensor: Sensor,
        space: Space,
        orientation: int = 1,
        start: datetime.datetime = START,
        stop: datetime.datetime | None = None,
        doorway: str = "",
    ) -> None:
        with self.database.transaction(write=True) as connection:
            self.tables.add_installation(
                connection, Installation(sensor.id, space.id, orientation, start, stop, doorway)
            )

    def recount(self, space: Space, time: datetime.datetime, count: int) -> None:
        self.execute(
            "INSERT INTO recounts (space_id, recorded, count, author, created) VALUES"
            f" ({space.id}, '{format_moment(time)}', {count}, 'admin', '{format_moment(time)}')"
        )

    def send(self, node: Node, *records: Record) -> Stored:
        return self.intake.store(node, records)

    def count(self, name: str, moment: datetime.datetime = END_OF_TIME) -> int:
        return self.count_all([moment], [name])[0][name]

    def count_all(
        self, moments: Iterable[datetime.datetime], names: Sequence[str] | None = None
    ) -> list[dict[str, int]]:
        """Return the counts of all spaces, or some, at some moments."""
        with self.database.snapshot() as connection:
            counts = Counts(self.tables, connection)
            spaces = [space for space in counts.tree if names is None or space.name in names]
            return [{space.name: counts.count(space, moment) for space in spaces} for moment in moments]

    def read_sessions(self) -> list[tuple[Any, ...]]:
        """Return sensor, digits, number, connect time, end, its cause and the protocol of all sessions."""
        found = select(
            self.store,
            "SELECT sensors.name, session, number, connected, closed_at, closed_by, protocol"
            " FROM sessions JOIN sensors ON sensors.id = sensor_id ORDER BY 1, 2, 3",
        )
        return [(*row[:3], parse_time(row[3]), row[4] and parse_time(row[4]), *row[5:]) for row in found]

    def read_events(self) -> list[tuple[Any, ...]]:
        """Return all events that count, by sensor and time."""
        found = select(
            self.store,
            "SELECT sensors.name, recorded, source, position, direction, cause, session, protocol"
            " FROM sensor_events JOIN sensors ON sensors.id = sensor_id",
        )
        return sorted((sensor, parse_time(recorded), *rest) for sensor, recorded, *rest in found)

    def read_hours(self) -> dict[tuple[str, datetime.datetime], tuple[int, int]]:
        """Return entries and exits by space and hour, without those that are both zero."""
        found = select(
            self.store,
            "SELECT name, hour, entries, exits FROM space_hours JOIN spaces ON spaces.id = space_id",
        )
        return {(name, parse_time(hour)): (more, less) for name, hour, more, less in found if more or less}

    def read_days(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Return entries and exits by space and day, without those that are both zero."""
        found = select(
            self.store,
            "SELECT name, day, entries, exits FROM space_days JOIN spaces ON spaces.id = space_id",
        )
        return {(name, str(day)): (more, less) for name, day, more, less in found if more or less}


def read_access_logs(folder: Path, instance: str = "main") -> list[Record]:
    """Return the records of all access logs of a ringserver. Neither bad lines nor keyed hashes matter here."""
    return [record for path in sorted(folder.iterdir()) for record in _read_access_log(path.read_bytes(), instance)]


def _read_access_log(text: bytes, instance: str) -> Iterator[Record]:
    position = 0
    source = ""
    for line in text.splitlines(keepends=True):
        fields = json.loads(line)
        time, connected = (datetime.datetime.fromisoformat(fields[name]) for name in ("log_time", "connect_time"))
        source = source or f"{fields['log_time']}-{_hash(line.decode())}"
        port, protocol = fields["client"]["server_port"], fields.get("protocol", {}).get("name")
        session = _hash(f"{fields['client']['ip']},{port},{connected}")
        if fields["event"] == "connect":
            yield Connect(instance, source, position, connected, session, port, protocol)
        elif fields["event"] == "disconnect":
            yield Disconnect(instance, source, position, time, connected, session, port, protocol)
        elif protocol is not None:
            yield Command(instance, session, protocol)
        position += len(line)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
