"""Laws of moved sensors and reconciled hours: they are those of a plain replay, whatever was done in between."""

import datetime
import itertools
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.connections import Count, Record
from eida_stats_webservice.connections.counts import END_OF_TIME
from eida_stats_webservice.connections.errors import OverlappingInstallation
from eida_stats_webservice.connections.reconciliation import Reconciliation
from eida_stats_webservice.connections.sensor_administration import SensorAdministration
from eida_stats_webservice.connections.sums import find_hour
from eida_stats_webservice.database.base import parse_time
from eida_stats_webservice.registry.models import Node
from support.connection_model import Installed, Step, World
from support.live_connections import LiveConnections, at, connect, disconnect
from support.tables import select

EXAMPLES = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
SECONDS = [0, 0.5, 1, 60, 3599, 3600, 7200, 79199, 79200, 9 * 86400]
TIMES = st.sampled_from(SECONDS).map(at)
PARENTS = {
    "federation": None,
    "campus": "federation",
    "site": "campus",
    "hall": "site",
    "east": "hall",
    "west": "hall",
}
OWN = ["site", "hall", "east", "west"]
DOORS = ["d1", "d2"]
Levels = dict[tuple[str, datetime.datetime], tuple[int, int, int, int]]


def build(live: LiveConnections) -> Node:
    live.empty()
    node = live.add_node("GFZ")
    with live.database.transaction() as connection:
        spaces = {space.name: space for space in live.tables.read_tree(connection)}
    for name, parent in PARENTS.items():
        if parent is not None:
            spaces[name] = live.add_space(name, spaces[parent], node if name in OWN else None)
    for name in DOORS:
        live.add_door(node, name)
    return node


@st.composite
def sessions(draw: st.DrawFn) -> list[Record]:
    """Return the lines of a session, the same at each place of the log."""
    begun, lasting = draw(st.sampled_from([0, 60, 3599])), draw(st.sampled_from([0, 30, 9999]))
    position = 10_000_000 * begun + 1000 * lasting + 200 * draw(st.integers(0, 2))
    lines = [connect("x", begun, position), disconnect("x", begun, begun + lasting, position + 100)]
    return lines[: draw(st.integers(1, 2))]


@st.composite
def installs(draw: st.DrawFn) -> Callable[[LiveConnections], None]:
    name, space, start = draw(st.sampled_from(DOORS)), draw(st.sampled_from(OWN)), draw(TIMES)
    stop = draw(st.none() | TIMES)
    orientation = draw(st.sampled_from([1, -1]))

    def install(live: LiveConnections) -> None:
        if stop is None or start < stop:
            administer(live).install(name, space, doorway="", orientation=orientation, start=start, stop=stop)

    return install


@st.composite
def moves(draw: st.DrawFn) -> Callable[[LiveConnections], None]:
    name, source, target = (
        draw(st.sampled_from(DOORS)),
        draw(st.sampled_from(OWN)),
        draw(st.none() | st.sampled_from(OWN)),
    )
    moment = draw(TIMES)
    return lambda live: administer(live).move(name, source, target, doorway=None, moment=moment)


def administer(live: LiveConnections) -> SensorAdministration:
    return SensorAdministration(live.database, live.store.registry, live.tables)


def reconcile(live: LiveConnections) -> int:
    return Reconciliation(live.database, live.store.registry, live.tables).reconcile().hours


COUNTS = st.builds(Count, st.sampled_from([*DOORS, "unknown"]), TIMES, st.sampled_from([1, 1, -1]))
BATCHES: st.SearchStrategy[list[Record]] = st.lists(COUNTS, min_size=1, max_size=6) | sessions()
ACTIONS = st.lists(BATCHES | installs() | moves() | st.just(reconcile), max_size=10)


def read_installed(live: LiveConnections) -> list[Installed]:
    found = select(
        live.store,
        "SELECT sensors.name, spaces.name, orientation, installed_at, removed_at FROM installations"
        " JOIN sensors ON sensors.id = sensor_id JOIN spaces ON spaces.id = space_id",
    )
    return [Installed(*names, parse_time(start), stop and parse_time(stop)) for *names, start, stop in found]


