"""Sources and periods as a node sees them: ordinary commands neither double nor lose requests."""

import datetime
import io
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.test import TestResponse

from eida_statistics import wire as wire_format
from eida_statistics.payload import Payload
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.errors import DuplicatePayload, OverlappingPayload, Overtaken, RefusedToken
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from support.dates import DAY
from support.node_client import Client, make_node
from support.payloads import TODAY, row, wire
from support.processes import wait_for
from support.roles import grant_service
from support.service import PREFIX, Service, register_nodes
from support.statistics import query_public
from support.stores import ON_ONE_STORE, Store, open_store
from support.tables import count, select

_VALID = (datetime.datetime.now(tz=datetime.UTC) - DAY, datetime.datetime.now(tz=datetime.UTC) + DAY)


def log(*days: int, period: tuple[int, int] | None = None, source: str = "", requests: int = 12) -> dict[str, Any]:
    """Return the aggregate of a log of October 2026, by the days of its requests; the last day is its own."""
    first, last = period or (max(days), max(days))
    rows = [row(bytes=requests, nb_requests=requests, nb_successful_requests=requests)] if days else []
    return wire(
        *rows,
        days_coverage=[f"2026-10-{day:02}" for day in days],
        source=source,
        period={"start": f"2026-10-{first:02}", "end": f"2026-10-{last:02}"},
    )


def old_log(*days: int, requests: int = 12) -> dict[str, Any]:
    """Return the same as an old aggregator sends it."""
    return {
        name: value for name, value in log(*days, requests=requests).items() if name not in {"source", "period"}
    }


@pytest.fixture
def node_client(service_uri: str, store: Store) -> Client:
    return Client(create_app(Config(service_uri)).test_client(), make_node(store, "GFZ")[1])


def count_requests(store: Store) -> int:
    """Return the number of requests that the service counts."""
    found = query_public(store, start=datetime.date(2026, 10, 1), end=datetime.date(2026, 11, 1))
    return sum(one["nb_reqs"] for one in found)


def read_problem(response: TestResponse) -> tuple[int, str, list[int]]:
    """Return the status, the type, and the payloads that an answer names."""
    answer = response.get_json()
    return (
        response.status_code,
        answer["type"].rpartition(":")[2],
        [one["payload"] for one in answer.get("payloads", [])],
    )


# Commands of operators, and their results. `test_overlaps.py` compares both stores.


@ON_ONE_STORE
def test_stray_of_the_next_day_replaces_nothing(node_client: Client, store: Store) -> None:
    node_client.send("POST", "submit", log(3, requests=12))
    node_client.send("POST", "submit", log(4, requests=24))
    # The complete log of day 3 ends in a request that finished on day 4.
    corrected = node_client.send("PUT", "submit", log(3, 4, period=(3, 3), requests=25))
    assert (corrected.status_code, corrected.get_json()["supersedes"]) == (201, [1])
    assert count_requests(store) == 49


@ON_ONE_STORE
@pytest.mark.parametrize("first_sent", [True, False])
def test_stray_of_the_day_before_replaces_nothing(node_client: Client, store: Store, first_sent: bool) -> None:
    node_client.send("POST", "submit", log(1, requests=20))
    if first_sent:
        node_client.send("POST", "submit", log(2, requests=10))
    corrected = node_client.send("PUT", "submit", log(1, 2, requests=20)).get_json()
    assert corrected.get("supersedes", []) == [2] * first_sent
    assert count_requests(store) == 40


@ON_ONE_STORE
def test_complete_log_without_replace_is_refused(node_client: Client, store: Store) -> None:
    node_client.send("POST", "submit", log(1, requests=20))
    node_client.send("POST", "submit", log(2, requests=10))
    refused = node_client.send("POST", "submit", log(1, 2, requests=20))
    assert read_problem(refused) == (409, "overlapping-payload", [2])
    assert "payload 2 (2026-10-02)" in refused.get_json()["detail"]
    assert "--replace (PUT)" in refused.get_json()["detail"]
    assert count_requests(store) == 30


