"""Compare the sums of hours and days, and the extremes of hours, with the events."""

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from eida_stats_webservice.connections.differences import ConnectionDifference, write_moment
from eida_stats_webservice.connections.merging import merge_groups
from eida_stats_webservice.connections.models import Installation
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.sums import find_hour
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database, format_moment, parse_time

Sums = tuple[int, ...]
"""Entries, exits, and the lowest and highest count relative to the start."""
_UNCHANGED: Sums = (0, 0, 0, 0)
# The time, the sensor and the direction.
_Step = tuple[datetime.datetime, int, int]


class SumVerification:
    """Verifies the sums in a snapshot of the database. Reconciliation computes them in another way."""

    def __init__(self, database: Database, tables: ConnectionTables, queries: Any, connection: Any) -> None:
        self._database = database
        self._queries = queries
        self._connection = connection
        self._start = tables.find_first_kept(connection)
        self._tree = tables.read_tree(connection)
        sensors = [int(row[0]) for row in queries.list_sensors_of_nodes(connection)]
        self._installations = tables.find_installations(connection, sensors)

    def verify(self) -> Iterator[ConnectionDifference]:
        """Yield the differences."""
        stored_hours = (
            (parse_time(hour), *map(int, values)) for hour, *values in self._stream(self._queries.stored_hours)
        )
        for (hour,), (due, stored) in merge_groups([self._add_up(find_hour), stored_hours], lambda row: (row[0],)):
            yield from self._compare_hour(hour, {row[1]: row[2] for row in due}, stored)
        stored_days = (
            (_find_day(datetime.datetime.fromisoformat(str(day))), *map(int, values))
            for day, *values in self._stream(self._queries.stored_days, f"{self._start:%Y-%m-%d}")
        )
        for (day,), (due, stored) in merge_groups([self._add_up(_find_day), stored_days], lambda row: (row[0],)):
            yield from self._compare_day(day, {row[1]: row[2] for row in due}, stored)

    def _stream(self, query: Any, start: str | None = None) -> Iterator[tuple[Any, ...]]:
        parameters = {"start": start or format_moment(self._start)}
        return self._database.stream(self._connection, query.sql, parameters)

    def _add_up(
        self, find_start: Callable[[datetime.datetime], datetime.datetime]
    ) -> Iterator[tuple[datetime.datetime, int, Sums]]:
        """Yield the sums of each space in each hour, or day, that has events."""
        steps = (
            (parse_time(recorded), sensor_id, direction)
            for sensor_id, recorded, direction in self._stream(self._queries.events_in_order)
        )
        for start, some in groupby(steps, lambda step: find_start(step[0])):
            found = _add_up_steps(some, self._tree, self._installations)
            yield from ((start, space_id, found[space_id]) for space_id in sorted(found))

    def _compare_hour(
        self, hour: datetime.datetime, due: Mapping[int, Sums], rows: Sequence[tuple[Any, ...]]
    ) -> Iterator[ConnectionDifference]:
        stored = {row[1]: row[2:6] for row in rows}
        stale = {row[1] for row in rows if row[6]}
        for space_id in sorted(due.keys() | stored.keys()):
            found, expected = stored.get(space_id, _UNCHANGED), due.get(space_id, _UNCHANGED)
            if self._tree.get(space_id).node_id is None:
                # They are computed after the hours of all spaces below.
                is_wrong = not stale and found != expected
            else:
                length = 2 if space_id in stale else 4
                is_wrong = found[:length] != expected[:length]
            if is_wrong:
                yield self._make("space_hours", space_id, write_moment(hour), found, expected)

    def _compare_day(
        self, day: datetime.datetime, due: Mapping[int, Sums], rows: Sequence[tuple[Any, ...]]
    ) -> Iterator[ConnectionDifference]:
        stored = {row[1]: row[2:4] for row in rows}
        # The days of spaces above the nodes are not stored.
        expected = {number: sums[:2] for number, sums in due.items() if self._tree.get(number).node_id is not None}
        for space_id in sorted(expected.keys() | stored.keys()):
            sums, wanted = stored.get(space_id, (0, 0)), expected.get(space_id, (0, 0))
            if sums != wanted:
                yield self._make("space_days", space_id, f"{day:%Y-%m-%d}", sums, wanted)

    def _make(self, table: str, space_id: int, key: str, stored: Sums, due: Sums) -> ConnectionDifference:
        return ConnectionDifference(table, self._tree.get(space_id).name, key, _describe(stored), _describe(due))


def _add_up_steps(
    steps: Iterable[_Step], tree: SpaceTree, installations: Mapping[int, Sequence[Installation]]
) -> dict[int, Sums]:
    """Return what some events change in each space, as far as they change it."""
    found: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for moment, sensor_id, direction in steps:
        weights: dict[int, int] = defaultdict(int)
        for one in installations[sensor_id]:
            if one.covers(moment):
                space = tree.get(one.space_id)
                for above in (space, *tree.list_above(space)):
                    weights[above.id] += one.orientation
        for space_id, weight in weights.items():
            if weight:
                sums = found[space_id]
                change = direction * weight
                sums[change < 0] += abs(change)
                level = sums[0] - sums[1]
                sums[2], sums[3] = min(sums[2], level), max(sums[3], level)
    return {space_id: tuple(sums) for space_id, sums in found.items()}


def _find_day(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=datetime.UTC)


def _describe(sums: Sums) -> str:
    return ", ".join(
        f"{name} {number}" for name, number in zip(("entries", "exits", "lowest", "highest"), sums, strict=False)
    )
