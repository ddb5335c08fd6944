"""Availability without the shards whose server does not answer."""

import json

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.archive.storage import VIEWS
from support.stores import ON_POSTGRESQL, Store
from support.timelines import AVAILABILITY, Piece, add_shard, read_error

pytestmark = ON_POSTGRESQL


@pytest.fixture(autouse=True)
def _add_shards(store: Store) -> None:
    """Create a shard, and one of NOA whose server refuses connections."""
    piece = Piece("GE.APE..BHZ", "2024-01-01T00:00:00", "2024-02-01T00:00:00")
    add_shard(store, "GFZ", "gfz", piece)
    add_shard(store, "NOA", "noa", piece)
    columns = ", ".join(f"{name} {kind}" for name, kind in VIEWS["timeline"].items())
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(
            "CREATE EXTENSION postgres_fdw;"
            "CREATE SERVER dead FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');"
            "CREATE USER MAPPING FOR CURRENT_USER SERVER dead OPTIONS (user 'reader', password 'none');"
            "ALTER TABLE noa.timeline RENAME TO before;"
            f"CREATE FOREIGN TABLE noa.timeline ({columns}) SERVER dead;"
            "UPDATE shards SET foreign_server = 'dead' WHERE sh_code = 'noa'"
        )
        store.shards.storage.replace_views(connection, ["gfz", "noa"])


def test_unavailable_shard_is_named(client: FlaskClient) -> None:
    response = client.get(f"{AVAILABILITY}/query?net=GE")
    assert response.status_code == 503
    detail = read_error(response.text)["detail"]
    assert "shard noa of node NOA" in detail
    assert "partial=true" in detail


def test_other_shards_answer(client: FlaskClient) -> None:
    for response in (
        client.get(f"{AVAILABILITY}/query?net=GE&partial=true&format=json"),
        client.post(f"{AVAILABILITY}/query", data="partial=true\nformat=json\nGE * * *"),
    ):
        assert (response.status_code, response.headers["X-Incomplete"]) == (200, "noa")
        assert "ETag" not in response.headers
        document = json.loads(response.text)
        assert document["incomplete"] == ["noa"]
        assert [source["network"] for source in document["datasources"]] == ["GE"]
    # The header is there for the other formats, and without rows.
    for parameters, status in (("net=GE", 200), ("net=QQ", 204)):
        response = client.get(f"{AVAILABILITY}/query?{parameters}&partial=true")
        assert (response.status_code, response.headers["X-Incomplete"]) == (status, "noa")
