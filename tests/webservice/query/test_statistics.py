"""Statistics on both stores, compared with a count over the sent rows, and access to them."""

import csv
import datetime
import io
import itertools
import json
import random
import re
import sys
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import requests
from flask.testing import FlaskClient
from pyarrow import parquet

from eida_statistics import hll
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.errors import DatabaseNotReady
from eida_stats_webservice.query import formats, routes
from eida_stats_webservice.query.model import OutputOptions, Statistic, StatisticsQuery
from eida_stats_webservice.registry.models import PUBLIC, Viewer
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.postgresql import Cluster
from support.roles import grant_service
from support.service import PREFIX, Service, register_nodes
from support.signer import Signer
from support.statistics import LEVELS
from support.stores import ON_ONE_STORE, Store, open_store

NOT_GIVEN = hll.to_hex(hll.EMPTY)
PUBLIC_PATH = f"{PREFIX}/dataselect/public"
RESTRICTED_PATH = f"{PREFIX}/dataselect/restricted"
KEYS = ("date", "node", "network", "station", "location", "channel", "country")
# X is restricted at both nodes, FR at the second one. Y's group may see Y, and the first node's group all.
HIDDEN = {("A", "X"), ("B", "X"), ("B", "FR"), ("A", "Y")}
DECEMBER = datetime.date(2025, 12, 1)
PERIOD: dict[str, Any] = {"cube": DATASELECT, "start": datetime.date(2025, 11, 1), "end": datetime.date(2026, 1, 1)}
DETAILS = ((), ("month",), ("year",), ("country",), ("month", "country"), ("year", "country"))

Sent = dict[str, Any]


def now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def test_failed_query_leaves_the_snapshot(store: Store) -> None:
    make_node(store, "A")
    with store.statistics.snapshot() as snapshot:
        before = snapshot.data_version()
        with pytest.raises(DatabaseNotReady), snapshot.savepoint():
            snapshot.connection.cursor().execute("SELECT 1 FROM no_such_table")
        store.registry.set_node_policy("A", restricted=True)
        with snapshot.savepoint(), snapshot.snapshot() as part:
            assert part.data_version() == before
    assert store.statistics.data_version() != before


@pytest.fixture
def sent(store: Store) -> list[Sent]:
    """Fill the store, with restrictions, and return the rows of all nodes."""
    chance = random.Random(4)
    rows: list[Sent] = []
    for name in ("A", "B"):
        node, _ = make_node(store, name)
        for month in ("2025-11", "2025-12", "2026-01"):
            own = {
                (network, station, channel, country): row(
                    month=f"{month}-01",
                    network=network,
                    station=station,
                    channel=channel,
                    location="" if network else "--",
                    country=country,
                    bytes=chance.randrange(1000),
                    nb_requests=3,
                    nb_successful_requests=2,
                    clients=sketch(map(hll.hash_client, chance.sample(range(400), chance.choice([1, 2, 5, 180])))),
                )
                for network, station, channel, country in itertools.product(
                    ["FR", "GE", "X", "Y", ""], ["S1", "T1"], ["BHZ"], ["DE", "FR", ""]
                )
                if chance.random() < 0.8
            }
            rows += [{**one, "node": name} for one in own.values()]
            store.dataselect.ingest(node, payload(*own.values(), days_coverage=[f"{month}-05"]))
    store.registry.set_network_policy("A", "X", inverted=True)
    store.registry.set_network_policy("B", "X", inverted=True)
    store.registry.set_network_policy("B", "FR", inverted=True)
    store.registry.set_network_policy("A", "Y", inverted=True)
    store.registry.set_network_group("A", "Y", "group-of-y")
    store.registry.set_node_group("A", "group-of-a")
    return rows


def ask(client: FlaskClient, query: str) -> list[dict[str, str]]:
    response = client.get(f"{PUBLIC_PATH}?{query}")
    assert response.status_code == 200, response.text
    return list(csv.DictReader(line for line in response.text.splitlines() if not line.startswith("#")))


