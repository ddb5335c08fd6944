"""Replacing, retracting and sending again: sums are always those of the payloads in force."""

import datetime
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eida_statistics.payload import Payload
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import migrations
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.dataselect.transfer import Transfer
from eida_stats_webservice.errors import (
    AmbiguousReplacement,
    DamagedPayload,
    DatabaseNotEmpty,
    DuplicatePayload,
    OverlappingPayload,
    Overtaken,
    UnknownPayload,
    UnrelatedPayload,
)
from eida_stats_webservice.payloads.overlaps import Overlap
from eida_stats_webservice.registry.models import Node
from support import identity_model as model
from support.dates import DAY
from support.node_client import Client, make_node
from support.payloads import payload, row, sketch, wire
from support.ringserver_days import make_day
from support.ringserver_days import read_tables as read_ringserver_tables
from support.stores import Store, open_store
from support.tables import ROLL_UPS, read_sums
from support.transfer_logs import Log

OCTOBER = datetime.date(2026, 10, 1)
BASE = ("date", "network", "station", "location", "channel", "country")


@pytest.fixture
def gfz(store: Store) -> Node:
    return make_node(store, "GFZ")[0]


def make_payload(*days: int, size: int = 1, users: tuple[int, ...] = (1,), **fields: Any) -> Any:
    """Return a payload of days of October 2026 (1 to 31) and November (101 to 130)."""
    dates = [f"2026-{10 + day // 100}-{day % 100:02}" for day in days]
    months = sorted({date[:7] for date in dates})
    rows = [row(month=f"{month}-01", bytes=size, clients=sketch(users), **fields) for month in months]
    return payload(*rows, days_coverage=dates)


def read_tables(store: Store) -> dict[str, Any]:
    """Return all sums of a store."""
    return {table: read_sums(store, table, keys) for table, keys in [("dataselect_stats", BASE), *ROLL_UPS.items()]}


def list_in_force(store: Store) -> list[int]:
    return [record.payload for record in store.payloads.list_payloads() if record.state == "in force"]


# PUT


def test_payload_replaces_those_within_its_days(store: Store, gfz: Node) -> None:
    first = store.dataselect.ingest(gfz, make_payload(14, size=10, users=(1, 2))).payload
    second = store.dataselect.ingest(gfz, make_payload(15, size=100, users=(3,), network="FR")).payload
    kept = store.dataselect.ingest(gfz, make_payload(16, size=1000, users=(2, 4))).payload
    receipt, changed = store.dataselect.replace(gfz, make_payload(14, 15, size=5, users=(9,)))
    assert (changed, receipt.supersedes) == (True, [first, second])
    assert list_in_force(store) == [kept, receipt.payload]
    found = read_sums(store, "dataselect_stats", ("network",))
    # Clients of replaced payloads are no longer in the sketch, and FR is gone.
    assert found == {("GFZ", "GE"): (1005, 2, 2, 0, make_sketch(2, 4, 9))}
    assert {key[2] for key in read_tables(store)["dataselect_stats_by_network"]} == {"GE"}


def make_sketch(*users: int) -> bytes:
    return bytes.fromhex(sketch(users).removeprefix("\\x"))


def test_months_of_replaced_payload_are_emptied(store: Store, gfz: Node) -> None:
    store.dataselect.ingest(gfz, make_payload(31, 101, size=10))
    with pytest.raises(AmbiguousReplacement):
        store.dataselect.replace(gfz, make_payload(31, size=1))
    receipt, _ = store.dataselect.replace(gfz, make_payload(31, 101, 102, size=1))
    assert len(receipt.supersedes) == 1
    assert {key[1] for key in read_tables(store)["dataselect_stats"]} == {"2026-10-01", "2026-11-01"}
    store.dataselect.replace(gfz, make_payload(31, size=3), [receipt.payload])
    assert {key[1:]: values[0] for key, values in read_sums(store, "dataselect_stats", ("date",)).items()} == {
        ("2026-10-01",): 3
    }


