"""Payloads that overlap others: all small histories, compared with a model that knows the requests."""

import datetime
import random
from functools import cache

import pytest

from eida_statistics.payload import Payload, Period
from eida_stats_webservice.errors import AmbiguousReplacement, DuplicatePayload, OverlappingPayload
from eida_stats_webservice.payloads.identity import Identity, touches
from eida_stats_webservice.payloads.overlaps import (
    Accepted,
    Duplicate,
    InForce,
    Method,
    Overlap,
    Request,
    decide,
)
from eida_stats_webservice.registry.models import Node
from support import identity_model as model
from support.payloads import payload, row
from support.statistics import query_public
from support.stores import Store

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
FIRST = datetime.date(2026, 9, 30)
WORLDS = {"one server": model.one_server, "two servers": model.two_servers, "equal servers": model.equal_servers}


def as_date(day: int) -> datetime.date:
    return FIRST + datetime.timedelta(days=day)


@cache
def identity(sending: model.Sending) -> Identity:
    return Identity(
        hash=repr(sending.identity if sending.period else sending.content),
        content=repr(sending.content),
        source=sending.source,
        period=None if sending.period is None else Period(*map(as_date, sending.period)),
        days=frozenset(map(as_date, sending.days)),
    )


@cache
def in_force(sending: model.Sending, number: int) -> InForce:
    made = identity(sending)
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    return InForce(**fields, payload=number, revision=0, received_at=NOW)


def decide_as_model(send: model.Send, present: frozenset[model.Sending]) -> model.Answer:
    """Return the decision of the service's rule in the terms of the model."""
    known = dict(enumerate(present))
    new = identity(send.sending)
    others = [in_force(sending, number) for number, sending in known.items()]
    request = Request(method=Method(send.method), overlap=send.overlap and Overlap(send.overlap))
    decision = decide(new, request, [other for other in others if touches(new, other)])
    if isinstance(decision, Duplicate):
        return model.Answer("duplicate", others=frozenset([known[decision.of.payload]]))
    if isinstance(decision, Accepted):
        superseded = frozenset(known[other.payload] for other in decision.supersedes)
        beside = frozenset(known[other.payload] for other in decision.beside)
        is_there = any(sending.identity == send.sending.identity for sending in present)
        return model.Answer("stored" if superseded or not is_there else "unchanged", superseded, beside)
    named = frozenset(known[other.payload] for other in decision.payloads)
    return model.Answer("overlapping" if send.method == "POST" else "ambiguous", others=named)


def agree(found: model.Answer, due: model.Answer) -> bool:
    """Return whether two answers agree; of several duplicates the service names one."""
    if due.outcome == "duplicate":
        return found.outcome == "duplicate" and found.others <= due.others
    return found == due


@pytest.mark.parametrize(("steps", "accepting"), [(3, False), (2, True)])
@pytest.mark.parametrize("world", WORLDS)
def test_no_history_doubles_or_loses_requests(world: str, steps: int, accepting: bool) -> None:
    ways = model.list_sends(WORLDS[world](), accepting=accepting)
    states = {frozenset[model.Sending]()}
    for _ in range(steps):
        following = set()
        for before in states:
            for send in ways:
                due = model.answer(send, before)
                assert agree(decide_as_model(send, before), due), (send, before)
                after = model.apply(send, due, before)
                assert list(model.find_faults(send, due, before, after)) == [], (send, before)
                following.add(after)
        states |= following
    assert len(states) > 50


def make_payload(sending: model.Sending) -> Payload:
    """Return the payload that the service receives."""
    days = [as_date(day).isoformat() for day in sorted(sending.days)]
    period = sending.period and dict(zip(("start", "end"), map(as_date, sending.period), strict=True))
    named = {} if period is None else {"period": {name: day.isoformat() for name, day in period.items()}}
    rows = [
        row(month=f"{month}-01", bytes=sending.sizes, nb_requests=len(sending.events))
        for month in sorted({day[:7] for day in days})
    ]
    return payload(*rows, days_coverage=days, source=sending.source, **named)


def send_to_store(store: Store, node: Node, send: model.Send, numbers: dict[int, model.Sending]) -> model.Answer:
    """Send a payload to a store, and return its answer in the terms of the model."""
    overlap = send.overlap and Overlap(send.overlap)
    try:
        if send.method == "POST":
            receipt, changed = store.dataselect.ingest(node, make_payload(send.sending), overlap=overlap), True
        else:
            receipt, changed = store.dataselect.replace(node, make_payload(send.sending), overlap=overlap)
    except DuplicatePayload as error:
        return model.Answer("duplicate", others=frozenset([numbers[error.members["payload"]]]))
    except OverlappingPayload as error:
        outcome = "ambiguous" if isinstance(error, AmbiguousReplacement) else "overlapping"
        return model.Answer(
            outcome, others=frozenset(numbers[known.payload] for known in error.members["payloads"])
        )
    numbers[receipt.payload] = send.sending
    superseded = frozenset(numbers[number] for number in receipt.supersedes)
    beside = frozenset(numbers[known.payload] for known in receipt.overlaps)
    return model.Answer("stored" if changed else "unchanged", superseded, beside)


@pytest.mark.parametrize("world", WORLDS)
def test_stores_answer_as_the_model_does(store: Store, world: str) -> None:
    ways = model.list_sends(WORLDS[world](), accepting=True)
    chance = random.Random(world)
    for history in range(25):
        store.registry.add_node(str(history), "operator@node.example")
        token = store.registry.add_token(str(history), NOW, NOW + datetime.timedelta(days=1))[1]
        node = store.registry.find_sender_of_token(token, NOW).node
        present = frozenset[model.Sending]()
        numbers: dict[int, model.Sending] = {}
        for send in chance.choices(ways, k=6):
            due = model.answer(send, present)
            assert agree(send_to_store(store, node, send, numbers), due), (send, present)
            present = model.apply(send, due, present)
        records = store.payloads.list_payloads(str(history))
        counting = {record.payload for record in records if record.state == "in force"}
        assert {numbers[number].identity for number in counting} == {sending.identity for sending in present}
        assert total(store, str(history)) == sum(sending.sizes for sending in present for _ in list_months(sending))
    assert [found for *_, found in store.verification.verify() if found] == []


def list_months(sending: model.Sending) -> set[str]:
    return {as_date(day).isoformat()[:7] for day in sending.days}


def total(store: Store, node: str) -> int:
    start, end = datetime.date(2026, 9, 1), datetime.date(2026, 10, 1)
    return sum(found["bytes"] for found in query_public(store, start=start, end=end, filters={"node": (node,)}))
