"""Compute the lowest and highest counts of hours after ingestion, and end old sessions.

Each piece is a transaction that locks one node shortly, so that ingestion goes on. The pieces of two runs wait for
each other. An hour stays stale until its transaction commits, so the next run finishes an interrupted one.
"""

import datetime
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from eida_stats_webservice.connections.expiry import Expiry
from eida_stats_webservice.connections.pieces import EVENTS_AT_ONCE, HOUR, Window, cut_hours, cut_range
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.sums import find_hour
from eida_stats_webservice.connections.tables import ConnectionTables, parse_optional
from eida_stats_webservice.database.base import Database, format_moment, parse_time
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository

Range = tuple[datetime.datetime, datetime.datetime]
_Result = TypeVar("_Result")


class Reconciled(NamedTuple):
    """The number of hours that were stale, and of sessions that have ended."""

    hours: int
    ended: int


class Reconciliation:
    """Reconciles the counts of all nodes."""

    def __init__(self, database: Database, registry: RegistryRepository, tables: ConnectionTables) -> None:
        self._database = database
        self._registry = registry
        self._tables = tables
        self._queries = database.load_queries(Path(__file__).parent, "reconciliation")

    def reconcile(self) -> Reconciled:
        """End old sessions, and compute the stale hours. Repeating this changes nothing.

        Raises:
            DatabaseLocked: if another transaction holds a lock for about a minute.
        """
        nodes, expiry = self._list_nodes(), self._open_expiry()
        ended = sum(expiry.end_sessions(node) for node in nodes)
        for node in nodes:
            expiry.drop_addresses(node)
        # The spaces above the nodes come last. Their hours become stale with those below.
        return Reconciled(sum(self._reconcile_hours(node) for node in (*nodes, None)), ended)

    def rebuild(self) -> int:
        """Compute all hours and days that are not archived. Return how many sessions have ended.

        Raises:
            DatabaseLocked: if another transaction holds a lock for about a minute.
        """
        nodes, expiry = self._list_nodes(), self._open_expiry()
        ended = sum(expiry.end_sessions(node, all_open=True) for node in nodes)
        for node in (*nodes, None):
            for piece in self._list_pieces(node):
                self._change(node, partial(self._rebuild, node=node, piece=piece))
        self.reconcile()
        return ended

    def _list_nodes(self) -> list[Node]:
        with self._database.transaction() as connection:
            return self._registry.list_ids(connection)

    def _open_expiry(self) -> Expiry:
        return Expiry(self._database, self._tables, self._queries, self._change)

    def _change(self, node: Node | None, change: Callable[[Any], _Result]) -> _Result:
        """Return the result of `change` in a transaction that excludes other runs, and ingestion for the node."""

        def change_locked(connection: Any) -> _Result:
            self._tables.queries.lock_reconciliation(connection)
            if node is not None:
                self._tables.lock(connection, node)
            return change(connection)

        return self._database.administer(change_locked)

    # Stale hours

    def _reconcile_hours(self, node: Node | None) -> int:
        """Compute the stale hours of a node, or of the spaces above the nodes. Return their number."""
        with self._database.transaction() as connection:
            spaces = _list_spaces(self._tables.read_tree(connection), node)
            if not spaces:
                return 0
            stale = [
                (int(space_id), parse_time(hour), int(events))
                for space_id, hour, events in self._queries.stale_hours(connection, spaces=self._to_list(spaces))
            ]
        # Ingestion does not wait for the spaces above the nodes, and each commit waits for the disk.
        events_at_once = EVENTS_AT_ONCE if node is not None else 5 * EVENTS_AT_ONCE
        for windows in cut_hours(stale, events_at_once):
            self._change(node, partial(self._compute_stale, node=node, windows=windows))
        return len(stale)

    def _compute_stale(self, connection: Any, node: Node | None, windows: Sequence[Window]) -> None:
        tree = self._tables.read_tree(connection)
        first_kept = self._tables.find_first_kept(connection)
        if node is not None:
            upper = {one.id for space in _list_spaces(tree, node) for one in tree.list_above(tree.get(space))}
            hours = {window.start for window in windows}
            upper &= set(_list_spaces(tree, None))
            self._tables.add_to_sums(connection, {(space, hour): [0, 0] for space in upper for hour in hours})
        self._compute(connection, [window for window in windows if window.start >= first_kept])
        archived = {window.space_id for window in windows if window.start < first_kept}
        if archived:
            self._estimate_archived(connection, tree, node, archived, first_kept)

    def _estimate_archived(
        self, connection: Any, tree: SpaceTree, node: Node | None, spaces: Iterable[int], before: datetime.datetime
    ) -> None:
        """Let the stale hours of spaces before a moment contain their net change, since their events are gone."""
        if node is None:
            for number in spaces:
                # No space has the id 0; PostgreSQL has no empty lists.
                stored = [0, *(one.id for one in tree.list_stored(tree.get(number)))]
                self._queries.sum_archived_hours(
                    connection, space_id=number, stored=self._to_list(stored), before=format_moment(before)
                )
        self._queries.widen_hours(connection, spaces=self._to_list(spaces), before=format_moment(before))

    def _compute(self, connection: Any, windows: Sequence[Window]) -> None:
        if windows:
            encoded = [(one.space_id, format_moment(one.start), format_moment(one.stop)) for one in windows]
            self._tables.queries.compute_hours(connection, windows=json.dumps(encoded))

    # All hours

    def _list_pieces(self, node: Node | None) -> list[Range]:
        """Return all hours that are not archived in pieces with a limited number of events of a node, or of all."""
        with self._database.transaction() as connection:
            start = format_moment(self._tables.find_first_kept(connection))
            bounds = (
                *self._queries.event_bounds(connection, start=start),
                *self._queries.hour_bounds(connection, start=start),
            )
            moments = [moment for moment in map(parse_optional, bounds) if moment is not None]
            if not moments:
                return []
            tree = self._tables.read_tree(connection)
            spaces = _list_spaces(tree, node) if node is not None else [one.id for one in tree]
            if not spaces:
                return []
            sizes = self._queries.sizes_of_hours(connection, spaces=self._to_list(spaces), start=start)
            parsed = [(parse_time(hour), int(events)) for hour, events in sizes]
        return list(cut_range(find_hour(min(moments)), find_hour(max(moments)) + HOUR, parsed))

    def _rebuild(self, connection: Any, node: Node | None, piece: Range) -> None:
        start, stop = piece
        spaces = _list_spaces(self._tables.read_tree(connection), node)
        # An archive may have been made meanwhile.
        if not spaces or start < self._tables.find_first_kept(connection):
            return
        self._compute(connection, [Window(space, start, stop) for space in spaces])
        if node is not None:
            self._tables.queries.add_up_days(
                connection,
                spaces=self._to_list(spaces),
                first=start.date().isoformat(),
                last=(stop - HOUR).date().isoformat(),
            )

    def _to_list(self, numbers: Iterable[int]) -> Any:
        return self._database.to_list(numbers)


def _list_spaces(tree: SpaceTree, node: Node | None) -> list[int]:
    """Return the spaces of a node, or those above the nodes."""
    return [space.id for space in tree if space.node_id == (node and node.id)]