def test_ambiguous_payloads_must_be_named(store: Store, gfz: Node) -> None:
    one = store.dataselect.ingest(gfz, make_payload(14, size=1)).payload
    other = store.dataselect.ingest(gfz, make_payload(14, size=2, station="B")).payload
    long = store.dataselect.ingest(gfz, make_payload(20, 21, size=4)).payload
    before = read_tables(store), store.payloads.list_payloads()
    with pytest.raises(AmbiguousReplacement) as refusal:
        store.dataselect.replace(gfz, make_payload(14, size=8))
    assert [known.payload for known in refusal.value.payloads] == [one, other]
    with pytest.raises(AmbiguousReplacement) as refusal:
        store.dataselect.replace(gfz, make_payload(20, size=8))
    (known,) = refusal.value.payloads
    assert (known.payload, known.days) == (long, [datetime.date(2026, 10, 20), datetime.date(2026, 10, 21)])
    for unknown in ([long], [other, 999], [10**30]):
        with pytest.raises(UnknownPayload, match=str(unknown[-1])):
            store.dataselect.replace(gfz, make_payload(14, size=8), unknown)
    assert (read_tables(store), store.payloads.list_payloads()) == before
    receipt, _ = store.dataselect.replace(gfz, make_payload(14, size=8), [other])
    assert receipt.supersedes == [other]
    receipt, _ = store.dataselect.replace(gfz, make_payload(20, size=16), [long])
    assert [values[0] for values in read_sums(store, "dataselect_stats", ("date",)).values()] != []
    assert (
        sorted(record.state for record in store.payloads.list_payloads()) == ["in force"] * 3 + ["superseded"] * 2
    )
    assert sum(values[0] for values in read_tables(store)["dataselect_stats_by_network"].values()) == 1 + 8 + 16


def test_repeated_replace_changes_nothing(store: Store, gfz: Node) -> None:
    first = store.dataselect.ingest(gfz, make_payload(14))
    other = store.dataselect.ingest(gfz, make_payload(14, station="B"))
    before = read_tables(store)
    receipt, changed = store.dataselect.replace(gfz, make_payload(14))
    assert (changed, receipt.payload, receipt.received_at) == (False, first.payload, first.received_at)
    assert [beside.payload for beside in receipt.overlaps] == [other.payload]
    assert store.dataselect.replace(gfz, make_payload(14), [first.payload])[1] is False
    assert read_tables(store) == before


def test_payload_in_force_replaces_a_named_one(store: Store, gfz: Node) -> None:
    wrong = store.dataselect.ingest(gfz, make_payload(14, 15, size=1))
    beside = store.dataselect.ingest(gfz, make_payload(14, size=2, station="B"))
    right = store.dataselect.ingest(gfz, make_payload(14, size=4))
    receipt, changed = store.dataselect.replace(gfz, make_payload(14, size=4), [wrong.payload])
    assert (changed, receipt.payload, receipt.supersedes) == (True, right.payload, [wrong.payload])
    assert [one.payload for one in receipt.overlaps] == [beside.payload]
    assert list_in_force(store) == [beside.payload, right.payload]
    assert sum(values[0] for values in read_tables(store)["dataselect_stats_by_network"].values()) == 2 + 4
    # Repeated after a lost answer, it changes nothing.
    assert store.dataselect.replace(gfz, make_payload(14, size=4), [wrong.payload])[1] is False


@pytest.mark.parametrize("by", ["number", "hash"])
def test_withdrawn_payload_may_be_named(store: Store, gfz: Node, by: str) -> None:
    wrong = store.dataselect.ingest(gfz, make_payload(14, size=1))
    beside = store.dataselect.ingest(gfz, make_payload(14, size=2, station="B"))
    store.payloads.retract(wrong.payload)
    named = [wrong.payload if by == "number" else wrong.hash]
    receipt, changed = store.dataselect.replace(gfz, make_payload(14, size=4), named)
    assert (changed, receipt.supersedes) == (True, [])
    assert [one.payload for one in receipt.overlaps] == [beside.payload]
    # It may be the payload itself, which counts again then.
    receipt, changed = store.dataselect.replace(gfz, make_payload(14, size=1), named)
    assert (changed, receipt.payload, receipt.supersedes) == (True, wrong.payload, [])
    assert list_in_force(store) == [1, 2, 3]


@pytest.mark.parametrize("again", ["post", "put"])
def test_withdrawn_payload_is_restored_by_sending_it(store: Store, gfz: Node, again: str) -> None:
    first = store.dataselect.ingest(gfz, make_payload(14, size=1))
    before = read_tables(store)
    second, _ = store.dataselect.replace(gfz, make_payload(14, size=2))
    if again == "put":
        receipt, changed = store.dataselect.replace(gfz, make_payload(14, size=1))
        assert (receipt.supersedes, changed) == ([second.payload], True)
    else:
        store.payloads.retract(second.payload)
        receipt = store.dataselect.ingest(gfz, make_payload(14, size=1))
    assert (receipt.payload, receipt.hash, receipt.received_at) == (first.payload, first.hash, first.received_at)
    assert read_tables(store) == before
    assert list_in_force(store) == [first.payload]
    with pytest.raises(DuplicatePayload):
        store.dataselect.ingest(gfz, make_payload(14, size=1))


