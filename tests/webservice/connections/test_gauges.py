"""GET metrics: connections by node, and the work that waits."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from eida_statistics.connections import Alive
from support.node_client import make_node
from support.sensors import BEGIN, at, connect, disconnect, pass_door, send
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store

TOKEN = "metrics-token"


@pytest.fixture
def service_settings() -> dict[str, Any]:
    return {"metrics_token": TOKEN}


def scrape(client: FlaskClient) -> dict[tuple[str, str | None], float]:
    response = client.get(f"{PREFIX}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200, response.text
    return {
        (sample.name.removeprefix("eida_statistics_connections"), sample.labels.get("node")): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if sample.name.startswith("eida_statistics_connections")
    }


def test_gauges_are_those_of_the_database(client: FlaskClient, store: Store) -> None:
    token, other = make_node(store, "GFZ")[1], make_node(store, "ODC")[1]
    send(client, token, connect(1, BEGIN), connect(2, BEGIN), connect(3, at(hours=1)))
    send(client, token, disconnect(2, BEGIN, at(minutes=1)), pass_door("unknown", BEGIN))
    send(client, other, Alive("ring"))
    found = scrape(client)
    assert found.pop(("_age_seconds", "GFZ")) >= 0
    assert found.pop(("_age_seconds", "ODC")) >= 0
    assert found == {
        ("", "GFZ"): 2,
        ("", "ODC"): 0,
        # Two hours of a node and of its ringserver.
        ("_stale_hours", None): 4,
        ("_unplaced_events", None): 1,
    }


@ON_ONE_STORE
def test_gauges_are_empty_without_sensors(client: FlaskClient) -> None:
    assert scrape(client) == {("_stale_hours", None): 0, ("_unplaced_events", None): 0}