# Sums


def count_rows(
    sent: list[Sent], question: StatisticsQuery, hidden: set[tuple[str, str]]
) -> dict[tuple[str, ...], Any]:
    """Answer a query from the sent rows, one by one."""
    groups: dict[tuple[str, ...], list[Sent]] = defaultdict(list)
    for one in sent:
        month = one["month"][:7]
        if not f"{question.start:%Y-%m}" <= month <= f"{question.end:%Y-%m}":
            continue
        if any(one[name] not in values for name, values in question.filters.items()):
            continue
        unseen = (one["node"], one["network"]) in hidden
        if unseen and question.selects_streams:
            continue
        codes = {**one, "date": month}
        if unseen and question.divides_by("network"):
            codes |= {"node": "Other", "network": "Other"} | dict.fromkeys(["station", "location", "channel"], "*")
        date = month if "month" in question.details else month[:4] if "year" in question.details else "*"
        country = one["country"] if "country" in question.details else "*"
        levels = [codes[level] if question.divides_by(level) else "*" for level in LEVELS]
        groups[date, *levels, country].append(one)
    return {
        key: (
            sum(one["bytes"] for one in group),
            sum(one["nb_requests"] for one in group),
            sum(one["nb_successful_requests"] for one in group),
            hll.decode_registers(hll.merge(hll.from_hex(one["clients"]) for one in group)).tobytes(),
        )
        for key, group in groups.items()
    }


def query_store(store: Store, question: StatisticsQuery, viewer: Viewer) -> dict[tuple[str, ...], Any]:
    found = {}
    for one in store.statistics.query(question, viewer, sketches=True):
        assert one.keys not in found
        assert one.hll_clients is not None
        assert one.clients == hll.cardinality(one.hll_clients)
        assert hll.canonicalize(one.hll_clients) == one.hll_clients
        registers = hll.decode_registers(one.hll_clients).tobytes()
        found[one.keys] = (*one.measures[:3], registers)
    return found


@pytest.mark.parametrize(
    ("viewer", "seen"),
    [
        (PUBLIC, set()),
        (Viewer(networks=frozenset(["X"])), {("A", "X"), ("B", "X")}),
        (Viewer(groups=frozenset(["group-of-y"])), {("A", "Y")}),
        (Viewer(groups=frozenset(["group-of-a"])), {("A", "X"), ("A", "Y")}),
    ],
)
def test_levels_and_details_match_sent_rows(
    store: Store, sent: list[Sent], viewer: Viewer, seen: set[tuple[str, str]]
) -> None:
    some: list[dict[str, Any]] = [
        {}, {"filters": {"node": ("B",)}}, {"filters": {"country": ("DE", "FR")}},
        {"filters": {"network": ("FR", "X")}},
        {"start": DECEMBER, "end": DECEMBER, "filters": {"network": ("GE",)}},
    ]  # fmt: skip
    for level, details, one in itertools.product((None, *LEVELS), DETAILS, some):
        question = StatisticsQuery(**{**PERIOD, **one}, level=level, details=frozenset(details))
        expected = count_rows(sent, question, HIDDEN - seen)
        assert query_store(store, question, viewer) == expected, question


def test_cells_are_rows_of_all_networks(store: Store, sent: list[Sent]) -> None:
    compared = 0
    for level, details, minimum in itertools.product((None, "node", "network"), DETAILS, (2, 4)):
        question = StatisticsQuery(**PERIOD, level=level, details=frozenset(details))
        cells = {one.keys: one for one in store.statistics.query_cells(question)}
        expected = count_rows(sent, question, set())
        assert cells.keys() == expected.keys()
        for key, (*measures, registers) in expected.items():
            assert cells[key].measures[:3] == tuple(measures)
            assert hll.decode_registers(cells[key].hll_clients or b"").tobytes() == registers
        for one in store.statistics.query_cells(question, sketches_below=minimum):
            needed = one.clients < minimum or one.node_and_network in HIDDEN
            assert one.has_withheld == (one.node_and_network in HIDDEN)
            whole = msgspec.structs.replace(cells[one.keys], measures=())
            assert one == (whole if needed else msgspec.structs.replace(whole, hll_clients=None))
            compared += needed
    assert compared