@ON_ONE_STORE
def test_growing_directory_is_refused(node_client: Client, store: Store) -> None:
    assert node_client.send("POST", "submit", log(1, period=(1, 1))).status_code == 201
    for last in (2, 3, 4):
        grown = node_client.send("POST", "submit", log(*range(1, last + 1), period=(1, last), requests=12 * last))
        assert read_problem(grown) == (409, "overlapping-payload", [1])
    assert count_requests(store) == 12


@ON_ONE_STORE
@pytest.mark.parametrize("source", ["", "a"])
def test_shorter_log_of_a_day_is_refused(node_client: Client, store: Store, source: str) -> None:
    node_client.send("POST", "submit", log(1, requests=20, source=source))
    refused = node_client.send("POST", "submit", log(1, requests=7, source=source))
    assert read_problem(refused) == (409, "overlapping-payload", [1])
    listed = refused.get_json()["payloads"]
    assert [(one["source"], one["period"], one["days"]) for one in listed] == [
        (source, {"start": "2026-10-01", "end": "2026-10-01"}, ["2026-10-01"])
    ]
    assert count_requests(store) == 20


@ON_ONE_STORE
def test_servers_with_equal_statistics_both_count(node_client: Client, store: Store) -> None:
    for source in ("a", "b"):
        assert node_client.send("POST", "submit", log(1, source=source, requests=1)).status_code == 201
        assert read_problem(node_client.send("POST", "submit", log(1, source=source, requests=1)))[:2] == (
            409,
            "duplicate",
        )
    assert count_requests(store) == 2
    contents = {one["content"] for one in node_client.send("GET", "payloads").get_json()["payloads"]}
    assert len(contents) == 1


@ON_ONE_STORE
def test_replace_by_payload_in_force_removes_parts(node_client: Client, store: Store) -> None:
    part = node_client.send("POST", "submit", log(1, requests=12)).get_json()
    whole = node_client.send("POST", "submit?overlap=accept", log(1, requests=25)).get_json()
    assert [one["payload"] for one in whole["overlaps"]] == [part["payload"]]
    again = node_client.send("PUT", "submit", log(1, requests=25))
    assert (again.status_code, again.get_json()["payload"]) == (201, whole["payload"])
    assert again.get_json()["supersedes"] == [part["payload"]]
    assert node_client.send("PUT", "submit", log(1, requests=25)).status_code == 200
    assert count_requests(store) == 25


# Consequences of the table


@ON_ONE_STORE
def test_month_replaces_its_days_but_a_day_not_a_month(node_client: Client, store: Store) -> None:
    for day in (1, 2, 3):
        node_client.send("POST", "submit", log(day))
    month = node_client.send("PUT", "submit", log(1, 2, 3, period=(1, 31), requests=40)).get_json()
    assert month["supersedes"] == [1, 2, 3]
    for method, kind in (("PUT", "ambiguous-replacement"), ("POST", "overlapping-payload")):
        refused = node_client.send(method, "submit", log(2, requests=13))
        assert read_problem(refused) == (409, kind, [month["payload"]])
        hint = "run all logs of 2026-10-01 to 2026-10-31 with --replace"
        assert hint in refused.get_json()["detail"]
        # Naming the month would withdraw all its other days.
        assert f"--replaces {month['payload']}" not in refused.get_json()["detail"]
    assert count_requests(store) == 40


@ON_ONE_STORE
def test_retracted_payload_is_restored_by_sending_it(node_client: Client, store: Store) -> None:
    sent = node_client.send("POST", "submit", log(1)).get_json()
    for method in ("POST", "PUT"):
        node_client.send("DELETE", f"payloads/{sent['payload']}")
        assert count_requests(store) == 0
        again = node_client.send(method, "submit", log(1))
        assert (again.status_code, again.get_json()["payload"]) == (201, sent["payload"])
        assert count_requests(store) == 12


