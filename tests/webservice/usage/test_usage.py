"""Usage: dataselect and real-time streams side by side, compared with payloads and other answers."""

import datetime
import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient

from eida_statistics import hll
from support.node_client import make_node
from support.payloads import payload, row
from support.ringserver_days import make_day
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store
from support.transfer_logs import Log, Stream

WHOLE = {"start": "2025", "end": "2026-10"}
# The characters of a date.
DATES = {"": 0, "year": 4, "month": 7}
KEYS = ("date", "node", "network", "country")
FIGURES = (
    *("dataselect_bytes", "dataselect_reqs", "dataselect_clients"),
    *("streaming_bytes", "streaming_packets", "streaming_clients"),
)
# Of each part of the figures, by the path of its own answer.
PARTS = {
    "dataselect": ("bytes", "nb_reqs", "clients"),
    "ringserver": ("bytes", "packets", "clients"),
}
NETWORKS = ("FR", "GE", "")
NODES = ("A", "B")

Rows = dict[tuple[str, ...], dict[str, Any]]


class Part(NamedTuple):
    """Figures of dataselect (0) or of streams (1), with the sketch of the clients."""

    number: int
    key: tuple[str, str, str, str]
    figures: tuple[int, int]
    clients: bytes


@pytest.fixture
def parts(store: Store) -> list[Part]:
    """Store two months of two nodes with common clients, and return their parts by month."""
    return [part for name in NODES for part in fill(store, name)]


def fill(store: Store, name: str) -> Iterator[Part]:
    node, _ = make_node(store, name)
    for day in (datetime.date(2025, 12, 30), datetime.date(2026, 1, 2)):
        records = [
            Log(
                address=f"192.0.2.{number % 4 + ord(name)}",
                # Node A streams no GE.
                streams=(
                    Stream(),
                    *([Stream("GE_EIL_00_BHZ/MSEED", 77, 3)] if name == "B" else []),
                    Stream("soh", 5),
                ),
                connected=f"{day}T{number:02d}:10:00Z",
                written=f"{day}T{number:02d}:40:00Z",
                direction="RX" if number == 9 else "TX",
            )
            for number in range(10)
        ]
        made = make_day(records)
        store.ringserver.ingest(node, made)
        month = f"{day:%Y-%m}"
        sent = [one for one in made.lists["stats"] if one.direction == "TX"]
        for one in sent:
            key = (month, name, one.network, one.country)
            yield Part(1, key, (one.bytes, one.packets), hll.from_hex(one.clients))
        # Some clients of streams use dataselect, too.
        common = make_day(records[:2]).lists["stats"][0].clients
        rows = [
            row(month=f"{month}-01", network=network, country=country, clients=clients, bytes=number * 100)
            for number, (network, country, clients) in enumerate(
                itertools.product(NETWORKS[name == "B" :], ("", "DE"), (common,))
            )
        ]
        rows.append(row(month=f"{month}-01", network="GE", station="X", clients=hll.to_hex(hll.encode([1, 2, 3]))))
        store.dataselect.ingest(node, payload(*rows, days_coverage=[day.isoformat()]))
        for one in rows:
            key = (month, name, one["network"], one["country"])
            yield Part(0, key, (one["bytes"], one["nb_requests"]), hll.from_hex(one["clients"]))


def ask(client: FlaskClient, path: str = "usage", **query: str) -> list[dict[str, Any]]:
    response = client.get(f"{PREFIX}/{path}", query_string={**WHOLE, **query, "format": "json"})
    assert response.status_code == 200, response.text
    return list(response.get_json()["results"])


def by_key(rows: list[dict[str, Any]]) -> Rows:
    found = {tuple(one[name] for name in KEYS): one for one in rows}
    assert len(found) == len(rows)
    return found


def unite(parts: list[Part], date: str, level: str, *, country: bool) -> Rows:
    """Return the rows that usage must have, by a plain way."""
    grouped: defaultdict[tuple[str, ...], list[Part]] = defaultdict(list)
    for part in parts:
        month, node, network, of_country = part.key
        levels = (node, network)[: ("", "node", "network").index(level)]
        key = (month[: DATES[date]] or "*", *(*levels, "*", "*")[:2], of_country if country else "*")
        grouped[key].append(part)
    return {
        key: dict(zip((*KEYS, *FIGURES, "clients"), (*key, *add_up(found)), strict=True))
        for key, found in grouped.items()
    }


def add_up(parts: list[Part]) -> list[int | None]:
    values: list[int | None] = []
    for number in range(2):
        found = [part for part in parts if part.number == number]
        sums = map(sum, zip(*(part.figures for part in found), strict=True))
        values += [*sums, hll.cardinality(hll.merge(part.clients for part in found))] if found else [None] * 3
    return [*values, hll.cardinality(hll.merge(part.clients for part in parts))]


