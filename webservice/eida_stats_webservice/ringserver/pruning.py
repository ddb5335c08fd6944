"""Delete the data of ringservers that are kept for some time only: records, events, sums by client and by hour.

Sums by month, day and place stay. Deleted data never count again: records of earlier days are refused, and
hours of earlier days are left out of the sums, whichever payload has them.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from eida_stats_webservice.database.base import Database, repeat_while_locked
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository

# About a minute.
_ATTEMPTS = 60
_PAUSE_SECONDS = 1


class Kept(NamedTuple):
    """The first days that are kept: of records with all that they state of clients, and of hours."""

    records_from: datetime.date
    hours_from: datetime.date

    def advance(self, other: "Kept") -> "Kept":
        """Return the later days of both."""
        return Kept(max(self.records_from, other.records_from), max(self.hours_from, other.hours_from))


class OldRows(NamedTuple):
    """The number of rows of a node that are too old."""

    records: int
    clients: int
    hours: int


class RingserverPruning:
    """Deletes old rows. Each step is a transaction of its own, and repeating them finishes an interrupted run.

    The first days that are kept come first, then each node is locked. So no transaction that began before, and
    knows older records, adds to them later.
    """

    def __init__(self, database: Database, registry: RegistryRepository) -> None:
        self._database = database
        self._registry = registry
        self._queries = database.load_queries(Path(__file__).parent, "pruning")

    def read_kept(self) -> Kept:
        """Return the first days that are kept now."""
        with self._database.transaction() as connection:
            return Kept(*map(datetime.date.fromisoformat, self._queries.kept_from(connection)))

    def keep_from(self, kept: Kept) -> None:
        """Refuse and leave out earlier days from now on. The days never go back."""

        def change(connection: Any) -> None:
            self._queries.keep_records_from(connection, day=kept.records_from.isoformat())
            if self._queries.keep_hours_from(connection, day=kept.hours_from.isoformat()):
                # Queries for earlier hours are refused now, and sketches of earlier months are withheld.
                self._registry.bump_registry_revision(connection)

        self._database.administer(change)

    def list_nodes(self) -> list[Node]:
        """Return all nodes."""
        with self._database.transaction() as connection:
            return self._registry.list_ids(connection)

    def count_rows(self, node: Node, kept: Kept) -> OldRows:
        """Return the number of rows of a node that are too old."""
        with self._database.transaction() as connection:
            return self._count(connection, node, kept)

    def delete_rows(self, node: Node, kept: Kept) -> OldRows:
        """Delete the rows of a node that are too old, and return their number."""

        def change(connection: Any) -> OldRows:
            self._registry.lock(connection, node)
            found = self._count(connection, node, kept)
            records_from, hours_from = map(datetime.date.isoformat, kept)
            self._queries.remove_old_records(connection, node_id=node.id, records_from=records_from)
            self._queries.remove_old_clients(connection, node_id=node.id, records_from=records_from)
            self._queries.remove_old_hours(connection, node_id=node.id, hours_from=hours_from)
            self._queries.remove_old_hour_clients(connection, node_id=node.id, hours_from=hours_from)
            return found

        return self._database.administer(change)

    def list_months(self, kept: Kept) -> list[str]:
        """Return the months of events that are wholly too old."""
        with self._database.transaction() as connection:
            return [
                month for (month,) in self._queries.old_months(connection, before=kept.records_from.isoformat())
            ]

    def delete_events(self, kept: Kept) -> Iterator[str]:
        """Delete the events of months that are wholly too old, and yield each month that is done.

        Raises:
            DatabaseLocked: if others use them for longer than a minute.
        """
        while (month := self._delete_month(kept.records_from)) is not None:
            yield month

    def _delete_month(self, before: datetime.date) -> str | None:
        """Delete the events of a month, or return None if none is old enough."""

        def take_step() -> tuple[str, bool] | None:
            with self._database.transaction() as connection:
                step = self._queries.next_step(connection, before=before.isoformat())
            if step is None:
                return None
            month, statement, is_last = step
            self._database.run_alone(statement)
            return month, bool(is_last)

        # After an attempt that failed, the next statement is another one.
        while (done := repeat_while_locked(take_step, _ATTEMPTS, pause=_PAUSE_SECONDS)) is not None:
            month, is_last = done
            if is_last:
                return month
        return None

    def _count(self, connection: Any, node: Node, kept: Kept) -> OldRows:
        records_from, hours_from = map(datetime.date.isoformat, kept)
        return OldRows(
            *self._queries.count_old(connection, node_id=node.id, records_from=records_from, hours_from=hours_from)
        )
