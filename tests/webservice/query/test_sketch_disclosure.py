"""Which sketches the service discloses, with and without MIN_CLIENTS."""

import csv
import datetime
import itertools

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from eida_statistics import hll
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.stores import ON_ONE_STORE, Store

PUBLIC_PATH = "/eidaws/statistics/1/dataselect/public"
RESTRICTED_PATH = PUBLIC_PATH.replace("public", "restricted")
DETAILS = ("", "month", "year", "country", "month,country", "year,country")
MONTHS = ("2026-01", "2026-02")

Registers = NDArray[np.uint8]
Sketches = dict[tuple[str, str, str, str], bytes]


def compute_registers(user: int) -> Registers:
    return hll.decode_registers(hll.encode([hll.hash_client(user)]))


OF_OTHERS = hll.decode_registers(hll.encode(map(hll.hash_client, range(5000))))
# The only client of a small network at node A. It uses nothing else, and no other client covers its register.
LONER = next(user for user in range(10_000, 20_000) if np.any(compute_registers(user) > OF_OTHERS))
# Node B has only large networks; one of node C is restricted.
USERS = {
    ("A", "GE"): range(3000),
    ("A", "MD"): range(600),
    ("A", "XX"): [LONER],
    ("B", "GE"): range(2000, 5000),
    ("B", "FR"): range(1000, 2500),
    ("B", "SM"): range(500, 1200),
    ("C", "GE"): range(3000),
    ("C", "RS"): range(2000),
}


@pytest.fixture(autouse=True)
def networks(store: Store) -> None:
    for name in "ABC":
        sender, _ = make_node(store, name)
        rows = [
            row(month=f"{month}-01", network=network, clients=sketch(map(hll.hash_client, users)))
            for (node, network), users in USERS.items()
            for month in MONTHS
            if node == name
        ]
        store.dataselect.ingest(sender, payload(*rows, days_coverage=[f"{month}-02" for month in MONTHS]))
    store.registry.set_network_policy("C", "RS", inverted=True)


def make_client(service_uri: str, min_clients: int = 5, min_sketch_clients: int = 1000) -> FlaskClient:
    config = Config(service_uri, min_clients=min_clients, min_sketch_clients=min_sketch_clients)
    return create_app(config).test_client()


def query_sketches(client: FlaskClient, token: str = "", **query: str) -> Sketches:
    given = {"start": MONTHS[0], "end": MONTHS[-1], "hllvalues": "true", **query}
    parameters = {name: value for name, value in given.items() if value}
    if token:
        headers = {"Authorization": f"Bearer {token}"}
        response = client.post(RESTRICTED_PATH, query_string=parameters, headers=headers)
    else:
        response = client.get(PUBLIC_PATH, query_string=parameters)
    assert response.status_code == 200, response.text
    rows = csv.DictReader(response.text.splitlines()[2:])
    return {
        (one["date"], one["node"], one["network"], one["country"]): hll.from_hex(one["hll_clients"]) for one in rows
    }


def list_disclosed(found: Sketches) -> set[tuple[str, str]]:
    """Return the node and network of each row that has a sketch."""
    return {key[1:3] for key, one in found.items() if one != hll.EMPTY}


def may_hold(given: bytes, user: int) -> bool:
    """Return whether a sketch may contain a client."""
    return bool(np.all(hll.decode_registers(given) >= compute_registers(user)))


