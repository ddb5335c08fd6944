"""Raw logs in the database: each record counts once, on both stores."""

import datetime
import gzip
import itertools
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.errors import ForeignLog
from eida_statistics.ringserver.identity import ClientKey
from eida_stats_webservice.database import migrations
from eida_stats_webservice.errors import ContainedPayload, OverlappingPayload, Overtaken
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.ringserver.errors import EmptyReplacement, MixedDelivery, OtherKey
from eida_stats_webservice.ringserver.pruning import Kept
from eida_stats_webservice.ringserver.raw_logs.models import DamagedDay, Days, RawReceipt, Replacement
from support.node_client import make_node
from support.postgresql import Cluster
from support.raw_logs import (
    add_up_clients,
    dump,
    forget_pruning,
    list_logs,
    list_secrets,
    make_log,
    make_settings,
    prune,
    read_clients,
    read_events_table,
    read_records,
)
from support.ringserver_days import add_up, collect, list_differences, make_day, read_tables, without_hours
from support.stores import ON_ONE_STORE, Store, open_store
from support.tables import count, select
from support.transfer_logs import REAL_JSON, REAL_TEXT, Log, Stream, read_files

DAY = datetime.date(2026, 11, 22)
NEEDS_REAL_LOGS = pytest.mark.skipif(not REAL_TEXT.exists(), reason="the real logs are not here")
OTHER_KEY = ClientKey(b"pepper")


@pytest.fixture
def node(store: Store) -> Node:
    return make_node(store, "GFZ")[0]


def read_all(store: Store) -> tuple[Any, ...]:
    """Return the content of all tables that do not depend on the way by which they were filled."""
    names = [node.name for node in store.registry.list_nodes()]
    sums = {name: read_tables(store, name) for name in names}
    return sums, read_events_table(store), read_clients(store), read_records(store)


def put(store: Store, node: Node, *records: Log, source: str = "", key: ClientKey | None = None) -> RawReceipt:
    log = make_log(b"".join(record.text() for record in records), source=source)
    return store.raw_logs.store(node, [log], make_settings(key) if key else make_settings())


@NEEDS_REAL_LOGS
def test_real_logs_count_once_in_any_pieces(store: Store, node: Node) -> None:
    files = read_files(REAL_TEXT)
    receipt = store.raw_logs.store(node, list_logs(files), make_settings())
    assert (receipt.records, receipt.streams, receipt.bytes) == (97, 574, 4179995 + 1609856)
    assert [(one.day, one.supersedes) for one in receipt.payloads] == [(DAY, None)]
    known = read_all(store)
    (due,) = collect(files.values()).values()
    assert read_tables(store, "GFZ") == add_up([due])
    assert read_clients(store) == add_up_clients(read_events_table(store).items())
    assert sum(read_events_table(store).values()) == 574
    assert sum(read_records(store).values()) == 97
    assert list_differences(store) == []
    # Again, packed, renamed, and joined.
    for logs in (
        list_logs(files),
        [make_log(zlib.decompress(zlib.compress(b"".join(files.values()))), "all.txt")],
    ):
        again = store.raw_logs.store(node, logs, make_settings())
        assert (again.records, again.duplicates, again.payloads) == (0, 97, [])
    store.payloads.retract(1)
    assert read_all(store)[1:] == ({}, {}, {})
    # In pieces that end within records: the files grow, newest first.
    ended = {}
    for name, content in reversed(files.items()):
        for end in (len(content) // 3, len(content)):
            ended[name] = content[:end]
            receipt = store.raw_logs.store(node, list_logs(dict(sorted(ended.items()))), make_settings())
    assert receipt.unfinished == 0
    assert read_all(store) == known
    assert list_differences(store) == []
    assert [one.state for one in store.payloads.list_payloads() if one.state == "in force"] == ["in force"]
    found = dump(store).encode("latin-1", errors="replace")
    secrets = list_secrets(files.values())
    assert len(secrets) > 30
    assert [secret for secret in secrets if secret in found] == []


@NEEDS_REAL_LOGS
@ON_ONE_STORE
def test_file_holds_no_addresses(store: Store, node: Node, store_uri: str) -> None:
    files = read_files(REAL_TEXT)
    store.raw_logs.store(node, list_logs(files), make_settings())
    path = Path(store_uri.removeprefix("sqlite:///"))
    raw = b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))
    assert [secret for secret in list_secrets(files.values()) if secret in raw] == []


