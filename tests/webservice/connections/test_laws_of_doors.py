"""Laws of doors: the counts are those of a plain replay, whatever order the events are received in."""

import datetime
import itertools
from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.connections import Count
from eida_stats_webservice.connections.counts import END_OF_TIME, Counts
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.registry.models import Node
from support.connection_model import Installed, Recounted, Step, World
from support.live_connections import LiveConnections, at

EXAMPLES = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
# Few, so that they often coincide; around an hour, a day and a month.
TIMES = st.sampled_from([0, 0.5, 1, 60, 3599.999999, 3600, 7200, 79199, 79200, 8 * 86400 + 79199, 9 * 86400])
MOMENTS = st.sets(TIMES.map(at) | st.sampled_from([at(-1), at(0.25), at(3599), at(86400)]), max_size=3)
PARENTS = {
    "federation": None, "campus": "federation", "site": "campus", "hall": "site", "east": "hall", "west": "hall",
}  # fmt: skip
# Spaces of the node, which sensors may count.
OWN = ["site", "hall", "east", "west"]
SENSORS = ["d1", "d2", "unknown"]


class History(NamedTuple):
    """What happens in some spaces, and in which batches it is received."""

    installed: list[Installed]
    recounts: list[Recounted]
    batches: list[list[Count]]

    @property
    def events(self) -> set[tuple[str, datetime.datetime, int]]:
        return {(one.sensor, one.time, one.direction) for batch in self.batches for one in batch}


@st.composite
def installations(draw: st.DrawFn) -> list[Installed]:
    """Return where the sensors are: each at up to three doorways, one after the other, of up to two spaces."""
    found = []
    for sensor in ("d1", "d2"):
        edges = sorted(draw(st.sets(TIMES, max_size=4)))
        for start, stop in itertools.pairwise([*edges, None]):
            spaces = draw(st.dictionaries(st.sampled_from(OWN), st.sampled_from([1, -1]), max_size=2))
            stopped = None if stop is None else at(stop)
            found += [Installed(sensor, space, sign, at(start or 0), stopped) for space, sign in spaces.items()]
    return found


@st.composite
def histories(draw: st.DrawFn) -> History:
    events = st.builds(Count, st.sampled_from(SENSORS), TIMES.map(at), st.sampled_from([1, 1, -1]))
    # Repeated ones among them.
    received = draw(st.lists(events, max_size=16))
    cuts = sorted(draw(st.sets(st.integers(1, 16), max_size=3)))
    batches = [received[start:stop] for start, stop in itertools.pairwise([0, *cuts, 17])]
    recounts = st.builds(Recounted, st.sampled_from(OWN), TIMES.map(at), st.integers(0, 5))
    stated = draw(st.lists(recounts, max_size=4, unique_by=lambda one: (one.space, one.time)))
    return History(draw(installations()), stated, batches)


def build(live: LiveConnections, history: History) -> Node:
    """Add the spaces and sensors of a history."""
    live.empty()
    node = live.add_node("GFZ")
    with live.database.transaction() as connection:
        tree = live.tables.read_tree(connection)
    spaces: dict[str, Space | None] = {"federation": tree.find("federation")}
    for name, parent in PARENTS.items():
        if parent is not None:
            spaces[name] = live.add_space(name, spaces[parent], node if name in OWN else None)
    sensors = {name: live.add_door(node, name) for name in ("d1", "d2")}
    for one in history.installed:
        space = spaces[one.space]
        assert space is not None
        live.install(sensors[one.sensor], space, one.orientation, one.start, one.stop)
    return node


def replay(history: History) -> World:
    steps = {
        sensor: [Step(time, direction) for name, time, direction in history.events if name == sensor]
        for sensor in SENSORS
    }
    return World(PARENTS, history.installed, steps, history.recounts)


def state_recounts(live: LiveConnections, recounts: Iterable[Recounted]) -> None:
    with live.database.transaction() as connection:
        tree = live.tables.read_tree(connection)
    for one in recounts:
        space = tree.find(one.space)
        assert space is not None
        live.recount(space, one.time, one.count)


@EXAMPLES
@given(histories(), st.integers(0, 4), MOMENTS)
def test_counts_are_those_of_a_replay(
    live: LiveConnections, history: History, early: int, moments: set[datetime.datetime]
) -> None:
    node = build(live, history)
    # Recounts before, and after older events arrive late.
    state_recounts(live, history.recounts[:early])
    for batch in history.batches:
        live.send(node, *batch)
    state_recounts(live, history.recounts[early:])
    world = replay(history)
    chosen = [*moments, END_OF_TIME]
    assert live.count_all(chosen) == [world.count(moment) for moment in chosen]
    assert {(name, time, position) for name, time, _, position, *_ in live.read_events()} == history.events
    check_children(live)


def check_children(live: LiveConnections) -> None:
    """Check that a space is the events of its sensors, its children, and the differences of its recounts."""
    with live.database.snapshot() as connection:
        counts = Counts(live.tables, connection)
        for space in counts.tree:
            below = counts.tree.list_below(space)
            children = [one for one in below if one.parent_id == space.id]
            stated = counts.find_differences(counts.list_recounts(space))
            own = [change for recount, change in stated if recount.space_id == space.id]
            sensors = live.tables.queries.sum_of_events(
                connection, spaces=live.database.to_list([space.id]), start="2000-01-01", moment="9000-01-01"
            )
            assert counts.count(space) == sum(own) + int(sensors) + sum(map(counts.count, children))
