"""The tables of ringservers are the sums of the payloads in force, after any history and on both databases."""

import datetime
import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.ringserver.payload import DayPayload
from eida_stats_webservice.database import migrations
from eida_stats_webservice.errors import DuplicatePayload, OverlappingPayload
from eida_stats_webservice.payloads.overlaps import Overlap
from eida_stats_webservice.ringserver.growth import find_growth
from support.kinds import make_quiet_day
from support.node_client import make_node
from support.postgresql import Cluster
from support.ringserver_days import add_up, list_differences, make_day, read_tables
from support.stores import Store, open_store
from support.transfer_logs import Log, Stream

# Over the end of a month.
DAYS = [datetime.date(2026, 10, 30), datetime.date(2026, 10, 31), datetime.date(2026, 11, 1)]
SOURCES = ("rs-a", "rs-b")
STREAMS = (Stream(), Stream("FDSN:GE_EIL__B_H_Z/MSEED", 512, 1), Stream("soh-log", 7, 1))


def record(day: datetime.date, hour: int, *, client: int, streams: tuple[Stream, ...] = STREAMS) -> Log:
    times = {"connected": f"{day}T{hour:02d}:10:00Z", "written": f"{day}T{hour + 2:02d}:40:00Z"}
    return Log(address=f"192.0.2.{client}", streams=streams, **times)


def make_level(day: datetime.date, source: str, level: int) -> DayPayload:
    """Return a payload of a day: a quiet one (0), one that contains all lower levels (up to 3), or another (4)."""
    records = [
        record(day, 1, client=1),
        record(day, 4, client=2, streams=STREAMS[:1]),
        record(day, 20, client=3, streams=(Stream("FR_OGS_00_HHN/MSEED", 100, 1), *STREAMS)),
    ]
    if level == 0:
        return make_quiet_day(day, source)
    return make_day(records[:level] if level < 4 else records[1:], source)


LEVELS = {key: make_level(*key) for key in itertools.product(DAYS, SOURCES, range(5))}


def test_growth_is_the_difference_of_payloads() -> None:
    day, source = DAYS[0], SOURCES[0]
    for smaller, larger in itertools.combinations_with_replacement(range(4), 2):
        old, new = LEVELS[day, source, smaller], LEVELS[day, source, larger]
        growth = find_growth(old, new)
        assert growth is not None
        assert add_up([old, growth]) == add_up([new])
        assert bool(growth.stats) == (smaller < larger)
        assert smaller == larger or find_growth(new, old) is None
    assert find_growth(LEVELS[day, source, 3], LEVELS[day, source, 4]) is None
    # The same counts, and another client.
    one, other = (make_day([record(day, 1, client=client)]) for client in (1, 2))
    assert find_growth(one, other) is None
    # Streams of other clients that only look larger.
    more = (Stream(bytes=2000, packets=9), *STREAMS[1:])
    assert find_growth(one, make_day([record(day, 1, client=2, streams=more)])) is None
    # The same streams and clients, and smaller counts.
    assert find_growth(make_day([record(day, 1, client=1, streams=more)]), one) is None


