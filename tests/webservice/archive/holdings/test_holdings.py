"""Holdings over HTTP: bytes held next to bytes served."""

import datetime
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.archive.models import Stream
from support.dates import DAY
from support.holdings import create_shard, fill_shard, move_snapshots, year_of
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store

BHN = Stream("GE", "EIL", "", "BHN")
FR = Stream("FR", "CIEL", "00", "HHZ")
PERIOD = {"start": "2026-09", "end": "2026-10"}
MANY = sketch(range(20))
FEW = sketch(range(2))
# With these, rows of fewer than 5 clients are not shown, and all months are closed.
SUPPRESSING = {"min_clients": 5, "closed_after_days": 0}


@pytest.fixture
def nodes(store: Store) -> None:
    """Store two nodes: A has a shard, B has none. Both have served GE; A also FR."""
    create_shard(store, "a", "A")
    fill_shard(store, "a", year_of(2019, 1000), year_of(2020, 500), year_of(2020, 300, BHN), year_of(2020, 50, FR))
    serve(
        store,
        "A",
        row(bytes=3000, clients=MANY),
        row(bytes=40, channel="HHZ", clients=MANY),
        row(bytes=0, channel="BHN", clients=MANY),
        row(bytes=7, network="FR", station="CIEL", location="00", channel="HHZ", clients=FEW),
        row(bytes=0, network="", station="", location="--", channel="", nb_successful_requests=0, clients=MANY),
    )
    serve(store, "B", row(bytes=200, clients=MANY))


def serve(store: Store, name: str, *rows: dict[str, Any], day: str = "2026-10-14") -> None:
    node, _ = make_node(store, name)
    store.dataselect.ingest(node, payload(*rows, days_coverage=[day]))


def ask(client: FlaskClient, **query: str) -> list[dict[str, Any]]:
    given = query if "growth" in query else {**PERIOD, **query}
    response = client.get(f"{PREFIX}/holdings/public", query_string={**given, "format": "json"})
    assert response.status_code == 200, response.text
    return list(response.get_json()["results"])


def ask_restricted(client: FlaskClient, token: str, **query: str) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}"}
    query = {**PERIOD, **query, "format": "json"}
    response = client.post(f"{PREFIX}/holdings/restricted", query_string=query, headers=headers)
    assert response.status_code == 200, response.text
    return list(response.get_json()["results"])


def make_token(store: Store, network: str) -> str:
    now = datetime.datetime.now(tz=datetime.UTC)
    return store.registry.add_network_token(network, now - DAY, now + DAY)[1]


def pick(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(one[name] for name in names) for one in rows]


NETWORK = ("node", "network", "bytes_served", "bytes_held", "served_per_held", "as_of")
STREAMS = ("streams_held", "streams_served", "streams_never_served", "streams_not_held")


@pytest.mark.usefixtures("nodes")
def test_held_is_next_to_served(client: FlaskClient) -> None:
    assert pick(ask(client, level="network"), *NETWORK) == [
        ("A", "FR", 7, 50, 0.14, "present"),
        ("A", "GE", 3040, 1800, 1.68889, "present"),
        # Without a shard.
        ("B", "GE", 200, None, None, None),
    ]
    assert pick(ask(client, level="node"), *NETWORK) == [
        ("A", "*", 3047, 1850, 1.64703, "present"),
        ("B", "*", 200, None, None, None),
    ]
    # The holdings of B are unknown, so there is no ratio.
    assert pick(ask(client), *NETWORK) == [("*", "*", 3247, 1850, None, "present")]
    assert pick(ask(client, node="A"), *NETWORK) == [("*", "*", 3047, 1850, 1.64703, "present")]
    assert pick(ask(client, level="network", merge="nodes"), *NETWORK) == [
        ("*", "FR", 7, 50, 0.14, "present"),
        ("*", "GE", 3240, 1800, None, "present"),
    ]
    assert pick(ask(client, network="GE", level="node"), *NETWORK)[0][2:4] == (3040, 1800)


@pytest.mark.usefixtures("nodes")
def test_years_divide_held_only(client: FlaskClient) -> None:
    names = ("network", "held_year", "bytes_served", "bytes_held", "served_per_held")
    assert pick(ask(client, level="network", details="held_year", node="A"), *names) == [
        ("FR", "*", 7, 50, 0.14),
        ("FR", "2020", None, 50, None),
        ("GE", "*", 3040, 1800, 1.68889),
        ("GE", "2019", None, 1000, None),
        ("GE", "2020", None, 800, None),
    ]