@NEEDS_REAL_LOGS
def test_received_data_may_be_added_later(store: Store, node: Node) -> None:
    files = read_files(REAL_JSON)
    first = store.raw_logs.store(node, list_logs(files), make_settings(rx=False))
    assert (first.bytes, first.ignored > 0) == (2746674, True)
    second = store.raw_logs.store(node, list_logs(files), make_settings())
    assert (second.bytes, second.records + first.records) == (760589, 54)
    assert [(one.source, one.supersedes) for one in second.payloads] == [("rs-b", 1)]
    (due,) = collect(files.values(), "rs-b").values()
    assert read_tables(store, "GFZ") == add_up([due])
    with pytest.raises(ContainedPayload, match="Read payload 2"):
        store.payloads.read_payload(1)
    states = [(one.state, one.origin) for one in store.payloads.list_payloads()]
    assert states == [("superseded", "raw-logs"), ("in force", "raw-logs")]


def test_equal_records_count_as_often_as_in_one_file(store: Store, node: Node) -> None:
    assert put(store, node, Log(), Log(), Log()).records == 3
    again = put(store, node, Log(), Log())
    assert (again.records, again.duplicates, again.payloads) == (0, 2, [])
    more = put(store, node, *[Log()] * 5)
    assert (more.records, more.duplicates) == (2, 3)
    assert list(read_records(store).values()) == [5]
    assert read_tables(store, "GFZ") == add_up([make_day([Log()] * 5)])


def test_retracting_lets_records_count_again(store: Store, node: Node) -> None:
    put(store, node, Log())
    part = read_all(store)
    put(store, node, Log(), Log(address="192.0.2.99"))
    whole = read_all(store)
    store.payloads.retract(2)
    assert read_all(store) == ({"GFZ": {}}, {}, {}, {})
    # It has the hash of the first payload, whose body is gone.
    receipt = put(store, node, Log())
    assert receipt.payloads[0].payload == 1
    assert read_all(store) == part
    assert make_day([Log()]).hash() in [one.hash for one in store.payloads.list_payloads()]
    assert b"hours" in store.payloads.read_payload(1)
    put(store, node, Log(address="192.0.2.99"))
    assert read_all(store) == whole
    assert list_differences(store) == []


def test_raw_logs_and_payloads_exclude_each_other(store: Store, node: Node) -> None:
    payload = make_day([Log()], "rs-a")
    store.ringserver.ingest(node, payload)
    with pytest.raises(MixedDelivery, match="--send-to"):
        put(store, node, Log(address="192.0.2.99"), source="rs-a")
    put(store, node, Log(), source="rs-b")
    for send in (store.ringserver.ingest, store.ringserver.replace):
        with pytest.raises(MixedDelivery):
            send(node, make_day([Log(written="2026-11-23T02:04:19Z")], "rs-b"))
    with pytest.raises(OverlappingPayload, match="--server"):
        put(store, node, Log(), source="")
    store.payloads.retract(1)
    put(store, node, Log(), source="rs-a")
    assert {one.origin for one in store.payloads.list_payloads() if one.state == "in force"} == {"raw-logs"}
    # Another node has its own records.
    other = make_node(store, "ODC")[0]
    assert put(store, other, Log(), source="rs-a").records == 1
    assert read_tables(store, "ODC") == add_up([payload])
    assert list_differences(store) == []


def test_record_of_no_bytes_adds_no_client(store: Store, node: Node) -> None:
    for streams in ((), (Stream(bytes=0, packets=0),)):
        put(store, node, Log(address="203.0.113.9", streams=streams))
    assert read_clients(store) == {}
    assert list_differences(store) == []


