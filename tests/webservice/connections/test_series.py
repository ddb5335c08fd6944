"""GET connections/series: how a count has changed."""

import datetime
import json
import random
import re
from collections.abc import Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_statistics.connections import Command, Record
from eida_stats_webservice.connections.tables import ConnectionTables
from support.node_client import make_node
from support.sensors import BEGIN, add_doors, add_recount, at, connect, disconnect, make_digits, pass_door, send
from support.service import PREFIX
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store

END = at(hours=4)
MINUTES = {"1m": 1, "5m": 5, "30m": 30, "1h": 60, "2h": 120, "1d": 1440}


@pytest.fixture
def token(store: Store) -> str:
    return make_node(store, "GFZ")[1]


def get(client: FlaskClient, token: str | None = None, **parameters: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.get(f"{PREFIX}/connections/series", query_string=parameters, headers=headers)


def read(client: FlaskClient, interval: str, space: str = "GFZ", **parameters: str) -> list[dict[str, Any]]:
    chosen = {"start": BEGIN.isoformat(), "end": END.isoformat(), **parameters}
    response = get(client, space=space, interval=interval, format="json", **chosen)
    assert response.status_code == 200, response.text
    return list(json.loads(response.data)["results"])


def show(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in ("count", "lowest", "highest", "entries", "exits")) for row in rows]


def make_sessions(seed: int, number: int) -> list[Record]:
    """Return sessions within four hours, some of which stay open."""
    numbers = random.Random(seed)
    records: list[Record] = []
    for one in range(number):
        begun = at(seconds=numbers.randrange(4 * 3600 - 600))
        records.append(connect(one, begun))
        if numbers.random() < 0.9:
            records.append(disconnect(one, begun, begun + datetime.timedelta(seconds=numbers.randrange(600))))
    return records


def check_joined(fine: Sequence[dict[str, Any]], coarse: Sequence[dict[str, Any]]) -> None:
    """Check that intervals add up to longer ones."""
    parts = len(fine) // len(coarse)
    assert parts * len(coarse) == len(fine)
    for number, whole in enumerate(coarse):
        pieces = fine[number * parts : (number + 1) * parts]
        assert whole["lowest"] <= whole["count"] <= whole["highest"]
        assert (whole["start"], whole["end"]) == (pieces[0]["start"], pieces[-1]["end"])
        assert whole["count"] == pieces[-1]["count"]
        assert whole["lowest"] == min(piece["lowest"] for piece in pieces)
        assert whole["highest"] == max(piece["highest"] for piece in pieces)
        for name in ("entries", "exits"):
            assert whole[name] == sum(piece[name] for piece in pieces)


def test_hours_have_counts_and_changes(client: FlaskClient, token: str) -> None:
    send(client, token, connect(0, at(hours=-30)), connect(1, at(minutes=5)))
    send(client, token, disconnect(1, at(minutes=5), at(minutes=6)), connect(2, at(hours=2)))
    rows = read(client, "1h")
    assert show(rows) == [(1, 1, 2, 1, 1), (1, 1, 1, 0, 0), (2, 1, 2, 1, 0), (2, 2, 2, 0, 0)]
    assert (rows[0]["start"], rows[-1]["end"]) == ("2026-11-22T02:00:00Z", "2026-11-22T06:00:00Z")
    [day] = read(client, "1d")
    assert (day["start"], day["count"], day["entries"]) == ("2026-11-22T00:00:00Z", 2, 2)


@pytest.mark.parametrize("space", ["GFZ", "federation"])
def test_short_intervals_add_up_to_long_ones(client: FlaskClient, token: str, space: str) -> None:
    send(client, token, *make_sessions(7, 200))
    rows = {interval: read(client, interval, space) for interval in ("1m", "5m", "30m", "1h", "2h")}
    for fine, coarse in [("1m", "5m"), ("5m", "30m"), ("30m", "1h"), ("1h", "2h")]:
        check_joined(rows[fine], rows[coarse])
    assert (
        rows["2h"][-1]["count"]
        == json.loads(client.get(f"{PREFIX}/connections/now?format=json&space={space}").data)["results"][0]["count"]
    )


@pytest.mark.parametrize("space", ["GFZ", "federation"])
def test_reconciled_hours_equal_their_events(client: FlaskClient, store: Store, token: str, space: str) -> None:
    send(client, token, *make_sessions(11, 200))
    send(client, make_node(store, "ODC")[1], *make_sessions(12, 50))
    unsure = read(client, "1h", space)
    assert store.reconciliation.reconcile().hours > 0
    check_joined(read(client, "30m", space), read(client, "1h", space))
    assert read(client, "1h", space) == unsure


def test_recounts_are_jumps(client: FlaskClient, store: Store, token: str) -> None:
    add_doors(store, "GFZ", {"House": None, "A": "House"}, {"front": [("A", 1)], "side": [("House", 1)]})
    send(client, token, *(pass_door("front", at(minutes=minute)) for minute in (1, 61, 62, 130)))
    send(client, token, pass_door("side", at(minutes=63)))
    add_recount(store, "A", at(minutes=62), 20)
    assert show(read(client, "1h", "A")) == [
        (1, 0, 1, 1, 0),
        (20, 1, 20, 2, 0),
        (21, 20, 21, 1, 0),
        (21, 21, 21, 0, 0),
    ]
    assert [row["count"] for row in read(client, "1h", "House")] == [1, 21, 22, 22]
    for space in ("A", "House"):
        check_joined(read(client, "1m", space), read(client, "1h", space))
    # A period that begins after the recount begins with its count.
    assert show(read(client, "1h", "A", start=at(hours=3).isoformat())) == [(21, 21, 21, 0, 0)]


