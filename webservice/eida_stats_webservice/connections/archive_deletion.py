"""Delete events of months that are archived, in pieces that do not hold up ingestion.

A session that is open, or has ended later, keeps all of its events: they may still change.
"""

import datetime
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from eida_stats_webservice.connections.tables import ConnectionTables, parse_optional
from eida_stats_webservice.database.base import Database, format_moment
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository

_DAY = datetime.timedelta(days=1)
_EVENTS_AT_ONCE = 10_000
_SESSIONS_AT_ONCE = 2_000


class ArchiveDeletion:
    """Deletes archived events. Repeating this finishes an interrupted run."""

    def __init__(self, database: Database, registry: RegistryRepository, tables: ConnectionTables) -> None:
        self._database = database
        self._registry = registry
        self._tables = tables
        self._queries = database.load_queries(Path(__file__).parent, "archive")

    def delete(self) -> int:
        """Delete the archived events, and their rows of the log. Return the number of events.

        Raises:
            DatabaseLocked: if other transactions hold a lock for about a minute.
        """
        with self._database.transaction() as connection:
            before = format_moment(self._tables.find_first_kept(connection))
            nodes = self._registry.list_ids(connection)
        deleted = sum(self._delete_events(node, before) for node in nodes)
        # Afterwards, since sums never need the log.
        self._delete_log(before)
        return deleted

    def _delete_events(self, node: Node, before: str) -> int:
        with self._database.transaction() as connection:
            sensors = [int(number) for (number,) in self._queries.list_sensor_ids(connection, node_id=node.id)]
        deleted = 0
        for number in sensors:
            values = {"sensor_id": number, "before": before}
            deleted += self._repeat(node, partial(self._queries.delete_counts, **values, most=_EVENTS_AT_ONCE))
            deleted += self._repeat(node, partial(self._queries.delete_sessions, **values, most=_SESSIONS_AT_ONCE))
        return deleted

    def _repeat(self, node: Node, delete: Callable[[Any], int]) -> int:
        """Delete pieces, each in a transaction that has locked the node, until nothing is left."""

        def change(connection: Any) -> int:
            self._tables.lock(connection, node)
            return int(delete(connection))

        deleted = 0
        while number := self._database.administer(change):
            deleted += number
        return deleted

    def _delete_log(self, before: str) -> None:
        """Delete the rows of the log by the days on which they were received."""
        with self._database.transaction() as connection:
            first, last = map(parse_optional, self._queries.bounds_of_log(connection, before=before))
            kept = [int(number) for (number,) in self._queries.snapshots_to_keep(connection, before=before)]
        if first is None or last is None:
            return
        values = {"before": before, "kept": self._database.to_list(kept or [0])}
        while first <= last:
            window = {"start": format_moment(first), "stop": format_moment(first + _DAY)}
            self._database.administer(partial(self._queries.delete_log, **values, **window))
            first += _DAY
