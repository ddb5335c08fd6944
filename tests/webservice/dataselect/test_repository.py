"""The repository, on PostgreSQL and on SQLite."""

import datetime
import hashlib
import json
import os
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from eida_statistics import hll, wire
from eida_statistics.payload import Exclusions, Payload
from eida_statistics.zstandard import zstd
from eida_stats_webservice.database import migrations
from eida_stats_webservice.errors import (
    DatabaseNotReady,
    DatabaseUnavailable,
    DuplicatePayload,
    ExpiredToken,
    NodeExists,
    RefusedByDatabase,
    RefusedToken,
    UnknownNode,
    UnknownToken,
)
from eida_stats_webservice.payloads.models import Receipt
from eida_stats_webservice.registry.models import Node
from support.dates import DAY
from support.payloads import payload, row, sketch
from support.statistics import query_public
from support.stores import ON_ONE_STORE, Store, open_store
from support.tables import ROLL_UPS, compute_roll_up, count, read_sums, select

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
OCTOBER = datetime.date(2026, 10, 1)

STORED = ("nodes", "tokens", "payloads", "payload_days", "networks", "dataselect_stats", *ROLL_UPS)


@pytest.fixture
def gfz(store: Store) -> Node:
    return node(store, "GFZ")


def node(store: Store, name: str) -> Node:
    store.registry.add_node(name, f"operator@{name.lower()}.example")
    _, token = store.registry.add_token(name, NOW - DAY, NOW + DAY)
    return store.registry.find_sender_of_token(token, NOW).node


def total(store: Store, level: str | None = None) -> list[tuple[str, str, int, int, int, int]]:
    columns = ("node", "network", "bytes", "nb_reqs", "nb_successful_reqs", "clients")
    found = query_public(store, start=OCTOBER, end=OCTOBER, level=level)
    return [itemgetter(*columns)(one) for one in found]


# Nodes


def test_nodes_are_listed_with_their_payloads(store: Store, gfz: Node) -> None:
    store.registry.add_node("BGR", "operator@bgr.example")
    store.dataselect.ingest(gfz, payload(row()))
    bgr, sent = store.registry.list_nodes()
    assert (bgr.name, bgr.contact, bgr.payloads, bgr.last_payload) == ("BGR", "operator@bgr.example", 0, None)
    assert (sent.name, sent.payloads) == ("GFZ", 1)
    assert sent.last_payload is not None
    assert abs(sent.last_payload - datetime.datetime.now(tz=datetime.UTC)) < DAY


def test_node_is_registered_once(store: Store, gfz: Node) -> None:
    with pytest.raises(NodeExists, match="GFZ"):
        store.registry.add_node("GFZ", "")


def test_renamed_node_keeps_its_payloads(store: Store, gfz: Node) -> None:
    store.dataselect.ingest(gfz, payload(row()))
    store.registry.update_node("GFZ", new_name="GEOFON", contact=None)
    (renamed,) = store.registry.list_nodes()
    assert (renamed.name, renamed.contact, renamed.payloads) == ("GEOFON", "operator@gfz.example", 1)
    store.registry.update_node("GEOFON", new_name=None, contact="new@gfz.example")
    assert store.registry.list_nodes()[0].contact == "new@gfz.example"


def test_name_of_another_node_is_refused(store: Store, gfz: Node) -> None:
    store.registry.add_node("BGR", "")
    with pytest.raises(NodeExists, match="BGR"):
        store.registry.update_node("GFZ", new_name="BGR", contact=None)


def test_concurrent_rename_to_one_name_fails(store_uri: str, store: Store, gfz: Node) -> None:
    outcome: list[str] = []

    def rename() -> None:
        second = open_store(store_uri)
        try:
            second.registry.update_node("GFZ", new_name="BGR", contact=None)
        except NodeExists:
            outcome.append("exists")
        finally:
            second.close()

    renaming = threading.Thread(target=rename)
    with store.database.transaction(write=True) as connection:
        store.registry._queries.add_node(
            connection, name="BGR", contact="operator@bgr.example", now="2026-11-22T00:00:00.000+00:00"
        )
        renaming.start()
        # It waits for this transaction, whose node it does not see yet.
        renaming.join(0.5)
        assert renaming.is_alive()
    renaming.join()
    assert outcome == ["exists"]