@ON_ONE_STORE
def test_resending_a_lost_directory_is_a_duplicate(node_client: Client, store: Store) -> None:
    sent = node_client.send("POST", "submit", log(1, source="a")).get_json()
    again = node_client.send("POST", "submit?overlap=accept", log(1, source="a"))
    assert read_problem(again)[:2] == (409, "duplicate")
    answer = again.get_json()
    assert (answer["payload"], answer["hash"]) == (sent["payload"], sent["hash"])
    assert answer["received_at"][:19] == sent["received_at"][:19]
    assert count_requests(store) == 12


@ON_ONE_STORE
def test_duplicate_comes_before_an_overlap(node_client: Client) -> None:
    """A payload in force has arrived, whatever else was accepted."""
    sent = node_client.send("POST", "submit", log(1)).get_json()
    node_client.send("POST", "submit?overlap=accept", log(1, requests=3))
    again = node_client.send("POST", "submit", log(1))
    assert (read_problem(again)[:2], again.get_json()["payload"]) == ((409, "duplicate"), sent["payload"])


@ON_ONE_STORE
def test_quiet_days_of_two_sources_are_stored(node_client: Client, store: Store) -> None:
    for source in ("a", "b"):
        receipt = node_client.send("POST", "submit", log(period=(1, 1), source=source))
        assert receipt.status_code == 201, receipt.text
        assert (receipt.get_json()["rows"], receipt.get_json()["days"]) == (0, 0)
    grown = node_client.send("PUT", "submit", log(1, source="a", requests=3))
    assert grown.get_json()["supersedes"] == [1]
    back = node_client.send("PUT", "submit", log(period=(1, 1), source="a"))
    assert (back.get_json()["payload"], back.get_json()["supersedes"]) == (1, [3])
    assert count_requests(store) == 0
    assert [found for *_, found in store.verification.verify() if found] == []
    assert node_client.send("DELETE", "payloads/2").status_code == 200


@ON_ONE_STORE
def test_whole_node_and_one_of_its_servers_do_not_mix(node_client: Client, store: Store) -> None:
    node_client.send("POST", "submit", log(1))
    for method, kind in (("POST", "overlapping-payload"), ("PUT", "ambiguous-replacement")):
        refused = node_client.send(method, "submit", log(1, source="a", requests=3))
        assert read_problem(refused) == (409, kind, [1])
        assert "An empty source is the whole node" in refused.get_json()["detail"]
    accepted = node_client.send("PUT", "submit?overlap=accept", log(1, source="a", requests=3)).get_json()
    assert "supersedes" not in accepted
    assert [(one["payload"], one["days"]) for one in accepted["overlaps"]] == [(1, ["2026-10-01"])]
    named = node_client.send("PUT", "submit?replaces=1", log(1, source="b", requests=2)).get_json()
    assert named["supersedes"] == [1]
    assert count_requests(store) == 5


@ON_ONE_STORE
def test_named_payload_is_replaced_and_the_rest_stays(node_client: Client, store: Store) -> None:
    node_client.send("POST", "submit", log(1, 2, period=(1, 2), requests=2))
    node_client.send("POST", "submit?overlap=accept", log(2, 3, period=(2, 3), requests=4))
    named = node_client.send("PUT", "submit?replaces=1", log(2, requests=8)).get_json()
    assert (named["supersedes"], [one["payload"] for one in named["overlaps"]]) == ([1], [2])
    assert count_requests(store) == 12
    # Repeated after a lost answer, it changes nothing.
    assert node_client.send("PUT", "submit?replaces=1", log(2, requests=8)).status_code == 200
    refused = node_client.send("PUT", "submit?replaces=1&overlap=refuse", log(2, requests=16))
    assert read_problem(refused)[:2] == (409, "ambiguous-replacement")


@ON_ONE_STORE
def test_unrelated_payload_cannot_be_named(node_client: Client) -> None:
    for day in (1, 2):
        node_client.send("POST", "submit", log(day, source="a"))
    for name in ("1", node_client.send("GET", "payloads?limit=2").get_json()["payloads"][0]["hash"]):
        for other in (log(2, source="a", requests=3), log(1, source="b")):
            refused = node_client.send("PUT", f"submit?replaces={name}", other)
            assert read_problem(refused)[:2] == (409, "unknown-payload")
            assert refused.get_json()["unknown"] == [name]
    both = node_client.send("PUT", "submit?replaces=1,99", log(2, source="a", requests=3))
    assert (read_problem(both)[:2], both.get_json()["unknown"]) == ((404, "unknown-payload"), ["99"])