def test_other_nodes_stay_unchanged(store: Store, gfz: Node) -> None:
    odc, _ = make_node(store, "ODC")
    store.dataselect.ingest(odc, make_payload(14, size=1))
    theirs = store.dataselect.ingest(odc, make_payload(15, size=2))
    receipt, _ = store.dataselect.replace(gfz, make_payload(14, 15, size=4))
    assert receipt.supersedes == []
    with pytest.raises(UnknownPayload):
        store.dataselect.replace(gfz, make_payload(15, size=8), [theirs.payload])
    with pytest.raises(UnknownPayload):
        store.payloads.retract(theirs.payload, gfz)
    store.payloads.retract(receipt.payload, gfz)
    assert {key[0]: values[0] for key, values in read_tables(store)["dataselect_stats_by_network"].items()} == {
        "ODC": 3
    }


# POST with overlaps


def test_overlapping_days_are_reported_or_refused(store: Store, gfz: Node) -> None:
    first = store.dataselect.ingest(gfz, make_payload(14, 15))
    assert first.overlaps == []
    with pytest.raises(OverlappingPayload) as refusal:
        store.dataselect.ingest(gfz, make_payload(15, 16, station="B"), overlap=Overlap.REFUSE)
    assert [known.payload for known in refusal.value.payloads] == [first.payload]
    second = store.dataselect.ingest(gfz, make_payload(15, 16, station="B"))
    assert [(one.payload, one.days) for one in second.overlaps] == [(first.payload, [datetime.date(2026, 10, 15)])]
    store.payloads.retract(first.payload)
    assert store.dataselect.ingest(gfz, make_payload(14, station="C"), overlap=Overlap.REFUSE).overlaps == []


# Retracting


def test_retracted_payload_does_not_count(store: Store, gfz: Node) -> None:
    first = store.dataselect.ingest(gfz, make_payload(14, size=1)).payload
    other = store.dataselect.ingest(gfz, make_payload(15, size=2)).payload
    record = store.payloads.retract(first, gfz)
    assert (record.state, record.superseded_by) == ("retracted", None)
    assert store.payloads.retract(first) == record
    assert list_in_force(store) == [other]
    assert [values[0] for values in read_tables(store)["dataselect_stats_by_country"].values()] == [2]
    for unknown in (0, 999, 2**63, 10**40):
        with pytest.raises(UnknownPayload):
            store.payloads.retract(unknown)


# The law


class Sent(NamedTuple):
    """A sent payload, and the model's view of it."""

    payload: Payload
    known: model.Sending


def build(number: int, days: tuple[int, ...], source: str, period: tuple[int, int] | None, network: str) -> Sent:
    """Return a payload of days of October 2026 (1 to 31) and November (from 32 on)."""
    dates = [OCTOBER + (day - 1) * DAY for day in days]
    rows = [
        row(month=f"{month}-01", bytes=2**number, clients=sketch((number, number + 1)), network=network)
        for month in sorted({f"{date:%Y-%m}" for date in dates})
    ]
    bounds = period and [(OCTOBER + (day - 1) * DAY).isoformat() for day in period]
    named = {"source": source, "period": dict(zip(("start", "end"), bounds, strict=True))} if bounds else {}
    sent = payload(*rows, days_coverage=[date.isoformat() for date in dates], **named)
    events = frozenset(model.Event("a", day, day, 0) for day in days)
    return Sent(sent, model.Sending(source, period, events, frozenset(), 2**number))


# The days of the requests, the source, the period and the network of each payload.
OF = [
    ((1,), "", None, "GE"), ((1, 2), "", None, "GE"), ((2,), "", None, "FR"), ((2, 3), "", None, "GE"),
    ((1, 2, 3), "", None, "GE"), ((31, 32), "", None, "GE"), ((32,), "", None, "FR"), ((31,), "", None, "GE"),
    ((1, 31), "", None, "Z32015"), ((1,), "", (1, 1), "GE"), ((1, 2), "a", (2, 2), "FR"), ((2,), "b", (2, 2), "GE"),
    ((2, 3), "a", (2, 3), "GE"), ((), "a", (3, 3), "GE"), ((31, 32), "a", (32, 32), "GE"),
    ((1, 32), "", (1, 40), "FR"),
]  # fmt: skip
LAW = [build(number, *of) for number, of in enumerate(OF)]
# Some with the statistics of others, with and without a period.
LAW += [
    build(0, (1,), "b", (1, 1), "GE"), build(0, (1,), "", (1, 3), "GE"), build(10, (1, 2), "", None, "FR"),
    build(13, (), "b", (3, 3), "GE"),
]  # fmt: skip
SENT = [sent.payload for sent in LAW[:9]]


class Step(NamedTuple):
    """An action, its payload, another payload, and the overlap parameter."""

    action: str
    which: int
    target: int
    overlap: str | None


STEPS = st.builds(
    Step,
    st.sampled_from(["post", "put", "named", "delete"]),
    st.integers(0, len(LAW) - 1),
    st.integers(0, len(LAW) - 1),
    st.sampled_from([None, None, "accept", "refuse"]),
)