@pytest.mark.usefixtures("nodes")
def test_streams_are_compared(client: FlaskClient) -> None:
    assert pick(ask(client, level="network", streams="true"), "node", "network", *STREAMS) == [
        ("A", "FR", 1, 1, 0, 0),
        # BHN was requested, but no byte was served. HHZ is not held.
        ("A", "GE", 2, 2, 1, 1),
        ("B", "GE", None, 1, None, None),
    ]
    assert pick(ask(client, streams="true"), *STREAMS) == [(3, 4, 1, 1)]
    assert pick(ask(client, streams="true", start="2026-01", end="2026-02"), *STREAMS) == [(3, 0, 3, 0)]
    merged = ask(client, level="network", merge="nodes", streams="true", network="GE")
    # As in a sum over all networks, nothing of B is compared.
    assert pick(merged, *STREAMS) == [(2, 3, 1, 1)]
    assert pick(ask(client, network="GE", streams="true"), *STREAMS) == [(2, 3, 1, 1)]


@pytest.mark.usefixtures("nodes")
def test_streams_are_rows_for_a_token(client: FlaskClient, store: Store) -> None:
    names = ("node", "location", "channel", "bytes_served", "bytes_held", *STREAMS)
    found = ask_restricted(client, make_token(store, "GE"), network="GE", level="channel", streams="true")
    assert pick(found, *names) == [
        ("A", "", "BHN", 0, 300, 1, 0, 1, 0),
        ("A", "", "BHZ", 3000, 1500, 1, 1, 0, 0),
        ("A", "", "HHZ", 40, 0, 0, 1, 0, 1),
        ("B", "", "BHZ", 200, None, None, 1, None, None),
    ]
    (one,) = ask_restricted(client, make_token(store, "GE"), network="GE", channel="?HZ", node="A")
    assert (one["bytes_served"], one["bytes_held"], one["as_of"]) == (3040, 1500, "present")


@pytest.mark.parametrize("location", ["", "--"])
def test_empty_locations_and_long_codes_are_joined(client: FlaskClient, store: Store, location: str) -> None:
    codes = {"network": "Z32015", "station": "STATION8", "channel": "B_H_Z"}
    create_shard(store, "a", "A")
    fill_shard(store, "a", year_of(2015, 10, Stream("Z32015", "STATION8", "", "B_H_Z")))
    serve(store, "A", row(bytes=20, location=location, **codes))
    found = ask_restricted(client, make_token(store, "Z32015"), network="Z32015", level="channel", streams="true")
    assert pick(found, "location", "bytes_served", "bytes_held", *STREAMS) == [("", 20, 10, 1, 1, 0, 0)]


@pytest.mark.usefixtures("nodes")
def test_past_periods_have_their_snapshot(client: FlaskClient, store: Store) -> None:
    move_snapshots(store, "2026-03")
    fill_shard(store, "a", year_of(2020, 9999))
    names = ("bytes_held", "as_of")
    # Before the first snapshot, only the present state is known.
    assert pick(ask(client, node="A", start="2026-01", end="2026-02"), *names) == [(9999, "present")]
    assert pick(ask(client, node="A", start="2026-01", end="2026-03"), *names) == [(1850, "2026-03")]
    # There was no change until then.
    assert pick(ask(client, node="A", start="2026-01", end="2026-06"), *names) == [(1850, "2026-03")]
    assert pick(ask(client, node="A", start="2026-01", end="2999"), *names) == [(9999, "present")]
    found = ask_restricted(client, make_token(store, "GE"), network="GE", level="channel", end="2026-10")
    assert {one["as_of"] for one in found if one["node"] == "A"} == {"present"}