# Old aggregators, without source and period


@ON_ONE_STORE
def test_forgotten_old_aggregator_doubles_nothing(node_client: Client, store: Store) -> None:
    node_client.send("POST", "submit", log(1, source="a"))
    for method in ("POST", "PUT"):
        assert read_problem(node_client.send(method, "submit", old_log(1)))[:2] == (409, "duplicate")
    # Different statistics count as well, as they always did, but replace only named payloads.
    refused = node_client.send("PUT", "submit", old_log(1, 2, requests=30))
    assert read_problem(refused) == (409, "ambiguous-replacement", [1])
    beside = node_client.send("POST", "submit", old_log(1, requests=3)).get_json()
    assert [one["payload"] for one in beside["overlaps"]] == [1]
    assert (
        read_problem(node_client.send("POST", "submit?overlap=refuse", old_log(1, requests=4)))[1]
        == "overlapping-payload"
    )
    assert count_requests(store) == 15


@ON_ONE_STORE
def test_equal_statistics_without_a_period_are_one(node_client: Client, store: Store) -> None:
    """Without a period, nothing says that they come from another server."""
    node_client.send("POST", "submit", old_log(1, requests=1))
    for sent in (old_log(1, requests=1), log(1, source="b", requests=1)):
        assert read_problem(node_client.send("POST", "submit", sent))[:2] == (409, "duplicate")
    # Of several old payloads on a day, only named ones are replaced.
    node_client.send("POST", "submit", old_log(1, requests=2))
    whole = log(1, requests=3)
    assert read_problem(node_client.send("PUT", "submit", whole)) == (409, "ambiguous-replacement", [1, 2])
    assert node_client.send("PUT", "submit?replaces=1,2", whole).get_json()["supersedes"] == [1, 2]
    assert count_requests(store) == 3


@ON_ONE_STORE
def test_upgraded_aggregator_replaces_old_payloads(node_client: Client, store: Store) -> None:
    node_client.send("POST", "submit", old_log(1, 2, requests=12))
    assert read_problem(node_client.send("POST", "submit", log(1, 2, requests=12)))[:2] == (409, "duplicate")
    upgraded = node_client.send("PUT", "submit", log(1, 2, source="a", requests=12)).get_json()
    assert upgraded["supersedes"] == [1]
    assert count_requests(store) == 12


@ON_ONE_STORE
def test_stray_of_an_old_payload_is_no_duplicate(node_client: Client) -> None:
    node_client.send("POST", "submit", old_log(1, 2))
    refused = node_client.send("POST", "submit", log(1, requests=30))
    assert read_problem(refused) == (409, "overlapping-payload", [1])
    assert "payload 1 (no period, 2026-10-01, 2026-10-02)" in refused.get_json()["detail"]


@ON_ONE_STORE
def test_days_between_old_payloads_are_free(node_client: Client) -> None:
    node_client.send("POST", "submit", old_log(1, 9))
    assert node_client.send("POST", "submit", log(5)).status_code == 201
    assert read_problem(node_client.send("POST", "submit", log(9, requests=1)))[1] == "overlapping-payload"


# Overtaken requests


@pytest.fixture
def node(store: Store) -> Node:
    return make_node(store, "GFZ")[0]


def arrive(store: Store, node: Node) -> Arrival:
    """Return the arrival of a request that arrives now, with a token of the node."""
    ((revision, token),) = select(
        store,
        f"SELECT nodes.revision, tokens.id FROM nodes JOIN tokens ON node_id = nodes.id WHERE nodes.id = {node.id}",
    )
    return Arrival(int(revision), int(token))


