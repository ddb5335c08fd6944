"""MIN_CLIENTS and open months: answers of different days never differ by a few clients."""

import csv
import datetime
import itertools
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_statistics import hll
from eida_statistics.payload import Payload
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query import closed_months, routes
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.registry.models import Node
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.stores import ON_ONE_STORE, Store

PUBLIC_PATH = "/eidaws/statistics/1/dataselect/public"
OCTOBER_OPEN, OCTOBER_CLOSED = datetime.date(2026, 11, 3), datetime.date(2026, 11, 4)
DETAILS = ("", "month", "year", "country", "month,country", "year,country")
NAMES: tuple[dict[str, str], ...] = ({}, {"node": "A"}, {"network": "GE"}, {"country": "DE,FR"})
MANY = range(3000)

Rows = dict[tuple[str, ...], list[str]]


@pytest.fixture
def node(store: Store) -> Node:
    """Register a node that sent two networks in two countries from September to November."""
    sender, _ = make_node(store, "A")
    for month in ("2026-09", "2026-10", "2026-11"):
        store.dataselect.ingest(sender, make_payload(month, MANY))
    return sender


@pytest.fixture(autouse=True)
def open_october(monkeypatch: pytest.MonkeyPatch) -> None:
    set_today(monkeypatch, OCTOBER_OPEN)


@pytest.fixture
def service_settings() -> dict[str, Any]:
    return {"min_clients": 5}


def make_payload(month: str, users: range, day: str = "02") -> Payload:
    clients = sketch(map(hll.hash_client, users))
    rows = [
        row(month=f"{month}-01", network=network, country=country, clients=clients)
        for network, country in itertools.product(["GE", "FR"], ["DE", "FR"])
    ]
    return payload(*rows, days_coverage=[f"{month}-{day}"])


def set_today(monkeypatch: pytest.MonkeyPatch, today: datetime.date) -> None:
    monkeypatch.setattr(routes, "_get_today", lambda: today)


def ask(client: FlaskClient, **query: str) -> Rows:
    query = {"start": "2026-09", "hllvalues": "true", **query}
    response = client.get(PUBLIC_PATH, query_string={name: value for name, value in query.items() if value})
    assert response.status_code == 200, response.text
    _, *rows = csv.reader(response.text.splitlines()[2:])
    return {tuple(one[:7]): one[7:] for one in rows}


@pytest.mark.parametrize("names", NAMES)
def test_payload_of_open_month_changes_only_other(
    client: FlaskClient, store: Store, node: Node, names: dict[str, str]
) -> None:
    questions = [
        {"level": level, "details": details, "merge": merge, **names}
        for level, details, merge in (
            *itertools.product(("", "node", "network"), DETAILS, [""]),
            *itertools.product(["network"], DETAILS, ["nodes"]),
        )
        if level == "network" or "country" in details or names.keys() & {"network", "country"}
    ]
    before = [ask(client, **question) for question in questions]
    store.dataselect.ingest(node, make_payload("2026-11", range(9000, 9001), day="03"))
    after = [ask(client, **question) for question in questions]
    for question, one, other in zip(questions, before, after, strict=True):
        assert one.keys() == other.keys(), question
        changed = {key for key in one if one[key] != other[key]}
        assert all("Other" in key for key in changed), question
        assert bool(changed) != bool(names.keys() & {"network", "country"}), question


def test_open_month_is_other_and_node_total(client: FlaskClient, node: Node) -> None:
    by_network = ask(client, level="network", details="month", hllvalues="")
    assert {(date, network) for date, _, network, *_ in by_network} == {
        *(("2026-09", "GE"), ("2026-09", "FR")),
        *(("2026-10", "Other"), ("2026-11", "Other")),
    }
    # All networks in all countries.
    assert {row[0] for key, row in by_network.items() if "Other" in key} == {str(4 * 512)}
    assert {date for date, *_ in ask(client, level="node", details="month")} == {"2026-09", "2026-10", "2026-11"}