def test_all_divisions_match_the_payloads(client: FlaskClient, parts: list[Part]) -> None:
    for level, date, country in itertools.product(("", "node", "network"), DATES, (False, True)):
        details = ",".join([*([date] if date else []), *(["country"] if country else [])])
        query = {name: value for name, value in {"level": level, "details": details}.items() if value}
        found = ask(client, **query)
        assert by_key(found) == unite(parts, date, level, country=country), query
        assert found == sorted(found, key=lambda one: tuple(one[name] for name in KEYS))


def test_clients_of_both_services_count_once(client: FlaskClient, parts: list[Part]) -> None:
    (total,) = ask(client)
    assert total["clients"] < total["dataselect_clients"] + total["streaming_clients"]
    assert total["clients"] > max(total["dataselect_clients"], total["streaming_clients"])


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("service_settings", [{}, {"min_clients": 3, "closed_after_days": 0}])
def test_each_part_is_its_own_answer(client: FlaskClient, store: Store) -> None:
    store.registry.set_network_policy("B", "GE", inverted=True)
    queries = [
        {"level": "network", "details": "month,country"},
        {"level": "network", "merge": "nodes"},
        {"details": "year,country", "node": "B"},
        {"network": "FR", "details": "month", "level": "node"},
        {"network": "--", "level": "network", "country": "--"},
    ]
    for query in queries:
        rows = by_key(ask(client, **query))
        for number, (path, names) in enumerate(PARTS.items()):
            columns = FIGURES[3 * number : 3 * number + 3]
            own = by_key(ask(client, f"{path}/public", **query))
            with_part = {key: one for key, one in rows.items() if one[columns[0]] is not None}
            assert with_part.keys() == own.keys(), (query, path)
            for key, one in with_part.items():
                assert [one[name] for name in columns] == [own[key][name] for name in names], (query, path)
        for one in rows.values():
            counts = [one[name] or 0 for name in ("dataselect_clients", "streaming_clients")]
            assert max(counts) <= one["clients"] <= sum(counts)


@pytest.mark.usefixtures("parts")
def test_rows_are_sorted_and_limited(client: FlaskClient) -> None:
    rows = ask(client, level="network", details="month")
    for column in ("streaming_bytes", "-clients", "-dataselect_reqs", "country", "-node"):
        name = column.removeprefix("-")
        found = ask(client, level="network", details="month", sort=column, limit="5")
        ordered = sorted(rows, key=lambda one: one[name] or type(rows[0][name])(), reverse=column != name)
        assert found == ordered[:5], column


@ON_ONE_STORE
@pytest.mark.usefixtures("parts")
def test_missing_part_is_empty(client: FlaskClient) -> None:
    query = {**WHOLE, "node": "A", "level": "network", "network": "GE", "header": "plain"}
    lines = client.get(f"{PREFIX}/usage", query_string=query).text.splitlines()
    assert lines[0] == ",".join((*KEYS, *FIGURES, "clients"))
    assert lines[1].startswith("*,A,GE,*,")
    assert lines[1].split(",")[7:10] == ["", "", ""]


@ON_ONE_STORE
@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"hllvalues": "true"}, "hllvalues=true: there is no such parameter"),
        ({"direction": "RX"}, "direction=RX: there is no such parameter"),
        ({"details": "day"}, "Use some of month, year, country"),
        ({"level": "station"}, "Use node or network"),
        ({"node": "C"}, "No node 'C'"),
        ({"network": "ZZ"}, "No network 'ZZ'"),
    ],
)
def test_bad_query_is_refused(client: FlaskClient, query: dict[str, str], words: str) -> None:
    response = client.get(f"{PREFIX}/usage", query_string={**WHOLE, **query, "format": "json"})
    assert response.status_code == 400
    assert words in response.get_json()["detail"]


@ON_ONE_STORE
@pytest.mark.usefixtures("parts")
def test_restricted_network_is_refused(client: FlaskClient, store: Store) -> None:
    for node in NODES:
        store.registry.set_network_policy(node, "GE", inverted=True)
    response = client.get(f"{PREFIX}/usage", query_string={**WHOLE, "network": "GE"})
    assert response.status_code == 401


@ON_ONE_STORE
@pytest.mark.usefixtures("parts")
def test_answer_changes_with_either_kind(client: FlaskClient, store: Store) -> None:
    path = f"{PREFIX}/usage?start=2025"
    node, _ = make_node(store, "C")
    for ingest in (
        lambda: store.ringserver.ingest(node, make_day([Log()])),
        lambda: store.dataselect.ingest(node, payload(row())),
    ):
        known = {"If-None-Match": client.get(path).headers["ETag"]}
        assert client.get(path, headers=known).status_code == 304
        ingest()
        assert client.get(path, headers=known).status_code == 200
