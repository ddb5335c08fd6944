"""Clients that keep sending bad tokens are rate-limited, and nobody else."""

import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support.dates import DAY
from support.payloads import row, wire
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store

# Only tokens and policies come from the store.
pytestmark = ON_ONE_STORE

FAILURES = 5


@pytest.fixture
def token(store: Store) -> str:
    now = datetime.datetime.now(tz=datetime.UTC)
    store.registry.add_node("GFZ", "operator@gfz.example")
    return store.registry.add_token("GFZ", now - DAY, now + DAY)[1]


@pytest.fixture
def service_settings() -> dict[str, Any]:
    return {"max_failures_per_minute": FAILURES}


def post(client: FlaskClient, token: str, *, forwarded: str = "", address: str = "192.0.2.1") -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} | ({"X-Forwarded-For": forwarded} if forwarded else {})
    return client.post(
        f"{PREFIX}/submit", json=wire(row()), headers=headers, environ_overrides={"REMOTE_ADDR": address}
    )


def test_address_waits_after_too_many_failures(client: FlaskClient, token: str) -> None:
    assert [post(client, f"bad{number}").status_code for number in range(FAILURES)] == [403] * FAILURES
    waiting = post(client, "bad")
    assert (waiting.status_code, waiting.get_json()["type"].rpartition(":")[2]) == (429, "too-many-failures")
    assert 0 < int(waiting.headers["Retry-After"]) <= 60
    assert waiting.headers["X-Request-ID"]
    # Other addresses are not affected, nor is a good token from the same address.
    assert post(client, "bad", address="192.0.2.2").status_code == 403
    assert post(client, token).status_code == 201


def test_all_endpoints_share_one_limit(client: FlaskClient) -> None:
    for _ in range(FAILURES):
        post(client, "bad")
    headers = {"Authorization": "Bearer bad"}
    listed = client.get(f"{PREFIX}/payloads", headers=headers, environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert listed.status_code == 429


def test_ipv6_network_counts_as_one_address(client: FlaskClient) -> None:
    answers = [post(client, "bad", address=f"2001:db8:1:2::{number:x}").status_code for number in range(20)]
    assert answers == [403] * FAILURES + [429] * (20 - FAILURES)
    assert post(client, "bad", address="2001:db8:1:3::1").status_code == 403
    assert post(client, "bad", forwarded="no address at all", address="127.0.0.1").status_code == 403


def test_success_does_not_count(client: FlaskClient, token: str) -> None:
    for _ in range(3 * FAILURES):
        assert post(client, token).status_code in {201, 409}
    assert post(client, "bad").status_code == 403


def test_limit_uses_the_address_from_the_proxy(client: FlaskClient, token: str) -> None:
    for _ in range(FAILURES + 1):
        refused = post(client, "bad", forwarded="198.51.100.1", address="127.0.0.1")
    assert refused.status_code == 429
    assert post(client, "bad", forwarded="198.51.100.2", address="127.0.0.1").status_code == 403
    # The nearest proxy has appended the last address.
    assert post(client, "bad", forwarded="203.0.113.7, 198.51.100.1", address="127.0.0.1").status_code == 429


@pytest.mark.parametrize("near", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "172.18.0.1", "fd00::1", ""])
def test_nearby_proxy_is_trusted(client: FlaskClient, token: str, near: str) -> None:
    for _ in range(FAILURES + 1):
        assert post(client, "bad", forwarded="198.51.100.1", address=near).status_code in {403, 429}
    assert post(client, "bad", forwarded="198.51.100.2", address=near).status_code == 403


@pytest.mark.parametrize("afar", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "172.32.0.1"])
def test_distant_client_cannot_forge_its_address(client: FlaskClient, token: str, afar: str) -> None:
    answers = [post(client, "bad", forwarded=f"198.51.100.{number}", address=afar) for number in range(FAILURES)]
    assert {answer.status_code for answer in answers} == {403}
    assert post(client, "bad", forwarded="198.51.100.99", address=afar).status_code == 429
    # Nor does that count against the forged address.
    assert post(client, "bad", address="198.51.100.1").status_code == 403


def test_public_queries_are_not_limited(client: FlaskClient, store: Store, token: str) -> None:
    post(client, token)
    store.registry.set_network_policy("GFZ", "GE", inverted=True)
    for _ in range(3 * FAILURES):
        assert client.get(f"{PREFIX}/dataselect/public?start=2026-10&network=GE").status_code == 401
    for _ in range(FAILURES + 1):
        waiting = client.post(
            f"{PREFIX}/dataselect/restricted?start=2026-10", headers={"Authorization": "Bearer x"}
        )
    assert (waiting.status_code, waiting.text[:7]) == (429, "# type:")
    assert client.get(f"{PREFIX}/dataselect/public?start=2026-10").status_code == 200


def test_limit_can_be_disabled(service_uri: str) -> None:
    client = create_app(Config(service_uri, max_failures_per_minute=0)).test_client()
    assert {post(client, "bad").status_code for _ in range(50)} == {403}