def test_patterns_choose_stations_and_locations(store: Store, sent: list[Sent]) -> None:
    filters = {"station": ("S*",), "location": ("",)}
    found = query_store(store, StatisticsQuery(**PERIOD, level="station", filters=filters), PUBLIC)
    assert {key[3] for key in found} == {"S1"}
    assert "" not in {key[2] for key in found}
    assert not query_store(store, StatisticsQuery(**PERIOD, filters={"station": ("S",)}), PUBLIC)


def test_rows_are_sorted_and_limited(sent: list[Sent], client: FlaskClient) -> None:
    query = "start=2025-11&end=2026-01&level=network&details=month,country"
    rows = ask(client, query)
    assert [[one[key] for key in KEYS] for one in rows] == sorted([one[key] for key in KEYS] for one in rows)
    for column in ("bytes", "clients", "nb_reqs"):
        ascending = [int(one[column]) for one in ask(client, f"{query}&sort={column}")]
        assert ascending == sorted(ascending)
        assert [int(one[column]) for one in ask(client, f"{query}&sort=-{column}&limit=3")] == ascending[::-1][:3]
    assert [one["network"] for one in ask(client, f"{query}&sort=-network")] == sorted(
        (one["network"] for one in rows), reverse=True
    )


# Access


def test_fully_restricted_network_is_not_public(sent: list[Sent], client: FlaskClient) -> None:
    response = client.get(f"{PUBLIC_PATH}?start=2025-01&network=X&format=json")
    assert (response.status_code, response.mimetype) == (401, "application/problem+json")
    assert "X" in json.loads(response.data)["detail"]


def test_partly_open_network_is_public_there(sent: list[Sent], client: FlaskClient) -> None:
    rows = ask(client, "start=2025-01&network=FR&level=node")
    assert [one["node"] for one in rows] == ["A"]


@ON_ONE_STORE
@pytest.mark.parametrize("query", ["network=QQ", "network=F*", "network=FR,GE", "node=C", "station=S1"])
def test_public_names_are_limited(sent: list[Sent], client: FlaskClient, query: str) -> None:
    response = client.get(f"{PUBLIC_PATH}?start=2025-01&{query}")
    assert response.status_code == 400
    assert query.partition("=")[0] in response.text


def test_public_sketches_list_no_clients(sent: list[Sent], client: FlaskClient) -> None:
    for one in ask(client, "start=2025-01&level=network&details=country,month&hllvalues=true"):
        sketch_found = hll.from_hex(one["hll_clients"])
        assert sketch_found[0] == 0x14
        # The estimate of a dense sketch differs a little from the number of its clients.
        assert hll.estimate(sketch_found) == pytest.approx(int(one["clients"]), rel=0.05, abs=1)


@ON_ONE_STORE
@pytest.mark.parametrize("form", ["csv", "json", "text", "parquet"])
def test_withheld_sketch_is_empty(service_uri: str, sent: list[Sent], form: str) -> None:
    """Programs written for the deployed service fail at rows without a sketch."""
    client = create_app(Config(service_uri, min_clients=5)).test_client()
    query = "start=2025-01&level=network&details=country,month&hllvalues=true"
    answer = client.get(f"{PUBLIC_PATH}?{query}&format={form}")
    if form == "parquet":
        found = parquet.read_table(io.BytesIO(answer.data)).to_pylist()
    elif form == "json":
        found = answer.get_json()["results"]
    else:
        delimiter = "," if form == "csv" else "|"
        lines = [line for line in answer.text.splitlines() if not line.startswith("# ")]
        found = list(csv.DictReader([lines[0].removeprefix("#"), *lines[1:]], delimiter=delimiter))
    sketches = {one["network"]: one["hll_clients"] for one in found}
    assert sketches["Other"] == hll.to_hex(hll.EMPTY)
    for text in sketches.values():
        hll.check(hll.from_hex(text))


