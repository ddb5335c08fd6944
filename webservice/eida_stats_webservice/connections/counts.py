"""The count of a space at any moment: the sums of days, hours and events, and the recounts of administrators."""

import datetime
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from eida_stats_webservice.connections.models import FIRST_MOMENT, Recount, Space
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.sums import find_hour
from eida_stats_webservice.connections.tables import ConnectionTables, parse_optional
from eida_stats_webservice.database.base import format_moment

END_OF_TIME = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""Later than any event."""


class Level(NamedTuple):
    """The net entries up to a moment, and whether the events of its hour are archived."""

    net: int
    is_archived: bool = False


class Counts:
    """Counts, in the state that one connection sees."""

    def __init__(self, tables: ConnectionTables, connection: Any, tree: SpaceTree | None = None) -> None:
        self._queries = tables.queries
        self._connection = connection
        self.tree = tables.read_tree(connection) if tree is None else tree
        self._tables = tables
        self._recounts: dict[int, list[Recount]] = {}

    @cached_property
    def first_kept(self) -> datetime.datetime:
        """The first moment of which events are kept."""
        return self._tables.find_first_kept(self._connection)

    def count(self, space: Space, moment: datetime.datetime = END_OF_TIME) -> int:
        """Return the count of a space after the events at a moment. It may be negative.

        A recount sets the count of its space, and changes those of the spaces above by the same difference.
        """
        recounts = [one for one in self.list_recounts(space) if one.recorded <= moment]
        return self._count(space, moment, recounts)

    def count_before(self, space: Space, moment: datetime.datetime) -> int:
        """Return the count of a space before the events at a moment. It is exact at the start of each hour."""
        recounts = [one for one in self.list_recounts(space) if one.recorded < moment]
        if moment == find_hour(moment):
            net = self._find_level_of_hours(space, moment)
        else:
            net = self.find_level(space, moment - datetime.timedelta(microseconds=1)).net
        return net + self._find_offset(space, recounts)

    def is_known(self, space: Space) -> bool:
        """Return whether a space has had any event or recount."""
        stored = self._list_ids(self.tree.list_stored(space))
        return bool(stored and self._queries.has_sums(self._connection, spaces=stored)) or bool(
            self.list_recounts(space)
        )

    def is_archived(self, moment: datetime.datetime) -> bool:
        """Return whether the events at a moment are archived, so that only the sums of hours are known."""
        return moment < self.first_kept != FIRST_MOMENT

    def find_last(self, space: Space, moment: datetime.datetime) -> datetime.datetime | None:
        """Return the time of the last event or recount of a space up to a moment."""
        found = self._queries.last_event(
            self._connection, spaces=self._list_ids(self.tree.list_below(space)), moment=format_moment(moment)
        )
        recounts = [one.recorded for one in self.list_recounts(space) if one.recorded <= moment]
        return max((one for one in (parse_optional(found), *recounts) if one is not None), default=None)

    def find_next(self, space: Space, moment: datetime.datetime) -> datetime.datetime | None:
        """Return the time of the first event or recount of a space from a moment on."""
        found = self._queries.next_event(
            self._connection, spaces=self._list_ids(self.tree.list_below(space)), moment=format_moment(moment)
        )
        recounts = [one.recorded for one in self.list_recounts(space) if one.recorded >= moment]
        return min((one for one in (parse_optional(found), *recounts) if one is not None), default=None)

    def find_nearest(self, space: Space, moment: datetime.datetime) -> datetime.datetime | None:
        """Return the time of the event or recount that is nearest to a moment; of two, the earlier."""
        before, after = self.find_last(space, moment), self.find_next(space, moment)
        if before is None or after is None:
            return before or after
        return before if moment - before <= after - moment else after

    def list_recounts(self, space: Space) -> list[Recount]:
        """Return the recounts of a space and of those below it, by time."""
        found = self._recounts.get(space.id)
        if found is None:
            found = self._tables.list_recounts(self._connection, self.tree.list_below(space))
            self._recounts[space.id] = found
        return found

    def find_differences(
        self, recounts: Sequence[Recount], start: datetime.datetime = FIRST_MOMENT
    ) -> list[tuple[Recount, int]]:
        """Return by how much each recount from a moment on changes the count of its space and of those above."""
        wanted = (one for one in recounts if one.recorded >= start)
        return [(one, one.count - self._count_before(one, recounts)) for one in wanted]

    def _count(self, space: Space, moment: datetime.datetime, recounts: Sequence[Recount]) -> int:
        """Return the count of a space, with some recounts of the space and those below it, up to the moment."""
        return self.find_level(space, moment).net + self._find_offset(space, recounts)

    def _find_offset(self, space: Space, recounts: Sequence[Recount]) -> int:
        """Return by how much recounts change the count of a space."""
        below = {one.id for one in self.tree.list_below(space)}
        relevant = [one for one in recounts if one.space_id in below]
        own = next((one for one in reversed(relevant) if one.space_id == space.id), None)
        offset = 0
        if own is not None:
            offset = own.count - self._find_level_at(own)
            relevant = [one for one in relevant if one.recorded > own.recorded]
        return offset + sum(one.count - self._count_before(one, recounts) for one in relevant)

    def _count_before(self, recount: Recount, recounts: Sequence[Recount]) -> int:
        """Return the count at the moment of a recount without it. Spaces below are recounted before."""
        space = self.tree.get(recount.space_id)
        earlier = [
            one
            for one in recounts
            if one.recorded < recount.recorded
            or (one.recorded == recount.recorded and one.space_id != recount.space_id)
        ]
        count = self._count(space, recount.recorded, earlier)
        if recount.level is not None:
            count += recount.level - self.find_level(space, recount.recorded).net
        return count

    def _find_level_at(self, recount: Recount) -> int:
        """Return the net entries of the space of a recount up to its moment, also if the events are archived."""
        if recount.level is not None:
            return recount.level
        return self.find_level(self.tree.get(recount.space_id), recount.recorded).net

    def find_level(self, space: Space, moment: datetime.datetime) -> Level:
        """Return the net entries of a space up to a moment, without recounts."""
        hour = find_hour(moment)
        net = self._find_level_of_hours(space, hour)
        if moment == END_OF_TIME:
            return Level(net)
        if self.is_archived(moment):
            return Level(net, is_archived=True)
        below = self._list_ids(self.tree.list_below(space))
        events = self._queries.sum_of_events(
            self._connection, spaces=below, start=format_moment(hour), moment=format_moment(moment)
        )
        return Level(net + int(events))

    def _find_level_of_hours(self, space: Space, hour: datetime.datetime) -> int:
        """Return the net entries of a space before an hour, without recounts."""
        stored = self.tree.list_stored(space)
        if not stored:
            return 0
        ids = self._list_ids(stored)
        net = int(self._queries.sum_of_days(self._connection, spaces=ids, before=hour.date().isoformat()))
        midnight = hour.replace(hour=0)
        if midnight < hour < find_hour(END_OF_TIME):
            hours = {"start": format_moment(midnight), "stop": format_moment(hour)}
            net += int(self._queries.sum_of_hours(self._connection, spaces=ids, **hours))
        return net

    def _list_ids(self, spaces: Sequence[Space]) -> Any:
        return self._tables.database.to_list([one.id for one in spaces])
