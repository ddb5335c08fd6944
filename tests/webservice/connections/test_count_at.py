"""GET connections/count: the count of a space at a moment."""

import datetime
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_statistics.connections import Alive, Command
from support.node_client import make_node
from support.sensors import BEGIN, add_doors, add_recount, at, connect, disconnect, make_digits, pass_door, send
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store


@pytest.fixture
def token(store: Store) -> str:
    return make_node(store, "GFZ")[1]


def get(client: FlaskClient, token: str | None = None, **parameters: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.get(f"{PREFIX}/connections/count", query_string=parameters, headers=headers)


def read(
    client: FlaskClient, time: datetime.datetime | None = None, space: str = "GFZ", **parameters: str
) -> dict[str, Any]:
    moment = {} if time is None else {"time": time.isoformat()}
    response = get(client, space=space, format="json", **moment, **parameters)
    assert response.status_code == 200, response.text
    [row] = json.loads(response.data)["results"]
    return dict(row)


def archive(store: Store, first_kept: str) -> None:
    """Forget the events before a day."""
    with store.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        cursor.execute(f"UPDATE connections_archived SET events_from = '{first_kept}'")
        cursor.execute(f"DELETE FROM sensor_events WHERE recorded < '{first_kept}T00:00:00.000000+00:00'")


def test_count_is_that_after_the_last_event(client: FlaskClient, token: str) -> None:
    send(client, token, connect(1, BEGIN), disconnect(1, BEGIN, at(minutes=2)), connect(2, at(minutes=1)))
    assert (read(client, at(seconds=-1))["count"], read(client, at(seconds=-1))["time"]) == (None, None)
    found = [(read(client, at(minutes=minute))["count"]) for minute in (0, 1, 2, 3)]
    assert found == [1, 2, 1, 1]
    last = read(client, at(days=3))
    assert (last["time"], last["resolution"], last["stale"]) == ("2026-11-22T02:02:00Z", "event", True)
    assert read(client)["count"] == 1
    assert read(client, space="federation")["count"] == 1


def test_nearest_event_may_be_later(client: FlaskClient, token: str) -> None:
    send(client, token, connect(1, BEGIN), connect(2, at(seconds=10)))
    found = [read(client, at(seconds=second), match="nearest")["count"] for second in (-9, 4, 5, 6, 99)]
    assert found == [1, 1, 1, 2, 2]


def test_late_events_do_not_change_what_was_shown(client: FlaskClient, store: Store, token: str) -> None:
    send(client, token, Alive("ring"))
    assert read(client, mode="live")["count"] is None
    send(client, token, connect(1, BEGIN))
    shown = datetime.datetime.now(tz=datetime.UTC)
    send(client, token, connect(2, at(days=-1)))
    send(client, make_node(store, "ODC")[1], connect(3, BEGIN))
    assert [read(client, shown, space, mode="live")["count"] for space in ("GFZ", "federation")] == [1, 1]
    assert [read(client, None, space, mode="live")["count"] for space in ("GFZ", "federation")] == [2, 3]
    assert read(client, at(hours=-1))["count"] == 1
    assert read(client, at(hours=-1), mode="live")["count"] is None


def test_protocol_selects_sessions(client: FlaskClient, token: str) -> None:
    send(
        client,
        token,
        connect(1, BEGIN),
        disconnect(1, BEGIN, at(minutes=5), protocol="SeedLink"),
        connect(2, at(minutes=1)),
        Command("ring", make_digits(2), "DataLink"),
        connect(3, at(minutes=2)),
    )
    moments = [at(minutes=minute) for minute in (-1, 0, 3, 5)]
    assert [read(client, moment, protocol="seedlink")["count"] for moment in moments] == [None, 1, 1, 0]
    assert [read(client, moment, protocol="DataLink")["count"] for moment in moments] == [None, None, 1, 1]
    assert read(client, at(minutes=-1), protocol="DataLink", match="nearest")["count"] == 1
    last = read(client, at(minutes=4), protocol="SeedLink", match="nearest")
    assert (last["count"], last["time"]) == (0, "2026-11-22T02:05:00Z")


def test_archived_counts_are_those_of_hours(client: FlaskClient, store: Store, token: str) -> None:
    add_doors(store, "GFZ", {"A": None}, {"front": [("A", 1)]})
    send(client, token, *(pass_door("front", at(days=day, minutes=5)) for day in (0, 1, 2)))
    archive(store, "2026-11-23")
    early = read(client, at(hours=5, minutes=30), "A")
    assert (early["count"], early["time"], early["resolution"]) == (1, "2026-11-22T07:00:00Z", "hour")
    # No event of the day is older.
    between = read(client, at(hours=23), "A")
    assert (between["count"], between["time"], between["resolution"]) == (1, "2026-11-22T02:00:00Z", "hour")
    assert read(client, at(hours=-5), "A")["count"] is None
    late = read(client, at(days=1, hours=1), "A")
    assert (late["count"], late["resolution"]) == (2, "event")


def test_recount_counts_as_event(client: FlaskClient, store: Store, token: str) -> None:
    add_doors(store, "GFZ", {"A": None}, {"front": [("A", 1)]})
    send(client, token, pass_door("front", BEGIN), pass_door("front", at(hours=2)))
    add_recount(store, "A", at(hours=1), 20)
    found = [read(client, at(minutes=minute), "A") for minute in (59, 60, 121)]
    assert [(one["count"], one["time"][11:16]) for one in found] == [(1, "02:00"), (20, "03:00"), (21, "04:00")]


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("parameters", "status", "detail"),
    [
        ({}, 400, "space is missing"),
        ({"space": "none"}, 404, "space=none"),
        ({"space": "House", "time": "1668000000"}, 400, "time=1668000000"),
        ({"space": "House", "match": "last"}, 400, "match=last"),
        ({"space": "House", "mode": "old"}, 400, "mode=old"),
        ({"space": "House", "mode": "live", "match": "nearest"}, 400, "mode=live"),
        ({"space": "House", "mode": "live", "protocol": "HTTP"}, 400, "mode=live"),
        ({"space": "House", "protocol": "HTTP"}, 400, "House has no ringserver"),
        ({"space": "House", "protocol": ""}, 400, "protocol="),
    ],
)
def test_bad_request_is_explained(
    client: FlaskClient, store: Store, token: str, parameters: dict[str, str], status: int, detail: str
) -> None:
    assert token
    add_doors(store, "GFZ", {"House": None}, {})
    response = get(client, **parameters)
    assert response.status_code == status, response.text
    assert f"# detail: {detail}" in response.text


class TestSmallCounts:
    @pytest.fixture
    def service_settings(self) -> dict[str, Any]:
        return {"min_clients": 3}

    @ON_ONE_STORE
    def test_small_counts_are_suppressed(self, client: FlaskClient, token: str) -> None:
        send(client, token, *(connect(number, at(minutes=number)) for number in range(3)))
        found = [read(client, at(minutes=minute)) for minute in (1, 2)]
        assert [(one["count"], one["suppressed"]) for one in found] == [(None, True), (3, False)]
        assert found[0]["time"] is None
        own = get(client, token, space="GFZ", time=at(minutes=1).isoformat(), format="json")
        assert json.loads(own.data)["results"][0]["count"] == 2