def test_door_between_spaces_changes_no_space_around(client: FlaskClient, store: Store, token: str) -> None:
    spaces = {"House": None, "A": "House", "B": "House"}
    add_doors(store, "GFZ", spaces, {"front": [("A", 1)], "between": [("A", 1), ("B", -1)]})
    send(client, token, pass_door("front", at(minutes=1)), pass_door("between", at(minutes=2), -1))
    for interval in ("1m", "1h"):
        rows = [read(client, interval, space) for space in spaces]
        assert [sum(row["entries"] for row in some) for some in rows] == [1, 1, 1]
        assert [sum(row["exits"] for row in some) for some in rows] == [0, 1, 0]


def test_protocol_selects_sessions(client: FlaskClient, token: str) -> None:
    records = [connect(1, at(hours=-1)), disconnect(1, at(hours=-1), at(minutes=90), protocol="SeedLink")]
    send(client, token, *records, connect(2, at(minutes=5)), Command("ring", make_digits(2), "HTTP"))
    assert show(read(client, "2h", protocol="seedlink")) == [(0, 0, 1, 0, 1), (0, 0, 0, 0, 0)]
    assert show(read(client, "2h", protocol="HTTP")) == [(1, 0, 1, 1, 0), (1, 1, 1, 0, 0)]


def test_archived_hours_keep_their_sums(client: FlaskClient, store: Store, token: str) -> None:
    add_doors(store, "GFZ", {"A": None}, {"front": [("A", 1)]})
    send(client, token, *(pass_door("front", at(minutes=minute)) for minute in (1, 2, 200)))
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE connections_archived SET events_from = '2026-11-23'")
        connection.cursor().execute("DELETE FROM sensor_events")
    assert show(read(client, "2h", "A")) == [(2, 0, 2, 2, 0), (3, 2, 3, 1, 0)]
    refused = get(client, space="A", start=BEGIN.isoformat(), interval="30m")
    assert refused.status_code == 400
    assert "2026-11-23" in refused.text


@ON_POSTGRESQL
def test_bounds_are_conditions_of_the_index(client: FlaskClient, store: Store, token: str) -> None:
    send(client, token, connect(1, BEGIN))
    query = ConnectionTables(store.database).queries.events_between.sql
    bounds = {"start": BEGIN.isoformat(), "stop": END.isoformat(), "spaces": (1, 2, 3)}
    with store.database.transaction() as connection, connection.cursor() as cursor:
        # The tables are too small for an index otherwise.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(f"EXPLAIN {query}", bounds)
        plan = "\n".join(line for (line,) in cursor)
    assert re.search(r"Index Cond: \(\(sensor_id = installations.sensor_id\) AND \(recorded >= .* < ", plan), plan


@ON_ONE_STORE
def test_series_ends_now(client: FlaskClient, token: str) -> None:
    send(client, token, connect(1, BEGIN))
    rows = read(client, "1h", end="2999-01-01")
    assert datetime.datetime.fromisoformat(rows[-1]["start"]) <= datetime.datetime.now(tz=datetime.UTC)
    response = get(client, space="GFZ", start=BEGIN.isoformat(), format="json")
    assert len(json.loads(response.data)["results"]) >= len(rows)
    assert get(client, space="GFZ", start="2999-01-01", format="json").json["results"] == []  # type: ignore[index]
    assert get(client, space="GFZ", start="9999-12-31", nodata="404").status_code == 404


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("parameters", "detail"),
    [
        ({"space": "GFZ"}, "start is missing"),
        ({"start": "2026-11-22"}, "space is missing"),
        ({"space": "GFZ", "start": "2026-11-22", "end": "2026-11-21"}, "end is not after start"),
        ({"space": "GFZ", "start": "2000-01-01"}, "intervals. Ask for at most 10000"),
        ({"space": "GFZ", "start": "now"}, "start=now"),
        ({"space": "GFZ", "start": "2026-11-22", "interval": "7m"}, "Use one of 1m 2m 3m"),
        *(
            ({"space": "GFZ", "start": "2026-11-22", "interval": interval}, f"interval={interval}")
            for interval in ("30s", "0m", "7m", "90m", "5h", "2d", "1", "h", "٢h")
        ),
    ],
)
def test_bad_parameter_is_named(client: FlaskClient, token: str, parameters: dict[str, str], detail: str) -> None:
    send(client, token, connect(1, BEGIN))
    response = get(client, **parameters)
    assert response.status_code == 400, response.text
    assert detail in response.text


class TestSmallCounts:
    @pytest.fixture
    def service_settings(self) -> dict[str, Any]:
        return {"min_clients": 3}

    @ON_ONE_STORE
    def test_small_counts_cannot_be_computed(self, client: FlaskClient, token: str) -> None:
        send(client, token, *(connect(number, at(minutes=number)) for number in range(5)))
        send(client, token, *(disconnect(number, at(minutes=number), at(hours=2)) for number in range(3)))
        rows = read(client, "1h")
        assert show(rows) == [
            (5, 0, 5, 5, 0),
            (5, 5, 5, 0, 0),
            # It ends with 2. Neither the difference nor the lowest count may show that.
            (None, None, 5, None, None),
            (None, None, None, None, None),
        ]
        assert [row["suppressed"] for row in rows] == [False, False, True, True]
        own = get(client, token, space="GFZ", start=BEGIN.isoformat(), end=END.isoformat(), format="json")
        assert not any(row["suppressed"] for row in json.loads(own.data)["results"])
