"""GET connections/log and sessions: a node gets its own records back."""

import datetime
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_statistics.connections import (
    Alive,
    CloseAfter,
    Command,
    ListedSession,
    Record,
    ServerStart,
    Snapshot,
    decode_records,
)
from eida_stats_webservice.connections import export
from support.node_client import make_node
from support.sensors import (
    BEGIN,
    add_doors,
    at,
    connect,
    disconnect,
    make_digits,
    pass_door,
    post,
    send,
)
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store

ADDRESS = "a" * 16
RECORDS: list[Record] = [
    Alive("ring"),
    CloseAfter("ring", BEGIN, 86400),
    connect(1, BEGIN, address=ADDRESS),
    connect(2, at(minutes=1), address=ADDRESS),
    Command("ring", make_digits(2), "DataLink"),
    disconnect(1, BEGIN, at(minutes=5), protocol="SeedLink", address=ADDRESS),
    Snapshot("ring", at(minutes=6), [ListedSession(make_digits(2), 18000, at(minutes=1), address=ADDRESS)]),
    ServerStart("ring", at(hours=1), at(minutes=50)),
    pass_door("front", at(minutes=3), -1),
]


@pytest.fixture
def token(store: Store) -> str:
    return make_node(store, "GFZ")[1]


def get(client: FlaskClient, token: str | None, path: str, **parameters: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return client.get(f"{PREFIX}/connections/{path}", query_string=parameters, headers=headers)


def read_log(client: FlaskClient, token: str, start: str = "2026-01-01", **parameters: str) -> bytes:
    response = get(client, token, "log", start=start, **parameters)
    assert response.status_code == 200, response.text
    assert response.content_type == "application/x-ndjson"
    return response.data


def read_sessions(client: FlaskClient, token: str, **parameters: str) -> list[dict[str, Any]]:
    chosen = {"start": BEGIN.isoformat(), **parameters}
    response = get(client, token, "sessions", format="json", **chosen)
    assert response.status_code == 200, response.text
    return list(json.loads(response.data)["results"])


def read_counts(client: FlaskClient, token: str) -> dict[str, Any]:
    rows = json.loads(get(client, token, "now", format="json").data)["results"]
    return {row["space"]: (row["count"], row["changed"]) for row in rows}


def test_log_has_all_that_was_received(client: FlaskClient, token: str) -> None:
    send(client, token, *RECORDS)
    send(client, token, *RECORDS[2:4])
    found = decode_records(read_log(client, token))
    assert len(found) == 9
    assert ADDRESS not in str(found)
    assert sorted(type(one).__name__ for one in found[:7]) == [
        *("CloseAfter", "Connect", "Connect", "Count", "Disconnect", "ServerStart", "Snapshot"),
    ]


def test_log_can_be_sent_to_another_service(client: FlaskClient, store: Store, token: str) -> None:
    other = make_node(store, "ODC")[1]
    for owner in ("GFZ", "ODC"):
        add_doors(store, owner, {f"Room {owner}": None}, {f"door {owner}": [(f"Room {owner}", 1)]})
    send(client, token, *RECORDS, pass_door("door GFZ", at(minutes=1)))
    log = read_log(client, token).replace(b"door GFZ", b"door ODC")
    assert post(client, other, log).status_code == 200
    counts, copied = read_counts(client, token), read_counts(client, other)
    assert counts["GFZ"] == copied["ODC"] == (0, "2026-11-22T02:50:00Z")
    assert counts["Room GFZ"] == copied["Room ODC"] == (1, "2026-11-22T02:01:00Z")
    # Sending it again changes nothing.
    assert post(client, token, read_log(client, token)).json == {"status": "OK", "created": 0}


def test_window_selects_by_arrival(client: FlaskClient, token: str) -> None:
    snapshot = Snapshot("ring", at(minutes=6), [ListedSession(make_digits(2), 18000, at(minutes=1))])
    send(client, token, connect(2, at(minutes=1)), snapshot)
    between = datetime.datetime.now(tz=datetime.UTC).isoformat()
    send(client, token, Snapshot("ring", at(minutes=7)), Snapshot("ring", at(minutes=8)))
    early, late = read_log(client, token, end=between), read_log(client, token, start=between)
    assert [type(one).__name__ for one in decode_records(early)] == ["Connect", "Snapshot"]
    # The first one lists the sessions, since the window lacks the one before.
    first, second = decode_records(late)
    assert isinstance(first, Snapshot)
    assert first.sessions == snapshot.sessions
    assert second == Snapshot("ring", at(minutes=8))
    assert read_log(client, token, start="2000-01-01", end="2000-01-02") == b""


def test_sessions_are_those_of_the_node(client: FlaskClient, store: Store, token: str) -> None:
    send(client, token, *RECORDS, connect(3, at(minutes=9), instance="old"))
    send(client, make_node(store, "ODC")[1], connect(4, BEGIN))
    rows = read_sessions(client, token)
    assert [tuple(row.values()) for row in rows] == [
        ("ring", "2026-11-22T02:00:00Z", "2026-11-22T02:05:00Z", "log", "SeedLink", make_digits(1)),
        ("ring", "2026-11-22T02:01:00Z", "2026-11-22T02:50:00Z", "restart", "DataLink", make_digits(2)),
        ("old", "2026-11-22T02:09:00Z", None, None, None, make_digits(3)),
    ]
    assert ADDRESS not in str(rows)


@ON_ONE_STORE
def test_sessions_are_selected(client: FlaskClient, token: str) -> None:
    send(client, token, *RECORDS, connect(3, at(minutes=9), instance="old"))

    def select(**parameters: str) -> list[str]:
        return [row["session"][-1] for row in read_sessions(client, token, **parameters)]

    assert select(protocol="datalink") == ["2"]
    assert select(space="GFZ/old") == ["3"]
    assert select(space="gfz") == ["1", "2", "3"]
    assert select(start=at(minutes=51).isoformat()) == ["3"]
    assert select(start=at(minutes=-9).isoformat(), end=at(seconds=30).isoformat()) == ["1"]


@ON_ONE_STORE
def test_sessions_have_all_formats(client: FlaskClient, token: str) -> None:
    send(client, token, *RECORDS)
    text = get(client, token, "sessions", start="2026-11-22", format="text").text
    assert text.startswith("#instance|connected|closed|closed_by|protocol|session\n")
    empty = get(client, token, "sessions", start="2026-01-01", end="2026-01-02", nodata="204")
    assert (empty.status_code, empty.data) == (204, b"")


@ON_ONE_STORE
@pytest.mark.parametrize("path", ["log", "sessions"])
def test_token_is_needed(client: FlaskClient, token: str, path: str) -> None:
    assert get(client, None, path, start="2026-11-22").status_code == 401
    assert get(client, "wrong", path, start="2026-11-22").status_code == 403
    assert get(client, token, path, start="2026-11-22").headers["Cache-Control"] == "private, no-store"


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("log", {}, 400),
        ("log", {"start": "2026"}, 400),
        ("log", {"start": "2026-11-22", "end": "2026-11-22"}, 400),
        ("log", {"start": "2026-11-22", "format": "csv"}, 400),
        ("sessions", {"start": "2026-11-22", "space": "none"}, 404),
        ("sessions", {"start": "2026-11-22", "protocol": "a\n"}, 400),
    ],
)
def test_bad_request_is_refused(
    client: FlaskClient, token: str, path: str, parameters: dict[str, str], status: int
) -> None:
    assert get(client, token, path, **parameters).status_code == status


@ON_ONE_STORE
def test_too_many_sessions_are_refused(client: FlaskClient, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    send(client, token, *RECORDS)
    monkeypatch.setattr(export, "MAX_SESSIONS", 1)
    response = get(client, token, "sessions", start="2026-11-22")
    assert response.status_code == 400
    assert "more than 1 sessions" in response.text