@pytest.mark.usefixtures("nodes")
def test_growth_has_a_row_for_each_snapshot(client: FlaskClient, store: Store) -> None:
    move_snapshots(store, "2026-01")
    create_shard(store, "b", "B")
    fill_shard(store, "b", year_of(2021, 4))
    move_snapshots(store, "2026-02")
    names = ("date", "node", "network", "held_year", "bytes_held")
    assert pick(ask(client, growth="month"), *names) == [
        ("2026-01", "*", "*", "*", 1850),
        # That of A is still the one of January.
        ("2026-02", "*", "*", "*", 1854),
    ]
    assert pick(ask(client, growth="month", level="network", start="2026-02", network="GE"), *names) == [
        ("2026-02", "A", "GE", "*", 1800),
        ("2026-02", "B", "GE", "*", 4),
    ]
    merged = ask(client, growth="month", level="network", merge="nodes", details="held_year", network="GE")
    assert pick(merged, *names)[-4:] == [
        ("2026-02", "*", "GE", "*", 1804),
        ("2026-02", "*", "GE", "2019", 1000),
        ("2026-02", "*", "GE", "2020", 800),
        ("2026-02", "*", "GE", "2021", 4),
    ]


def test_node_that_holds_nothing_has_zero(client: FlaskClient, store: Store) -> None:
    create_shard(store, "a", "A")
    serve(store, "A", row(bytes=5))
    # Not crawled yet.
    assert pick(ask(client, level="node"), "bytes_held", "as_of") == [(None, None)]
    fill_shard(store, "a")
    assert pick(ask(client, level="node"), *NETWORK) == [("A", "*", 5, 0, None, "present")]
    assert pick(ask(client, growth="month", level="node"), "node", "bytes_held") == [("A", 0)]
    store.shards.remove("a")
    assert pick(ask(client, level="node"), "bytes_held") == [(None,)]


@pytest.mark.usefixtures("nodes")
def test_restricted_networks_are_other(client: FlaskClient, store: Store) -> None:
    store.registry.set_network_policy("A", "FR", inverted=True)
    names = ("node", "network", "bytes_served", "bytes_held", *STREAMS)
    assert pick(ask(client, level="network", streams="true"), *names) == [
        ("A", "GE", 3040, 1800, 2, 2, 1, 1),
        ("B", "GE", 200, None, None, 1, None, None),
        ("Other", "Other", 7, 50, 1, 1, 0, 0),
    ]
    assert pick(ask(client, level="node"), "bytes_held") == [(1850,), (None,)]
    assert pick(ask(client, growth="month", level="network"), "network", "bytes_held") == [
        ("GE", 1800),
        ("Other", 50),
    ]
    refused = client.get(f"{PREFIX}/holdings/public", query_string={**PERIOD, "network": "FR"})
    assert refused.status_code == 401
    assert "/holdings/restricted" in refused.text
    found = ask_restricted(client, make_token(store, "FR"), network="FR")
    assert pick(found, "bytes_served", "bytes_held") == [(7, 50)]
    headers = {"Authorization": f"Bearer {make_token(store, 'GE')}"}
    response = client.post(
        f"{PREFIX}/holdings/restricted", query_string={**PERIOD, "network": "FR"}, headers=headers
    )
    assert response.status_code == 403


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("service_settings", [SUPPRESSING])
def test_small_groups_hide_what_is_derived(client: FlaskClient, store: Store) -> None:
    serve(store, "A", row(month="2026-09-01", network="XX", clients=MANY), day="2026-09-14")
    served = client.get(
        f"{PREFIX}/dataselect/public", query_string={**PERIOD, "level": "network", "format": "json"}
    )
    shown = {(one["node"], one["network"]): one["bytes"] for one in served.get_json()["results"] if one["network"]}
    names = ("bytes_served", "bytes_held", "served_per_held", *STREAMS)
    found = {
        (one["node"], one["network"]): tuple(one[name] for name in names)
        for one in ask(client, level="network", streams="true")
    }
    assert ("A", "FR") not in shown
    assert found["A", "FR"] == (None, 50, None, 1, None, None, None)
    assert found["A", "GE"] == (3040, 1800, 1.68889, 2, 2, 1, 1)
    assert {key: values[0] for key, values in found.items() if values[0] is not None} == shown
    assert found["Other", "Other"][1:] == (None, None, None, None, None, None)
    # Totals of nodes are public.
    assert pick(ask(client, level="node", streams="true", node="A"), *STREAMS) == [(3, 4, 1, 2)]
    (one,) = ask(client, network="FR", streams="true")
    assert tuple(one[name] for name in names) == (None, 50, None, 1, None, None, None)


@ON_ONE_STORE
@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("service_settings", [{"min_clients": 5, "closed_after_days": 100_000}])
def test_open_months_count_no_streams(client: FlaskClient) -> None:
    found = ask(client, level="network", streams="true", node="A")
    assert [one["network"] for one in found] == ["FR", "GE", "Other"]
    for one in found:
        assert one["streams_served"] is one["served_per_held"] is None