def test_removed_node_leaves_no_rows(store: Store, gfz: Node) -> None:
    other = node(store, "BGR")
    store.dataselect.ingest(other, payload(row()))
    before = {table: count(store, table) for table in STORED}
    store.registry.remove_node("GFZ")
    store.registry.add_node("GFZ", "")
    third = node(store, "LMU")
    store.dataselect.ingest(third, payload(row()))
    store.registry.remove_node("LMU")
    assert {table: count(store, table) for table in STORED} == before | {"tokens": before["tokens"] - 1}


@pytest.mark.parametrize("change", ["update", "remove", "token"])
def test_unknown_node_is_named(store: Store, change: str) -> None:
    with pytest.raises(UnknownNode, match="nobody"):
        {
            "update": lambda: store.registry.update_node("nobody", new_name="somebody", contact=None),
            "remove": lambda: store.registry.remove_node("nobody"),
            "token": lambda: store.registry.add_token("nobody", NOW, NOW + DAY),
        }[change]()


# Tokens


def test_only_digests_of_tokens_are_stored(store: Store, gfz: Node) -> None:
    _, token = store.registry.add_token("GFZ", NOW, NOW + DAY)
    values = [value for (value,) in select(store, "SELECT value FROM tokens")]
    assert token not in values
    assert all(len(value) == 64 for value in values)


def test_token_is_looked_up_by_digest(store: Store, gfz: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = store.registry.add_token("GFZ", NOW - DAY, NOW + DAY)
    digests = []
    for name in ("sender_of_token", "network_of_token"):
        query = getattr(store.registry._queries, name)

        def note(connection: Any, *, value: str, query: Callable[..., Any] = query) -> Any:
            digests.append(value)
            return query(connection, value=value)

        monkeypatch.setattr(store.registry._queries, name, note)
    assert store.registry.find_sender_of_token(token, NOW).node == gfz
    with pytest.raises(RefusedToken):
        store.registry.find_network_of_token(token, NOW)
    assert digests == [hashlib.sha256(token.encode()).hexdigest()] * 2


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "state"),
    [
        (NOW + DAY, NOW + 2 * DAY, "not yet valid"),
        (NOW - 2 * DAY, NOW - DAY, "expired"),
        (NOW - DAY, NOW, "expired"),
    ],
)
def test_token_is_refused_outside_its_dates(
    store: Store, gfz: Node, valid_from: datetime.datetime, valid_until: datetime.datetime, state: str
) -> None:
    number, token = store.registry.add_token("GFZ", valid_from, valid_until)
    due = ExpiredToken if state == "expired" else RefusedToken
    with pytest.raises(RefusedToken) as refusal:
        store.registry.find_sender_of_token(token, NOW)
    assert type(refusal.value) is due
    _, operators = store.registry.add_network_token("FR", valid_from, valid_until)
    with pytest.raises(RefusedToken) as refusal:
        store.registry.find_network_of_token(operators, NOW)
    assert type(refusal.value) is due
    # It is never one for sending.
    with pytest.raises(RefusedToken) as refusal:
        store.registry.find_sender_of_token(operators, NOW)
    assert type(refusal.value) is RefusedToken
    assert {listed.id: listed.get_state(NOW) for listed in store.registry.list_tokens()}[number] == state


def test_revoked_token_is_refused(store: Store, gfz: Node) -> None:
    number, token = store.registry.add_token("GFZ", NOW - DAY, NOW + DAY)
    assert store.registry.find_sender_of_token(token, NOW).node == gfz
    store.registry.revoke_token(number, NOW)
    store.registry.revoke_token(number, NOW + DAY)
    for moment in (NOW, NOW + 2 * DAY):
        with pytest.raises(RefusedToken) as refusal:
            store.registry.find_sender_of_token(token, moment)
        assert type(refusal.value) is RefusedToken
    listed = {listed.id: listed for listed in store.registry.list_tokens()}[number]
    assert (listed.get_state(NOW), listed.revoked_at) == ("revoked", NOW)


def test_unknown_token_is_refused_and_not_quoted(store: Store) -> None:
    with pytest.raises(RefusedToken) as refusal:
        store.registry.find_sender_of_token("not-a-token", NOW)
    assert "not-a-token" not in str(refusal.value)
    with pytest.raises(UnknownToken, match="99"):
        store.registry.revoke_token(99, NOW)


