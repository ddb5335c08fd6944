"""The sums of rows with some keys over payloads, beside the same rows merged one by one."""

import datetime
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from eida_statistics import packed_rows
from eida_statistics.encoding import EncodedPayload, encode
from eida_statistics.packed_rows import unpack
from eida_statistics.payload import MAX_COUNT, Key, Payload, Row
from eida_statistics.rows import merge_rows
from eida_statistics.zstandard import zstd
from eida_stats_webservice.dataselect import payload_sums
from eida_stats_webservice.dataselect.key_sums import KeySums
from eida_stats_webservice.dataselect.payload_sums import PayloadSums
from eida_stats_webservice.dataselect.repository import DataselectRepository
from eida_stats_webservice.errors import DamagedPayload, DatabaseFull, RefusedByDatabase
from eida_stats_webservice.payloads.differences import report_damage
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store
from support.tables import execute, read_sums, select

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
            for columns in unpack(one.packed_rows, one.content):
                sums.add(columns)
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


def test_keys_are_dropped_while_a_payload_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_rows, "ROWS_AT_ONCE", 3)
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
        rows = [make_row(one, 1, range(start, start + 150)) for one in STATIONS]
        made = make_payload(rows)
        for columns in unpack(made.packed_rows, made.content):
            sums.add(columns)
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
        connection.cursor().execute("UPDATE payloads SET body = ?, packed_rows = NULL WHERE id = ?", (body, number))
    monkeypatch.setattr(payload_sums, "_KEYS_AT_ONCE", 1)
    store.payloads.retract(number, node)
    assert [differences for *_, differences in store.verification.verify() if differences] == []


