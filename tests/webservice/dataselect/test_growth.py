"""Corrections that add to rows, take from them, or both: sums and roll-ups are those of the payloads in force."""

import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from eida_statistics import hll
from eida_statistics.payload import CheckedRow, Row
from eida_stats_webservice.dataselect.growth import Correction
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.stores import Store
from support.tables import ROLL_UPS, compute_roll_up, read_sums

OCTOBER = datetime.date(2026, 10, 1)
STREAM = ("date", "network", "station", "location", "channel", "country")
STREAMS = [(network, station, country) for network in "AB" for station in "ST" for country in ("DE", "FR")]
# More clients than a sketch lists.
MORE = {client * 1_000_003 for client in range(400)}
MANY = {client * 1_000_003 for client in range(300)}
# The number of requests and the clients of each stream, by its place in the list.
DAY = st.dictionaries(
    st.integers(0, len(STREAMS) - 1),
    st.tuples(st.integers(1, 3), st.sets(st.integers(1, 5), min_size=1)),
)


def make_row(clients: set[int], requests: int = 1, station: str = "S") -> Row:
    return Row(OCTOBER, "A", station, "", "BHZ", "DE", 10 * requests, requests, requests, 0, sketch(clients))


def compare(old: list[Row], new: list[Row]) -> tuple[list[tuple[str, int, str]], set[str]]:
    """Return the station, requests and clients of each row of growth, and the stations that are built again."""
    # As they are read from a payload that was kept.
    kept = [CheckedRow(*astuple(one)) for one in old]
    correction = Correction([kept], new)
    growth = [(found.station, found.nb_requests, found.clients) for found in correction.growth()]
    return growth, {station for _, _, station, *_ in correction.rebuilt}


@pytest.mark.parametrize(
    ("old", "new", "growth", "rebuilt"),
    [
        ([make_row({1})], [make_row({1})], [], set()),
        ([make_row({1})], [make_row({1}, 3)], [("S", 2, sketch({1}))], set()),
        ([make_row({1})], [make_row({1, 2}, 3)], [("S", 2, sketch({1, 2}))], set()),
        ([], [make_row({1})], [("S", 1, sketch({1}))], set()),
        ([make_row({1})], [], [], {"S"}),
        ([make_row({1, 2})], [make_row({2, 3}, 9)], [], {"S"}),
        ([make_row({1}, 2)], [make_row({1}, 1)], [], {"S"}),
        (
            [make_row({1}), make_row({1}, station="T")],
            [make_row({1, 2}), make_row({2}, station="T"), make_row({4}, station="U")],
            [("S", 0, sketch({1, 2})), ("U", 1, sketch({4}))],
            {"T"},
        ),
        ([make_row(MANY)], [make_row(MORE)], [("S", 0, sketch(MORE))], set()),
        ([make_row(MORE)], [make_row(set(list(MORE)[:100]))], [], {"S"}),
    ],
)
def test_growth_and_loss_are_distinguished(
    old: list[Row], new: list[Row], growth: list[tuple[str, int, str]], rebuilt: set[str]
) -> None:
    assert compare(old, new) == (growth, rebuilt)


def make_payload(day: int, streams: dict[int, tuple[int, set[int]]]) -> Any:
    rows = [
        row(network=network, station=station, country=country, nb_requests=requests,
            nb_successful_requests=requests, clients=sketch(clients))
        for (network, station, country), (requests, clients) in ((STREAMS[one], of) for one, of in streams.items())
    ]  # fmt: skip
    return payload(*rows, days_coverage=[f"2026-10-{day:02}"])


def read_tables(store: Store) -> dict[str, Any]:
    return {
        table: read_sums(store, table, keys) for table, keys in [("dataselect_stats", STREAM), *ROLL_UPS.items()]
    }


@given(days=st.lists(DAY, min_size=2, max_size=4), corrections=st.lists(st.one_of(st.none(), DAY), max_size=3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_corrections_leave_the_sums_of_a_rebuild(
    store: Store, days: list[dict[int, Any]], corrections: list[dict[int, Any] | None]
) -> None:
    if any(known.name == "GFZ" for known in store.registry.list_nodes()):
        store.registry.remove_node("GFZ")
    node, _ = make_node(store, "GFZ")
    numbers = [
        store.dataselect.ingest(node, make_payload(day + 1, streams)).payload for day, streams in enumerate(days)
    ]
    for day, streams in enumerate(corrections[: len(days)]):
        if streams is None:
            store.payloads.retract(numbers[day], node)
        else:
            store.dataselect.replace(node, make_payload(day + 1, streams))
    corrected = read_tables(store)
    assert {table: compute_roll_up(store, keys) for table, keys in ROLL_UPS.items()} == {
        table: corrected[table] for table in ROLL_UPS
    }
    list(store.verification.replay())
    assert read_tables(store) == corrected


def test_growth_reads_no_other_payload(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    store.dataselect.ingest(node, make_payload(1, {0: (1, {1})}))
    store.dataselect.ingest(node, make_payload(2, {0: (1, {2})}))
    with store.database.transaction(write=True) as connection:
        damaged = "'\\x00'" if store.database.dialect == "postgresql" else "x'00'"
        connection.cursor().execute(f"UPDATE payloads SET body = {damaged} WHERE id = 1")
    store.dataselect.replace(node, make_payload(2, {0: (2, {2, 3}), 1: (1, {4})}))
    found = read_sums(store, "dataselect_stats_by_network", ("network",))
    assert {key: values[1:3] for key, values in found.items()} == {("GFZ", "A"): (4, 4)}
    assert found["GFZ", "A"][-1] == hll.from_hex(sketch({1, 2, 3, 4}))