@pytest.mark.parametrize("number", [99999999999999999999, -(2**63) - 1, 2**63 - 1])
def test_impossible_token_number_is_unknown(store: Store, number: int) -> None:
    with pytest.raises(UnknownToken, match=str(number)):
        store.registry.revoke_token(number, NOW)


# Ingestion


def test_payload_is_stored_field_by_field(store: Store, gfz: Node) -> None:
    sent = payload(
        row(
            bytes=2**40, nb_requests=5, nb_successful_requests=3, nb_unsuccessful_requests=2, clients=sketch([7, 8])
        ),
        days_coverage=["2026-10-14", "2026-10-15"],
    )
    receipt = store.dataselect.ingest(gfz, sent)
    assert receipt == Receipt("GFZ", receipt.payload, sent.hash(), 1, 2, receipt.received_at)
    assert read_sums(
        store, "dataselect_stats", ("date", "network", "station", "location", "channel", "country")
    ) == {("GFZ", "2026-10-01", "GE", "EIL", "", "BHZ", "DE"): (2**40, 5, 3, 2, hll.encode([7, 8]))}
    (kept,) = select(store, "SELECT hash, starts_at, ends_at, generated_at, version, nb_rows FROM payloads")
    assert [str(value) for value in kept] == [
        sent.hash(), "2026-10-14", "2026-10-15", "2026-11-01 03:00:00", "0.8.1", "1",
    ]  # fmt: skip
    assert [str(day) for (day,) in select(store, "SELECT day FROM payload_days ORDER BY day")] == [
        "2026-10-14", "2026-10-15",
    ]  # fmt: skip
    assert select(store, "SELECT name FROM networks") == [("GE",)]


def test_stored_body_equals_the_payload(store: Store, gfz: Node) -> None:
    sent = payload(row(), row(station="MTE"))
    store.dataselect.ingest(gfz, sent)
    ((body,),) = select(store, "SELECT body FROM payloads")
    assert wire.decode(zstd.decompress(bytes(body)), today=OCTOBER.replace(month=11)) == sent


def test_sliced_payload_is_stored_and_rebuilt(store: Store, gfz: Node) -> None:
    stats = [row(network=network, station=f"S{number:02}") for network in ("GE", "GR") for number in range(50)]
    body = json.dumps({"days_coverage": ["2026-10-14"], "stats": stats}).encode()
    sliced = wire.receive(body, today=OCTOBER.replace(month=11), slices=wire.Slices(threshold=0, size=1000))
    store.dataselect.ingest(gfz, sliced.payload)
    assert select(store, "SELECT name FROM networks ORDER BY name") == [("GE",), ("GR",)]
    with pytest.raises(DuplicatePayload):
        store.dataselect.ingest(gfz, payload(*stats))
    number = store.dataselect.ingest(gfz, payload(row(network="FR"), days_coverage=["2026-10-15"])).payload
    store.payloads.retract(number)
    assert total(store) == [("*", "*", 100 * 512, 100, 100, 1)]
    assert [differences for _, _, differences in store.verification.verify()] == [[]]


def test_exclusions_are_stored_but_not_hashed(store: Store, gfz: Node) -> None:
    excluded = {"client_classes": ["monitor"], "client_patterns": ["^curl/", "\x00"]}
    sent = payload(row(), excluded=excluded)
    store.dataselect.ingest(gfz, sent)
    ((body,),) = select(store, "SELECT body FROM payloads")
    kept = wire.decode(zstd.decompress(bytes(body)), today=OCTOBER.replace(month=11))
    assert kept == sent
    assert kept.excluded == Exclusions(**excluded)
    with pytest.raises(DuplicatePayload):
        store.dataselect.ingest(gfz, payload(row()))


def test_payloads_add_up_and_clients_merge(store: Store, gfz: Node) -> None:
    store.dataselect.ingest(gfz, payload(row(clients=sketch([1, 2])), days_coverage=["2026-10-14"]))
    store.dataselect.ingest(gfz, payload(row(clients=sketch([2, 3])), days_coverage=["2026-10-15"]))
    assert total(store) == [("*", "*", 1024, 2, 2, 3)]