def find_explicit_flags(rows: list[dict[str, str]]) -> set[bool]:
    return {hll.from_hex(one["hll_clients"])[0] == 0x12 for one in rows if one["hll_clients"]}


@ON_ONE_STORE
def test_explicit_sketches_need_full_authorization(
    service_uri: str, sent: list[Sent], store: Store, signer: Signer
) -> None:
    keys = {"eas_keyring": str(signer.keyring), "eas_fingerprints": signer.fingerprint}
    client = create_app(Config(service_uri, **keys)).test_client()
    few = "country=DE&hllvalues=true&node=A"
    stranger = signer.token("/epos/nothing")
    for query in ("level=node", "level=network", "level=network&details=country,month", "details=month"):
        assert True not in find_explicit_flags(query_restricted(client, f"{query}&{few}", stranger)), query
    assert True not in find_explicit_flags(query_restricted(client, f"level=channel&network=GE&{few}", stranger))
    operator = signer.token("/epos/group-of-a")
    assert True in find_explicit_flags(
        query_restricted(client, "level=channel&details=month,country&hllvalues=true", operator)
    )
    token = {"Authorization": f"Bearer {store.registry.add_network_token('X', now() - DAY, now() + DAY)[1]}"}
    for query, explicit in (
        ("network=X&level=station&details=month,country", True),
        ("level=node&country=DE", False),
    ):
        path = f"{RESTRICTED_PATH}?start=2025-11&hllvalues=true&{query}"
        found = list(csv.DictReader(client.post(path, headers=token).text.splitlines()[2:]))
        assert (True in find_explicit_flags(found)) == explicit


def test_sketch_of_restricted_rows_is_withheld(sent: list[Sent], client: FlaskClient, store: Store) -> None:
    for network in ("GE", "FR"):
        store.registry.set_network_policy("A", network, inverted=True)
    # Failed requests belong to no network, and are public.
    found = ask(client, "start=2025-11&details=country&level=node&hllvalues=true")
    assert NOT_GIVEN not in {one["hll_clients"] for one in found}
    with store.database.transaction(write=True) as connection:
        for table in ("dataselect_stats_by_network", "dataselect_stats_by_network_country"):
            connection.cursor().execute(f"DELETE FROM {table} WHERE network = ''")
    found = ask(client, "start=2025-11&details=country&level=node&hllvalues=true")
    assert {one["node"]: one["hll_clients"] != NOT_GIVEN for one in found} == {"A": False, "B": True}


def test_small_group_has_no_sketch(service_uri: str, sent: list[Sent]) -> None:
    client = create_app(Config(service_uri, min_clients=395)).test_client()
    found = ask(client, "start=2025-11&level=node&details=month&hllvalues=true")
    assert found
    assert {one["hll_clients"] for one in found if int(one["clients"]) < 395} == {NOT_GIVEN}


def test_network_operator_sees_its_stations(sent: list[Sent], client: FlaskClient, store: Store) -> None:
    token = store.registry.add_network_token("X", now() - DAY, now() + DAY)[1]
    header = {"Authorization": f"Bearer {token}"}
    response = client.post(f"{RESTRICTED_PATH}?start=2025-01&level=station&net=X&hllvalues=true", headers=header)
    rows = list(csv.DictReader(response.text.splitlines()[2:]))
    assert {(one["node"], one["network"], one["station"]) for one in rows} == set(
        itertools.product("AB", "X", ["S1", "T1"])
    )
    assert all(one["hll_clients"] for one in rows)
    refused = client.post(f"{RESTRICTED_PATH}?start=2025-01&level=station&network=Y&node=A", headers=header)
    assert refused.status_code == 403
    assert client.post(f"{RESTRICTED_PATH}?start=2025-01&level=station", headers=header).status_code == 400
    assert client.post(f"{RESTRICTED_PATH}?start=2025-01&network=X,GE", headers=header).status_code == 400


