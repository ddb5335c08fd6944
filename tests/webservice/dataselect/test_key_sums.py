"""The sums of rows with some keys over payloads, beside the same rows merged one by one."""

import datetime
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from eida_statistics import encoding
from eida_statistics.encoding import EncodedPayload, Reader, UnreadablePayload, encode
from eida_statistics.payload import MAX_COUNT, Key, Payload, Row
from eida_statistics.rows import merge_rows
from eida_stats_webservice.dataselect import bodies
from eida_stats_webservice.dataselect.key_sums import KeySums
from eida_stats_webservice.dataselect.repository import DataselectRepository
from eida_stats_webservice.errors import RefusedByDatabase
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.stores import ON_ONE_STORE, Store
from support.tables import read_sums

OCTOBER = datetime.date(2026, 10, 1)
SHORT = st.integers(-3, 3) | st.integers(-(2**31), 2**31 - 1)
# Hashes of other aggregators may be longer than ours.
CLIENTS = st.sets(SHORT | st.integers(-(2**63), 2**63 - 1), max_size=4)
# As many clients as a sketch lists, or more: some of the registers are set, or most.
MANY = st.sampled_from(
    [range(160), range(200), range(-5000, 5000), range(2**40, 2**40 + 100), range(2**41, 2**41 + 100)]
)
STATIONS = "ABCDEFGH"
ROWS = st.dictionaries(st.sampled_from(STATIONS), st.tuples(st.integers(0, MAX_COUNT), CLIENTS | MANY))


def make_row(station: str, size: int, clients: Iterable[int]) -> Row:
    return Row(OCTOBER, "GE", station, "", "BHZ", "DE", size, 3, 2, 1, sketch(clients))


def make_payload(rows: Sequence[Row]) -> EncodedPayload:
    ordered = sorted(rows, key=lambda one: one.key)
    return encode(Payload(generated_at="", version="", days_coverage=[OCTOBER], aggregation_score=0, stats=ordered))


def add_up(payloads: Iterable[EncodedPayload], keys: Sequence[Key], most_clients: int = 1 << 24) -> list[Row]:
    """Return the sums of all keys, also of those that are dropped at first."""
    given, rows = list(payloads), []
    while keys:
        sums = KeySums(keys, most_clients)
        for one in given:
            sums.add(Reader([one.body]))
        assert sums.keys
        assert len(sums.keys) == 1 or sums._count_clients() <= most_clients
        rows += sums.make_rows()
        keys = keys[len(sums.keys) :]
    return rows


@given(
    payloads=st.lists(ROWS, max_size=4),
    chosen=st.sets(st.sampled_from([*STATIONS, "NONE"])),
    most_clients=st.just(1 << 24) | st.integers(0, 3000),
)
@settings(deadline=None)
def test_sums_are_those_of_merged_rows(
    payloads: list[dict[str, tuple[int, Iterable[int]]]], chosen: set[str], most_clients: int
) -> None:
    rows = [[make_row(station, *values) for station, values in one.items()] for one in payloads]
    keys = [make_row(station, 0, ()).key for station in sorted(chosen)]
    expected = []
    for key in keys:
        same = [one for listed in rows for one in listed if one.key == key]
        expected += [merge_rows(same)] if same else []
    found = add_up(map(make_payload, rows), keys, most_clients)
    assert list(map(astuple, found)) == list(map(astuple, expected))


def test_a_key_that_occurs_twice_in_a_stored_payload_is_refused() -> None:
    row_of_a = make_row("A", 1, {1})
    with pytest.raises(UnreadablePayload):
        add_up([make_payload([row_of_a, row_of_a])], [row_of_a.key])


def test_keys_are_dropped_while_a_payload_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_SLICE_BYTES", 200)
    rows = [make_row(f"S{number:02}", number, {number, -number}) for number in range(40)]
    given = [make_payload(rows), make_payload(rows[::2])]
    expected = [merge_rows([one, one]) if number % 2 == 0 else one for number, one in enumerate(rows)]
    keys = [one.key for one in rows]
    for most_clients in (3, 10, 50, 1000):
        assert list(map(astuple, add_up(given, keys, most_clients))) == list(map(astuple, expected))


def test_many_clients_become_registers_before_keys_are_dropped() -> None:
    keys = [make_row(station, 0, ()).key for station in STATIONS]
    sums = KeySums(keys, 8 * 600)
    for start in range(0, 10 * 150, 150):
        sums.add(Reader([make_payload([make_row(one, 1, range(start, start + 150)) for one in STATIONS]).body]))
    assert sums.keys == keys
    assert [one.clients for one in sums.make_rows()] == [sketch(range(1500))] * len(keys)


@ON_ONE_STORE
def test_a_damaged_payload_with_a_key_twice_is_retracted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    node, _ = make_node(store, "GFZ")
    store.dataselect.ingest(node, payload(row(), days_coverage=["2026-10-01"]))
    number = store.dataselect.ingest(node, payload(row(), days_coverage=["2026-10-02"])).payload
    one = make_row("EIL", 512, {1})
    with store.database.transaction(write=True) as connection:
        body = bytes(make_payload([one, one]).body)
        connection.cursor().execute("UPDATE payloads SET body = ? WHERE id = ?", (body, number))
    monkeypatch.setattr(bodies, "_KEYS_AT_ONCE", 1)
    store.payloads.retract(number, node)
    assert [differences for *_, differences in store.verification.verify() if differences] == []


@pytest.mark.parametrize(
    ("name", "value"), [("_KEYS_AT_ONCE", 3), ("_CLIENTS_AT_ONCE", 5), ("_CLIENTS_AT_ONCE", 0)]
)
def test_keys_are_summed_some_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    node, _ = make_node(store, "GFZ")
    for day in (1, 2, 3):
        rows = [row(station=station, bytes=10**day, clients=sketch({day})) for station in STATIONS]
        store.dataselect.ingest(node, payload(*rows, days_coverage=[f"2026-10-{day:02}"]))
    monkeypatch.setattr(bodies, name, value)
    store.payloads.retract(2, node)
    found = read_sums(store, "dataselect_stats", ("station",))
    assert {key[1]: (values[0], values[-1].hex()) for key, values in found.items()} == {
        station: (1010, sketch({1, 3})[2:]) for station in STATIONS
    }


def test_a_sum_that_exceeds_64_bits_is_refused_by_databases(store: Store) -> None:
    most = make_payload([make_row("A", MAX_COUNT, {1})])
    (total,) = add_up([most] * 3000, [make_row("A", 0, ()).key])
    assert total.bytes == 2**63
    assert total.nb_requests == 9000
    node, _ = make_node(store, "GFZ")
    sums = DataselectRepository(store.database).sums
    with pytest.raises(RefusedByDatabase), store.database.transaction(write=True) as connection:
        sums.rebuild(connection, node, [total.key], [[total]])