def test_equal_statistics_are_counted_once(store: Store, gfz: Node) -> None:
    first = store.dataselect.ingest(gfz, payload(row(), row(station="MTE")))
    with pytest.raises(DuplicatePayload) as refusal:
        store.dataselect.ingest(
            gfz, payload(row(station="MTE"), row(), version="other", generated_at="2026-11-02 00:00:00")
        )
    assert (refusal.value.members["payload"], refusal.value.members["received_at"]) == (
        first.payload, first.received_at.isoformat(timespec="seconds"),
    )  # fmt: skip
    assert total(store) == [("*", "*", 1024, 2, 2, 1)]


def test_two_nodes_may_send_equal_statistics(store: Store, gfz: Node) -> None:
    store.dataselect.ingest(gfz, payload(row()))
    store.dataselect.ingest(node(store, "BGR"), payload(row()))
    assert total(store, "node") == [("BGR", "*", 512, 1, 1, 1), ("GFZ", "*", 512, 1, 1, 1)]
    # A client of two nodes counts once.
    assert total(store) == [("*", "*", 1024, 2, 2, 1)]


def test_statistics_are_limited_to_their_months(store: Store, gfz: Node) -> None:
    months = {"days_coverage": ["2026-09-30", "2026-10-01"]}
    rows = [row(), row(network="Z32015", country="FR"), row(month="2026-09-01", bytes=1)]
    store.dataselect.ingest(gfz, payload(*rows, **months))
    assert total(store, "network") == [
        ("GFZ", "GE", 512, 1, 1, 1),
        ("GFZ", "Z32015", 512, 1, 1, 1),
    ]


def test_roll_ups_equal_the_sum_of_streams(store: Store, gfz: Node) -> None:
    chance = random.Random(1)
    bgr = node(store, "BGR")
    for day in range(1, 7):
        rows = [
            row(
                network=chance.choice(["GE", "Z32015", "CX"]),
                station=chance.choice("ABCD"),
                channel=chance.choice(["BHZ", "HHZ"]),
                country=chance.choice(["DE", "FR", ""]),
                bytes=chance.randrange(10**9),
                clients=sketch(chance.randrange(-(2**31), 2**31) for _ in range(chance.choice([1, 3, 170, 900]))),
            )
            for _ in range(40)
        ]
        store.dataselect.ingest(chance.choice([gfz, bgr]), payload(*rows, days_coverage=[f"2026-10-0{day}"]))
    for table, keys in ROLL_UPS.items():
        assert read_sums(store, table, keys) == compute_roll_up(store, keys), table


def test_refused_payload_leaves_no_rows(store: Store, gfz: Node) -> None:
    """A payload with a refused row must leave no trace: otherwise it could never be sent again."""
    huge = Payload(
        generated_at="",
        version="",
        days_coverage=[datetime.date(2026, 10, 14)],
        aggregation_score=1,
        stats=[payload(row(station="A")).stats[0], payload(row(station="B")).stats[0]],
    )
    huge.stats[1].bytes = 2**63 - 1
    store.dataselect.ingest(gfz, payload(row(station="B"), days_coverage=["2026-10-13"]))
    before = {table: count(store, table) for table in STORED}
    totals = total(store)
    with pytest.raises(RefusedByDatabase):
        store.dataselect.ingest(gfz, huge)
    assert {table: count(store, table) for table in STORED} == before
    assert total(store) == totals
    huge.stats[1].bytes = 1
    store.dataselect.ingest(gfz, huge)
    assert total(store) == [("*", "*", 512 + 512 + 1, 3, 3, 1)]


def test_database_refuses_too_long_station(store: Store, gfz: Node) -> None:
    bad = payload(row())
    bad.stats[0].station = "A" * 9
    with pytest.raises(RefusedByDatabase):
        store.dataselect.ingest(gfz, bad)
    assert count(store, "payloads") == 0


def test_saturated_sketch_has_an_estimate(store: Store, gfz: Node) -> None:
    full = hll.to_hex(bytes.fromhex("148b7f") + b"\xff" * 1280)
    store.dataselect.ingest(gfz, payload(row(clients=full)))
    ((*_, clients),) = total(store)
    assert clients > 2**40


# The database itself


def test_missing_schema_names_the_remedy(postgresql_database: str, tmp_path: Path) -> None:
    for uri in (postgresql_database, f"sqlite:///{tmp_path}/missing.db"):
        with pytest.raises(DatabaseNotReady, match="eida_statsman db migrate"):
            open_store(uri).ping()