@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize("service_settings", [SUPPRESSING])
@pytest.mark.parametrize("node", ["A", "B"])
def test_hidden_network_not_held_has_no_row(client: FlaskClient, store: Store, node: str) -> None:
    serve(store, node, row(network="NL", bytes=9, clients=FEW), day="2026-10-15")
    queries: list[dict[str, str]] = [{"level": "network"}, {"level": "network", "network": "NL"}, {"network": "NL"}]
    for query in queries:
        for streams in ("false", "true"):
            found = ask(client, **query, node=node, streams=streams)
            assert "NL" not in {one["network"] for one in found}
            assert "network" not in query or found == ask(
                client, **query, node=node, streams=streams, start="2020-01", end="2020-02"
            )


@pytest.mark.usefixtures("nodes")
def test_formats_have_the_same_rows(client: FlaskClient) -> None:
    query = {**PERIOD, "level": "network", "sort": "-served_per_held", "limit": "2"}
    lines = client.get(f"{PREFIX}/holdings/public", query_string={**query, "header": "plain"}).text.splitlines()
    assert lines == [
        "date,node,network,station,location,channel,held_year,bytes_served,bytes_held,served_per_held,as_of",
        "*,A,GE,*,*,*,*,3040,1800,1.68889,present",
        "*,A,FR,*,*,*,*,7,50,0.14,present",
    ]
    text = client.get(f"{PREFIX}/holdings/public", query_string={**query, "format": "text"}).text
    assert text.splitlines()[1] == "*|A|GE|*|*|*|*|3040|1800|1.68889|present"
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    answer = client.get(f"{PREFIX}/holdings/public", query_string={**query, "format": "parquet"})
    table = parquet.read_table(pyarrow.BufferReader(answer.data)).to_pylist()
    assert (
        table
        == json.loads(client.get(f"{PREFIX}/holdings/public", query_string={**query, "format": "json"}).data)[
            "results"
        ]
    )


def test_answer_is_not_sent_again(client: FlaskClient, store: Store) -> None:
    create_shard(store, "a", "A")
    path = f"{PREFIX}/holdings/public?start=2026-01"
    for change in (
        lambda: fill_shard(store, "a", year_of(2020, 5)),
        lambda: serve(store, "A", row()),
        lambda: store.shards.remove("a"),
    ):
        known = {"If-None-Match": client.get(path).headers["ETag"]}
        assert client.get(path, headers=known).status_code == 304
        change()
        assert client.get(path, headers=known).status_code == 200
    assert client.get(f"{path}&nodata=204&network=--&level=network").status_code == 204


@ON_ONE_STORE
@pytest.mark.usefixtures("nodes")
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"start": ""}, "start="),
        ({"details": "month"}, "Use some of held_year"),
        ({"details": "country"}, "Use some of held_year"),
        ({"held_year": "2020"}, "there is no such parameter"),
        ({"level": "station"}, "Use node or network"),
        ({"streams": "yes"}, "Use true or false"),
        ({"growth": "year"}, "Use month"),
        ({"growth": "month", "streams": "true"}, "Leave one of them out"),
        ({"sort": "clients"}, "sort=clients"),
        ({"merge": "nodes"}, "Add level=network"),
        ({"network": "ZZ"}, "No network 'ZZ'"),
    ],
)
def test_bad_query_is_refused(client: FlaskClient, query: dict[str, str], words: str) -> None:
    response = client.get(f"{PREFIX}/holdings/public", query_string={**PERIOD, **query, "format": "json"})
    assert response.status_code == 400
    assert words in response.get_json()["detail"]


@ON_ONE_STORE
@pytest.mark.usefixtures("nodes")
def test_growth_of_stations_is_refused(client: FlaskClient, store: Store) -> None:
    headers = {"Authorization": f"Bearer {make_token(store, 'GE')}"}
    query = {"growth": "month", "network": "GE", "level": "station"}
    response = client.post(f"{PREFIX}/holdings/restricted", query_string=query, headers=headers)
    assert response.status_code == 400
    assert "snapshots have no stations" in response.text
    assert client.post(f"{PREFIX}/holdings/restricted", query_string=query).status_code == 401
