"""End the sessions of ringservers as time passes, and drop hashes of addresses that are kept for a time only."""

import datetime
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from eida_stats_webservice.connections.intake import apply_changes
from eida_stats_webservice.connections.models import Sensor
from eida_stats_webservice.connections.ringservers import KEEP_ADDRESS, RingserverBatch
from eida_stats_webservice.connections.session_tables import SessionTables
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database, format_moment, select_rows, to_records
from eida_stats_webservice.registry.models import Node

_SESSIONS_AT_ONCE = 2_000


class Expiry:
    """Ends sessions and drops addresses, one node at a time.

    Args:
        database: the database.
        tables: the tables.
        queries: those of the reconciliation.
        change: calls a function in a transaction that has locked a node, and returns its result.
    """

    def __init__(
        self,
        database: Database,
        tables: ConnectionTables,
        queries: Any,
        change: Callable[[Node, Callable[[Any], Any]], Any],
    ) -> None:
        self._database = database
        self._tables = tables
        self._sessions = SessionTables(tables)
        self._queries = queries
        self._change = change
        self._now = datetime.datetime.now(tz=datetime.UTC)

    def end_sessions(self, node: Node, *, all_open: bool = False) -> int:
        """End the sessions of a node that are too old. Return how many have ended.

        Restarts and snapshots end sessions when they are received. With `all_open`, all open sessions are derived
        again, for any of these reasons.
        """
        ended = 0
        for sensor, sessions in self._list_sessions(node, all_open=all_open):
            for begin in range(0, len(sessions), _SESSIONS_AT_ONCE):
                some = sessions[begin : begin + _SESSIONS_AT_ONCE]
                ended += self._change(node, partial(self._derive, node=node, sensor=sensor, sessions=some))
        return ended

    def drop_addresses(self, node: Node) -> None:
        """Drop the hashes of addresses of sessions that have ended long ago."""
        values = {"node_id": node.id, "moment": format_moment(self._now - KEEP_ADDRESS)}
        with self._database.transaction() as connection:
            found = self._queries.has_old_addresses(connection, **values)
        if found:
            self._change(node, partial(self._queries.drop_addresses, **values))

    def _list_sessions(self, node: Node, *, all_open: bool) -> list[tuple[Sensor, list[str]]]:
        """Return the open sessions of each ringserver that may have ended."""
        found = []
        with self._database.transaction() as connection:
            rows = select_rows(connection, self._queries.sensors_with_open_sessions, node_id=node.id)
            for sensor in to_records(Sensor, rows):
                moment = self._now if all_open else self._find_oldest(connection, node, sensor)
                if moment is not None:
                    sessions = self._queries.open_sessions(
                        connection, sensor_id=sensor.id, moment=format_moment(moment)
                    )
                    found.append((sensor, [session for (session,) in sessions]))
        return found

    def _find_oldest(self, connection: Any, node: Node, sensor: Sensor) -> datetime.datetime | None:
        """Return before when a session has connected that may have ended by its age; None if none may have."""
        rules = self._sessions.read_statements(connection, node, sensor.name.removeprefix(f"{node.name}/")).rules
        after = rules[-1].after if rules else None
        return None if after is None else self._now - after

    def _derive(self, connection: Any, node: Node, sensor: Sensor, sessions: Sequence[str]) -> int:
        change = RingserverBatch(self._tables, connection, node, sensor, self._now).derive_again(sessions)
        apply_changes(self._tables, connection, {sensor: change}, self._now)
        return sum(1 for event in change.added if event.direction < 0)