@ON_ONE_STORE
def test_small_network_is_not_in_any_sketch(service_uri: str) -> None:
    """Sketches of totals and rows identify the client of a group of one; with MIN_CLIENTS they never do."""
    everything = [
        query_sketches(client, level=level, details=details, **names)
        for client in (make_client(service_uri, min_sketch_clients=0), make_client(service_uri, min_clients=0))
        for level, details in itertools.product(("", "node", "network"), DETAILS)
        for names in ({}, {"node": "A"}, {"node": "A,B"}, {"country": "DE"})
    ]
    protected, open_to_all = everything[: len(everything) // 2], everything[len(everything) // 2 :]
    assert any(may_hold(one, LONER) for found in open_to_all for one in found.values())
    assert not any(may_hold(one, LONER) for found in protected for one in found.values())


def test_total_minus_rows_leaves_no_register(service_uri: str) -> None:
    client = make_client(service_uri)
    total = query_sketches(client, level="node", node="A")
    assert list(total.values()) == [hll.EMPTY]
    rows = query_sketches(client, level="network", node="A")
    united = hll.decode_registers(hll.merge(one for one in rows.values()))
    assert not np.any(hll.decode_registers(total["*", "A", "*", "*"]) > united)


@pytest.mark.parametrize("details", DETAILS)
def test_only_large_complete_rows_have_sketches(service_uri: str, details: str) -> None:
    client = make_client(service_uri)
    # A has a suppressed network, C a restricted one, and all nodes together have both.
    assert list_disclosed(query_sketches(client, level="", details=details)) == set()
    assert list_disclosed(query_sketches(client, level="node", details=details)) == {("B", "*")}
    # C's GE is suppressed, since C's total minus it would be RS; SM has 700 clients.
    large = {("A", "GE"), ("B", "GE"), ("B", "FR")}
    assert list_disclosed(query_sketches(client, level="network", details=details)) == large
    merged = list_disclosed(query_sketches(client, level="network", merge="nodes", details=details))
    assert merged == {("*", "FR")}


def test_disclosed_sketch_is_dense_and_right(service_uri: str) -> None:
    for key, one in query_sketches(make_client(service_uri), level="network").items():
        if one != hll.EMPTY:
            assert one == hll.to_dense(hll.encode(map(hll.hash_client, USERS[key[1], key[2]])))


def test_min_sketch_clients_is_a_setting(service_uri: str) -> None:
    for least, expected in ((600, True), (800, False), (0, True)):
        found = query_sketches(make_client(service_uri, min_sketch_clients=least), level="network", node="B")
        assert (("B", "SM") in list_disclosed(found)) == expected


def test_without_min_clients_all_rows_have_sketches(service_uri: str) -> None:
    client = make_client(service_uri, min_clients=0)
    for level in ("", "node", "network"):
        assert hll.EMPTY not in query_sketches(client, level=level).values()


@ON_ONE_STORE
def test_other_country_has_no_sketch(service_uri: str, store: Store) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    sender = store.registry.find_sender_of_token(store.registry.add_token("A", now - DAY, now + DAY)[1], now).node
    rows = [
        row(month="2026-01-01", country=country, clients=sketch(map(hll.hash_client, users)))
        for country, users in (("IT", range(3)), ("FR", range(2000)), ("AT", range(10)))
    ]
    store.dataselect.ingest(sender, payload(*rows, days_coverage=["2026-01-03"]))
    found = query_sketches(make_client(service_uri, min_sketch_clients=0), details="country", end="2026-01")
    assert found["*", "*", "*", "Other"] == hll.EMPTY


@pytest.mark.parametrize("min_clients", [0, 5])
def test_hidden_network_withholds_the_sketch(service_uri: str, store: Store, min_clients: int) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    client = make_client(service_uri, min_clients)
    stranger = store.registry.add_network_token("QQ", now - DAY, now + DAY)[1]
    nodes = list_disclosed(query_sketches(client, stranger, level="node"))
    # A has a network of one client, and C has one that this client may not see.
    assert nodes == ({("B", "*")} if min_clients else {("A", "*"), ("B", "*"), ("C", "*")})
    rows = list_disclosed(query_sketches(client, stranger, level="network", node="B,C", network="GE"))
    assert rows == {("B", "GE"), ("C", "GE")}
    assert list_disclosed(query_sketches(client, stranger, level="station", node="B", network="GE")) == rows - {
        ("C", "GE")
    }
    operator = store.registry.add_network_token("RS", now - DAY, now + DAY)[1]
    assert list_disclosed(query_sketches(client, operator, network="RS", node="C")) == {("*", "*")}