def read(document: dict[str, Any]) -> Payload:
    return wire_format.decode(json.dumps(document).encode(), today=TODAY)


def test_late_correction_does_not_undo_a_newer_one(store: Store, node: Node) -> None:
    store.dataselect.ingest(node, read(log(1, requests=1)))
    arrival = arrive(store, node)
    newer, _ = store.dataselect.replace(node, read(log(1, requests=3)), arrival=arrival)
    for named in ([], [newer.payload]):
        with pytest.raises(Overtaken, match=f"payload {newer.payload}"):
            store.dataselect.replace(node, read(log(1, requests=2)), named, arrival=arrival)
    assert count_requests(store) == 3
    # Sent again, it is the newest.
    assert store.dataselect.replace(node, read(log(1, requests=2)), arrival=arrive(store, node))[0].supersedes == [
        2
    ]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_late_request_restores_nothing(store: Store, node: Node, method: str) -> None:
    arrival = arrive(store, node)
    sent = store.dataselect.ingest(node, read(log(1)), arrival=arrival)
    store.payloads.retract(sent.payload, node, arrival=arrive(store, node))
    again = store.dataselect.ingest if method == "POST" else store.dataselect.replace
    with pytest.raises(Overtaken):
        again(node, read(log(1)), arrival=arrival)
    assert count_requests(store) == 0
    again(node, read(log(1)), arrival=arrive(store, node))
    assert count_requests(store) == 12


def test_late_retraction_does_not_undo_a_restoration(store: Store, node: Node) -> None:
    sent = store.dataselect.ingest(node, read(log(1)))
    arrival = arrive(store, node)
    store.payloads.retract(sent.payload, node, arrival=arrival)
    # A retracted payload stays retracted.
    assert store.payloads.retract(sent.payload, node, arrival=arrival).state == "retracted"
    store.dataselect.ingest(node, read(log(1)), arrival=arrive(store, node))
    with pytest.raises(Overtaken):
        store.payloads.retract(sent.payload, node, arrival=arrival)
    # The administrator's command has no earlier arrival.
    assert store.payloads.retract(sent.payload).state == "retracted"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_late_request_of_a_retracted_day_fails(store: Store, node: Node, method: str) -> None:
    arrival = arrive(store, node)
    newer = store.dataselect.ingest(node, read(log(1, requests=3)))
    store.payloads.retract(newer.payload, node, arrival=arrive(store, node))
    send = store.dataselect.ingest if method == "POST" else store.dataselect.replace
    with pytest.raises(Overtaken, match=f"payload {newer.payload}"):
        send(node, read(log(1, requests=2)), arrival=arrival)
    # It does not affect other servers of the node, or other days.
    send(node, read(log(2, requests=5)), arrival=arrival)
    assert count_requests(store) == 5


def test_late_correction_of_a_retracted_one_fails(store: Store, node: Node) -> None:
    named = store.dataselect.ingest(node, read(log(1, requests=1)))
    arrival = arrive(store, node)
    store.payloads.retract(named.payload, node, arrival=arrival)
    with pytest.raises(Overtaken):
        store.dataselect.replace(node, read(log(1, requests=2)), [named.payload], arrival=arrival)
    assert count_requests(store) == 0


def test_renamed_node_lists_its_own_payloads(store: Store, node: Node) -> None:
    store.dataselect.ingest(node, read(log(1)))
    make_node(store, "BGR")
    store.registry.update_node("GFZ", new_name="GEOFON", contact=None)
    store.registry.update_node("BGR", new_name="GFZ", contact=None)
    assert [record.payload for record in store.payloads.list_payloads(node)] == [1]
    assert store.payloads.list_payloads("GFZ") == []


def test_late_copy_changes_nothing(store: Store, node: Node) -> None:
    arrival = arrive(store, node)
    store.dataselect.ingest(node, read(log(1)), arrival=arrival)
    with pytest.raises(DuplicatePayload):
        store.dataselect.ingest(node, read(log(1)), arrival=arrival)
    assert store.dataselect.replace(node, read(log(1)), arrival=arrival)[1] is False
    with pytest.raises(OverlappingPayload):
        store.dataselect.ingest(node, read(log(1, requests=3)), arrival=arrival)
    # It does not affect payloads of other days.
    store.dataselect.replace(node, read(log(2)), arrival=arrival)
    assert count_requests(store) == 24


