"""Read the log of what was received, as records that can be stored again."""

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from eida_statistics.connections import (
    CloseAfter,
    Connect,
    Count,
    Disconnect,
    ListedSession,
    Record,
    ServerStart,
    Snapshot,
)
from eida_stats_webservice.database.base import Database, format_moment, parse_time
from eida_stats_webservice.registry.models import Node


class LogRecord(NamedTuple):
    """A record of a node, and when it was received."""

    node: str
    created: datetime.datetime
    record: Record


class _Details(msgspec.Struct):
    failed: datetime.datetime | None = None
    seconds: int | None = None
    sessions: list[ListedSession] | None = None


_DETAILS = msgspec.json.Decoder(_Details)


class ConnectionLog:
    """Reads the log of all nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(Path(__file__).parent, "log")

    def read_received(
        self, connection: Any, start: datetime.datetime, stop: datetime.datetime
    ) -> Iterator[LogRecord]:
        """Yield what was received from one time to another, in order."""
        return self._read(connection, self._queries.log_by_creation, start, stop)

    def read_of_node(
        self, connection: Any, node: Node, start: datetime.datetime, stop: datetime.datetime
    ) -> Iterator[LogRecord]:
        """Yield what was received from a node from one time to another, in order."""
        return self._read(connection, self._queries.log_of_node, start, stop, node_id=node.id)

    def read_recorded(
        self, connection: Any, start: datetime.datetime, stop: datetime.datetime
    ) -> Iterator[LogRecord]:
        """Yield what has a time from `start` to `stop`, in the order in which it was received."""
        return self._read(connection, self._queries.log_by_time, start, stop)

    def _read(
        self, connection: Any, query: Any, start: datetime.datetime, stop: datetime.datetime, **selection: int
    ) -> Iterator[LogRecord]:
        """Yield records. The first snapshot of each ringserver lists its sessions, so it needs no other."""
        parameters = {"start": format_moment(start), "stop": format_moment(stop), **selection}
        listed: set[tuple[str, str]] = set()
        for node, number, created, *values, node_id in self._database.stream(connection, query.sql, parameters):
            record = _make_record(values)
            if isinstance(record, Snapshot):
                if record.sessions is None and (node, record.instance) not in listed:
                    found = self._queries.listed_before(
                        connection, node_id=node_id, sensor=record.instance, id=number
                    )
                    if found is None:
                        # It is kept as the end of a session; the archive has its list.
                        continue
                    record.sessions = _DETAILS.decode(found).sessions
                listed.add((node, record.instance))
            yield LogRecord(node, parse_time(created), record)


def _make_record(values: Sequence[Any]) -> Record:
    """Return the record of a row of the log."""
    recorded, sensor, event, direction, source, position, session, connected, port, protocol, details = values
    time = parse_time(recorded)
    stated = _DETAILS.decode(details or "{}")
    match event:
        case "connect":
            return Connect(sensor, source, position, time, session, port, protocol)
        case "disconnect":
            return Disconnect(sensor, source, position, time, parse_time(connected), session, port, protocol)
        case "server_start":
            return ServerStart(sensor, time, stated.failed)
        case "snapshot":
            return Snapshot(sensor, time, stated.sessions)
        case "close_after":
            return CloseAfter(sensor, time, stated.seconds)
        case _:
            return Count(sensor, time, direction)