def replay_elsewhere(sent: list[Payload], uri: str) -> dict[str, Any]:
    """Send only these payloads to another store, and return its sums."""
    with closing(open_store(uri)) as store:
        store.registry.remove_node("GFZ")
        node, _ = make_node(store, "GFZ")
        for one in sent:
            # Equal statistics of different sources all count.
            store.dataselect.ingest(node, one, overlap=Overlap.ACCEPT)
        return read_tables(store)


@pytest.fixture(scope="module")
def other_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('replay_elsewhere') / 'statistics.db'}"
    migrations.apply(uri)
    with closing(open_store(uri)) as store:
        store.registry.add_node("GFZ", "operator@gfz.example")
    return uri


OUTCOMES = {
    DuplicatePayload: "duplicate",
    OverlappingPayload: "overlapping",
    AmbiguousReplacement: "ambiguous",
    UnrelatedPayload: "unrelated",
    UnknownPayload: "unknown",
}


def expect(step: Step, numbers: dict[int, int], counting: frozenset[model.Sending]) -> model.Answer:
    """Return the model's answer to a step."""
    if step.action in {"named", "delete"} and step.target not in numbers:
        return model.Answer("unknown")
    if step.action == "delete":
        return model.Answer("retracted")
    named = frozenset([LAW[step.target].known]) if step.action == "named" else None
    method = "POST" if step.action == "post" else "PUT"
    return model.answer(model.Send(LAW[step.which].known, method, step.overlap, named), counting)


def take(step: Step, store: Store, node: Node, numbers: dict[int, int]) -> model.Answer:
    """Take a step, and return the store's answer in the terms of the model."""
    known = {number: LAW[which].known for which, number in numbers.items()}
    sent, overlap = LAW[step.which].payload, step.overlap and Overlap(step.overlap)
    try:
        if step.action == "delete":
            store.payloads.retract(numbers.get(step.target, 0), node)
            return model.Answer("retracted")
        if step.action == "post":
            receipt, changed = store.dataselect.ingest(node, sent, overlap=overlap), True
        else:
            named = [numbers.get(step.target, 0)] if step.action == "named" else []
            receipt, changed = store.dataselect.replace(node, sent, named, overlap=overlap)
    except tuple(OUTCOMES) as error:
        return model.Answer(OUTCOMES[type(error)])
    numbers[step.which] = receipt.payload
    superseded = frozenset(known[number] for number in receipt.supersedes)
    beside = frozenset(known[other.payload] for other in receipt.overlaps)
    return model.Answer("stored" if changed else "unchanged", superseded, beside)


