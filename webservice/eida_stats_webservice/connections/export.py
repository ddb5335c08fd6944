"""Read the records of a node: its raw log, and its sessions."""

import datetime
from collections.abc import Generator, Iterable, Sequence
from typing import Any

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
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.rows import write_time
from eida_stats_webservice.connections.tables import ConnectionTables, format_moment, parse_optional
from eida_stats_webservice.database.base import Database, parse_time
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.formats import Row
from eida_stats_webservice.registry.models import Node

MAX_SESSIONS = 100_000
"""The number of sessions in one answer."""
_LINES_AT_ONCE = 1000
_ENCODER = msgspec.json.Encoder()


class _Details(msgspec.Struct):
    """The fields of statements of ringservers, as the log has them."""

    failed: datetime.datetime | None = None
    seconds: int | None = None
    sessions: list[ListedSession] | None = None


_DETAILS = msgspec.json.Decoder(_Details)


class ConnectionExport:
    """Reads the records of nodes. Each generator has a snapshot of the database."""

    def __init__(self, database: Database, tables: ConnectionTables) -> None:
        self._database = database
        self._queries = tables.queries

    def list_log(self, node: Node, start: datetime.datetime, end: datetime.datetime) -> Generator[bytes]:
        """Yield the records of a node in a window as JSON Lines, in the order of arrival.

        It has the form of `POST connections`. The first snapshot of each ringserver lists its sessions, so that the
        lines can be stored in another database.
        """
        query = self._queries.log_of_node.sql
        window = {"start": format_moment(start), "stop": format_moment(end)}
        with self._database.snapshot() as connection:
            lines: list[dict[str, Any]] = []
            listed: set[str] = set()
            for number, created, *values in self._database.stream(
                connection, query, {"node_id": node.id, **window}
            ):
                record = _make_record(values)
                if isinstance(record, Snapshot):
                    if record.sessions is None and record.instance not in listed:
                        record.sessions = self._find_listed(connection, node, record.instance, number)
                    listed.add(record.instance)
                lines.append({"created": write_time(parse_time(created)), **msgspec.to_builtins(record)})
                if len(lines) == _LINES_AT_ONCE:
                    yield _ENCODER.encode_lines(lines)
                    lines = []
            yield _ENCODER.encode_lines(lines)

    def _find_listed(self, connection: Any, node: Node, instance: str, number: int) -> list[ListedSession] | None:
        """Return the sessions of a snapshot that lists the same ones as the one before it."""
        key = {"node_id": node.id, "sensor": instance, "id": number}
        found = self._queries.sessions_listed_before(connection, **key)
        return None if found is None else _DETAILS.decode(found).sessions

    def list_sessions(
        self,
        node: Node,
        spaces: Iterable[Space],
        start: datetime.datetime,
        end: datetime.datetime,
        protocol: str | None,
    ) -> Generator[Row]:
        """Yield the sessions of a node in some spaces that overlap a window, without the hashes of addresses.

        Raises:
            BadParameter: if there are more than `MAX_SESSIONS`.
        """
        parameters = {
            "node_id": node.id,
            "spaces": self._database.to_list([space.id for space in spaces]),
            "protocol": protocol or "",
            "start": format_moment(start),
            "stop": format_moment(end),
            "most": MAX_SESSIONS + 1,
        }
        with self._database.snapshot() as connection:
            if self._queries.count_sessions_of_node(connection, **parameters) > MAX_SESSIONS:
                raise BadParameter(
                    f"more than {MAX_SESSIONS} sessions", hint="Ask for a shorter time.", parameter="end"
                )
            rows = self._database.stream(connection, self._queries.sessions_of_node.sql, parameters)
            for name, connected, closed_at, closed_by, shown, session in rows:
                yield [
                    *(name.removeprefix(f"{node.name}/"), write_time(parse_time(connected))),
                    *(write_time(parse_optional(closed_at)), closed_by, shown, session),
                ]


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