@ON_ONE_STORE
def test_restricted_statistics_need_their_own_token(sent: list[Sent], client: FlaskClient, store: Store) -> None:
    assert client.post(f"{RESTRICTED_PATH}?start=2025-01").status_code == 401
    for_sending = store.registry.add_token("A", now() - DAY, now() + DAY)[1]
    expired = store.registry.add_network_token("X", now() - 2 * DAY, now() - DAY)[1]
    for token in (for_sending, expired, "anything"):
        header = {"Authorization": f"Bearer {token}"}
        assert client.post(f"{RESTRICTED_PATH}?start=2025-01", headers=header).status_code == 403
    of_network = store.registry.add_network_token("X", now() - DAY, now() + DAY)[1]
    sending = client.post(f"{PREFIX}/submit", data=b"{}", headers={"Authorization": f"Bearer {of_network}"})
    assert sending.status_code == 403


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as made:
        yield made


def query_restricted(client: FlaskClient, query: str, body: bytes, content_type: str = "") -> list[dict[str, str]]:
    response = client.post(f"{RESTRICTED_PATH}?start=2025-01&{query}", data=body, content_type=content_type)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(response.text.splitlines()[2:]))


@ON_ONE_STORE
def test_group_members_see_its_networks(service_uri: str, sent: list[Sent], signer: Signer) -> None:
    keys = {"eas_keyring": str(signer.keyring), "eas_fingerprints": signer.fingerprint}
    client = create_app(Config(service_uri, **keys)).test_client()
    member = signer.token("/epos/group-of-y;/epos/others")
    # The content type does not matter; browsers send a form.
    form = (
        b'--x-1\r\nContent-Disposition: form-data; name="file"; filename="t"\r\n\r\n' + member + b"\r\n--x-1--\r\n"
    )
    for body, content_type in [
        (member, "application/octet-stream"), (member, "application/x-www-form-urlencoded"),
        (member, "application/json"), (form, "application/octet-stream"),
        (form, "multipart/form-data; boundary=x-1"),
    ]:  # fmt: skip
        rows = query_restricted(client, "level=network&node=A", body, content_type)
        assert {one["network"] for one in rows} == {"", "FR", "GE", "Y", "Other"}
    refused = client.post(f"{RESTRICTED_PATH}?start=2025-01&network=X&format=json", data=member)
    assert (refused.status_code, json.loads(refused.data)["type"].rpartition(":")[2]) == (403, "forbidden-network")
    assert client.post(f"{RESTRICTED_PATH}?start=2025-01&network=Y,GE", data=member).status_code == 400
    operator = signer.token("/epos/group-of-a")
    rows = query_restricted(client, "level=station&network=*,FR", operator)
    assert {("A", "X", "S1"), ("A", "Y", "T1"), ("Other", "Other", "*")} <= {
        (one["node"], one["network"], one["station"]) for one in rows
    }
    # A query with names reveals nothing about restricted streams.
    assert {one["node"] for one in query_restricted(client, "level=channel&network=X,F?", operator)} == {"A"}


@ON_ONE_STORE
def test_bad_eas_token_is_refused(service_uri: str, sent: list[Sent], signer: Signer) -> None:
    keys = {"eas_keyring": str(signer.keyring), "eas_fingerprints": signer.fingerprint}
    client = create_app(Config(service_uri, **keys)).test_client()
    good = signer.token("/epos/group-of-y")
    for body in (
        good + b"more", good.replace(b"group-of-y", b"group-of-a"), b'{"memberof": "/epos/group-of-a"}',
        signer.token("/epos/group-of-a", days=-1),
    ):  # fmt: skip
        response = client.post(f"{RESTRICTED_PATH}?start=2025-01&format=json", data=body)
        assert response.status_code == 401
        assert json.loads(response.data)["type"].endswith("invalid-eas-token")
    without = create_app(Config(service_uri)).test_client()
    assert without.post(f"{RESTRICTED_PATH}?start=2025-01", data=good).status_code == 401
    assert client.post(f"{RESTRICTED_PATH}?start=2025-01", data=good * 1000).status_code == 413