def test_changed_policy_overtakes_nothing(store: Store, node: Node) -> None:
    store.dataselect.ingest(node, read(log(1)))
    arrival = arrive(store, node)
    store.registry.set_node_policy("GFZ", restricted=True)
    assert store.dataselect.replace(node, read(log(1, requests=3)), arrival=arrival)[0].supersedes == [1]


def test_overtaken_request_is_409_over_http(database_uri: str, tmp_path: Path) -> None:
    """A correction that waits for the node finds that another one came first."""
    (token,) = register_nodes(database_uri, "GFZ")
    with closing(open_store(database_uri)) as store, Service(grant_service(database_uri), tmp_path) as service:
        node = store.registry.find_sender_of_token(token, datetime.datetime.now(tz=datetime.UTC)).node
        store.dataselect.ingest(node, read(log(1, requests=1)))
        headers = {"Authorization": f"Bearer {token}"}

        def correct() -> requests.Response:
            return requests.put(f"{service.url}/submit", json=log(1, requests=2), headers=headers, timeout=60)

        with ThreadPoolExecutor() as threads:
            with store.database.transaction(write=True) as connection, connection.cursor() as cursor:
                store.registry.lock(connection, node)
                waiting = threads.submit(correct)
                # It has arrived once it waits for the node.
                wait_for(lambda: is_waiting(store))
                cursor.execute("UPDATE nodes SET revision = revision + 1")
                cursor.execute("UPDATE payloads SET revision = (SELECT revision FROM nodes)")
            overtaken = waiting.result()
            assert overtaken.status_code == 409
            assert overtaken.json()["type"].endswith(":overtaken")
            assert "Send it again" in overtaken.json()["detail"]
            assert correct().json()["supersedes"] == [1]


@ON_ONE_STORE
def test_request_of_a_gone_client_is_dropped(store: Store, service_uri: str, node: Node, tmp_path: Path) -> None:
    token = store.registry.add_token(node.name, *_VALID)[1]
    body = json.dumps(log(1)).encode()
    with Service(service_uri, tmp_path, workers=1) as service:
        host, port = service.url.split("/")[2].split(":")
        head = f"POST {PREFIX}/submit HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        (worker,) = service.workers()
        # The worker looks at the request only after the client has gone.
        os.kill(worker, signal.SIGSTOP)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        os.kill(worker, signal.SIGCONT)
        wait_for(lambda: '"path": "' + PREFIX + '/submit"' in service.log)
        assert count(store, "payloads") == 0
        assert service.post(body, token).status_code == 201


class RevokingBody(io.BytesIO):
    """A body whose token is revoked while it is read."""

    def __init__(self, body: bytes, revoke: Callable[[], None]) -> None:
        super().__init__(body)
        self._revoke = revoke

    def readinto(self, buffer: Any, /) -> int:
        self._revoke()
        return super().readinto(buffer)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_token_revoked_during_the_body_is_refused(service_uri: str, store: Store, node: Node, method: str) -> None:
    number, token = store.registry.add_token(node.name, *_VALID)
    body = json.dumps(log(1)).encode()
    stream = RevokingBody(body, lambda: store.registry.revoke_token(number, datetime.datetime.now(tz=datetime.UTC)))
    headers = {"Authorization": f"Bearer {token}", "Content-Length": str(len(body))}
    client = create_app(Config(service_uri)).test_client()
    answer = client.open(f"{PREFIX}/submit", method=method, input_stream=stream, headers=headers)
    assert read_problem(answer) == (403, "refused-token", [])
    assert count(store, "payloads") == 0