def replay_hours(live: LiveConnections, world: World) -> Levels:
    """Return entries, exits, lowest and highest of each hour with events, computed one event after the other."""
    numbers = dict(select(live.store, "SELECT name, id FROM sensors"))
    events = live.read_events()
    levels: dict[tuple[str, datetime.datetime], list[int]] = defaultdict(lambda: [0] * 5)
    for sensor, time, _, _, direction, *_ in sorted(events, key=lambda row: (row[1], numbers[row[0]], *row[2:4])):
        changes: dict[str, int] = defaultdict(int)
        for place in world.installed:
            if place.sensor == sensor and place.covers(time):
                for space in world.list_above(place.space):
                    changes[space] += direction * place.orientation
        for space, change in changes.items():
            found = levels[space, find_hour(time)]
            found[change < 0] += abs(change)
            found[4] += change
            found[2], found[3] = min(found[2], found[4]), max(found[3], found[4])
    return {
        key: (more, less, lowest, highest)
        for key, (more, less, lowest, highest, _) in levels.items()
        if more or less
    }


def read_hours(live: LiveConnections) -> Levels:
    found = select(
        live.store,
        "SELECT name, hour, entries, exits, lowest, highest, stale"
        " FROM space_hours JOIN spaces ON spaces.id = space_id",
    )
    assert not any(stale for *_, stale in found)
    return {
        (name, parse_time(hour)): (more, less, lowest, highest)
        for name, hour, more, less, lowest, highest, _ in found
        if more or less or lowest or highest
    }


SUMS = [("space_hours", name) for name in ("entries", "exits", "lowest", "highest")]
SUMS += [("space_days", name) for name in ("entries", "exits")]


@EXAMPLES
@given(ACTIONS, st.sampled_from(SUMS))
def test_reconciled_hours_are_those_of_a_replay(
    live: LiveConnections, actions: list[list[Record] | Callable[[LiveConnections], None]], changed: tuple[str, str]
) -> None:
    node = build(live)
    live.send(node, connect("first", 0, 50))
    for action in actions:
        if isinstance(action, list):
            live.send(node, *action)
        else:
            # A sensor is in one doorway at a time, and cannot be moved from where it is not.
            with suppress(OverlappingInstallation):
                action(live)
    reconcile(live)
    parents = {**PARENTS, "GFZ": "federation", "GFZ/main": "GFZ"}
    steps: dict[str, list[Step]] = defaultdict(list)
    for sensor, time, _, _, direction, *_ in live.read_events():
        steps[sensor].append(Step(time, direction))
    world = World(parents, read_installed(live), steps)
    assert read_hours(live) == replay_hours(live, world)
    days: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for (space, hour), (more, less) in live.read_hours().items():
        days[space, str(hour.date())][0] += more
        days[space, str(hour.date())][1] += less
    stored = {key for key, (name, _) in zip(days, days, strict=True) if name in {*OWN, "GFZ", "GFZ/main"}}
    assert {key: list(sums) for key, sums in live.read_days().items()} == {key: days[key] for key in stored}
    placed = select(
        live.store, "SELECT name, recorded, placed FROM sensor_events JOIN sensors ON sensors.id = sensor_id"
    )
    for sensor, recorded, is_placed in placed:
        expected = any(one.sensor == sensor and one.covers(parse_time(recorded)) for one in world.installed)
        assert bool(is_placed) == expected
    moments = [at(0.5), at(3599), END_OF_TIME]
    assert live.count_all(moments) == [world.count(moment) for moment in moments]
    assert reconcile(live) == 0
    assert list(live.store.connection_verification.verify()) == []
    # Any row of the sums that is changed by hand is found.
    table, column = changed
    for (space,) in select(live.store, f"SELECT max(space_id) FROM {table}"):
        live.execute(f"UPDATE {table} SET {column} = {column} + 1 WHERE space_id = {space}")
    assert {one.table for one in live.store.connection_verification.verify()} == {table}


@EXAMPLES
@given(st.lists(COUNTS, max_size=10), st.sets(TIMES, min_size=2, max_size=2).map(sorted), st.integers(0, 10))
def test_moving_there_and_back_changes_nothing_outside(
    live: LiveConnections, counts: list[Count], times: list[datetime.datetime], early: int
) -> None:
    node = build(live)
    there, back = times
    outside = [one for one in counts if not there <= one.time < back]
    door = administer(live)
    door.install("d1", "east", doorway="", orientation=1, start=at(0), stop=None)
    for some, moves_of_door in itertools.zip_longest((outside[:early], outside[early:]), (True,)):
        if some:
            live.send(node, *some)
        if moves_of_door:
            door.move("d1", "east", "west", doorway="north", moment=there)
            door.move("d1", "west", "east", doorway="", moment=back)
    steps = {"d1": {Step(one.time, one.direction) for one in outside if one.sensor == "d1"}}
    world = World(PARENTS, [Installed("d1", "east", 1, at(0))], steps)
    moments = [*times, at(60), END_OF_TIME]
    assert live.count_all(moments) == [world.count(moment) for moment in moments]
    if there > at(0):
        assert live.count("west") == 0