def test_policies_match_the_deployed_service(sent: list[Sent], client: FlaskClient, store: Store) -> None:
    def answer(path: str) -> Any:
        return json.loads(client.get(f"{PREFIX}/{path}").data)

    store.registry.set_node_policy("B", restricted=True)
    assert answer("nodes")["nodes"][1] == {"name": "B", "restriction_policy": "1"}
    assert answer("networks")["networks"][0] == {
        "name": "FR", "node": "A", "inverted_policy": "0", "restriction_policy": "0", "restricted": "no",
    }  # fmt: skip
    assert answer("node_restriction_policy?node=B") == {"restriction_policy": "1"}
    assert answer("network_restriction_policy?node=B&network=FR") == {"invert_policy": "1", "eas_group": None}
    assert answer("_isRestricted?node=B&network=FR") == {"restricted": "no", "group": None}
    assert answer("_isRestricted?node=A&network=Y") == {"restricted": "yes", "group": "group-of-y"}
    for wrong in ("nodes?x=1", "_isRestricted?node=A", "_isRestricted?node=A&network=QQ", "networks?node=A"):
        assert client.get(f"{PREFIX}/{wrong}").status_code == 400


@pytest.mark.parametrize("end", ["", "&end=2026-01"])
def test_answer_without_an_end_changes_with_the_month(
    sent: list[Sent], client: FlaskClient, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The first month outside the query becomes the next one, without any change of the statistics."""
    today = routes._get_today()
    path = f"{PUBLIC_PATH}?start=2025-11&level=node{end}"
    answer = client.get(path)
    validators = {"If-None-Match": answer.headers["ETag"]}, {"If-Modified-Since": answer.headers["Last-Modified"]}
    following = (today.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)
    monkeypatch.setattr(routes, "_get_today", lambda: following)
    tag, time = (client.get(path, headers=validator).status_code for validator in validators)
    assert (tag, time) == ((304, 200) if end else (200, 200))


@ON_ONE_STORE
def test_unknown_paths_answer_in_the_requested_format(
    sent: list[Sent],
    client: FlaskClient,
) -> None:
    for response in (client.get(f"{PREFIX}/dataselect/publik?start=2025-01"), client.delete(PUBLIC_PATH)):
        assert response.status_code in {404, 405}
        assert response.mimetype == "text/plain"
        assert all(line.startswith("# ") for line in response.text.splitlines())
    assert client.delete(f"{PUBLIC_PATH}?format=json").mimetype == "application/problem+json"
    assert client.get(f"{PREFIX}/dataselectstats").mimetype == "application/problem+json"


# Formats


@ON_ONE_STORE
def test_all_formats_have_the_same_rows(sent: list[Sent], client: FlaskClient) -> None:
    query = "start=2025-11&end=2026-01&level=network&details=year&unsuccessful=true"
    as_csv = ask(client, query)
    response = client.get(f"{PUBLIC_PATH}?{query}&format=json")
    as_json = json.loads(response.data)
    assert (as_json["version"], as_json["request_parameters"]) == ("1.0.0", f"{query}&format=json")
    assert [{name: str(value) for name, value in one.items()} for one in as_json["results"]] == as_csv
    header, *lines = client.get(f"{PUBLIC_PATH}?{query}&format=text").text.splitlines()
    names = header.removeprefix("#").split("|")
    assert [dict(zip(names, line.split("|"), strict=True)) for line in lines] == as_csv
    table = parquet.read_table(io.BytesIO(client.get(f"{PUBLIC_PATH}?{query}&format=parquet").data))
    assert table.to_pylist() == as_json["results"]
    assert table.schema.metadata[b"version"] == b"1.0.0"


@ON_ONE_STORE
@pytest.mark.parametrize("form", ["csv", "json", "text", "parquet"])
def test_empty_result_has_the_requested_status(sent: list[Sent], client: FlaskClient, form: str) -> None:
    query = f"start=2024-01&end=2024-02&format={form}"
    empty = client.get(f"{PUBLIC_PATH}?{query}")
    assert empty.status_code == 200
    if form == "json":
        assert json.loads(empty.data)["results"] == []
    nothing = client.get(f"{PUBLIC_PATH}?{query}&nodata=204")
    assert (nothing.status_code, nothing.headers.get("Content-Type")) == (204, None)
    assert client.get(f"{PUBLIC_PATH}?{query}&nodata=404").status_code == 404


@pytest.mark.parametrize("form", ["csv", "json", "text"])
def test_rows_are_formatted_in_constant_memory(form: str) -> None:
    def rows() -> Iterator[Statistic]:
        for number in range(30_000):
            yield Statistic(("2026-01", "A", "FR", f"S{number}", "", "BHZ", "DE"), (number, 1, 1, 0), 1)

    tracemalloc.start()
    try:
        options = OutputOptions(form)
        values = formats.list_values(rows(), DATASELECT, options)
        columns = formats.list_columns(DATASELECT, options)
        chunks = formats.choose_format(options).write(values, columns, "start=2026-01")
        assert sum(map(len, chunks)) > 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_many_rows_are_streamed(postgresql: Cluster, database_uri: str, tmp_path: Path) -> None:
    register_nodes(database_uri, "A")
    with closing(open_store(database_uri)) as store:
        token = store.registry.add_network_token("FR", now() - DAY, now() + DAY)[1]
    # Two channels of 250 stations, in 20 countries and 10 months.
    postgresql.psql(
        urlsplit(database_uri).path.removeprefix("/"),
        """
        INSERT INTO networks (node_id, name) SELECT id, 'FR' FROM nodes;
        INSERT INTO dataselect_stats (node_id, date, network, station, location, channel, country,
            bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)
        SELECT nodes.id, (date '2023-01-01' + (month || ' months')::interval)::date, 'FR', 'S' || station, '',
            channel, 'C' || chr(65 + country), 1000, 10, 9, 1, hll_add(hll_empty(11, 5), hll_hash_integer(station))
        FROM nodes, generate_series(0, 9) month, generate_series(1, 250) station,
            unnest(ARRAY['BHZ', 'HHZ']) channel, generate_series(0, 19) country
        """,
    )
    header = {"Authorization": f"Bearer {token}"}
    path = "dataselect/restricted?start=2023-01&network=FR&level=channel&details=month,country"
    with (
        Service(grant_service(database_uri), tmp_path, workers=1, threads=1) as service,
        requests.Session() as session,
    ):
        session.trust_env = False
        (worker,) = service.workers()
        with session.post(f"{service.url}/{path}&limit=10", headers=header, timeout=600) as small:
            assert small.ok, small.text
        before = read_peak_memory(worker)
        with session.post(f"{service.url}/{path}", headers=header, timeout=600, stream=True) as response:
            lines = sum(chunk.count(b"\n") for chunk in response.iter_content(2**16))
        assert lines == 100_000 + 3
        # A list of the rows would need twice as much.
        assert read_peak_memory(worker) - before < 20 * 2**20


@ON_ONE_STORE
def test_too_long_value_is_reported(service_uri: str, tmp_path: Path) -> None:
    with Service(service_uri, tmp_path, workers=1, threads=1) as service:
        for size in (3_000, 8_300, 10_000, 100_000):
            response = service.get("dataselect/public", start="2025-01", node="A" * size)
            assert response.status_code == 400
            assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert len(response.text) < 1000
            assert all(line.startswith("# ") for line in response.text.splitlines())
            assert ("node" if size < 8_000 else "8177 characters") in response.text


def read_peak_memory(process: int) -> int:
    """Return the peak memory of a process, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def test_unchanged_answer_is_304(sent: list[Sent], client: FlaskClient, store: Store) -> None:
    path = f"{PUBLIC_PATH}?start=2025-01&level=network&details=month,country"
    first = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert first.headers["Content-Encoding"] == "gzip"
    for tag in (first.headers["ETag"], client.get(path).headers["ETag"]):
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    store.registry.set_network_policy("A", "GE", inverted=True)
    assert client.get(path, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


@ON_ONE_STORE
def test_etag_is_accepted_in_any_form(sent: list[Sent], client: FlaskClient) -> None:
    path = f"{PUBLIC_PATH}?start=2025-01&level=network&details=month,country"
    packed = client.get(path, headers={"Accept-Encoding": "gzip"}).headers["ETag"]
    for given in (packed, f"W/{packed}", f'"other", W/{packed}'):
        response = client.get(path, headers={"If-None-Match": given, "Accept-Encoding": "gzip"})
        assert (response.status_code, response.headers["ETag"]) == (304, packed)
    assert client.get(path, headers={"If-None-Match": "*"}).status_code == 200


@ON_ONE_STORE
@pytest.mark.parametrize(("query", "status"), [("network=QQ", 400), ("network=X", 401), ("node=QQ", 400)])
def test_refusal_precedes_304(sent: list[Sent], client: FlaskClient, query: str, status: int) -> None:
    later = (now() + DAY).strftime("%a, %d %b %Y %H:%M:%S GMT")
    for header in ({"If-Modified-Since": later}, {"If-None-Match": "*"}):
        assert client.get(f"{PUBLIC_PATH}?start=2025-01&{query}", headers=header).status_code == status


def test_recreated_database_has_other_etags(service_uri: str, store: Store) -> None:
    client = create_app(Config(service_uri)).test_client()
    marks = set()
    for size in (1, 999):
        node, _ = make_node(store, "A")
        store.dataselect.ingest(node, payload(row(bytes=size)))
        marks.add(client.get(f"{PUBLIC_PATH}?start=2025-01").headers["ETag"])
        store.registry.remove_node("A")
    assert len(marks) == 2


def test_if_modified_since_misses_no_change(sent: list[Sent], client: FlaskClient, store: Store) -> None:
    path = f"{PUBLIC_PATH}?start=2025-01"
    just_now = client.get(path).headers["Last-Modified"]
    store.registry.set_node_group("A", None)
    assert client.get(path, headers={"If-Modified-Since": just_now}).status_code == 200
    later = (now() + DAY).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert client.get(path, headers={"If-Modified-Since": later}).status_code == 304


# Query plans


@pytest.mark.parametrize("level", [None, "node", "network"])
@pytest.mark.parametrize("details", DETAILS)
def test_public_queries_read_only_roll_ups(database_uri: str, level: str | None, details: tuple[str, ...]) -> None:
    store = open_store(database_uri)
    question = StatisticsQuery(**PERIOD, level=level, details=frozenset(details))
    sql, parameters = store.statistics.prepare(question, PUBLIC, sketches=False)
    with store.database.transaction() as connection, connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    store.close()
    assert "dataselect_stats_by_" in plan
    assert "on dataselect_stats " not in plan


def test_parquet_without_its_package_is_501(
    client: FlaskClient, sent: list[Sent], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    query = f"{PUBLIC_PATH}?start=2025-01&format"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        # More than may run at once: each frees its slot.
        for _ in range(6):
            missing = client.get(f"{query}=parquet")
            assert (missing.status_code, missing.mimetype) == (501, "application/problem+json")
            assert missing.get_json()["type"] == "urn:eida-statistics:problem:parquet-missing"
            assert "pip install '.[webservice,parquet]'" in missing.get_json()["detail"]
        assert client.get(f"{query}=json").status_code == 200
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert client.get(f"{query}=parquet").status_code == 200