def test_logs_of_the_node_and_a_server_overlap(store: Store, node: Node) -> None:
    for sources in (("", "rs-b"), ("rs-b", "")):
        logs = [make_log(Log(address=f"192.0.2.{len(one)}").text(), source=one) for one in sources]
        with pytest.raises(OverlappingPayload, match="these logs have"):
            store.raw_logs.store(node, logs, make_settings())
    assert read_all(store) == ({"GFZ": {}}, {}, {}, {})


def test_other_key_is_refused_or_replaces(store: Store, node: Node) -> None:
    put(store, node, Log())
    before = read_all(store)
    with pytest.raises(OtherKey, match="2026-11-22"):
        put(store, node, Log(), key=OTHER_KEY)
    assert read_all(store) == before
    stated = Replacement(Days(DAY, DAY))
    logs = [make_log(Log().text() + Log(address="192.0.2.99").text())]
    receipt = store.raw_logs.store(node, logs, make_settings(OTHER_KEY), replacement=stated)
    assert (receipt.records, receipt.payloads[0].supersedes) == (2, 1)
    assert count(store, "ringserver_records") == 2
    assert list_differences(store) == []
    assert put(store, node, Log(), key=OTHER_KEY).duplicates == 1


def test_replacing_needs_the_whole_day(store: Store, node: Node) -> None:
    names = [f"rs-txlog-202611{day}T0000-202611{day + 1}T0000" for day in (20, 21, 22)]
    logs = [
        make_log(Log(written=f"2026-11-{day}T04:00:00Z", connected=f"2026-11-{day}T03:00:00Z").text(), name)
        for day, name in zip((20, 21, 22), names, strict=True)
    ]
    store.raw_logs.store(node, logs, make_settings())
    whole = read_all(store)
    # Two windows, of which one is shorter than its day now, and one is quiet.
    shorter = [make_log(b"", names[1]), make_log(b"", names[2].replace("T0000-", "T1200-"))]
    receipt = store.raw_logs.store(node, shorter, make_settings(), replacement=Replacement())
    assert [(one.day.day, one.supersedes) for one in receipt.payloads] == [(21, 2)]
    assert {key[1] for key in read_records(store)} == {"2026-11-20", "2026-11-22"}
    assert list_differences(store) == []
    everything = Replacement(Days(None, None))
    before = read_all(store)
    with pytest.raises(EmptyReplacement):
        store.raw_logs.store(node, [make_log(b"", "rs-txlog")], make_settings(), replacement=everything)
    assert read_all(store) == before
    receipt = store.raw_logs.store(node, logs[:1], make_settings(), replacement=everything)
    assert (len(receipt.retracted), {key[1] for key in read_records(store)}) == (2, {"2026-11-20"})
    receipt = store.raw_logs.store(node, logs, make_settings(), replacement=everything)
    assert (read_all(store), list_differences(store)) == (whole, [])
    # The same again.
    receipt = store.raw_logs.store(node, logs, make_settings(), replacement=everything)
    assert (read_all(store), receipt.retracted) == (whole, [])


def test_damaged_logs_replace_nothing(store: Store, node: Node) -> None:
    names = [f"txlog-202611{day}T0000-202611{day + 1}T0000" for day in (18, 19)]
    logs = [
        Log(written=f"2026-11-{day}T04:00:00Z", connected=f"2026-11-{day}T03:00:00Z").text() for day in (18, 19)
    ]
    store.raw_logs.store(node, list_logs(dict(zip(names, logs, strict=True))), make_settings())
    before = read_all(store)
    for damaged in (b"\0" * 400, logs[0][:60], Log(written="1969-11-21T12:00:00Z").text()):
        files = list_logs(dict(zip(names, (damaged, logs[1]), strict=True)))
        with pytest.raises(EmptyReplacement, match="2026-11-18: its log is damaged"):
            store.raw_logs.store(node, files, make_settings(), replacement=Replacement())
        later = [make_log(damaged, "txlog-20261120T0000-20261121T0000")]
        receipt = store.raw_logs.store(node, later, make_settings())
        assert (receipt.payloads, receipt.damaged) == ([], [DamagedDay("", datetime.date(2026, 11, 20))])
        assert read_all(store) == before


