"""The interface of doors: /send, /?space=NAME and /count."""

import datetime
import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from support.doors import install_door, load, make_crossings
from support.node_client import make_node
from support.service import PREFIX, Service
from support.stores import ON_ONE_STORE, Store

EVENT = {"timestamp": "2018-02-24T08:45:21.893Z", "direction": "1", "dpu_id": "423"}
LATER = {"timestamp": "2018-02-24T17:24:25.493Z", "direction": "1", "dpu_id": "423"}
OK = {"status": "OK"}


@pytest.fixture
def door(store: Store) -> str:
    """Install an open door of node `N` above space `A`, and return a token of the node."""
    node, token = make_node(store, "N")
    install_door(store, node, "423", [("A", 1)])
    return token


def count(client: FlaskClient, space: str = "a", **parameters: str) -> Any:
    answer = client.get("/count", query_string={"space": space, **parameters})
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json.keys() == {"status", "count"}
    assert answer.json["status"] == "ok"
    return answer.json["count"]


def problem(client: FlaskClient, event: object, path: str = "/send") -> tuple[int, str]:
    answer = client.post(path, data=json.dumps(event), content_type="text/plain")
    assert answer.json is not None
    return answer.status_code, answer.json["detail"]


@pytest.mark.parametrize("root", ["", PREFIX])
def test_events_are_counted_once(client: FlaskClient, door: str, root: str) -> None:
    assert client.get(f"{root}/?space=A").json == {"status": "OK", "count": None}
    for _ in range(2):
        assert client.post(f"{root}/send", data=json.dumps(EVENT)).json == OK
    assert client.get(f"{root}/?space=A").json == {"status": "OK", "count": 1}
    assert client.post(f"{root}/send", json=[EVENT, LATER, LATER]).json == OK
    assert client.get(f"{root}/?space=a").json == {"status": "OK", "count": 2}
    assert client.get(f"{root}/count?space=A").json == {"status": "ok", "count": 2}
    assert client.get(f"{root}/?space=X").json == {"status": "OK", "count": None}
    assert client.post(f"{root}/send", json=[]).json == OK


def test_count_is_that_of_the_nearest_event(client: FlaskClient, door: str) -> None:
    client.post("/send", json=[EVENT, LATER, {**LATER, "timestamp": "2018-02-24T17:24:27.493Z", "direction": -1}])
    assert count(client, timestamp="2000-01-01") == count(client, timestamp="0001-01-01") == 1
    assert count(client, timestamp="2018-02-24 13:04:00") == 1
    assert count(client, timestamp="2018-02-24t17:24:25z") == 2
    # In the middle between two events, the earlier one counts.
    assert count(client, timestamp="2018-02-24T17:24:26.493Z") == 2
    assert count(client, timestamp="2018-02-24T17:24:26.494Z") == 1
    assert count(client, timestamp="2040-01-01") == 1
    # A query string has the + of an offset as a blank.
    assert client.get("/count?space=a&timestamp=2018-02-24+18:24:25.493+01:00").json == {"status": "ok", "count": 2}


@pytest.mark.parametrize("direction", ["1", "-1", 1, -1, 1.0, -1.0])
def test_direction_is_taken(client: FlaskClient, door: str, direction: object) -> None:
    client.post("/send", json=EVENT)
    assert client.post("/send", json={**LATER, "direction": direction}).json == OK
    assert count(client) == 1 + float(str(direction))


@pytest.mark.parametrize(
    "direction", ["0", 0, 2, "2", True, False, None, " 1", "1 ", "１", "+1", "1.0", 0.5, 1e300, [1], {}, ""]
)
def test_other_direction_is_refused(client: FlaskClient, door: str, direction: object) -> None:
    status, detail = problem(client, [EVENT, {**LATER, "direction": direction}])
    assert (status, detail) == (400, "event 1: direction is not 1 or -1")
    # All or nothing.
    assert count(client) is None


