"""Payloads of two kinds side by side: neither changes anything of the other."""

import datetime
import json
from collections import Counter
from collections.abc import Collection
from typing import Any, Final

import msgspec
import pytest

from eida_statistics.payload import Payload, Period
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.dataselect.verification import DataselectVerification
from eida_stats_webservice.errors import (
    AmbiguousReplacement,
    DuplicatePayload,
    OverlappingPayload,
    Overtaken,
    UnknownPayload,
)
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.intake import PayloadIntake
from eida_stats_webservice.payloads.kinds import Description, Kind
from eida_stats_webservice.payloads.overlaps import Overlap
from eida_stats_webservice.payloads.repository import PayloadRepository
from eida_stats_webservice.payloads.verification import Verification
from eida_stats_webservice.registry.models import Arrival, Node
from support.kinds import insert_ringserver_payload
from support.node_client import Client, make_node
from support.payloads import payload, row
from support.statistics import query_public
from support.statsman import Statsman
from support.stores import Store
from support.tables import ROLL_UPS, read_sums

OCTOBER = Period(datetime.date(2026, 10, 1), datetime.date(2026, 10, 31))


def on(day: int) -> datetime.date:
    return datetime.date(2026, 10, day)


def sent(day: int, requests: int = 1, source: str = "") -> Payload:
    """Return the statistics of dataselect of a day."""
    date = on(day).isoformat()
    counts = {"nb_requests": requests, "nb_successful_requests": requests}
    period = {"start": date, "end": date}
    return payload(row(**counts), days_coverage=[date], period=period, source=source)


def verify_dataselect(store: Store) -> Verification:
    """Return the verification of dataselect alone."""
    kind = DataselectVerification(store.database, store.dataselect_sums)
    return Verification(store.database, store.registry, [kind])


def read_state(store: Store, node: Node) -> list[Any]:
    """Return all that the service and its administrator see of dataselect."""
    with store.database.transaction() as connection:
        received = store.payloads.list_received_days(connection, OCTOBER, Kind.DATASELECT)
        first = store.payloads.find_first_days(connection, Kind.DATASELECT)
    sums = [read_sums(store, table, keys) for table, keys in ROLL_UPS.items()]
    records = store.payloads.list_payloads(node, kind=Kind.DATASELECT)
    verified = list(verify_dataselect(store).verify())
    newest = store.payloads.find_newest_days(Kind.DATASELECT)
    return [
        records,
        received,
        first,
        newest,
        sums,
        verified,
        query_public(store, start=OCTOBER.start, end=OCTOBER.start),
    ]


