"""Add up events by space and hour."""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from eida_stats_webservice.connections.models import FIRST_MOMENT, Event, Installation
from eida_stats_webservice.connections.pieces import HOUR
from eida_stats_webservice.connections.spaces import SpaceTree

HourSums = dict[tuple[int, datetime.datetime], list[int]]
"""Entries and exits, by space and hour."""


def find_hour(moment: datetime.datetime) -> datetime.datetime:
    """Return the start of the hour of a moment in UTC."""
    return moment.astimezone(datetime.UTC).replace(minute=0, second=0, microsecond=0)


def is_permanent(installation: Installation) -> bool:
    """Return whether an installation covers all moments."""
    return installation.removed_at is None and installation.installed_at <= FIRST_MOMENT


def find_placed(events: Iterable[Event], installations: Sequence[Installation]) -> Iterator[bool]:
    """Yield for each event of a sensor whether the sensor counted a space at that time."""
    if any(map(is_permanent, installations)):
        yield from (True for _ in events)
    else:
        for event in events:
            yield any(one.covers(event.recorded) for one in installations)


class Summation:
    """Adds up the events of the sensors of one node.

    A sensor that leads from one space to another changes neither entries nor exits of a space that contains both.

    Args:
        tree: all spaces.
        installations: those of each sensor.
        sums: those of another summation, to which this one adds.
    """

    def __init__(
        self, tree: SpaceTree, installations: Mapping[int, Sequence[Installation]], sums: HourSums | None = None
    ) -> None:
        self._tree = tree
        self._installations = installations
        self._weights: dict[tuple[Installation, ...], list[tuple[int, int]]] = {}
        self.sums: HourSums = defaultdict(lambda: [0, 0]) if sums is None else sums

    def add(self, sensor_id: int, events: Iterable[Event], sign: int = 1) -> None:
        """Add the events of a sensor; with `sign` -1, subtract them."""
        installations = tuple(self._installations.get(sensor_id, ()))
        # Those of ringservers do not change.
        always = self._weigh(installations) if all(map(is_permanent, installations)) else None
        hour = end = FIRST_MOMENT
        weights: list[tuple[int, int]] = []
        targets: list[tuple[list[int], int]] = []
        for event in events:
            recorded = event.recorded
            active = always or self._weigh(tuple([one for one in installations if one.covers(recorded)]))
            if active != weights or not hour <= recorded < end:
                # Events come in runs, and finding their sums takes longer than the rest.
                hour = find_hour(recorded)
                end = hour + HOUR
                weights = active
                targets = [(self.sums[space_id, hour], weight) for space_id, weight in weights]
            for sums, weight in targets:
                change = event.direction * weight
                sums[change < 0] += sign * abs(change)

    def _weigh(self, active: tuple[Installation, ...]) -> list[tuple[int, int]]:
        """Return by how much an entry of a sensor changes each space."""
        found = self._weights.get(active)
        if found is None:
            weights: dict[int, int] = defaultdict(int)
            for one in active:
                for space in self._tree.list_within_node(self._tree.get(one.space_id)):
                    weights[space.id] += one.orientation
            # Also those that do not change: they have had an event.
            found = list(weights.items())
            self._weights[active] = found
        return found


def add_up_days(hours: HourSums) -> dict[tuple[int, datetime.date], list[int]]:
    """Return the sums by day."""
    days: dict[tuple[int, datetime.date], list[int]] = defaultdict(lambda: [0, 0])
    for (space_id, hour), (entries, exits) in hours.items():
        sums = days[space_id, hour.date()]
        sums[0] += entries
        sums[1] += exits
    return days