def test_missing_database_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        open_store(f"postgresql://nobody@/nothing?host={tmp_path}").ping()


def test_file_without_a_database_is_unavailable(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("This is no database, although it is long enough to be mistaken for one." * 20)
    with pytest.raises(DatabaseUnavailable):
        open_store(f"sqlite:///{text}").ping()


def test_closed_connection_is_reopened(database_uri: str) -> None:
    store = open_store(database_uri)
    store.ping()
    other = open_store(database_uri)
    select(other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
           " AND datname = current_database()")  # fmt: skip
    assert select(store, "SELECT 1") == [(1,)]
    store.close()
    other.close()


def test_no_transaction_is_left_open(database_uri: str) -> None:
    store = open_store(database_uri)
    store.registry.add_node("GFZ", "")
    with pytest.raises(NodeExists):
        store.registry.add_node("GFZ", "")
    other = open_store(database_uri)
    assert select(
        other, "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ) == [("idle",)]
    store.close()
    other.close()


def test_migrating_twice_changes_nothing(store_uri: str) -> None:
    assert migrations.apply(store_uri) == []
    assert all(migration.applied for migration in migrations.list_migrations(store_uri))


# The embedded store


@ON_ONE_STORE
def test_replaced_file_is_reopened(store_uri: str, gfz: Node, store: Store, tmp_path: Path) -> None:
    """A reader has opened the old file; its connection must not serve a later writer."""
    path = Path(store_uri.removeprefix("sqlite:///"))
    store.dataselect.ingest(gfz, payload(row()))
    with store.database.transaction() as reading:
        assert list(reading.execute("SELECT count(*) FROM payloads")) == [(1,)]
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
            source.backup(copy)
        (tmp_path / "copy.db").replace(path)
        assert len(store.payloads.list_payloads()) == 1
    store.dataselect.ingest(gfz, payload(row(network="CX")))
    with closing(sqlite3.connect(path)) as present:
        assert present.execute("SELECT count(*) FROM payloads").fetchone() == (2,)


@ON_ONE_STORE
def test_only_the_owner_can_read_the_file(store_uri: str, tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    before = os.umask(0o022)
    try:
        migrations.apply(f"sqlite:///{path}")
    finally:
        os.umask(before)
    with closing(open_store(f"sqlite:///{path}")) as store, store.database.transaction(write=True):
        files = list(tmp_path.glob("new.db*"))
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        assert len(files) > 1
    # As an older version created it.
    path.chmod(0o644)
    migrations.apply(f"sqlite:///{path}")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("pattern", "texts", "others"),
    [
        ("BHZ", ["BHZ"], ["BHZZ", "XBHZ", "BH"]),
        ("B*", ["B", "BHZ"], ["XB"]),
        ("*Z", ["Z", "BHZ", "ZZ"], ["ZB"]),
        ("B?Z", ["BHZ"], ["BZ", "BHHZ"]),
        ("*?*?", ["BH", "BHZ"], ["B", ""]),
        ("*H*H*", ["HH", "BHZHB"], ["H", "BHZ"]),
        ("A*B*AB", ["ABAB", "AXBXAB"], ["AB", "AAB", "ABABX"]),
        ("?*", ["B", "BH"], [""]),
    ],
)
def test_patterns_match_whole_texts(store: Store, pattern: str, texts: list[str], others: list[str]) -> None:
    expression = store.database.to_regex(["no-such", pattern])
    for text in (*texts, *others):
        with store.database.transaction() as connection:
            cursor = connection.cursor()
            mark = "?" if isinstance(connection, sqlite3.Connection) else "%s"
            cursor.execute(f"SELECT regexp_like({mark}, {mark})", (text, expression))
            assert bool(cursor.fetchone()[0]) is (text in texts), (pattern, text)


@ON_ONE_STORE
def test_patterns_with_many_stars_end(store: Store) -> None:
    """A pattern that backtracked at each star would not."""
    with store.database.transaction() as connection:
        for pattern in ("*A" * 15 + "*B", "*?A" * 10 + "*B", "*" * 30 + "B"):
            (row,) = connection.execute(
                "SELECT regexp_like(?, ?)", ("A" * 10_000, store.database.to_regex([pattern]))
            )
            assert row == (0,)