@pytest.mark.parametrize(
    ("timestamp", "nearest"),
    [
        ("2018-02-24T23:59:60Z", "2018-02-24T23:59:59.999999Z"),
        ("2018-02-24T08:45:21.893123987Z", "2018-02-24T08:45:21.893123Z"),
        ("2018-02-24 08:45:21", "2018-02-24T08:45:21Z"),
        ("2018-02-24T08:45:21.893-01:30", "2018-02-24T10:15:21.893Z"),
        ("2018-02-24T08:45:21.893 01:00", "2018-02-24T07:45:21.893Z"),
        ("2018-02-24t08:45z", "2018-02-24T08:45:00Z"),
    ],
)
def test_timestamp_is_that_moment(
    client: FlaskClient, store: Store, door: str, timestamp: str, nearest: str
) -> None:
    assert client.post("/send", json={**EVENT, "timestamp": timestamp}).json == OK
    with store.database.transaction() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT recorded FROM sensor_events")
        ((recorded,),) = cursor.fetchall()
    if isinstance(recorded, str):
        recorded = datetime.datetime.fromisoformat(recorded)
    assert recorded == datetime.datetime.fromisoformat(nearest)


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        ("9999-12-31T23:59:59Z", "timestamp: the time is in the future. The time of the server is 20"),
        ("1999-12-31T23:59:59Z", "timestamp: the time is before 2000"),
        ("1519462521", "timestamp=1519462521. Use a time such as 2018-02-24T17:24:25.493Z."),
        (1519462521, "timestamp is not a text such as 2018-02-24T08:45:21.893Z"),
        ("2018-02-30T00:00:00Z", "timestamp=2018-02-30T00:00:00Z: there is no such time."),
        ("2018-02-24T08:45:21.893+99:00", "timestamp=2018-02-24T08:45:21.893+99:00. Use a time"),
        ("0001-01-01T00:00:00+01:00", "timestamp=0001-01-01T00:00:00+01:00: there is no such time."),
        ("２018-02-24T08:45:21Z", "timestamp=２018-02-24T08:45:21Z. Use"),
    ],
)
def test_other_timestamp_is_refused(client: FlaskClient, door: str, timestamp: object, reason: str) -> None:
    status, detail = problem(client, {**EVENT, "timestamp": timestamp})
    assert status == 400
    assert detail.startswith(reason)


def test_clock_may_be_some_minutes_ahead(client: FlaskClient, door: str) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    soon, later = (now + datetime.timedelta(minutes=minutes) for minutes in (4, 6))
    assert client.post("/send", json={**EVENT, "timestamp": soon.isoformat()}).json == OK
    assert problem(client, {**EVENT, "timestamp": later.isoformat()})[0] == 400
    assert count(client) == 1


@pytest.mark.parametrize(
    "body", ["", "{", "1", '"x"', "[1]", "[[]]", "{}", '{"timestamp": "2018-02-24T08:45:21Z"}']
)
def test_body_that_is_no_event_is_refused(client: FlaskClient, door: str, body: str) -> None:
    answer = client.post("/send", data=body)
    assert answer.status_code == 400
    assert answer.json is not None
    assert "dpu_id" in answer.json["detail"] or "not an object" in answer.json["detail"]


@pytest.mark.parametrize("name", [423, "", "x" * 131, "a\x00b", "a\tb", None])
def test_name_that_no_sensor_has_is_refused(client: FlaskClient, door: str, name: object) -> None:
    assert problem(client, {**EVENT, "dpu_id": name}) == (
        400, "dpu_id is not a text of 1 to 130 printable characters"
    )  # fmt: skip


def test_long_list_is_refused(client: FlaskClient, door: str) -> None:
    assert problem(client, [EVENT] * 10_001) == (
        413, "10001 events. Send at most 10000 in one request."
    )  # fmt: skip
    assert client.post("/send", json=[EVENT] * 10_000).json == OK
    assert count(client) == 1


def test_unknown_parameter_is_named(client: FlaskClient, door: str) -> None:
    for path in ("/?space=A&x=1", f"{PREFIX}/?space=A&x=1", "/count?space=A&x=1"):
        answer = client.get(path)
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["detail"].startswith("x=1: there is no such parameter")
    assert client.get("/count").status_code == 400
    assert client.get("/count?space=A&timestamp=soon").status_code == 400


def test_pages_answer_as_before(client: FlaskClient, door: str) -> None:
    assert client.get("/").status_code == 404
    assert client.get(f"{PREFIX}/").content_type.startswith("text/html")


class TestTokens:
    """Which requests need a token, and of which node."""

    @pytest.fixture(autouse=True)
    def install(self, store: Store) -> None:
        node, self.token = make_node(store, "N")
        other, self.foreign = make_node(store, "M")
        install_door(store, node, "open", [("A", 1)])
        install_door(store, node, "closed", [("A", 1)], is_open=False)
        install_door(store, other, "theirs", [("B", 1)])

    @staticmethod
    def send(client: FlaskClient, *names: str, token: str | None = None) -> tuple[int, str]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = client.post("/send", json=[{**EVENT, "dpu_id": name} for name in names], headers=headers)
        assert answer.json is not None
        return answer.status_code, answer.json.get("type", "").rpartition(":")[2]

    def test_open_sensor_needs_none(self, client: FlaskClient) -> None:
        assert self.send(client, "open") == (200, "")

    @pytest.mark.parametrize("name", ["closed", "unheard-of", "N/x"])
    def test_other_sensor_needs_one(self, client: FlaskClient, name: str) -> None:
        assert self.send(client, name) == (401, "missing-token")
        assert self.send(client, "open", name) == (401, "missing-token")

    def test_token_of_the_node_is_taken(self, client: FlaskClient) -> None:
        assert self.send(client, "open", "closed", "unheard-of", token=self.token) == (200, "")
        # Nobody has installed the third one.
        assert count(client) == 2

    def test_token_of_another_node_is_refused(self, client: FlaskClient) -> None:
        assert self.send(client, "closed", token=self.foreign) == (403, "foreign-sensor")
        assert self.send(client, "closed", token="x") == (403, "refused-token")

    def test_list_is_of_one_node(self, client: FlaskClient) -> None:
        assert self.send(client, "open", "theirs") == (400, "unusable-sensor")

    def test_name_of_a_ringserver_is_refused(self, client: FlaskClient) -> None:
        assert self.send(client, "N/main", token=self.token) == (400, "unusable-sensor")

    def test_unknown_sensors_of_two_nodes_may_have_one_name(self, client: FlaskClient) -> None:
        assert self.send(client, "new", token=self.token) == (200, "")
        assert self.send(client, "new", token=self.foreign) == (200, "")


