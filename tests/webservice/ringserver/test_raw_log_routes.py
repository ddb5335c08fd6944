"""Raw logs over HTTP: at the central service, and at the web application `ringserverstats`."""

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice import raw_log_app
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support.node_client import make_node
from support.raw_logs import list_secrets
from support.ringserver_days import list_differences, make_day, read_tables
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store
from support.transfer_logs import Log, Stream

SALT = "salt"
STREAM = Stream("FDSN:GE_EIL__B_H_Z/MSEED")
LOG = Log(streams=(STREAM,)).text()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def make_app(uri: str, raw_logs: Any = "loopback", **more: Any) -> FlaskClient:
    config = Config(uri, raw_logs=raw_logs, ringserver_user_salt=SALT, max_payload_bytes=20000, **more)
    return raw_log_app.create_app(config).test_client()


@pytest.fixture
def service_settings() -> dict[str, Any]:
    return {"raw_logs": "token", "ringserver_user_salt": SALT, "max_payload_bytes": 20000}


def test_central_service_takes_logs_and_payloads(store: Store, client: FlaskClient) -> None:
    _, token = make_node(store, "GFZ")
    headers = {"Authorization": f"Bearer {token}"} | FORM

    def send(body: bytes, query: str = "", method: str = "POST") -> Any:
        return client.open(f"{PREFIX}/ringserver{query}", method=method, data=body, headers=headers)

    first = send(LOG)
    assert first.status_code == 201
    assert {name: first.json[name] for name in ("node", "records", "streams", "bytes", "rejected")} == {
        "node": "GFZ",
        "records": 1,
        "streams": 1,
        "bytes": 1024,
        "rejected": {"number": 0, "first": []},
    }
    assert first.headers["Token-Valid-Until"]
    for body in (gzip.compress(LOG), bz2.compress(LOG + LOG[:50])):
        again = send(body)
        assert (again.status_code, again.json["duplicates"], again.json["payloads"]) == (200, 1, [])
    payload = make_day([Log(streams=(STREAM,))], "rs-b").to_json()
    assert send(payload, "?overlap=accept").json["source"] == "rs-b"
    assert send(make_day([Log()]).to_json()).status_code == 409
    mixed = send(LOG, "?server=rs-b")
    assert (mixed.status_code, mixed.json["type"].rpartition(":")[2]) == (409, "mixed-delivery")
    lines = Log(streams=(STREAM,), address="192.0.2.99").json()
    assert send(lines, "?since=2026-11-22&until=2026-11-22", "PUT").json["payloads"][0]["supersedes"] == 1
    for query, method in (("", "PUT"), ("?since=2026-11-22&until=2026-11-21", "PUT"), ("?overlap=accept", "POST")):
        assert send(LOG, query, method).status_code == 400
    assert send(payload, "?server=a").status_code == 400
    bombed = send(bz2.compress(LOG * 1000))
    assert (bombed.status_code, bombed.json["type"].rpartition(":")[2]) == (413, "too-large")
    for body in (b"<html>\n", b'{"a": 1}', b"\x28\xb5\x2f\xfd", LOG[10:]):
        refused = send(body)
        assert refused.status_code in (200, 422)
        assert [one for one in list_secrets([LOG]) if one in refused.data] == []
    assert client.post(f"{PREFIX}/ringserver", data=LOG).status_code == 401
    assert len(read_tables(store, "GFZ")) > 0
    assert list_differences(store) == []


def test_web_application_takes_logs_at_the_root(store: Store, store_uri: str) -> None:
    client = make_app(store_uri)
    first = client.post("/?server=rs-a", data=LOG, headers=FORM)
    assert (first.status_code, first.json and first.json["node"]) == (201, "local")
    again = client.post("/?server=rs-a", data=LOG, content_type="application/json")
    assert (again.status_code, json.loads(again.data)["duplicates"]) == (200, 1)
    _, token = make_node(store, "GFZ")
    with_token = client.post("/", data=LOG, headers={"Authorization": f"Bearer {token}"})
    assert (with_token.status_code, with_token.json and with_token.json["node"]) == (201, "GFZ")
    assert read_tables(store, "local") == read_tables(store, "GFZ")
    assert list_differences(store) == []


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("raw_logs", "address", "headers", "status"),
    [
        ("loopback", "127.0.0.1", {}, 201),
        ("loopback", "::1", {}, 201),
        ("loopback", "192.0.2.1", {}, 401),
        ("loopback", "", {}, 401),
        ("loopback", "127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, 401),
        ("loopback", "127.0.0.1", {"Forwarded": "for=192.0.2.1"}, 401),
        ("loopback", "127.0.0.1", {"Origin": "https://example.org"}, 401),
        ("any", "192.0.2.1", {"X-Forwarded-For": "192.0.2.1"}, 201),
        ("token", "127.0.0.1", {}, 401),
        ("any", "192.0.2.1", {"Authorization": "Bearer none"}, 403),
    ],
)
def test_trusted_addresses_need_no_token(
    store: Store, store_uri: str, raw_logs: str, address: str, headers: dict[str, str], status: int
) -> None:
    client = make_app(store_uri, raw_logs)
    answer = client.post("/", data=LOG, headers=headers, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == status


@ON_ONE_STORE
def test_missing_registry_is_named(store: Store, store_uri: str, tmp_path: Path) -> None:
    registry = tmp_path / "networks.json"
    client = make_app(store_uri, networks_file=str(registry))
    temporary = Log(streams=(STREAM, Stream("FDSN:XA_A__H_H_Z/MSEED"))).text()
    for content in (None, "{}"):
        if content is not None:
            registry.write_text(content)
        answer = client.post("/", data=temporary)
        assert (answer.status_code, answer.json and answer.json["type"].rpartition(":")[2]) == (503, "no-registry")
        assert "NETWORKS_FILE" in answer.text
        assert str(tmp_path) not in answer.text
    assert client.post("/", data=LOG).status_code == 201


@ON_ONE_STORE
def test_settings_are_checked(store: Store, store_uri: str) -> None:
    with pytest.raises(ConfigurationError, match="RAW_LOGS"):
        make_app(store_uri, "off")
    with pytest.raises(ConfigurationError, match="RAW_LOGS"):
        create_app(Config(store_uri, raw_logs="any"))
    with pytest.raises(ConfigurationError, match="RINGSERVER_TIMEZONE"):
        make_app(store_uri, ringserver_timezone="Mars/Olympus")
    record = Log(streams=(STREAM,), direction="RX").text()
    for takes_rx, expected in ((False, 1), (True, 0)):
        answer = make_app(store_uri, ringserver_rx=takes_rx).post("/", data=record)
        assert answer.json is not None
        assert answer.json["ignored"] == expected
    assert make_app(store_uri).get("/").status_code == 405