def test_quiet_days_become_payloads(store: Store, node: Node) -> None:
    names = [f"txlog-202611{day}T0000-202611{day + 1}T0000" for day in (18, 19, 20)]
    busy = Log(written="2026-11-19T04:00:00Z", connected="2026-11-19T03:00:00Z")
    files = {names[0]: b"", names[1]: busy.text(), names[2]: b""}
    receipt = store.raw_logs.store(node, list_logs(files), make_settings())
    assert [one.day.day for one in receipt.payloads] == [19, 18, 20]
    assert store.raw_logs.store(node, list_logs(files), make_settings()).payloads == []
    late = busy._replace(written="2026-11-20T04:00:00Z", connected="2026-11-20T03:00:00Z")
    receipt = put(store, node, late)
    assert [(one.day.day, one.supersedes) for one in receipt.payloads] == [(20, 3)]
    assert list_differences(store) == []


@ON_ONE_STORE
def test_failure_stores_nothing(store: Store, node: Node) -> None:
    put(store, node, Log())
    before = read_all(store)
    logs = [make_log(Log(address="192.0.2.99").text()), make_log(b"<html>\n<body>\n", "page.html")]
    with pytest.raises(ForeignLog):
        store.raw_logs.store(node, logs, make_settings())
    assert read_all(store) == before


@ON_ONE_STORE
def test_request_does_not_undo_a_retraction(store: Store, node: Node) -> None:
    put(store, node, Log())
    now = datetime.datetime.now(tz=datetime.UTC)
    token = store.registry.add_token("GFZ", now, now + datetime.timedelta(days=1))[1]
    arrival: Arrival = store.registry.find_sender_of_token(token, now).arrival
    # A day that has only grown is none.
    put(store, node, Log(address="192.0.2.98"))
    log = make_log(Log(address="192.0.2.99").text())
    store.raw_logs.store(node, [log], make_settings(), arrival=arrival)
    store.payloads.retract(3)
    with pytest.raises(Overtaken):
        store.raw_logs.store(node, [log], make_settings(), arrival=arrival)


@ON_ONE_STORE
def test_pruned_days_are_refused(store: Store, node: Node) -> None:
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE ringserver_pruned SET records_from = '2026-11-22'")
    old = Log(written="2026-11-21T02:04:19Z", connected="2026-11-21T02:03:11Z")
    receipt = put(store, node, old, Log())
    assert (receipt.records, receipt.rejected.number, receipt.rejected.first[0].line) == (1, 1, 1)


def test_nasty_texts_are_stored(store: Store, node: Node) -> None:
    streams = (Stream("soh\\log", 7, 1), Stream("FR_ST-1_00_HHZ/MSEED"), Stream("FDSN:2016_A__L_H_Z/JSON", 5, 1))
    record = Log(rb"a\tb\N", streams, host="h_(1)", address="2001:db8::1")
    receipt = put(store, node, record)
    assert (receipt.streams, receipt.other) == (3, 12)
    json = record._replace(id=b"x", written="2026-11-22T03:04:19Z").json(
        transfer_protocol={"name": "a\tb", "version": "1"}
    )
    store.raw_logs.store(node, [make_log(json)], make_settings())
    protocols = select(store, "SELECT DISTINCT protocol FROM ringserver_events ORDER BY 1")
    assert [tuple(row) for row in protocols] == [("",), ("SeedLink",)]
    assert list_differences(store) == []


@pytest.fixture(scope="module")
def stores(
    postgresql: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, ...]]:
    uri = f"sqlite:///{tmp_path_factory.mktemp('raw-histories') / 'statistics.db'}"
    migrations.apply(uri)
    name = "raw_log_histories"
    with (
        closing(open_store(uri)) as embedded,
        closing(open_store(postgresql.create_database(name, template))) as server,
    ):
        yield embedded, server
    postgresql.drop_database(name)