def test_grown_day_adds_only_the_difference(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    first, second, third = (LEVELS[day, "rs-a", 2] for day in DAYS)
    beside = LEVELS[DAYS[0], "rs-b", 1]
    for one in (LEVELS[DAYS[0], "rs-a", 1], second, third, beside):
        store.ringserver.ingest(node, one)
    _, changed = store.ringserver.replace(node, first)
    assert changed
    assert read_tables(store, "GFZ") == add_up([first, second, third, beside])
    assert list_differences(store) == []
    assert {network.name for network in store.registry.list_networks()} == {"FR", "GE"}

    # A planted difference shows that a grown day does not build the month again, and another correction does.
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE ringserver_stats SET packets = 77 WHERE date = '2026-10-01'")
        connection.cursor().execute("DELETE FROM ringserver_by_hour WHERE network = '' AND hour < '2026-11-01'")
        connection.cursor().execute("DELETE FROM ringserver_clients_by_hour WHERE hour < '2026-11-01'")
    planted = list_differences(store)
    assert {"ringserver_stats", "ringserver_by_hour", "ringserver_clients_by_hour"} == set(planted)
    grown = LEVELS[DAYS[0], "rs-a", 3]
    store.ringserver.replace(node, grown)
    assert set(list_differences(store)) == set(planted)
    shrunken = LEVELS[DAYS[0], "rs-a", 4]
    assert store.ringserver.replace(node, shrunken)[0].supersedes
    # That of the other day is left.
    assert set(list_differences(store)) == {"ringserver_by_hour", "ringserver_clients_by_hour"}
    list(store.verification.replay())
    assert list_differences(store) == []
    assert read_tables(store, "GFZ") == add_up([shrunken, second, third, beside])


def test_two_payloads_of_a_day_count_both(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    one, other, grown = (LEVELS[DAYS[0], "rs-a", level] for level in (1, 2, 3))
    whole_node = make_level(DAYS[0], "", 3)
    number = store.ringserver.ingest(node, one).payload
    store.ringserver.ingest(node, other, overlap=Overlap.ACCEPT)
    assert read_tables(store, "GFZ") == add_up([one, other])
    # It contains the one that it replaces, but is in force already, and does not count twice.
    store.ringserver.replace(node, other, [number])
    assert read_tables(store, "GFZ") == add_up([other])
    # A day of the whole node may contain that of one source.
    store.ringserver.replace(node, whole_node, [number + 1])
    assert read_tables(store, "GFZ") == add_up([whole_node])
    # The third payload is that of the whole node.
    beside = store.ringserver.ingest(node, one, overlap=Overlap.ACCEPT).payload
    assert sorted(store.ringserver.replace(node, grown, [3, beside])[0].supersedes) == [beside, 3]
    assert read_tables(store, "GFZ") == add_up([grown])
    assert list_differences(store) == []


def test_damaged_payload_is_named_and_can_be_replaced(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    store.ringserver.ingest(node, LEVELS[DAYS[0], "rs-a", 1])
    with store.database.transaction(write=True) as connection:
        bad = "X'00'" if store.database.dialect == "sqlite" else r"'\x00'"
        connection.cursor().execute(f"UPDATE payloads SET body = {bad}")
    assert "payloads" in list_differences(store)
    grown = LEVELS[DAYS[0], "rs-a", 2]
    store.ringserver.replace(node, grown)
    assert list_differences(store) == []
    assert read_tables(store, "GFZ") == add_up([grown])


@pytest.fixture(scope="module")
def stores(
    postgresql: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, ...]]:
    uri = f"sqlite:///{tmp_path_factory.mktemp('histories') / 'statistics.db'}"
    migrations.apply(uri)
    name = "ringserver_histories"
    with (
        closing(open_store(uri)) as embedded,
        closing(open_store(postgresql.create_database(name, template))) as server,
    ):
        yield embedded, server
    postgresql.drop_database(name)


_numbers = itertools.count()
_STEP = st.tuples(
    st.sampled_from(["POST", "PUT", "PUT", "DELETE"]),
    st.sampled_from(DAYS),
    st.sampled_from(SOURCES),
    st.integers(0, 4),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_STEP, min_size=4, max_size=12))
def test_tables_are_the_sums_after_any_history(
    stores: tuple[Store, ...], steps: list[tuple[str, datetime.date, str, int]]
) -> None:
    name = f"N{next(_numbers)}"
    for store in stores:
        node, _ = make_node(store, name)
        levels: dict[tuple[datetime.date, str], int] = {}
        numbers: dict[tuple[datetime.date, str], int] = {}
        for method, day, source, level in steps:
            key, payload = (day, source), LEVELS[day, source, level]
            if method == "DELETE":
                if levels.pop(key, None) is not None:
                    store.payloads.retract(numbers[key], node)
            elif method == "POST" and key in levels:
                refusal = DuplicatePayload if levels[key] == level else OverlappingPayload
                with pytest.raises(refusal):
                    store.ringserver.ingest(node, payload)
            else:
                receipt = (
                    store.ringserver.ingest(node, payload)
                    if method == "POST"
                    else store.ringserver.replace(node, payload)[0]
                )
                levels[key], numbers[key] = level, receipt.payload
            assert read_tables(store, name) == add_up(LEVELS[*key, level] for key, level in levels.items())
        assert list_differences(store, name) == []