@pytest.mark.parametrize("kind", ["none", "empty", "damaged", "cut off", "of another payload"])
def test_packed_rows_are_made_again(store: Store, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """An older version stores payloads without them."""
    monkeypatch.setattr(packed_rows, "ROWS_AT_ONCE", 2)
    node, _ = make_node(store, "GFZ")
    for day in (1, 2, 3):
        rows = [row(station=station, bytes=10**day, clients=sketch({day})) for station in STATIONS]
        store.dataselect.ingest(node, payload(*rows, days_coverage=[f"2026-10-{day:02}"]))
    before = read_packed_rows(store)
    first = before[0] or b""
    pieces = {
        "none": None,
        "empty": b"",
        "damaged": b"\0",
        "cut off": first[: len(first) - 60],
        "of another payload": before[2],
    }
    execute(store, "UPDATE payloads SET packed_rows = :stored WHERE id <> 3", stored=pieces[kind])
    store.payloads.retract(2, node)
    assert read_packed_rows(store) == [before[0], None, before[2]]
    assert [differences for *_, differences in store.verification.verify() if differences] == []


def test_payload_without_packed_rows_is_named_if_it_is_damaged(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    for day in (1, 2):
        store.dataselect.ingest(node, payload(row(), days_coverage=[f"2026-10-{day:02}"]))
    execute(store, "UPDATE payloads SET body = :body, packed_rows = NULL WHERE id = 1", body=b"\0")
    before = read_sums(store, "dataselect_stats", ("station",))
    with pytest.raises(DamagedPayload, match="1"):
        store.payloads.retract(2, node)
    assert read_sums(store, "dataselect_stats", ("station",)) == before
    assert [one.payload for one in store.payloads.list_payloads() if one.withdrawn_at is None] == [1, 2]


def test_packed_rows_of_a_damaged_body_are_not_kept(store: Store) -> None:
    """Otherwise they would still be used when the body has been restored from a back-up."""
    node, _ = make_node(store, "GFZ")
    for day in (1, 2, 3):
        store.dataselect.ingest(node, payload(row(bytes=10**day), days_coverage=[f"2026-10-{day:02}"]))
    ((body,),) = select(store, "SELECT body FROM payloads WHERE id = 1")
    damaged = bytes(encode(payload(row(bytes=7), days_coverage=["2026-10-01"])).body)
    execute(store, "UPDATE payloads SET body = :body, packed_rows = NULL WHERE id = 1", body=damaged)
    store.payloads.retract(2, node)
    execute(store, "UPDATE payloads SET body = :body WHERE id = 1", body=bytes(body))
    store.payloads.retract(3, node)
    assert [differences for *_, differences in store.verification.verify() if differences] == []


def test_bad_sketch_in_a_body_is_named(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    for day in (1, 2):
        store.dataselect.ingest(node, payload(row(), days_coverage=[f"2026-10-{day:02}"]))
    good = payload(row(), days_coverage=["2026-10-01"])
    text = good.to_json().replace(good.stats[0].clients[-16:].encode(), b"z" * 16)
    execute(store, "UPDATE payloads SET body = :body, packed_rows = NULL WHERE id = 1", body=zstd.compress(text))
    with pytest.raises(DamagedPayload, match="1"):
        store.payloads.retract(2, node)
    found = [one for *_, differences in store.verification.verify() for one in differences]
    assert report_damage(1) in found


@ON_POSTGRESQL
def test_failure_in_the_background_undoes_the_correction(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    for day in (1, 2):
        store.dataselect.ingest(node, payload(row(), days_coverage=[f"2026-10-{day:02}"]))
    execute(
        store,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE disk_full; END';"
        "CREATE TRIGGER fail BEFORE UPDATE ON dataselect_stats EXECUTE FUNCTION fail()",
    )
    with pytest.raises(DatabaseFull):
        store.payloads.retract(2, node)
    assert [one.payload for one in store.payloads.list_payloads() if one.withdrawn_at is None] == [1, 2]
    execute(store, "DROP TRIGGER fail ON dataselect_stats")
    assert [differences for *_, differences in store.verification.verify() if differences] == []
    store.payloads.retract(2, node)
    assert [differences for *_, differences in store.verification.verify() if differences] == []


def test_deleted_sums_are_restored_with_their_key(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    for day in (1, 2):
        rows = [row(station=station) for station in STATIONS]
        store.dataselect.ingest(node, payload(*rows, days_coverage=[f"2026-10-{day:02}"]))
    execute(store, "DELETE FROM dataselect_stats WHERE station < 'D'")
    store.payloads.retract(2, node)
    assert [differences for *_, differences in store.verification.verify() if differences] == []


def test_withdrawn_payloads_have_no_packed_rows(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    one = payload(row(), days_coverage=["2026-10-01"])
    store.dataselect.ingest(node, one)
    store.payloads.retract(1, node)
    assert read_packed_rows(store) == [None]
    # When it is received once more, it is in force again.
    store.dataselect.ingest(node, one)
    assert read_packed_rows(store) == [encode(one).packed_rows]


def read_packed_rows(store: Store) -> list[bytes | None]:
    found = select(store, "SELECT packed_rows FROM payloads ORDER BY id")
    return [None if packed is None else bytes(packed) for (packed,) in found]


@pytest.mark.parametrize(
    ("name", "value"),
    [("_KEYS_AT_ONCE", 3), ("_CLIENTS_AT_ONCE", 5), ("_CLIENTS_AT_ONCE", 0), ("_KEPT_BYTES", 0)],
)
def test_keys_are_summed_some_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    node, _ = make_node(store, "GFZ")
    for day in (1, 2, 3):
        rows = [row(station=station, bytes=10**day, clients=sketch({day})) for station in STATIONS]
        store.dataselect.ingest(node, payload(*rows, days_coverage=[f"2026-10-{day:02}"]))
    monkeypatch.setattr(payload_sums, name, value)
    store.payloads.retract(2, node)
    found = read_sums(store, "dataselect_stats", ("station",))
    assert {key[1]: (values[0], values[-1].hex()) for key, values in found.items()} == {
        station: (1010, sketch({1, 3})[2:]) for station in STATIONS
    }


def test_a_sum_that_exceeds_64_bits_is_refused_by_databases(store: Store) -> None:
    most = make_payload([make_row("A", MAX_COUNT, {1})])
    (total,) = add_up([most] * 3000, [make_row("A", 0, ()).key])
    assert total.bytes == 3000 * MAX_COUNT
    assert total.nb_requests == 9000
    node, _ = make_node(store, "GFZ")
    sums = DataselectRepository(store.database).sums

    def rebuild() -> None:
        with store.database.transaction(write=True) as connection:
            payloads = PayloadSums(connection, DataselectRepository(store.database).bodies, [])
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(payloads, "add_by_stream", lambda _: [[total]])
                sums.rebuild(connection, node, [total.key], payloads)

    with pytest.raises(RefusedByDatabase):
        rebuild()