# Over the end of a month; two are equal, and one is received data.
RECORDS = [
    Log(
        written=f"2026-{day}:04:19Z",
        connected=f"2026-{day}:00:11Z",
        address=f"192.0.2.{client}",
        direction=direction,
    )
    for day, client, direction in (
        ("10-30T02", 1, "TX"),
        ("10-30T02", 1, "TX"),
        ("10-31T23", 2, "TX"),
        ("10-31T23", 1, "RX"),
        ("11-01T00", 2, "TX"),
        ("11-01T05", 3, "TX"),
    )
]
_numbers = itertools.count()
_FILE = st.lists(st.sampled_from(RECORDS), min_size=1, max_size=6)
_STEP = st.one_of(
    st.tuples(st.just("store"), st.sampled_from(["rs-a", "rs-b"]), _FILE),
    st.tuples(st.just("replace"), st.sampled_from(["rs-a", "rs-b"]), _FILE),
    st.tuples(st.just("retract"), st.sampled_from(["rs-a", "rs-b"]), _FILE),
    # The days of two records are the first ones that are kept.
    st.tuples(st.just("prune"), st.just(""), _FILE),
)
Day = tuple[str, datetime.date]


def count_records(records: list[Log]) -> dict[datetime.date, dict[Log, int]]:
    """Return how often records are in a file, by day."""
    found: dict[datetime.date, dict[Log, int]] = {}
    for record in records:
        of_day = found.setdefault(datetime.date.fromisoformat(record.written[:10]), {})
        of_day[record] = of_day.get(record, 0) + 1
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_STEP, min_size=3, max_size=8))
def test_tables_are_those_of_the_records_after_any_history(
    stores: tuple[Store, ...], steps: list[tuple[str, str, list[Log]]]
) -> None:
    name = f"N{next(_numbers)}"
    contents = []
    for store in stores:
        node, _ = make_node(store, name)
        counted: dict[Day, dict[Log, int]] = {}
        forget_pruning(store)
        kept = store.pruning.read_kept()
        for what, source, records in steps:
            found = count_records(records)
            if what == "prune":
                kept = kept.advance(Kept(max(found), min(found)))
                prune(store, kept)
                continue
            if what == "retract":
                for one in store.payloads.list_payloads(name):
                    key = (source, one.days[0])
                    if one.state == "in force" and one.source == source and one.days[0] in found:
                        store.payloads.retract(one.payload)
                        del counted[key]
                continue
            log = make_log(
                gzip.decompress(gzip.compress(b"".join(record.text() for record in records))), "", source
            )
            replacement = Replacement(Days()) if what == "replace" else None
            replaced = [key for key in counted if key[0] == source and key[1] >= kept.records_from]
            if what == "replace" and replaced and max(found) < kept.records_from:
                with pytest.raises(EmptyReplacement):
                    store.raw_logs.store(node, [log], make_settings(), replacement=replacement)
                continue
            store.raw_logs.store(node, [log], make_settings(), replacement=replacement)
            if what == "replace":
                counted = {key: of_day for key, of_day in counted.items() if key not in replaced}
            for day, of_day in found.items():
                if day < kept.records_from:
                    continue
                known = counted.setdefault((source, day), {})
                for record, number in of_day.items():
                    known[record] = max(number, known.get(record, 0))
        due = [
            make_day([record for record, number in of_day.items() for _ in range(number)], source)
            for (source, _), of_day in counted.items()
        ]
        assert read_tables(store, name) == without_hours(add_up(due), kept.hours_from)
        in_force = {one.hash for one in store.payloads.list_payloads(name) if one.state == "in force"}
        assert in_force == {payload.hash() for payload in due}
        assert list_differences(store, name) == []
        list(store.verification.replay(name))
        assert read_tables(store, name) == without_hours(add_up(due), kept.hours_from)
        contents.append((read_events_table(store, name), read_clients(store, name), read_records(store, name)))
    assert contents[0] == contents[1]
    events, clients, digests = contents[0]
    days = {day for _, day in counted}
    first_month = kept.records_from.replace(day=1)
    assert {time[:10] for time, *_ in events} == {str(day) for day in days if day >= first_month}
    assert {day for _, day, _ in digests} == {str(day) for day in days if day >= kept.records_from}
    of_events = add_up_clients(events.items())
    assert clients == {key: sums for key, sums in of_events.items() if key[0] >= str(kept.records_from)}