def test_retraction_by_a_revoked_token_is_refused(store: Store, node: Node) -> None:
    sent = store.dataselect.ingest(node, read(log(1)))
    arrival = arrive(store, node)
    store.registry.revoke_token(arrival.token, datetime.datetime.now(tz=datetime.UTC))
    with pytest.raises(RefusedToken):
        store.payloads.retract(sent.payload, node, arrival=arrival)
    assert count_requests(store) == 12


def test_token_revoked_before_its_turn_shows_nothing(
    service_uri: str, store: Store, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.dataselect.ingest(node, read(log(1)))
    of_network = store.registry.add_network_token("GE", *_VALID)
    of_node = store.registry.add_token(node.name, *_VALID)
    client = create_app(Config(service_uri)).test_client()
    question = f"{PREFIX}/dataselect/restricted?start=2026-10&network=GE&format=json"
    for (number, token), method, path in ((of_network, "POST", question), (of_node, "GET", f"{PREFIX}/payloads")):
        headers = {"Authorization": f"Bearer {token}"}
        assert client.open(path, method=method, headers=headers).status_code == 200
        with monkeypatch.context() as patch:
            patch.setattr(ConcurrencyLimit, "slot", make_revoking_slot(store, number))
            assert client.open(path, method=method, headers=headers).status_code == 403


def make_revoking_slot(store: Store, number: int) -> Callable[[ConcurrencyLimit], AbstractContextManager[None]]:
    """Return a turn during which the token is revoked."""

    @contextmanager
    def slot(_limit: ConcurrencyLimit) -> Iterator[None]:
        store.registry.revoke_token(number, datetime.datetime.now(tz=datetime.UTC))
        yield

    return slot


def is_waiting(store: Store) -> bool:
    return select(store, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != [(0,)]


# Tokens


def test_answers_have_the_token_expiry(node_client: Client, store: Store) -> None:
    (end,) = (token.valid_until for token in store.registry.list_tokens())
    due = f"{end:%Y-%m-%dT%H:%M:%SZ}"
    stored = node_client.send("POST", "submit", log(1))
    assert stored.get_json()["token_valid_until"] == due
    answers = [
        stored,
        node_client.send("POST", "submit", log(1)),
        node_client.send("POST", "dataselectstats", {}),
        node_client.send("PUT", "submit?x=1", log(1)),
        node_client.send("PUT", "submit", log(1)),
    ]
    assert [answer.status_code for answer in answers] == [201, 409, 422, 400, 200]
    assert [answer.headers["Token-Valid-Until"] for answer in answers] == [due] * 5
    assert [answer.get_json()["token_valid_until"] for answer in answers] == [due] * 5


def test_expired_token_is_named(node_client: Client, store: Store) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    expired = Client(node_client._client, store.registry.add_token("GFZ", now - 3 * DAY, now - 2 * DAY)[1])
    for method, path in (("POST", "submit"), ("PUT", "submit"), ("GET", "payloads"), ("DELETE", "payloads/1")):
        refused = expired.send(method, path, log(1))
        assert read_problem(refused)[:2] == (403, "expired-token")
        assert f"{now - 2 * DAY:%Y-%m-%d}" in refused.get_json()["detail"]
        assert "Token-Valid-Until" not in refused.headers
    (token,) = (token for token in store.registry.list_tokens() if token.valid_until < now)
    store.registry.revoke_token(token.id, now)
    assert read_problem(expired.send("POST", "submit", log(1)))[:2] == (403, "refused-token")


def test_newest_payloads_are_listed_by_limit(node_client: Client) -> None:
    assert node_client.send("GET", "payloads?limit=1").get_json() == {"payloads": []}
    for day in (1, 2, 3):
        node_client.send("POST", "submit", log(day, source="a"))
    for limit, due in ((1, [3]), (2, [2, 3]), (9, [1, 2, 3])):
        listed = node_client.send("GET", f"payloads?limit={limit}").get_json()["payloads"]
        assert [(one["payload"], one["days"]) for one in listed] == [(day, [f"2026-10-0{day}"]) for day in due]
    assert (listed[0]["source"], listed[0]["period"]) == ("a", {"start": "2026-10-01", "end": "2026-10-01"})
