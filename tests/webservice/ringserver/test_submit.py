"""POST and PUT ringserver: payloads of ringservers over HTTP."""

import bz2
import datetime
import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_statistics.ringserver.payload import DayPayload
from support.node_client import Client, make_node
from support.ringserver_days import add_up, collect, list_differences, make_day, read_tables
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store
from support.tables import select
from support.transfer_logs import REAL_TEXT, Log, Stream, read_files

DAY = datetime.date(2026, 11, 22)


def to_document(payload: DayPayload) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(payload.to_json())
    return document


@pytest.mark.skipif(not REAL_TEXT.exists(), reason="the real logs are not here")
def test_real_day_grows_and_shrinks(store: Store, client: FlaskClient) -> None:
    _, token = make_node(store, "GFZ")
    operator = Client(client, token)
    files = list(read_files(REAL_TEXT).values())
    whole, part = collect(files)[DAY], collect(files[:4])[DAY]
    beside = collect(files[:2], "rs-b")[DAY]

    first = operator.send("POST", "ringserver", to_document(part))
    assert first.status_code == 201
    receipt = first.get_json()
    assert (receipt["node"], receipt["days"], receipt["period"]) == ("GFZ", 1, {"start": str(DAY), "end": str(DAY)})
    assert first.headers["Token-Valid-Until"]
    again = operator.send("POST", "ringserver", to_document(part))
    assert (again.status_code, again.get_json()["type"].rsplit(":", 1)[1]) == (409, "duplicate")
    grown = operator.send("POST", "ringserver", to_document(whole))
    assert (grown.status_code, grown.get_json()["type"].rsplit(":", 1)[1]) == (409, "overlapping-payload")
    assert operator.send("POST", "ringserver?overlap=accept", to_document(beside)).status_code == 201
    corrected = operator.send("PUT", f"ringserver?replaces={receipt['payload']}", to_document(whole))
    assert (corrected.status_code, corrected.get_json()["supersedes"]) == (201, [receipt["payload"]])
    assert operator.send("PUT", "ringserver?overlap=accept", to_document(whole)).status_code == 200
    assert read_tables(store, "GFZ") == add_up([whole, beside])
    sums = "SELECT direction, sum(bytes), sum(packets) FROM {} GROUP BY direction ORDER BY direction"
    operator.send("DELETE", "payloads/2")
    for table in ("stats", "by_day", "by_hour", "by_place"):
        found = [tuple(row) for row in select(store, sums.format(f"ringserver_{table}"))]
        assert found == [("RX", 1609856, 3979), ("TX", 4179995, 8726)]
    assert list_differences(store) == []
    assert operator.send("PUT", "ringserver", to_document(part)).status_code == 201
    assert read_tables(store, "GFZ") == add_up([part])
    listed = operator.send("GET", "payloads?kind=ringserver").get_json()["payloads"]
    assert [one["state"] for one in listed] == ["in force", "retracted", "superseded"]
    for one in listed:
        operator.send("DELETE", f"payloads/{one['payload']}")
    assert (read_tables(store, "GFZ"), list_differences(store)) == ({}, [])


@ON_ONE_STORE
def test_bad_payload_is_refused_with_its_paths(store: Store, client: FlaskClient) -> None:
    _, token = make_node(store, "GFZ")
    operator = Client(client, token)
    document = to_document(make_day([Log()]))
    document["days"][0]["bytes"] += 1
    refused = operator.send("POST", "ringserver", document)
    assert (refused.status_code, refused.get_json()["type"].rsplit(":", 1)[1]) == (422, "invalid-payload")
    assert {error["path"] for error in refused.get_json()["errors"]} == {"days[0].bytes", "places[0].bytes"}
    # Of the other kind, of more than a day, and of a day to come.
    for path, change in {
        "kind": {"kind": "dataselect"},
        "period": {"period": {"start": "2026-11-21", "end": "2026-11-22"}},
        "period.start": {"period": {"start": "2099-11-22", "end": "2099-11-22"}},
    }.items():
        bad = operator.send("PUT", "ringserver", document | change)
        assert (bad.status_code, bad.get_json()["errors"][0]["path"]) == (422, path)
    assert operator.send("POST", "submit", document).status_code == 422
    assert store.payloads.list_payloads() == []


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (Log().text(), 403, "--send-to"),
        (Log().json() + Log().json(), 403, "--send-to"),
        (b"", 400, "--send-to"),
        (bz2.compress(Log().text()), 403, "--send-to"),
        (gzip.compress(make_day([Log()]).to_json()), 201, "GFZ"),
        (b" " * 30000, 413, "20,000 bytes"),
    ],
)
@pytest.mark.parametrize("service_settings", [{"max_payload_bytes": 20000}])
def test_body_must_be_a_payload(store: Store, client: FlaskClient, body: bytes, status: int, text: str) -> None:
    _, token = make_node(store, "GFZ")
    answer = client.post(
        f"{PREFIX}/ringserver",
        data=body,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    assert (answer.status_code, text in answer.text) == (status, True)
    assert "192.0.2" not in answer.text


@ON_ONE_STORE
def test_node_changes_only_its_own_payloads(store: Store, client: FlaskClient) -> None:
    payload = to_document(make_day([Log()]))
    number = Client(client, make_node(store, "GFZ")[1]).send("POST", "ringserver", payload).get_json()["payload"]
    other = Client(client, make_node(store, "ODC")[1])
    assert other.send("DELETE", f"payloads/{number}").status_code == 404
    grown = to_document(make_day([Log(streams=(Stream(bytes=9999),))]))
    assert other.send("PUT", f"ringserver?replaces={number}", grown).status_code == 404
    assert Client(client, "none").send("POST", "ringserver", payload).status_code == 403
    assert client.post(f"{PREFIX}/ringserver", json=payload).status_code == 401
    assert client.get(f"{PREFIX}/ringserver").status_code == 405
    assert other.send("POST", "ringserver", payload).status_code == 201
    assert read_tables(store, "GFZ") == read_tables(store, "ODC")
