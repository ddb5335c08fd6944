"""Decisions about closed months are kept until something changes that they depend on."""

import datetime
import itertools
import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eida_statistics.payload import Payload
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config, PrivacySettings
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query import suppression
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import Statistic, StatisticsQuery
from eida_stats_webservice.query.small_groups import find_suppressed
from eida_stats_webservice.query.usage import Usage
from eida_stats_webservice.registry.models import Node
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store

NOVEMBER, DECEMBER = datetime.date(2026, 11, 1), datetime.date(2026, 12, 1)
IN_NOVEMBER = datetime.date(2026, 11, 20)
PERIOD: dict[str, Any] = {"cube": DATASELECT, "start": datetime.date(2026, 9, 1), "end": NOVEMBER}
FILTERS: tuple[dict[str, tuple[str, ...]], ...] = (
    {"network": ("GE",)},
    {"network": ("FR",)},
    {"country": ("DE",)},
    {"network": ("FR", "GE", "NONE"), "country": ("DE",)},
)
DETAILS = ((), ("month",), ("month", "country"))


class Keeper:
    """Keeps a decision, and knows whether it had to be made again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decisions = Decisions()
        self._made = 0

    def makes_again(self, first_open: datetime.date = NOVEMBER) -> bool:
        before = self._made
        with self._store.statistics.snapshot() as statistics:
            version = statistics.find_version_before(first_open)
            source = Usage(statistics, self._store.registry, PrivacySettings(2, 0, 3))
            found = self._decisions.at(version, source)("decision", int, self._make)
        assert found == self._made
        return self._made > before

    def _make(self, _source: Usage) -> int:
        self._made += 1
        return self._made


@pytest.fixture
def keeper(store: Store) -> Keeper:
    keeper = Keeper(store)
    store.dataselect.ingest(make_node(store, "GFZ")[0], make_payload("2026-10-30"))
    assert keeper.makes_again()
    assert not keeper.makes_again()
    return keeper


def make_payload(*days: str, clients: tuple[int, ...] = (1,)) -> Payload:
    rows = [
        row(month=f"{month}-01", network=network, clients=sketch(clients))
        for month in sorted({day[:7] for day in days})
        for network in ("FR", "GE")
    ]
    return payload(*rows, days_coverage=[*days])


def test_changes_of_open_months_keep_decisions(store: Store, keeper: Keeper) -> None:
    node, _ = make_node(store, "GFZ")
    store.dataselect.ingest(node, make_payload("2026-11-01"))
    assert not keeper.makes_again()
    corrected, _ = store.dataselect.replace(node, make_payload("2026-11-01", clients=(2,)))
    assert not keeper.makes_again()
    store.payloads.retract(corrected.payload, node)
    assert not keeper.makes_again()
    store.dataselect.ingest(node, make_payload("2026-11-01"))
    assert not keeper.makes_again()
    # It is closed now.
    assert keeper.makes_again(DECEMBER)


def test_changes_of_closed_months_end_decisions(store: Store, keeper: Keeper) -> None:
    node, _ = make_node(store, "RESIF")
    store.dataselect.ingest(node, make_payload("2026-10-31", "2026-11-01"))
    assert keeper.makes_again()
    corrected, _ = store.dataselect.replace(node, make_payload("2026-10-31", "2026-11-01", clients=(2,)))
    assert keeper.makes_again()
    store.dataselect.ingest(node, make_payload("2026-11-02"))
    assert not keeper.makes_again()
    store.payloads.retract(corrected.payload, node)
    assert keeper.makes_again()
    # A payload that is put in force again.
    store.dataselect.ingest(node, make_payload("2026-10-31", "2026-11-01", clients=(2,)))
    assert keeper.makes_again()


def test_changes_of_nodes_and_networks_end_decisions(store: Store, keeper: Keeper) -> None:
    for change in (
        lambda: store.registry.set_node_policy("GFZ", restricted=True),
        lambda: store.registry.set_network_policy("GFZ", "GE", inverted=True),
        lambda: store.registry.update_node("GFZ", new_name="POTSDAM", contact=None),
        lambda: list(store.verification.replay()),
        lambda: store.registry.remove_node("POTSDAM"),
    ):
        change()
        assert keeper.makes_again()
        assert not keeper.makes_again()


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("dataselect/public", ""),
        ("dataselect/public", "&hllvalues=true"),
        ("ringserver/public", ""),
        ("usage", ""),
        ("holdings/public", ""),
    ],
)
def test_all_public_answers_keep_decisions(
    store: Store, service_uri: str, path: str, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.dataselect.ingest(make_node(store, "GFZ")[0], make_payload("2026-10-30", clients=(1, 2, 3)))
    decided: list[int] = []

    def decide(cells: list[Statistic], *others: Any) -> NDArray[np.bool_]:
        decided.append(len(cells))
        return find_suppressed(cells, *others)

    monkeypatch.setattr(suppression, "find_suppressed", decide)
    client = create_app(Config(service_uri, min_clients=2)).test_client()

    def query(network: str) -> int:
        parameters = f"start=2026-10&end=2026-10&level=network&network={network}"
        answer = client.get(f"{PREFIX}/{path}?{parameters}{more}")
        assert answer.status_code == 200, answer.text
        return len(decided)

    first = query("GE")
    assert first > 0
    assert query("FR") == first


@pytest.mark.parametrize("seed", range(2))
def test_kept_decisions_change_no_answer_after_any_change(store: Store, seed: int) -> None:
    generator = random.Random(seed)
    nodes = [make_node(store, name)[0] for name in ("GFZ", "RESIF")]
    settings = PrivacySettings(3, 0, 3)
    plain = Usage(store.statistics, store.registry, settings)
    keeping = Usage(store.statistics, store.registry, settings, decisions=Decisions())
    shown = 0
    for _ in range(20):
        change_something(store, generator, generator.choice(nodes))
        for filters, details, level in itertools.product(({}, *FILTERS), DETAILS, ("node", "network")):
            query = StatisticsQuery(**PERIOD, level=level, filters=filters, details=frozenset(details))
            expected = list(plain.answer_public(query, IN_NOVEMBER, sketches=True))
            assert list(keeping.answer_public(query, IN_NOVEMBER, sketches=True)) == expected
            shown += len(expected)
    assert shown


def change_something(store: Store, generator: random.Random, node: Node) -> None:
    """Replace a day, retract a payload, or restrict a network."""
    chosen = generator.random()
    in_force = [one.payload for one in store.payloads.list_payloads(node) if one.withdrawn_at is None]
    if chosen < 0.15 and in_force:
        store.payloads.retract(generator.choice(in_force), node)
    elif chosen < 0.3 and in_force:
        store.registry.set_network_policy(node.name, "GE", inverted=generator.random() < 0.5)
    else:
        month = generator.choice(["2026-09", "2026-10", "2026-11", "2026-11"])
        rows = [
            row(
                month=f"{month}-01",
                network=network,
                country=country,
                clients=sketch(generator.sample(range(9), generator.randint(1, 5))),
            )
            for network, country in itertools.product(("FR", "GE"), ("DE", "IT"))
            if network == "GE" or generator.random() < 0.7
        ]
        store.dataselect.replace(node, payload(*rows, days_coverage=[f"{month}-{generator.randint(1, 9):02}"]))


def test_days_have_versions_of_their_own(store: Store, keeper: Keeper) -> None:
    """A clock may be set back over the end of a month."""
    assert keeper.makes_again(DECEMBER)
    assert keeper.makes_again(NOVEMBER)


def test_another_payload_put_in_force_ends_decisions(store: Store, keeper: Keeper) -> None:
    """A restored database may reach the same revision with a payload that it had before, at no new time."""
    node, _ = make_node(store, "RESIF")
    first, second = (make_payload(f"2026-10-{day}", clients=(day,)) for day in (11, 12))
    for one in (first, second):
        store.payloads.retract(store.dataselect.ingest(node, one).payload, node)
    store.dataselect.ingest(node, first)
    assert keeper.makes_again()
    with store.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT max(revision) FROM payloads WHERE withdrawn_at IS NULL")
        ((revision,),) = cursor.fetchall()
        cursor.execute(f"UPDATE payloads SET revision = {revision - 2} WHERE revision = {revision}")
        cursor.execute(
            f"UPDATE payloads SET revision = {revision}, withdrawn_at = NULL WHERE revision = {revision - 1}"
        )
    assert keeper.makes_again()


def test_a_restored_database_ends_decisions(store: Store, keeper: Keeper) -> None:
    """It may reach the same revisions in another way."""
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE payloads SET created_at = '2026-11-20T00:00:00.000+00:00'")
    assert keeper.makes_again()
