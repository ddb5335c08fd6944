"""POST connections: records of followers are stored once, or refused completely."""

import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_statistics.connections import Alive, Connect, Snapshot, encode_records
from eida_statistics.errors import PROBLEM_PREFIX
from eida_stats_webservice.connections.record_routes import MAX_BYTES
from support.node_client import make_node
from support.sensors import BEGIN, at, connect, disconnect, post, send
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store

SESSION = [connect(1, BEGIN), disconnect(1, BEGIN, at(minutes=1))]


@pytest.fixture
def token(store: Store) -> str:
    return make_node(store, "GFZ")[1]


def test_records_are_stored_once(client: FlaskClient, token: str) -> None:
    assert send(client, token, Alive("ring"), *SESSION) == 2
    assert send(client, token, *SESSION, connect(2, at(minutes=2))) == 1
    assert send(client, token) == 0
    found = client.get(f"{PREFIX}/count", query_string={"space": "gfz"})
    assert found.json == {"status": "ok", "count": 1}


@ON_ONE_STORE
@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-ndjson", "text/plain", "application/octet-stream", ""]
)
def test_type_and_compression_do_not_matter(client: FlaskClient, token: str, content_type: str) -> None:
    body = encode_records(SESSION)
    for sent, headers in [
        (body, {}),
        (gzip.compress(body), {"Content_Encoding": "gzip"}),
        (gzip.compress(body), {}),
    ]:
        assert post(client, token, sent, Content_Type=content_type, **headers).status_code == 200


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"event":"alive","instance":"ring"}\n{"event":"alive"}', "line 2: instance"),
        (b'\n{"event":"alive","instance":"ring"}\n{"event"', "line 3: not JSON"),
        (b'{"event":"leave"}', "line 1: event: not one of"),
        (b'{"event":"alive","instance":"a b"}', "line 1: instance: not up to 64 letters"),
        (
            b'{"event":"count","sensor":"a\\tb","time":"2026-11-22T02:03:33Z","direction":1}',
            "line 1: sensor: not a",
        ),
        (b"\xff", "line 1: not JSON"),
        (b"1", "line 1: event"),
    ],
)
def test_bad_line_is_named(client: FlaskClient, token: str, body: bytes, detail: str) -> None:
    response = post(client, token, body)
    assert response.status_code == 400
    problem = json.loads(response.data)
    assert problem["type"] == f"{PROBLEM_PREFIX}invalid-records"
    assert problem["detail"].startswith(detail)


def test_conflict_stores_nothing(client: FlaskClient, token: str) -> None:
    send(client, token, *SESSION)
    other = Connect("ring", SESSION[0].source, SESSION[0].position, at(hours=1), "f" * 16, 18000)
    response = post(client, token, [connect(2, at(hours=2)), other])
    assert response.status_code == 409
    assert json.loads(response.data)["type"] == f"{PROBLEM_PREFIX}conflicting-event"
    assert client.get(f"{PREFIX}/count", query_string={"space": "gfz"}).json == {"status": "ok", "count": 0}


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("change", "status", "problem"),
    [
        ({"token": None}, 401, "missing-token"),
        ({"token": "wrong"}, 403, "refused-token"),
        ({"body": b"x", "Content_Type": "image/png"}, 415, "unsupported-media-type"),
        ({"Content_Encoding": "br"}, 415, "unsupported-media-type"),
        ({"body": b" " * (MAX_BYTES + 1)}, 413, "too-large"),
        ({"body": b'{"event":"alive","instance":"ring"}\n' * 10_001}, 400, "invalid-records"),
        ({"body": encode_records([connect(1, at(days=365 * 100))])}, 400, "unusable-time"),
        ({"body": encode_records([Snapshot("ring", BEGIN)])}, 409, "snapshot-unknown"),
    ],
)
def test_refusals_have_problem_details(
    client: FlaskClient, token: str, change: dict[str, Any], status: int, problem: str
) -> None:
    arguments = {"token": token, "body": encode_records(SESSION), **change}
    response = post(client, arguments.pop("token"), arguments.pop("body"), **arguments)
    assert response.status_code == status, response.text
    assert json.loads(response.data)["type"] == f"{PROBLEM_PREFIX}{problem}"


@ON_ONE_STORE
def test_parameters_are_refused(client: FlaskClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert client.post(f"{PREFIX}/connections?space=A", headers=headers).status_code == 400
