"""GET connections/now: present counts, and how far they can be relied on."""

import csv
import datetime
import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_statistics.connections import Alive, CloseAfter
from eida_statistics.errors import PROBLEM_PREFIX
from support.node_client import make_node
from support.sensors import BEGIN, add_doors, add_recount, at, connect, disconnect, pass_door, send
from support.service import PREFIX
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store

HOUSE: dict[str, str | None] = {"House": None, "A": "House", "B": "House"}
DOORS = {"front": [("A", 1)], "between": [("A", 1), ("B", -1)]}


@pytest.fixture
def token(store: Store) -> str:
    return make_node(store, "GFZ")[1]


def get(client: FlaskClient, token: str | None = None, **parameters: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.get(f"{PREFIX}/connections/now", query_string=parameters, headers=headers)


def read(client: FlaskClient, token: str | None = None, **parameters: str) -> dict[str, dict[str, Any]]:
    response = get(client, token, format="json", **parameters)
    assert response.status_code == 200, response.text
    return {row["space"]: row for row in json.loads(response.data)["results"]}


def make_silent(store: Store, sensor: str) -> None:
    """Let the follower of a ringserver be silent for three minutes."""
    heard = datetime.datetime.now(tz=datetime.UTC) - datetime.timedelta(minutes=3)
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(
            f"UPDATE sensor_states SET heard_at = '{heard.isoformat(timespec='microseconds')}'"
            f" WHERE sensor_id = (SELECT id FROM sensors WHERE name = '{sensor}')"
        )


def test_nodes_are_public_and_ringservers_are_not(client: FlaskClient, store: Store, token: str) -> None:
    other = make_node(store, "ODC")[1]
    send(client, token, connect(1, BEGIN), connect(2, at(seconds=5)), disconnect(1, BEGIN, at(minutes=1)))
    send(client, other, connect(3, BEGIN))
    public = read(client)
    assert {name: row["count"] for name, row in public.items()} == {"federation": 2, "GFZ": 1, "ODC": 1}
    assert public["GFZ"]["changed"] == "2026-11-22T02:01:00Z"
    assert read(client, token).keys() == {"federation", "GFZ", "GFZ/ring", "ODC"}
    assert read(client, token, space="gfz/RING")["GFZ/ring"]["count"] == 1
    # Without the token, it is answered like one that does not exist.
    hidden, unknown = get(client, space="GFZ/ring"), get(client, space="GFZ/none")
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace("GFZ/ring", "GFZ/none") == unknown.text


def test_silent_ringserver_is_stale(client: FlaskClient, store: Store, token: str) -> None:
    send(client, token, Alive("one"), Alive("two"), connect(1, BEGIN, instance="one"))
    fresh = read(client)["GFZ"]
    assert (fresh["count"], fresh["stale"], fresh["complete"]) == (1, False, True)
    make_silent(store, "GFZ/one")
    rows = read(client, token)
    assert [(rows[name]["stale"], rows[name]["complete"]) for name in ("GFZ/one", "GFZ/two", "GFZ")] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert rows["GFZ"]["count"] == 1
    assert rows["GFZ"]["as_of"] == rows["GFZ/one"]["as_of"] < rows["GFZ/two"]["as_of"]
    make_silent(store, "GFZ/two")
    assert read(client)["federation"]["stale"]


def test_unconfirmed_sessions_are_counted(client: FlaskClient, token: str) -> None:
    send(client, token, connect(1, BEGIN), connect(2, BEGIN), CloseAfter("ring", BEGIN, 86400 * 3660))
    assert read(client)["GFZ"]["unconfirmed"] == 2
    send(client, token, CloseAfter("ring", at(hours=1), None))
    assert read(client)["GFZ"]["unconfirmed"] == 0


def test_doors_have_anomalies_and_recounts(client: FlaskClient, store: Store, token: str) -> None:
    add_doors(store, "GFZ", HOUSE, DOORS, capacity=4)
    assert [row["count"] for row in read(client).values()] == [None] * 4
    send(client, token, pass_door("front", BEGIN), pass_door("between", at(seconds=1), -1))
    rows = read(client)
    assert [rows[name]["count"] for name in HOUSE] == [1, 0, 1]
    send(client, token, pass_door("front", at(seconds=2), -1))
    rows = read(client)
    assert [(rows[name]["count"], rows[name]["anomaly"]) for name in HOUSE] == [
        (0, None),
        (0, "negative"),
        (1, None),
    ]
    add_recount(store, "A", at(minutes=1), 3)
    rows = read(client)
    assert [(rows[name]["count"], rows[name]["anomaly"]) for name in HOUSE] == [(4, None), (3, None), (1, None)]
    assert [rows[name]["utilisation"] for name in HOUSE] == [1.0, 0.75, 0.25]
    times = {name: rows[name]["changed"].partition("T")[2] for name in HOUSE}
    assert times == {"House": "02:01:00Z", "A": "02:01:00Z", "B": "02:00:01Z"}


@ON_ONE_STORE
def test_formats_are_those_of_statistics(client: FlaskClient, token: str) -> None:
    send(client, token, connect(1, BEGIN))
    lines = get(client, space="GFZ").text.splitlines()
    assert lines[:2] == ["# version: 1.0.0", "# request_parameters: space=GFZ"]
    [row] = csv.DictReader(io.StringIO(get(client, space="GFZ", header="plain").text))
    assert (row["count"], row["stale"], row["capacity"]) == ("1", "false", "")
    header, line = get(client, space="GFZ", format="text").text.splitlines()
    assert header.startswith("#space|count|capacity|")
    assert line.startswith("GFZ|1||")
    assert get(client, format="parquet").status_code == 400


@ON_ONE_STORE
def test_etag_changes_with_the_count(client: FlaskClient, token: str) -> None:
    send(client, token, connect(1, BEGIN))
    first = get(client, format="json")
    assert first.headers["Cache-Control"] == "public, max-age=2"
    assert {"Authorization", "Authentication"} <= set(first.vary)
    send(client, token, Alive("ring"))
    known = {"If-None-Match": first.headers["ETag"]}
    path = f"{PREFIX}/connections/now?format=json"
    again = client.get(path, headers=known)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Cache-Control"] == "public, max-age=2"
    send(client, token, connect(2, BEGIN))
    assert client.get(path, headers=known).status_code == 200


@ON_ONE_STORE
@pytest.mark.parametrize("header", ["Authorization", "Authentication"])
def test_answers_to_tokens_are_not_stored(client: FlaskClient, token: str, header: str) -> None:
    response = client.get(f"{PREFIX}/connections/now", headers={header: f"Bearer {token}"})
    assert response.headers["Cache-Control"] == "private, no-store"
    refused = client.get(f"{PREFIX}/connections/now", headers={header: "Bearer wrong"})
    assert refused.status_code == 403
    assert "public" not in refused.headers["Cache-Control"]


class TestSmallCounts:
    @pytest.fixture
    def service_settings(self) -> dict[str, Any]:
        return {"min_clients": 3}

    def test_small_counts_of_clients_are_suppressed(self, client: FlaskClient, store: Store, token: str) -> None:
        add_doors(store, "GFZ", HOUSE, DOORS)
        send(client, token, connect(1, BEGIN), connect(2, BEGIN), pass_door("front", BEGIN))
        row = read(client)["GFZ"]
        assert (row["count"], row["changed"], row["unconfirmed"], row["suppressed"]) == (None, None, None, True)
        assert read(client)["House"]["count"] == 1
        own = read(client, token)
        assert (own["GFZ"]["count"], own["GFZ"]["suppressed"]) == (2, False)
        # The federation does not belong to the node.
        assert own["federation"]["count"] is None
        send(client, token, connect(3, BEGIN))
        assert (read(client)["GFZ"]["count"], read(client)["GFZ"]["suppressed"]) == (3, False)


@ON_ONE_STORE
@pytest.mark.parametrize(
    "parameters",
    [{"space": "A", "spaces": "B"}, {"format": "xml"}, {"nodata": "200"}, {"header": "none"}],
)
def test_bad_parameter_is_named(client: FlaskClient, parameters: dict[str, str]) -> None:
    response = get(client, **parameters)
    assert response.status_code == 400
    assert f"{PROBLEM_PREFIX}bad-parameter" in response.text
    assert list(parameters)[-1] in response.text


@ON_POSTGRESQL
@pytest.mark.parametrize("function", ["spaces_count_present('room 7')", "spaces_find_present(7)"])
def test_present_count_reads_only_its_own_sums(store: Store, function: str) -> None:
    with store.database.transaction(write=True) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO nodes (name, contact) VALUES ('N', '')")
        cursor.execute(
            "INSERT INTO spaces (id, name, node_id) OVERRIDING SYSTEM VALUE"
            " SELECT n, 'room ' || n, 1 FROM generate_series(2, 30) n"
        )
        cursor.execute(
            "INSERT INTO space_days (space_id, day, entries, exits) SELECT id, day, 2, 1 FROM spaces,"
            " generate_series('2026-01-01'::timestamp, '2026-12-31', '1 day') day WHERE node_id = 1;"
            "INSERT INTO space_hours (space_id, hour, entries, exits, stale)"
            " SELECT space_id, day, entries, exits, false FROM space_days;"
            "ANALYZE space_days; ANALYZE space_hours"
        )
        read = (
            "SELECT relname, seq_scan, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
            " WHERE relname IN ('space_days', 'space_hours')"
        )
        cursor.execute(read)
        before = {name: (scans, rows) for name, scans, rows in cursor}
        cursor.execute(f"SELECT net FROM {function}")
        assert cursor.fetchall() == [(365,)]
        cursor.execute(read)
        after = {name: (scans, rows) for name, scans, rows in cursor}
    assert all(after[name][0] == scans for name, (scans, _) in before.items())
    assert after["space_days"][1] - before["space_days"][1] <= 365
    assert after["space_hours"][1] - before["space_hours"][1] <= 1
