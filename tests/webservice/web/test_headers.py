"""Headers of every answer, and the access log."""

import datetime
import json
import re
import socket
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support.payloads import row, wire
from support.service import PREFIX, Service, register_nodes
from support.stores import ON_ONE_STORE

REQUEST_ID = "X-Request-ID"
PATHS = ["dataselect/public?start=2026-01", "nodes", "version", "openapi.yaml", "explorer/", "nothing", "submit"]


@ON_ONE_STORE
@pytest.mark.parametrize("path", PATHS)
def test_answers_have_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(f"{PREFIX}/{path}").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not any(character.isdigit() for character in headers.get("Server", ""))


@ON_ONE_STORE
def test_answers_to_tokens_are_not_cached(client: FlaskClient) -> None:
    for name in ("Authorization", "Authentication"):
        answer = client.get(f"{PREFIX}/payloads", headers={name: "Bearer x"})
        assert answer.headers["Cache-Control"] == "no-store"
    assert client.post(f"{PREFIX}/dataselect/restricted").headers["Cache-Control"] == "no-store"
    assert client.get(f"{PREFIX}/dataselect/public?start=2026-01").headers["Cache-Control"] == "no-cache"


@ON_ONE_STORE
def test_proxy_may_set_the_request_id(client: FlaskClient) -> None:
    first, second = (client.get(f"{PREFIX}/{path}").headers["X-Request-ID"] for path in ("nodes", "nothing"))
    assert first != second
    assert uuid.UUID(first).version == 4
    given = "0123456789abcdef"
    assert client.get(f"{PREFIX}/nodes", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given
    for bad in ("x", "a b c d e f g h", "a" * 65, 'a"bcdefgh'):
        assert client.get(f"{PREFIX}/nodes", headers={"X-Request-ID": bad}).headers["X-Request-ID"] != bad


@ON_ONE_STORE
def test_log_has_requests_but_no_secrets(store_uri: str, service_uri: str, tmp_path: Path) -> None:
    (token,) = register_nodes(store_uri, "GFZ")
    with Service(service_uri, tmp_path, workers=1, threads=1) as service:
        numbers = [
            requests.request(method, f"{service.url}/{path}", headers=headers, **sent).headers[REQUEST_ID]
            for method, path, headers, sent in (
                ("GET", "dataselect/public?start=2026-01", {"User-Agent": "somebody@example.org"}, {}),
                ("GET", f"dataselect/public?start=2026-01&token={token}", {}, {}),
                ("GET", f"version?token={token}", {}, {}),
                ("POST", "submit", {"Authorization": f"Bearer {token}"}, {"json": wire(row())}),
                ("POST", "submit", {"Authorization": f"Bearer {token[:-1]}"}, {"json": wire(row())}),
                ("GET", 'dataselect/%22%5C%0A{"x":1}', {}, {}),
                ("GET", f"payloads/{token}", {}, {}),
                ("GET", "submit", {}, {}),
            )
        ]  # fmt: skip
        assert service.get("nodes").headers["Server"] == "gunicorn"
    # A request is logged after its answer.
    log = service.log
    lines = {line["request"]: line for line in map(json.loads, re.findall(r"^\{.*\}$", log, re.MULTILINE))}
    logged = [lines[number] for number in numbers]
    assert [line["status"] for line in logged] == [200, 400, 200, 201, 403, 404, 404, 405]
    assert [line["query"] for line in logged] == ["start=2026-01", *[None] * 7]
    # Unknown paths may contain anything.
    submit = f"{PREFIX}/submit"
    assert [line["path"] for line in logged[3:]] == [submit, submit, None, None, submit]
    for line in logged:
        datetime.datetime.fromisoformat(line["time"])
        assert line["ms"] >= 0
        assert line["bytes"] > 0
    assert token[:-1] not in log
    assert "example.org" not in log
    assert "127.0.0.1" not in log.partition("Booting")[2]


def test_fault_names_its_request_id(tmp_path: Path) -> None:
    (tmp_path / "statistics.db").write_text("This is no database." * 100)
    client = create_app(Config(f"sqlite:///{tmp_path / 'statistics.db'}")).test_client()
    response = client.get(f"{PREFIX}/nodes")
    assert response.status_code == 503
    assert response.headers["X-Request-ID"] in response.get_json()["detail"]


@ON_ONE_STORE
def test_headers_do_not_decide_the_path(service_uri: str, tmp_path: Path) -> None:
    """Not even from a proxy on this machine, which gunicorn trusts."""
    with Service(service_uri, tmp_path, workers=1, threads=1) as service:
        for name in ("SCRIPT_NAME", "Script-Name", "PATH_INFO", "X-Forwarded-Prefix", "X-Forwarded-Host"):
            for value in ("/elsewhere", "/eidaws", "//", "x"):
                answer = requests.get(f"{service.url}/version", headers={name: value}, timeout=30)
                assert answer.status_code == 200, (name, value)


@ON_ONE_STORE
def test_request_without_a_host_is_refused(service_uri: str, tmp_path: Path) -> None:
    with Service(service_uri, tmp_path, workers=1, threads=1) as service:
        address = urlsplit(service.url)
        for protocol, status in (("HTTP/1.1", b"400"), ("HTTP/1.0", b"200")):
            with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
                connection.sendall(f"GET {PREFIX}/version {protocol}\r\nConnection: close\r\n\r\n".encode())
                answer = connection.makefile("rb").read()
            assert answer.split()[1] == status, answer
