"""Read the records of a node: its raw log, and its sessions."""

import datetime
from collections.abc import Generator, Iterable
from itertools import islice
from typing import Any

import msgspec

from eida_stats_webservice.connections.log import ConnectionLog, LogRecord
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.rows import write_time
from eida_stats_webservice.connections.tables import ConnectionTables, parse_optional
from eida_stats_webservice.database.base import Database, format_moment, parse_time
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.formats import Row
from eida_stats_webservice.registry.models import Node

MAX_SESSIONS = 100_000
"""The number of sessions in one answer."""
_LINES_AT_ONCE = 1000
_ENCODER = msgspec.json.Encoder()


class ConnectionExport:
    """Reads the records of nodes. Each generator has a snapshot of the database."""

    def __init__(self, database: Database, tables: ConnectionTables) -> None:
        self._database = database
        self._queries = tables.queries
        self._log = ConnectionLog(database)

    def list_log(self, node: Node, start: datetime.datetime, end: datetime.datetime) -> Generator[bytes]:
        """Yield the records of a node in a window as JSON Lines, in the order of arrival.

        They have the form of `POST connections`, so that they can be stored in another database.
        """
        with self._database.snapshot() as connection:
            records = self._log.read_of_node(connection, node, start, end)
            while lines := [_make_line(one) for one in islice(records, _LINES_AT_ONCE)]:
                yield _ENCODER.encode_lines(lines)
            # An answer without records is complete, too.
            yield b""

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


def _make_line(one: LogRecord) -> dict[str, Any]:
    return {"created": write_time(one.created), **msgspec.to_builtins(one.record)}