def test_other_kind_changes_nothing_of_dataselect(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    store.dataselect.ingest(node, sent(14))
    (record,) = store.payloads.list_payloads()
    before = read_state(store, node)
    # Before, on and after its day, in another month, of its content, and one that was retracted later.
    digests = iter(f"{number:032x}" for number in range(99))
    for day in (on(13), on(14), on(20), datetime.date(2026, 9, 1)):
        insert_ringserver_payload(store, node, day, digest=next(digests), content=record.content)
    withdrawn = insert_ringserver_payload(store, node, on(14), digest=next(digests), withdrawn_in=99)
    assert read_state(store, node) == before
    list(store.verification.replay())
    assert read_state(store, node) == before

    # Neither does it hold up, nor is it replaced by, what arrives now.
    arrival = Arrival(token=store.registry.list_tokens()[0].id, revision=2)
    receipt, changed = store.dataselect.replace(node, sent(14, 2), arrival=arrival)
    assert (changed, receipt.supersedes, receipt.overlaps) == (True, [record.payload], [])
    assert store.dataselect.ingest(node, sent(20)).overlaps == []
    for named in (2, "0" * 32, withdrawn):
        with pytest.raises(UnknownPayload):
            store.dataselect.replace(node, sent(13), [named])
    store.payloads.retract(receipt.payload)
    assert [(one.payload, one.state) for one in store.payloads.list_payloads(kind=Kind.RINGSERVER)] == [
        *((number, "in force") for number in range(2, 6)),
        (withdrawn, "retracted"),
    ]
    assert [found for *_, here in verify_dataselect(store).verify() for found in here] == []


def test_kind_is_shown_and_selects_payloads(store: Store, service_uri: str, store_uri: str) -> None:
    node, token = make_node(store, "GFZ")
    store.dataselect.ingest(node, sent(14))
    insert_ringserver_payload(store, node, on(15), source="rs-b")
    expected = {"": [1, 2], "?kind=dataselect": [1], "?kind=ringserver": [2], "?kind=ringserver&limit=1": [2]}
    client = Client(create_app(Config(service_uri)).test_client(), token)
    for query, numbers in expected.items():
        listed = client.send("GET", f"payloads{query}").get_json()["payloads"]
        assert [one["payload"] for one in listed] == numbers
        assert [one["kind"] for one in listed] == [["dataselect", "ringserver"][number - 1] for number in numbers]
    refused = client.send("GET", "payloads?kind=wave")
    assert (refused.status_code, "dataselect or ringserver" in refused.text) == (400, True)

    statsman = Statsman(store_uri)
    listed = json.loads(statsman.run("payloads", "list", "--kind", "ringserver", "--json"))
    assert [(one["payload"], one["kind"]) for one in listed] == [(2, "ringserver")]
    assert "kind:            ringserver" in statsman.run("payloads", "show", "2")
    for options, day in (([], "2026-10-14"), (["--kind", "ringserver"], "2026-10-15")):
        command = ["coverage", "--node", "GFZ", "--year", "2026", *options]
        assert json.loads(statsman.run(*command, "--json")) == {day: 1}
    assert "GFZ ringserver 2026: 1 of " in statsman.run("coverage", "--node", "GFZ", "--year=2026", *options)


class Stream(msgspec.Struct):
    """A payload of the second kind: the bytes of one day of a server."""

    day: datetime.date
    bytes: int
    source: str = ""


class Streams:
    """The second kind, with its sums in memory: all that the rules need to know of it."""

    kind: Final = Kind.RINGSERVER

    def __init__(self) -> None:
        self.sums: Counter[datetime.date] = Counter()
        self.in_force: dict[str, Stream] = {}

    def describe(self, payload: Stream) -> Description:
        content = f"{payload.bytes:032x}"
        digest = f"{payload.source.encode().hex()}{payload.day:%d}{payload.bytes:x}".zfill(32)
        self.in_force[digest] = payload
        identity = Identity(
            hash=digest,
            content=content,
            source=payload.source,
            period=Period(payload.day, payload.day),
            days=frozenset({payload.day}),
        )
        return Description(identity=identity, generated_at="", version="", rows=1, body=b"")

    def check_source(self, _connection: Any, _node: Node, _new: Identity) -> None:
        """Take payloads of all sources."""

    def merge(self, _connection: Any, _node: Node, payload: Stream) -> None:
        self.sums[payload.day] += payload.bytes

    def rebuild(self, _connection: Any, _node: Node, withdrawn: Collection[Identity], added: Stream | None) -> None:
        for one in withdrawn:
            self.sums[self.in_force[one.hash].day] -= self.in_force[one.hash].bytes
        if added is not None:
            self.sums[added.day] += added.bytes


def test_second_kind_follows_the_same_rules(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    store.dataselect.ingest(node, sent(14))
    before = read_state(store, node)
    streams = Streams()
    intake = PayloadIntake(store.database, store.registry, streams)
    payloads = PayloadRepository(store.database, store.registry, [streams])
    first = intake.ingest(node, Stream(on(14), 100)).payload
    with pytest.raises(DuplicatePayload, match=f"payload {first} "):
        intake.ingest(node, Stream(on(14), 100))
    with pytest.raises(OverlappingPayload, match=f"payload {first} "):
        intake.ingest(node, Stream(on(14), 200))
    with pytest.raises(AmbiguousReplacement):
        intake.replace(node, Stream(on(14), 200, "b"))
    assert intake.ingest(node, Stream(on(14), 1, "b"), overlap=Overlap.ACCEPT).overlaps[0].payload == first
    receipt, _ = intake.replace(node, Stream(on(14), 300), overlap=Overlap.ACCEPT)
    assert receipt.supersedes == [first]
    assert streams.sums == {on(14): 301}
    # It is in force and counts already.
    beside = intake.ingest(node, Stream(on(14), 2), overlap=Overlap.ACCEPT).payload
    again, changed = intake.replace(node, Stream(on(14), 300), [beside], overlap=Overlap.ACCEPT)
    assert (again.payload, changed, streams.sums) == (receipt.payload, True, {on(14): 301})
    late = Arrival(token=store.registry.list_tokens()[0].id, revision=2)
    with pytest.raises(Overtaken):
        intake.replace(node, Stream(on(14), 400), overlap=Overlap.ACCEPT, arrival=late)
    payloads.retract(receipt.payload)
    intake.replace(node, Stream(on(16), 5))
    assert streams.sums == {on(14): 1, on(16): 5}
    assert payloads.find_newest_days(Kind.RINGSERVER) == {"GFZ": on(16)}
    with store.database.transaction() as connection:
        received = payloads.list_received_days(connection, OCTOBER, Kind.RINGSERVER)
    assert [(one.days.start, one.states_period) for one in received] == [(on(14), True), (on(16), True)]
    assert read_state(store, node) == before
