"""Laws of ringservers: any order, splitting and repetition of records has the result of a plain replay of all."""

import datetime
import itertools
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.connections import (
    CloseAfter,
    Connect,
    Disconnect,
    Record,
    ServerStart,
    Snapshot,
    decode_records,
    encode_records,
)
from eida_stats_webservice.connections.counts import END_OF_TIME
from eida_stats_webservice.connections.log import ConnectionLog
from eida_stats_webservice.connections.sums import find_hour
from support.connection_model import Facts, Step
from support.live_connections import (
    LiveConnections,
    at,
    connect,
    disconnect,
    list_session,
)

EXAMPLES = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
CLIENTS = st.sampled_from("xy")
# Around an hour and a month; few times, so that they often coincide.
TIMES = st.sampled_from([0, 1, 2, 10, 40, 41, 70, 100, 130, 3590, 3600, 3640, 8 * 86400 + 79199, 9 * 86400])
INSTANCES = st.sampled_from(["main", "second"])


@st.composite
def lines(draw: st.DrawFn) -> Connect | Disconnect:
    client, connected = draw(CLIENTS), draw(st.sampled_from([0, 1, 3590]))
    if draw(st.booleans()):
        return connect(client, connected, 0)
    return disconnect(client, connected, draw(TIMES), 0)


@st.composite
def snapshots(draw: st.DrawFn, instance: str) -> Snapshot:
    keys = draw(st.dictionaries(st.tuples(CLIENTS, st.sampled_from([0, 1, 3590])), st.integers(1, 3), max_size=3))
    listed = [list_session(client, connected, count) for (client, connected), count in keys.items()]
    return Snapshot(instance, at(draw(TIMES)), listed)


@st.composite
def statements(draw: st.DrawFn, instance: str) -> Record:
    kind, time = draw(st.integers(0, 3)), at(draw(TIMES))
    if kind == 0:
        failed = draw(st.none() | TIMES)
        return ServerStart(instance, time, None if failed is None else at(failed))
    if kind == 1:
        return CloseAfter(instance, time, draw(st.none() | st.sampled_from([1, 30, 60, 4000])))
    return draw(snapshots(instance))


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Return records of two instances. Each line has a place of its own, which is the same in both."""
    records: list[Record] = []
    for instance in ("main", "second"):
        numbered = enumerate(draw(st.lists(lines(), max_size=8)))
        records += [
            type(line)(
                **{name: getattr(line, name) for name in line.__struct_fields__}
                | {"instance": instance, "position": number * 100}
            )
            for number, line in numbered
        ]
        records += draw(st.lists(statements(instance), max_size=5))
    return records


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Record], list[list[Record]]]:
    """Return records, and batches that have each of them at least once."""
    records = draw(histories())
    sent = draw(st.permutations(records))
    sent += draw(st.lists(st.sampled_from(records), max_size=3)) if records else []
    cuts = sorted(draw(st.sets(st.integers(1, max(len(sent), 1)), max_size=4)))
    edges = [0, *cuts, len(sent)]
    return records, [sent[start:stop] for start, stop in itertools.pairwise(edges) if start < stop]


def replay(records: list[Record], instance: str) -> list[Step]:
    return Facts(record for record in records if getattr(record, "instance", None) == instance).replay()


def add_up(steps: list[Step]) -> dict[datetime.datetime, tuple[int, int]]:
    entries = Counter(find_hour(step.time) for step in steps if step.direction > 0)
    exits = Counter(find_hour(step.time) for step in steps if step.direction < 0)
    return {hour: (entries[hour], exits[hour]) for hour in entries | exits}


@EXAMPLES
@given(deliveries())
def test_any_order_has_the_result_of_a_replay(
    live: LiveConnections, delivery: tuple[list[Record], list[list[Record]]]
) -> None:
    records, batches = delivery
    live.empty()
    node = live.add_node("GFZ")
    for batch in batches:
        live.send(node, *batch)
    expected = {f"GFZ/{name}": replay(records, name) for name in ("main", "second")}
    expected["GFZ"] = [step for steps in list(expected.values()) for step in steps]
    known = {name for name, *_ in live.read_events()}
    found = [(sensor, time, direction) for sensor, time, _, _, direction, *_ in live.read_events()]
    assert sorted(found) == sorted(
        (name, *step) for name, steps in expected.items() if name != "GFZ" for step in steps
    )
    hours = {(name, hour): sums for name, steps in expected.items() for hour, sums in add_up(steps).items()}
    assert live.read_hours() == hours
    days: dict[tuple[str, str], tuple[int, int]] = {}
    for (name, hour), (more, less) in hours.items():
        before = days.get((name, str(hour.date())), (0, 0))
        days[name, str(hour.date())] = (before[0] + more, before[1] + less)
    assert live.read_days() == days
    moments = sorted({step.time for step in expected["GFZ"]})[:6]
    for moment, counts in zip([*moments, END_OF_TIME], live.count_all([*moments, END_OF_TIME]), strict=True):
        for name in known | ({"GFZ", "federation"} if known else set()):
            steps = expected["GFZ" if name == "federation" else name]
            assert counts[name] == sum(step.direction for step in steps if step.time <= moment) >= 0
    assert list(live.store.connection_verification.verify()) == []


@settings(EXAMPLES, max_examples=20)
@given(deliveries(), st.integers(1, 9))
def test_log_has_all_that_counts(
    live: LiveConnections, delivery: tuple[list[Record], list[list[Record]]], size: int
) -> None:
    _, batches = delivery
    live.empty()
    node = live.add_node("GFZ")
    for batch in batches:
        live.send(node, *batch)
    derived = live.read_events(), live.read_sessions(), live.read_hours(), live.read_days()
    with live.database.snapshot() as connection:
        log = ConnectionLog(live.database).read_received(connection, at(0), END_OF_TIME)
        logged = [one.record for one in log]
    assert len(logged) == sum(map(len, batches))
    live.empty()
    node = live.add_node("GFZ")
    for start in range(0, len(logged), size):
        # As it is sent.
        live.send(node, *decode_records(encode_records(logged[start : start + size])))
    assert (live.read_events(), live.read_sessions(), live.read_hours(), live.read_days()) == derived