@given(history=st.lists(STEPS, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_match_payloads_in_force(store: Store, other_uri: str, history: list[Step]) -> None:
    if any(known.name == "GFZ" for known in store.registry.list_nodes()):
        store.registry.remove_node("GFZ")
    node, _ = make_node(store, "GFZ")
    numbers: dict[int, int] = {}
    counting = frozenset[model.Sending]()
    for step in history:
        due = expect(step, numbers, counting)
        found = take(step, store, node, numbers)
        assert found.outcome == due.outcome
        if due.outcome in {"stored", "unchanged"}:
            assert found == due
            counting = model.apply(model.Send(LAW[step.which].known, ""), due, counting)
        elif due.outcome == "retracted":
            counting -= {LAW[step.target].known}
        assert {LAW[which].known for which in numbers if numbers[which] in list_in_force(store)} == counting
    assert read_tables(store) == replay_elsewhere(
        [sent.payload for sent in LAW if sent.known in counting], other_uri
    )
    assert list_differences(store) == []


# Concurrent clients

# No request accepts overlaps, and all payloads have a period.
RIVALS = [
    build(number, days, source, period, network)
    for number, (days, source, period, network) in enumerate(
        [
            ((1,), "a", (1, 1), "GE"), ((1, 2), "a", (1, 1), "GE"), ((2,), "a", (2, 2), "FR"),
            ((1, 2), "a", (1, 2), "GE"), ((1, 2, 31), "a", (1, 31), "Z32015"), ((1,), "b", (1, 1), "GE"),
            ((1, 32), "b", (1, 32), "GE"), ((), "b", (1, 1), "GE"), ((2,), "", (2, 2), "GE"),
            ((1, 2, 32), "", (1, 40), "FR"),
        ]
    )
]  # fmt: skip
CLIENTS = 6
ROUNDS = 40


class Done(NamedTuple):
    """The result of a request: its outcome, and the payloads that it stored and withdrew."""

    outcome: str
    stored: tuple[int, ...] = ()
    withdrawn: tuple[int, ...] = ()


def send_at_random(store: Store, token: str, chance: random.Random, together: threading.Barrier) -> Done:
    """Arrive, wait until all others have arrived, and then send, correct or retract a payload."""
    began = datetime.datetime.now(tz=datetime.UTC)
    sender = store.registry.find_sender_of_token(token, began)
    together.wait()
    sent = chance.choice(RIVALS).payload
    action = chance.choice(["post", "put", "put", "delete"])
    try:
        if action == "delete":
            record = store.payloads.retract(chance.randint(1, len(RIVALS)), sender.node, arrival=sender.arrival)
            is_done = record.withdrawn_at is not None and record.withdrawn_at >= began
            return Done("retracted", withdrawn=(record.payload,) if is_done else ())
        if action == "post":
            receipt, changed = store.dataselect.ingest(sender.node, sent, arrival=sender.arrival), True
        else:
            receipt, changed = store.dataselect.replace(sender.node, sent, arrival=sender.arrival)
    except (*OUTCOMES, Overtaken) as error:
        return Done(error.problem)
    stored = (receipt.payload,) if changed else ()
    return Done("stored" if changed else "unchanged", stored, tuple(receipt.supersedes))


def test_concurrent_histories_leave_what_is_in_force(database_uri: str, other_uri: str) -> None:
    with closing(open_store(database_uri)) as store:
        token = make_node(store, "GFZ")[1]
        together = threading.Barrier(CLIENTS, timeout=60)

        def work(number: int) -> list[Done]:
            chance = random.Random(number)
            return [send_at_random(store, token, chance, together) for _ in range(ROUNDS)]

        with ThreadPoolExecutor(CLIENTS) as clients:
            histories = list(clients.map(work, range(CLIENTS)))
        outcomes = {done.outcome for history in histories for done in history}
        assert {"stored", "duplicate", "overlapping-payload", "overtaken", "retracted"} <= outcomes
        counting = {record.hash for record in store.payloads.list_payloads() if record.state == "in force"}
        kept = [sent for sent in RIVALS if sent.payload.hash() in counting]
        assert read_tables(store) == replay_elsewhere([sent.payload for sent in kept], other_uri)
        assert list_differences(store) == []
    assert not any(model.touches(one.known, other.known) for one, other in combinations(kept, 2))
    # All of a round arrive before one of them changes something, so none may undo another's change.
    for one_round in zip(*histories, strict=True):
        stored = [number for done in one_round for number in done.stored]
        assert len(stored) == len(set(stored))
        assert not set(stored).intersection(number for done in one_round for number in done.withdrawn)


# Over HTTP


@pytest.fixture
def node_client(service_uri: str, store: Store) -> Client:
    return Client(create_app(Config(service_uri)).test_client(), make_node(store, "GFZ")[1])


def test_correction_over_http(node_client: Client) -> None:
    first = node_client.send("POST", "submit", wire(row(bytes=1), days_coverage=["2026-10-14"])).get_json()
    assert "overlaps" not in first
    beside = node_client.send("POST", "submit", wire(row(bytes=2), days_coverage=["2026-10-14"]))
    assert beside.status_code == 201
    assert beside.get_json()["overlaps"] == [
        {
            "payload": first["payload"],
            "hash": first["hash"],
            "source": "",
            "period": None,
            "days": ["2026-10-14"],
        }
    ]
    refused = node_client.send("POST", "submit?overlap=refuse", wire(row(bytes=3), days_coverage=["2026-10-14"]))
    assert (refused.status_code, refused.get_json()["type"].rpartition(":")[2]) == (409, "overlapping-payload")
    assert [one["payload"] for one in refused.get_json()["payloads"]] == [first["payload"], first["payload"] + 1]
    ambiguous = node_client.send("PUT", "submit", wire(row(bytes=4), days_coverage=["2026-10-14"]))
    assert (ambiguous.status_code, ambiguous.get_json()["type"].rpartition(":")[2]) == (
        409,
        "ambiguous-replacement",
    )
    assert ambiguous.get_json()["payloads"][0]["days"] == ["2026-10-14"]
    named = f"submit?replaces={first['payload']}"
    corrected = node_client.send("PUT", named, wire(row(bytes=4), days_coverage=["2026-10-14"]))
    assert (corrected.status_code, corrected.get_json()["supersedes"]) == (201, [first["payload"]])
    again = node_client.send("PUT", named, wire(row(bytes=4), days_coverage=["2026-10-14"]))
    assert (again.status_code, again.get_json()["payload"]) == (200, corrected.get_json()["payload"])
    listed = node_client.send("GET", "payloads").get_json()["payloads"]
    assert [(one["state"], one["superseded_by"], one["days"]) for one in listed] == [
        ("superseded", corrected.get_json()["payload"], ["2026-10-14"]),
        ("in force", None, ["2026-10-14"]),
        ("in force", None, ["2026-10-14"]),
    ]
    retracted = node_client.send("DELETE", f"payloads/{beside.get_json()['payload']}")
    assert (retracted.status_code, retracted.get_json()["state"]) == (200, "retracted")
    found = node_client.send("GET", "dataselect/public?start=2026-10&format=json").get_json()["results"]
    assert [one["bytes"] for one in found] == [4]


def test_token_gives_no_access_to_other_nodes(node_client: Client, service_uri: str, store: Store) -> None:
    theirs = node_client.send("POST", "submit", wire(row(bytes=1), days_coverage=["2026-10-14"])).get_json()
    other = Client(create_app(Config(service_uri)).test_client(), make_node(store, "ODC")[1])
    assert other.send("GET", "payloads").get_json() == {"payloads": []}
    correction = wire(row(bytes=2), days_coverage=["2026-10-14"])
    for name in (theirs["payload"], theirs["hash"]):
        assert other.send("PUT", f"submit?replaces={name}", correction).status_code == 404
    assert other.send("DELETE", f"payloads/{theirs['payload']}").status_code == 404
    own = other.send("PUT", "submit", correction).get_json()
    assert own["node"] == "ODC"
    assert "supersedes" not in own
    found = node_client.send("GET", "dataselect/public?start=2026-10&level=node&format=json").get_json()["results"]
    assert [(one["node"], one["bytes"]) for one in found] == [("GFZ", 1), ("ODC", 2)]


def test_replaced_payload_may_be_named_by_hash(node_client: Client) -> None:
    first, second = (
        node_client.send("POST", "submit", wire(row(bytes=size), days_coverage=["2026-10-14"])).get_json()
        for size in (1, 2)
    )
    correction = wire(row(bytes=5), days_coverage=["2026-10-14"])
    unknown = node_client.send("PUT", f"submit?replaces={'0' * 32}", correction)
    assert (unknown.status_code, unknown.get_json()["title"]) == (404, "There is no such payload")
    assert unknown.get_json()["unknown"] == ["0" * 32]
    swapped = node_client.send("PUT", f"submit?replaces={second['hash']}", correction).get_json()
    assert swapped["supersedes"] == [second["payload"]]
    # A payload that no longer counts needs no replacement.
    other = wire(row(bytes=6), days_coverage=["2026-10-14"])
    third = node_client.send("PUT", f"submit?replaces={second['hash']}", other).get_json()
    assert [one["payload"] for one in third["overlaps"]] == [first["payload"], swapped["payload"]]
    node_client.send("DELETE", f"payloads/{third['payload']}")
    both = f"submit?replaces={swapped['hash']},{first['payload']}"
    back = node_client.send("PUT", both, wire(row(bytes=2), days_coverage=["2026-10-14"])).get_json()
    assert (back["payload"], back["supersedes"]) == (second["payload"], [first["payload"], swapped["payload"]])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "submit?replaces=", 400), ("PUT", "submit?replaces=x", 400), ("PUT", "submit?overlap=no", 400),
        ("PUT", "submit?replaces=1,", 400), ("PUT", "submit?replaces=%00", 400), ("POST", "submit?replaces=1", 400),
        ("PUT", "submit?replaces=1&replaces=2", 400), ("POST", "submit?overlap=no", 400),
        ("PUT", "submit?replaces=99", 404), ("PUT", "submit?replaces=" + "9" * 30, 404),
        ("DELETE", "payloads/99", 404), ("DELETE", f"payloads/{2**70}", 404), ("DELETE", "payloads/x", 404),
        ("DELETE", "payloads/1?x=1", 400), ("GET", "payloads?x=1", 400), ("GET", "payloads?limit=0", 400),
        ("GET", "payloads?limit=x", 400), ("GET", "payloads?limit=1&limit=1", 400), ("DELETE", "payloads", 405),
        ("PUT", "dataselectstats", 405),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(node_client: Client, method: str, path: str, status: int) -> None:
    response = node_client.send(method, path, wire(row()) if method in {"PUT", "POST"} else None)
    assert response.status_code == status, response.text
    assert response.get_json()["status"] == status
    assert node_client.send("GET", "payloads").get_json() == {"payloads": []}


@pytest.mark.parametrize("token", ["", "wrong"])
def test_corrections_need_the_token_of_the_node(node_client: Client, store: Store, token: str) -> None:
    sent = node_client.send("POST", "submit", wire(row())).get_json()["payload"]
    stranger = Client(node_client._client, token)
    other = Client(node_client._client, make_node(store, "ODC")[1])
    for method, path in (("PUT", "submit"), ("GET", "payloads"), ("DELETE", f"payloads/{sent}")):
        response = stranger.send(method, path, wire(row(bytes=1)) if method == "PUT" else None)
        assert response.status_code == (403 if token else 401)
    assert other.send("DELETE", f"payloads/{sent}").status_code == 404
    assert other.send("GET", "payloads").get_json() == {"payloads": []}
    assert list_in_force(store) == [sent]


# Verify and replay


def list_differences(store: Store) -> list[str]:
    return [
        f"{node} {month:%Y-%m} {found.table} {found.key.get('network')}"
        for node, month, here in store.verification.verify()
        for found in here
    ]


def fill(store: Store) -> None:
    """Send from two nodes, replace and retract."""
    for name in ("GFZ", "ODC"):
        node, _ = make_node(store, name)
        for number, one in enumerate(SENT):
            if number == 4:
                store.dataselect.replace(node, one, [store.payloads.list_payloads(name)[0].payload])
            elif number != 3 or name == "GFZ":
                store.dataselect.ingest(node, one)
        store.dataselect.ingest(
            node, make_payload(20, network="", station="", location="--", channel="", users=tuple(range(300)))
        )
        store.payloads.retract(store.payloads.list_payloads(name)[-2].payload)
        for one in (LAW[10], LAW[13]):
            store.dataselect.ingest(node, one.payload, overlap=Overlap.ACCEPT)
    store.registry.set_network_policy("GFZ", "FR", inverted=True)
    store.registry.set_node_group("ODC", "operators")
    store.registry.add_network_token("FR", *(datetime.datetime.now(tz=datetime.UTC) + n * DAY for n in (-1, 1)))


CHANGES = {
    "dataselect_stats FR": "UPDATE dataselect_stats SET bytes = bytes + 1"
    " WHERE network = 'FR' AND date = '2026-11-01'",
    "dataselect_stats_by_network GE": "DELETE FROM dataselect_stats_by_network"
    " WHERE network = 'GE' AND date = '2026-10-01'",
    "dataselect_stats_by_country None": "UPDATE dataselect_stats_by_country"
    " SET clients = (SELECT clients FROM dataselect_stats WHERE network = '' LIMIT 1) WHERE date = '2026-11-01'",
    "dataselect_stats_by_network IO": "INSERT INTO dataselect_stats_by_network SELECT node_id, '2026-10-17', 'IO',"
    " 1, 1, 1, 1, clients FROM dataselect_stats_by_network WHERE network = 'FR' AND date = '2026-11-01'",
    "dataselect_stats_by_network_country FR": "INSERT INTO dataselect_stats_by_network_country"
    " SELECT node_id, '2031-01-01', network, country, 1, 1, 1, 1, clients"
    " FROM dataselect_stats_by_network_country WHERE network = 'FR' LIMIT 1",
}


@pytest.mark.parametrize("where", CHANGES)
def test_replay_repairs_differing_sums(store: Store, where: str) -> None:
    fill(store)
    before = read_tables(store)
    assert list_differences(store) == []
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(CHANGES[where])
    found = list_differences(store)
    assert found
    assert {line.split(" ", 2)[2] for line in found} == {where}
    revisions = store.statistics.data_version().revision
    assert {node for node, _ in store.verification.replay()} == {"GFZ", "ODC"}
    assert store.statistics.data_version().revision != revisions
    assert list_differences(store) == []
    assert read_tables(store) == before


DAMAGES = {
    "payload 2: body is damaged, must be readable": "UPDATE payloads SET body = :bytes WHERE id = 2",
    "payload 3: rows is 7, must be 1": "UPDATE payloads SET nb_rows = 7 WHERE id = 3",
    "payload 3: hash is 00": "UPDATE payloads SET hash = '00000000000000000000000000000000' WHERE id = 3",
    "payload 11: source is b, must be a": "UPDATE payloads SET source = 'b' WHERE id = 11",
    "payload 11: content is 00": "UPDATE payloads SET content = '00000000000000000000000000000000' WHERE id = 11",
    "payload 12: period is 2026-10-03 to 2026-10-04, must be 2026-10-03": "UPDATE payloads"
    " SET period_end = '2026-10-04' WHERE id = 12",
    "payload 12: days is 2026-10-09, must be ": "INSERT INTO payload_days VALUES (12, '2026-10-09')",
    "payload 2: packed_rows is wrong, must be those of its body": "UPDATE payloads SET packed_rows = :bytes"
    " WHERE id = 2",
    "payload 3: packed_rows is wrong, must be those of its body": "UPDATE payloads"
    " SET packed_rows = (SELECT packed_rows FROM payloads WHERE id = 11) WHERE id = 3",
    "payload 2: days is 2026-10-01, must be": "DELETE FROM payload_days"
    " WHERE payload_id = 2 AND day > '2026-10-01'",
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_payload_is_named(store: Store, message: str) -> None:
    fill(store)
    store.dataselect.ingest(get_node(store, "ODC"), make_payload(115, size=3))
    with store.database.transaction(write=True) as connection:
        damaged = "'\\x00'" if isinstance(store.database, PostgreSQL) else "x'00'"
        connection.cursor().execute(DAMAGES[message].replace(":bytes", damaged))
        connection.cursor().execute("UPDATE dataselect_stats SET nb_reqs = 77 WHERE date = '2026-11-01'")
    found = [one for *_, here in store.verification.verify() for one in here if one.table == "payloads"]
    assert len(found) == 1
    wrong = [f"{name} is {found[0].stored[name]}, must be {due}" for name, due in found[0].due.items()]
    assert any(f"payload {found[0].key['payload']}: {one}".startswith(message) for one in wrong)
    assert "ODC 2026-11 dataselect_stats GE" in list_differences(store)
    if "body is damaged" in message:
        with pytest.raises(DamagedPayload, match="2"):
            list(store.verification.replay())
        with pytest.raises(DamagedPayload, match="2"):
            store.payloads.read_payload(2)
        store.payloads.retract(2)
        list(store.verification.replay())
        assert list_differences(store) == []


def get_node(store: Store, name: str) -> Node:
    with store.database.transaction() as connection:
        return Node(store.registry.find_id(connection, name), name)


def test_invalid_sketch_is_named(sqlite_uri: str) -> None:
    with closing(open_store(sqlite_uri)) as store:
        fill(store)
        with store.database.transaction(write=True) as connection:
            connection.execute("UPDATE dataselect_stats_by_network SET clients = x'00ff' WHERE network = 'FR'")
        assert {line.split(" ", 2)[2] for line in list_differences(store)} == {"dataselect_stats_by_network FR"}
        list(store.verification.replay())
        assert list_differences(store) == []


def test_database_in_use_is_copied_consistently(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'target.db'}"
    migrations.apply(uri)
    fill(store)
    node = get_node(store, "GFZ")
    select = Transfer._select

    def read_and_write(source: Transfer, connection: Any, query: Any) -> Any:
        """Store a payload while each table is read."""
        rows = list(select(source, connection, query))
        if source is store.transfer:
            size = 1000 + len(store.payloads.list_payloads())
            store.dataselect.replace(node, make_payload(28, size=size))
        return iter(rows)

    monkeypatch.setattr(Transfer, "_select", read_and_write)
    with closing(open_store(uri)) as target:
        taken = target.transfer.copy_from(store.transfer)
        assert len(store.payloads.list_payloads()) == taken + 5
        for _ in target.verification.replay():
            pass
        assert list_differences(target) == []


def test_one_node_can_be_verified_and_replayed(store: Store) -> None:
    fill(store)
    months = [datetime.date(2026, 10, 1), datetime.date(2026, 11, 1)]
    assert list(store.verification.replay("ODC")) == [("ODC", month) for month in months]
    assert list(store.verification.verify("GFZ")) == [("GFZ", month, []) for month in months]


def round_to_milliseconds(record: Any) -> dict[str, Any]:
    """Round times as SQLite stores them."""
    return {
        name: value.replace(microsecond=value.microsecond // 1000 * 1000)
        if isinstance(value, datetime.datetime)
        else value
        for name, value in msgspec.structs.asdict(record).items()
    }


@pytest.mark.parametrize("source_is", ["postgresql", "sqlite"])
def test_replay_rebuilds_another_database(database_uri: str, sqlite_uri: str, source_is: str) -> None:
    uris = [database_uri, sqlite_uri] if source_is == "postgresql" else [sqlite_uri, database_uri]
    with closing(open_store(uris[0])) as source, closing(open_store(uris[1])) as target:
        fill(source)
        source.ringserver.ingest(Node(1, "GFZ"), make_day([Log()], "rs"))
        assert target.transfer.copy_from(source.transfer) == len(source.payloads.list_payloads())
        assert read_tables(target)["dataselect_stats"] == {}
        for _ in target.verification.replay():
            pass
        assert read_tables(target) == read_tables(source)
        assert read_ringserver_tables(target, "GFZ") == read_ringserver_tables(source, "GFZ") != {}
        for read in (
            lambda store: store.payloads.list_payloads(),
            lambda store: store.registry.list_networks(),
            lambda store: store.registry.list_tokens(),
            lambda store: store.registry.list_nodes(),
        ):
            assert [*map(round_to_milliseconds, read(target))] == [*map(round_to_milliseconds, read(source))]
        with pytest.raises(DatabaseNotEmpty, match="2 nodes"):
            target.transfer.copy_from(source.transfer)
        # New payloads get new numbers.
        node, _ = make_node(target, "BGR")
        assert (
            target.dataselect.ingest(node, make_payload(1)).payload
            == source.payloads.list_payloads()[-1].payload + 1
        )
