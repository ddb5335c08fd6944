"""A plain model of live connections: everything that is known is replayed at once, and nothing is stored."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from eida_statistics.connections import (
    CloseAfter,
    Connect,
    Disconnect,
    Record,
    ServerStart,
    Snapshot,
    encode_records,
)

SECOND = datetime.timedelta(seconds=1)
CONFIRMED = datetime.timedelta(seconds=25)

Key = tuple[str, datetime.datetime]
Statement = tuple[datetime.datetime, datetime.datetime | None]
Rule = tuple[datetime.datetime, int | None]


class Step(NamedTuple):
    """A sensor has counted."""

    time: datetime.datetime
    direction: int


class Installed(NamedTuple):
    """The time in which a sensor counts a space."""

    sensor: str
    space: str
    orientation: int
    start: datetime.datetime
    stop: datetime.datetime | None = None

    def covers(self, time: datetime.datetime) -> bool:
        return self.start <= time and (self.stop is None or time < self.stop)


class Recounted(NamedTuple):
    """An administrator has stated a count."""

    space: str
    time: datetime.datetime
    count: int


class Facts:
    """The statements of the records of one ringserver, in any order."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.connects: dict[Key, int] = defaultdict(int)
        self.disconnects: dict[Key, list[datetime.datetime]] = defaultdict(list)
        self.listings: dict[Key, list[tuple[int, datetime.datetime]]] = defaultdict(list)
        self.starts: list[Statement] = []
        self.rules: list[Rule] = []
        self.snapshots: list[datetime.datetime] = []
        for record in {encode_records([record]): record for record in records}.values():
            self._add(record)

    def _add(self, record: Record) -> None:
        if isinstance(record, Connect):
            self.connects[record.session, record.time] += 1
        elif isinstance(record, Disconnect):
            ended = max(record.time, record.connected)
            self.disconnects[record.session, record.connected].append(ended)
        elif isinstance(record, ServerStart):
            self.starts.append((record.time, record.failed))
        elif isinstance(record, CloseAfter):
            self.rules.append((record.time, record.seconds))
        elif isinstance(record, Snapshot):
            self.snapshots.append(record.time)
            for one in record.sessions or ():
                self.listings[one.session, one.connected].append((one.count, record.time))

    def replay(self) -> list[Step]:
        """Return the steps of the ringserver by time."""
        keys = self.connects.keys() | self.disconnects.keys() | self.listings.keys()
        return sorted(step for key in keys for step in self._replay_group(key))

    def _replay_group(self, key: Key) -> list[Step]:
        _, connected = key
        ends, listings = self.disconnects.get(key, []), self.listings.get(key, [])
        listed = [number + sum(end + SECOND <= time for end in ends) for number, time in listings]
        count = max(self.connects.get(key, 0), len(ends), *listed, 0)
        unlogged = range(1, count - len(ends) + 1)
        others = [self._end(connected, _find_last_listing(ends, listings, number)) for number in unlogged]
        closed = [*ends, *(end for end in others if end is not None)]
        return [*[Step(connected, 1)] * count, *(Step(end, -1) for end in closed)]

    def _end(self, connected: datetime.datetime, listed: datetime.datetime | None) -> datetime.datetime | None:
        """Return when a session has ended that has no disconnect."""
        seen = max(connected, listed or connected)
        ends = [
            failed if failed is not None and seen <= failed < time else time
            for time, failed in self.starts
            if time > seen
        ]
        absent = [time for time in self.snapshots if time > max(connected + SECOND, listed or connected)]
        if absent and max(absent) - min(absent) >= CONFIRMED:
            ends.append(min(absent))
        ends += self._list_ages(seen)
        return min(ends, default=None)

    def _list_ages(self, seen: datetime.datetime) -> list[datetime.datetime]:
        ages = []
        times = sorted({time for time, _ in self.rules})
        counted_from: datetime.datetime | None = None
        for time, following in zip_longest(times, times[1:]):
            stated = [seconds for since, seconds in self.rules if since == time]
            if None in stated:
                counted_from = None
                continue
            begins = counted_from is None
            if counted_from is None:
                counted_from = seen if time == times[0] else max(seen, time)
            end = max(seen, counted_from) + max(map(_to_seconds, stated))
            if not begins:
                end = max(end, time)
            if following is None or end < following:
                ages.append(end)
        return ages


def _to_seconds(seconds: int | None) -> datetime.timedelta:
    return datetime.timedelta(seconds=seconds or 0)


def _find_last_listing(
    ends: Sequence[datetime.datetime], listings: Sequence[tuple[int, datetime.datetime]], number: int
) -> datetime.datetime | None:
    found = [time for count, time in listings if count - sum(end + SECOND > time for end in ends) >= number]
    return max(found, default=None)


class World:
    """Spaces, and sensors with their steps.

    Args:
        parents: the space that contains each space, None for the highest.
        installed: the installations.
        steps: the changes of the count, by sensor.
        recounts: the counts that an administrator has stated.
    """

    def __init__(
        self,
        parents: Mapping[str, str | None],
        installed: Iterable[Installed],
        steps: Mapping[str, Iterable[Step]],
        recounts: Iterable[Recounted] = (),
    ) -> None:
        self.parents = parents
        self.installed = list(installed)
        self.steps = {sensor: list(some) for sensor, some in steps.items()}
        self.recounts = list(recounts)

    def list_above(self, space: str) -> list[str]:
        """Return a space and those that contain it."""
        above = [space]
        while (parent := self.parents[above[-1]]) is not None:
            above.append(parent)
        return above

    def count(self, moment: datetime.datetime) -> dict[str, int]:
        """Return the count of each space after everything up to a moment, one thing after the other."""
        counts = dict.fromkeys(self.parents, 0)
        happened: list[tuple[datetime.datetime, int, str, int]] = [
            (step.time, 0, sensor, step.direction) for sensor, some in self.steps.items() for step in some
        ]
        # A recount includes the events of its time, and those of the spaces below.
        happened += [
            (one.time, 1000 - len(self.list_above(one.space)), one.space, one.count) for one in self.recounts
        ]
        for time, rank, name, number in sorted(happened):
            if time > moment:
                break
            if rank:
                self._add(counts, name, number - counts[name])
            else:
                for place in self.installed:
                    if place.sensor == name and place.covers(time):
                        self._add(counts, place.space, number * place.orientation)
        return counts

    def _add(self, counts: dict[str, int], space: str, change: int) -> None:
        for name in self.list_above(space):
            counts[name] += change
