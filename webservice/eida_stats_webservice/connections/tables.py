"""The tables that ingestion reads and writes."""

import datetime
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eida_stats_webservice.connections.copy_lines import (
    EVENT_COLUMNS,
    LOG_COLUMNS,
    Row,
    list_parameters,
    write_event_line,
    write_log_line,
)
from eida_stats_webservice.connections.models import (
    UNKNOWN,
    Event,
    Installation,
    Recount,
    Sensor,
    Space,
)
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.sums import HourSums, add_up_days, find_placed
from eida_stats_webservice.database.base import Database, format_moment, parse_time, select_rows, to_records
from eida_stats_webservice.registry.models import Node


def format_optional(moment: datetime.datetime | None) -> str | None:
    """Return a time in the form of the database; None stays None."""
    return None if moment is None else format_moment(moment)


def parse_optional(value: Any) -> datetime.datetime | None:
    """Parse a time of the database; None stays None."""
    return None if value is None else parse_time(value)


class ConnectionTables:
    """Reads and changes the tables, but not those of sessions. All methods take a connection in a transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
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
        # Most requests begin with this, and `msgspec.convert` takes four times as long.
        return SpaceTree(
            Space(number, name, parent_id, node_id, capacity, bool(restricted))
            for number, name, parent_id, node_id, capacity, restricted in self.queries.list_spaces(connection)
        )

    def find_first_kept(self, connection: Any) -> datetime.datetime:
        """Return the first moment of which events are kept."""
        day = datetime.date.fromisoformat(self.queries.find_archived(connection))
        return datetime.datetime.combine(day, datetime.time(), datetime.UTC)

    # Sensors

    def find_sensors(
        self, connection: Any, node: Node | None, names: Iterable[str], *, own: bool = False
    ) -> dict[str, Sensor]:
        """Return sensors by name. Unknown sensors of other nodes do not count; with `own`, no sensor of theirs."""
        own_id = None if node is None else node.id
        if not (wanted := self.database.to_list(names)):
            return {}
        found = to_records(Sensor, select_rows(connection, self.queries.list_sensors, names=wanted))
        return {
            sensor.name: sensor
            # One that is known has precedence.
            for sensor in sorted(found, key=lambda one: one.kind != UNKNOWN)
            if sensor.node_id == own_id or (sensor.kind != UNKNOWN and not own)
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
            rows = select_rows(connection, self.queries.list_installations, sensors=self.database.to_list(found))
            for one in to_records(Installation, rows):
                found[one.sensor_id].append(one)
        return found

    def list_recounts(self, connection: Any, spaces: Iterable[Space]) -> list[Recount]:
        """Return the recounts of some spaces, at least one, by time."""
        ids = self.database.to_list([space.id for space in spaces])
        return to_records(Recount, select_rows(connection, self.queries.list_recounts, spaces=ids))

    # The log

    def add_to_log(self, connection: Any, rows: Iterable[Row]) -> None:
        """Add rows with the values of `LOG_COLUMNS`."""
        self.load(connection, self.queries.load_log, rows, LOG_COLUMNS, write_log_line)

    def find_lines(self, connection: Any, sensor: Sensor, source: str, first: int, last: int) -> dict[int, Event]:
        """Return the events of a part of a log file by position."""
        found = self.queries.events_in_file(connection, source=source, first=first, last=last)
        return {
            position: Event(parse_time(recorded), source, position, direction, "log", session, protocol)
            for position, sensor_id, recorded, direction, session, protocol in found
            if sensor_id == sensor.id
        }

    def find_counts(
        self, connection: Any, sensor: Sensor, times: Iterable[datetime.datetime]
    ) -> set[tuple[datetime.datetime, int]]:
        """Return what a door has counted at some times: time and direction."""
        wanted = self.database.to_list(set(map(format_moment, times)))
        found = self.queries.events_at(connection, sensor_id=sensor.id, times=wanted)
        return {(parse_time(recorded), position) for recorded, position in found}

    # Events

    def add_events(
        self, connection: Any, sensor: Sensor, events: Sequence[Event], installations: Sequence[Installation]
    ) -> None:
        """Add events."""
        number = sensor.id
        rows = (
            (number, recorded, source, position, direction, cause, placed, session, protocol)
            for (recorded, source, position, direction, cause, session, protocol), placed in zip(
                events, find_placed(events, installations), strict=True
            )
        )
        self.load(connection, self.queries.load_events, rows, EVENT_COLUMNS, write_event_line)

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

    def load(
        self,
        connection: Any,
        query: Any,
        rows: Iterable[Row],
        columns: Sequence[str],
        write_line: Callable[[Row], str],
    ) -> None:
        """Load many rows by a query, with the values of some columns."""
        self.database.load_rows(
            connection, query, rows, to_line=write_line, to_parameters=partial(list_parameters, columns)
        )