def test_node_total_with_open_month_has_no_sketch(client: FlaskClient, node: Node) -> None:
    found = ask(client, level="node", details="month")
    assert {key[0]: row[-1] != hll.to_hex(hll.EMPTY) for key, row in found.items()} == {
        "2026-09": True,
        **dict.fromkeys(["2026-10", "2026-11"], False),
    }
    for details in ("", "year"):
        assert {row[-1] for row in ask(client, details=details).values()} == {hll.to_hex(hll.EMPTY)}
        assert hll.to_hex(hll.EMPTY) not in {
            row[-1] for row in ask(client, details=details, end="2026-09").values()
        }


def test_same_figures_with_and_without_sketches(client: FlaskClient, node: Node) -> None:
    for level, details in itertools.product(("", "node", "network"), DETAILS):
        figures = ask(client, level=level, details=details, hllvalues="")
        assert figures == {key: row[:-1] for key, row in ask(client, level=level, details=details).items()}


def test_without_min_clients_open_months_are_shown(
    monkeypatch: pytest.MonkeyPatch, service_uri: str, node: Node
) -> None:
    set_today(monkeypatch, OCTOBER_OPEN)
    client = create_app(Config(service_uri)).test_client()
    found = ask(client, level="network", details="month")
    assert len(found) == 6
    assert not any("Other" in key or row[-1] == hll.to_hex(hll.EMPTY) for key, row in found.items())


@ON_ONE_STORE
@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
@pytest.mark.parametrize(
    ("min_clients", "end", "status"), [(5, "2026-10", 200), (5, "2026-09", 304), (0, "2026-10", 304)]
)
def test_answer_changes_when_its_month_closes(
    monkeypatch: pytest.MonkeyPatch,
    service_uri: str,
    store: Store,
    node: Node,
    validator: str,
    min_clients: int,
    end: str,
    status: int,
) -> None:
    # The payloads arrived long before.
    with store.database.transaction(write=True) as connection:
        for table in ("nodes", "registry_state"):
            connection.cursor().execute(f"UPDATE {table} SET changed_at = '2026-11-02T08:00:00.000+00:00'")
    client = create_app(Config(service_uri, min_clients=min_clients)).test_client()
    path = f"{PUBLIC_PATH}?start=2026-09&end={end}&level=network&details=month"
    set_today(monkeypatch, OCTOBER_OPEN)
    given = client.get(path).headers[validator]
    name = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[validator]
    assert client.get(path, headers={name: given}).status_code == 304
    set_today(monkeypatch, OCTOBER_CLOSED)
    response = client.get(path, headers={name: given})
    assert response.status_code == status
    assert client.get(path, headers={name: response.headers.get(validator, given)}).status_code == 304
    assert ("2026-10" in response.text and "Other" not in response.text) == (status == 200)


@pytest.mark.parametrize(
    ("today", "days", "first_open"),
    [
        ("2026-11-03", 3, "2026-10-01"),
        ("2026-11-04", 3, "2026-11-01"),
        ("2026-11-01", 0, "2026-11-01"),
        ("2026-10-31", 0, "2026-10-01"),
        ("2026-01-03", 3, "2025-12-01"),
        ("2026-03-31", 40, "2026-02-01"),
    ],
)
def test_month_is_closed_days_after_its_end(today: str, days: int, first_open: str) -> None:
    date = datetime.date.fromisoformat
    assert closed_months.find_first_open_month(date(today), days) == date(first_open)
    last = date(first_open) - DAY
    assert closed_months.find_closing_time(last, days).date() <= date(today)
    assert closed_months.find_closing_time(date(first_open), days).date() > date(today)


def test_question_without_closed_months_has_none() -> None:
    question = StatisticsQuery(cube=DATASELECT, start=datetime.date(2026, 10, 1), end=datetime.date(2026, 11, 1))
    assert closed_months.find_last_closed_month(question, datetime.date(2026, 10, 1)) is None
    assert closed_months.find_last_closed_month(question, datetime.date(2026, 11, 1)) == datetime.date(2026, 10, 1)
    assert closed_months.find_last_closed_month(question, datetime.date(2027, 5, 1)) == datetime.date(2026, 11, 1)