def test_restricted_space_is_unknown_without_token(client: FlaskClient, store: Store, door: str) -> None:
    client.post("/send", json=EVENT)
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE spaces SET restricted = true WHERE name = 'A'")
    assert count(client) is None
    answer = client.get("/?space=A", headers={"Authorization": f"Bearer {door}"})
    assert answer.json == {"status": "OK", "count": 1}
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert client.get("/?space=A").headers["Cache-Control"] == "public, max-age=2"
    assert client.get("/?space=A", headers={"Authorization": "Bearer x"}).status_code == 403


def test_door_between_two_spaces(client: FlaskClient, store: Store) -> None:
    node, _ = make_node(store, "N")
    install_door(store, node, "between", [("A", 1), ("B", -1)])
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("INSERT INTO spaces (name, node_id) VALUES ('both', 1)")
        connection.cursor().execute(
            "UPDATE spaces SET parent_id = (SELECT id FROM spaces WHERE name = 'both') WHERE name IN ('A', 'B')"
        )
    client.post("/send", json=[{**EVENT, "dpu_id": "between"}, {**LATER, "dpu_id": "between"}])
    assert count(client, "A") == 2
    # More exits than entries: it is shown as 0.
    assert count(client, "B") == 0
    assert count(client, "both") == count(client, "both", timestamp="2018-02-24") == 0
    rows = client.get(f"{PREFIX}/connections/now?space=both&format=json").json
    assert rows is not None
    assert rows["results"][0]["count"] == 0


@ON_ONE_STORE
@pytest.mark.parametrize("service_settings", [{"counts_at_root": False}])
def test_root_can_be_closed(client: FlaskClient, door: str) -> None:
    assert client.post("/send", json=EVENT).status_code == 404
    assert client.get("/?space=A").status_code == 404
    assert client.post(f"{PREFIX}/send", json=EVENT).json == OK


@ON_ONE_STORE
@pytest.mark.parametrize("service_settings", [{"url_prefix": ""}])
def test_prefix_can_be_empty(client: FlaskClient, door: str) -> None:
    assert client.post("/send", json=EVENT).json == OK
    assert client.get("/?space=A").json == {"status": "OK", "count": 1}


def test_loader_and_commands_of_the_interface(store: Store, service_uri: str, tmp_path: Path, door: str) -> None:
    node, _ = make_node(store, "N")
    install_door(store, node, "424", [("A", -1)])
    crossings = make_crossings(["423", "424"], 60)
    once = {tuple(event.values()) for event in crossings}
    entered = sum(int(direction) * (1 if name == "423" else -1) for _, direction, name in once)
    with Service(service_uri, tmp_path, workers=1) as service:
        root = service.url.removesuffix(PREFIX)
        senders = [threading.Thread(target=load, args=(root, crossings[part::6])) for part in range(6)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert load(root, crossings[:2]) == [OK, OK]
        for command, expected in [
            (f"{root}/?space=A", {"status": "OK", "count": max(0, entered)}),
            (f"{root}/?space=X", {"status": "OK", "count": None}),
            (
                f"{root}/count?space=a&timestamp=2040-02-24%2017:24:25.493z",
                {"status": "ok", "count": max(0, entered)},
            ),
            (f"{root}/count?space=x&timestamp=2018-02-24+17:24:25.493z", {"status": "ok", "count": None}),
        ]:
            done = subprocess.run(["curl", "-sS", command], check=True, capture_output=True)
            assert json.loads(done.stdout) == expected


@ON_ONE_STORE
def test_many_doors_may_wait_at_once(client: FlaskClient, door: str, store: Store) -> None:
    statuses = []

    def send(second: int) -> None:
        event = {**EVENT, "timestamp": f"2018-02-24T08:45:{second:02}Z"}
        statuses.append(client.application.test_client().post("/send", json=event).status_code)

    senders = [threading.Thread(target=send, args=(second,)) for second in range(32)]
    with store.database.transaction(write=True):
        for sender in senders:
            sender.start()
        # Let all of them wait for the database.
        time.sleep(0.5)
    for sender in senders:
        sender.join()
    assert statuses == [200] * 32
    assert count(client) == 32
