"""The HTTP interface on both stores: accepted and refused payloads, answers, and stored rows."""

import csv
import datetime
import gzip
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from eida_statistics.errors import PROBLEM_PREFIX
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.errors import RefusedByDatabase
from eida_stats_webservice.web import body as request_body
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row, sketch, wire
from support.service import PREFIX, Service, register_nodes
from support.stores import ON_ONE_STORE, Store
from support.tables import count, read_sums

SUBMIT = f"{PREFIX}/submit"
PUBLIC = f"{PREFIX}/dataselect/public"
LIMIT = 100_000
STREAM = ("date", "network", "station", "location", "channel", "country")


@pytest.fixture
def service_settings() -> dict[str, Any]:
    return {"max_payload_bytes": LIMIT}


@pytest.fixture
def token(store: Store) -> str:
    store.registry.add_node("GFZ", "operator@gfz.example")
    return store.registry.add_token("GFZ", now() - DAY, now() + DAY)[1]


def now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def post(client: FlaskClient, token: str, body: Any, path: str = SUBMIT, **headers: str) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=data, headers=sent)


def assert_problem(response: TestResponse, status: int, problem: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body = json.loads(response.data)
    assert (body["type"], body["status"]) == (PROBLEM_PREFIX + problem, status)
    assert body["title"]
    return dict(body)


# Accepted payloads


@pytest.mark.parametrize("path", ["/submit", "/dataselectstats"])
def test_payload_is_stored_and_acknowledged(client: FlaskClient, store: Store, token: str, path: str) -> None:
    response = post(client, token, wire(row(), row(station="MTE")), PREFIX + path)
    assert response.status_code == 201, response.text
    answer = json.loads(response.data)
    assert (answer["node"], answer["rows"], answer["days"]) == ("GFZ", 2, 1)
    assert isinstance(answer["payload"], int)
    assert len(answer["hash"]) == 32
    assert datetime.datetime.fromisoformat(answer["received_at"]) - now() < DAY
    assert count(store, "dataselect_stats") == 2


@ON_ONE_STORE
@pytest.mark.parametrize("header", ["Authorization", "Authentication"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_old_header_name_of_token_is_accepted(client: FlaskClient, token: str, header: str, scheme: str) -> None:
    headers = {header: f"{scheme} {token}", "Content-Type": "application/json"}
    assert client.post(SUBMIT, data=json.dumps(wire(row())), headers=headers).status_code == 201


@ON_ONE_STORE
def test_other_scheme_does_not_hide_the_token(client: FlaskClient, token: str) -> None:
    headers = {
        "Authorization": "Basic Zm9vOmJhcg==",
        "Authentication": f"Bearer {token}",
        "Content-Type": "application/json",
    }
    assert client.post(SUBMIT, data=json.dumps(wire(row())), headers=headers).status_code == 201


def test_gzip_may_have_several_members(client: FlaskClient, store: Store, token: str) -> None:
    body = json.dumps(wire(row())).encode()
    halves = gzip.compress(body[:50]) + gzip.compress(body[50:])
    assert post(client, token, halves, Content_Encoding="gzip").status_code == 201
    assert post(client, token, gzip.compress(body), Content_Encoding="gzip").status_code == 409
    assert count(store, "payloads") == 1


def test_missing_fields_of_old_payloads_are_filled(client: FlaskClient, store: Store, token: str) -> None:
    without = {
        key: value
        for key, value in row(nb_successful_requests=4).items()
        if key not in ("country", "nb_requests", "nb_unsuccessful_requests")
    }
    null = row(station="MTE", country=None, nb_requests=7, nb_successful_requests=4, nb_unsuccessful_requests=None)
    assert post(client, token, wire(without, null)).status_code == 201
    assert read_sums(store, "dataselect_stats", ("station", "country")).keys() == {
        ("GFZ", "EIL", ""),
        ("GFZ", "MTE", ""),
    }
    assert [values[1:4] for values in read_sums(store, "dataselect_stats", ("station",)).values()] == [
        (4, 4, 0),
        (7, 4, 3),
    ]


def test_payload_may_list_its_exclusions(client: FlaskClient, store: Store, token: str) -> None:
    excluded = {"client_classes": ["monitor", "crawler"], "client_patterns": ["^curl/"]}
    response = post(client, token, wire(row(), excluded=excluded))
    assert response.status_code == 201, response.text
    assert count(store, "dataselect_stats") == 1
    # Exclusions are not part of the statistics: equal numbers are a duplicate.
    assert_problem(post(client, token, wire(row())), 409, "duplicate")
    refused = post(client, token, wire(row(station="MTE"), excluded={"client_classes": ["x"] * 101}))
    problem = assert_problem(refused, 422, "invalid-payload")
    assert "excluded" in json.dumps(problem)
    assert count(store, "payloads") == 1


@pytest.mark.parametrize("country", ["", "DE", "A1", "EU"])
def test_country_is_empty_or_two_characters(client: FlaskClient, token: str, country: str) -> None:
    assert post(client, token, wire(row(country=country))).status_code == 201


def test_codes_of_miniseed_3_fit(client: FlaskClient, token: str) -> None:
    long = row(network="12345678", station="12345678", location="12345678", channel="BAND_SOURCE_SUB")
    assert post(client, token, wire(long)).status_code == 201


def test_repeated_payload_is_a_duplicate(client: FlaskClient, store: Store, token: str) -> None:
    first = json.loads(post(client, token, wire(row(), row(station="MTE"))).data)
    again = post(client, token, wire(row(station="MTE"), row(), generated_at="2026-11-05 00:00:00"))
    problem = assert_problem(again, 409, "duplicate")
    assert problem["payload"] == first["payload"]
    assert problem["received_at"][:19] == first["received_at"][:19]
    assert problem["received_at"] in problem["detail"]
    assert read_sums(store, "dataselect_stats_by_network", ("network",))["GFZ", "GE"][:2] == (1024, 2)


# Refused payloads


@ON_ONE_STORE
def test_missing_token_is_401(client: FlaskClient) -> None:
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Basic Zm9vOmJhcg=="}):
        response = client.post(SUBMIT, data="{}", headers={"Content-Type": "application/json"} | headers)
        assert_problem(response, 401, "missing-token")
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_bad_token_is_403(client: FlaskClient, store: Store, token: str) -> None:
    _, expired = store.registry.add_token("GFZ", now() - 2 * DAY, now() - DAY)
    number, revoked = store.registry.add_token("GFZ", now() - DAY, now() + DAY)
    store.registry.revoke_token(number, now())
    for refused in ("no-such-token", expired, revoked, token + "x", token[:-1]):
        response = post(client, refused, wire(row()))
        problem = assert_problem(response, 403, "expired-token" if refused == expired else "refused-token")
        assert refused not in json.dumps(problem)
        assert "Token-Valid-Until" not in response.headers
    assert count(store, "payloads") == 0


@ON_ONE_STORE
@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"\xff\xfe\x00", b'{"stats": [1,]}', b'{"x":' * 100_00])
def test_invalid_json_is_400(client: FlaskClient, store: Store, token: str, body: bytes) -> None:
    assert_problem(post(client, token, body), 400, "not-json")
    assert count(store, "payloads") == 0


@ON_ONE_STORE
def test_non_json_is_refused_at_its_first_bytes(client: FlaskClient, store: Store, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    cut = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "100"}
    # Only a body that may be JSON is reported as cut off.
    for beginning, problem in ((b" \r\n\t*", "not-json"), (b" \r\n\t{", "unreadable-body")):
        body = io.BytesIO(beginning)
        refused = client.post(SUBMIT, input_stream=body, headers=headers, environ_overrides=cut)
        assert_problem(refused, 400, problem)
    assert count(store, "payloads") == 0


@ON_ONE_STORE
@pytest.mark.parametrize("value", [b"[]", b'"text"', b"-7", b"0", b"true", b"false", b"null"])
def test_json_other_than_an_object_is_422(client: FlaskClient, token: str, value: bytes) -> None:
    assert_problem(post(client, token, b" \n" + value), 422, "invalid-payload")


@ON_ONE_STORE
@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}")[:-4], b""], ids=["none", "cut off", "empty"])
def test_invalid_gzip_is_400(client: FlaskClient, token: str, body: bytes) -> None:
    assert_problem(post(client, token, body, Content_Encoding="gzip"), 400, "unreadable-body")


@ON_ONE_STORE
def test_unsupported_type_or_encoding_is_415(client: FlaskClient, token: str) -> None:
    for headers, body in (
        ({"Content_Type": "text/plain"}, b"a=1"),
        ({"Content_Encoding": "br"}, wire(row())),
        ({"Content_Encoding": "gzip, gzip"}, wire(row())),
    ):
        assert_problem(post(client, token, body, **headers), 415, "unsupported-media-type")


@ON_ONE_STORE
def test_too_large_body_is_413(client: FlaskClient, store: Store, token: str) -> None:
    assert_problem(post(client, token, b" " * (LIMIT + 1)), 413, "too-large")
    # Without a declared length.
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    endless = client.post(
        SUBMIT,
        input_stream=io.BytesIO(b" " * (LIMIT + 1)),
        headers=headers,
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert_problem(endless, 413, "too-large")
    # Small as gzip, too large when unpacked.
    bomb = gzip.compress(json.dumps(wire(row(), padding=" " * LIMIT)).encode())
    assert len(bomb) < LIMIT // 10
    assert_problem(post(client, token, bomb, Content_Encoding="gzip"), 413, "too-large")
    assert count(store, "payloads") == 0


@ON_ONE_STORE
def test_truncated_body_is_400(client: FlaskClient, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    terminated = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "100"}
    cut = client.post(SUBMIT, input_stream=io.BytesIO(b"{}"), headers=headers, environ_overrides=terminated)
    assert "2 of 100 bytes" in assert_problem(cut, 400, "unreadable-body")["detail"]


@ON_ONE_STORE
def test_gzip_with_too_many_members_is_400(client: FlaskClient, token: str) -> None:
    body = gzip.compress(json.dumps(wire(row())).encode()) + gzip.compress(b"") * 2000
    problem = assert_problem(post(client, token, body, Content_Encoding="gzip"), 400, "unreadable-body")
    assert "1000 members" in problem["detail"]


@ON_ONE_STORE
def test_trickling_body_is_408(
    client: FlaskClient, store: Store, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "READ_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sender = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.05):
            sender.sendall(b" ")

    sending = threading.Thread(target=trickle)
    sending.start()
    began = time.monotonic()
    with server, sender, server.makefile("rb") as stream:
        connection = {"wsgi.input": stream, "wsgi.input_terminated": True, "gunicorn.socket": server}
        slow = client.post(
            SUBMIT,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            environ_overrides={**connection, "CONTENT_LENGTH": "90000"},
        )
        ended.set()
        sending.join()
    assert_problem(slow, 408, "too-slow")
    assert time.monotonic() - began < 5
    assert count(store, "payloads") == 0


# Raw connections


@pytest.fixture
def service(service_uri: str, tmp_path: Path) -> Iterator[Service]:
    with Service(service_uri, tmp_path, workers=2, threads=4) as running:
        yield running


def connect(service: Service, *lines: str, body: bytes = b"") -> socket.socket:
    """Send the head of a request, line by line, and a body."""
    address = urlsplit(service.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)
    return connection


def read_status_line(connection: socket.socket) -> str:
    with connection.makefile("rb") as stream:
        return stream.readline().decode()


@ON_ONE_STORE
def test_idle_clients_do_not_block_the_service(service: Service) -> None:
    head = (f"POST {SUBMIT} HTTP/1.1", "Host: localhost", "Content-Length: 200000000")
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(service, *head)) for _ in range(8)]
        began = time.monotonic()
        assert service.get("_health").status_code == 200
        # One worker may have got them all, and handles four at a time.
        assert time.monotonic() - began < 3 * request_body.DRAIN_SECONDS
        assert {read_status_line(connection) for connection in idle} == {"HTTP/1.1 401 UNAUTHORIZED\r\n"}


@ON_ONE_STORE
def test_broken_chunks_are_400_without_traceback(service: Service, store_uri: str) -> None:
    (token,) = register_nodes(store_uri, "GFZ")
    for authorization, status in ((f"Bearer {token}", "400"), ("Bearer wrong", "403")):
        head = (f"POST {SUBMIT} HTTP/1.1", "Host: localhost", f"Authorization: {authorization}")
        for body in (b"zz\r\nabc\r\n", b"3\r\nabcdef", b"0\r\nBad Trailer\r\n\r\n"):
            with closing(connect(service, *head, "Transfer-Encoding: chunked", body=body)) as connection:
                assert read_status_line(connection).split()[1] == status, body
        for announced in ("Transfer-Encoding: chunked", "Content-Length: 1000"):
            connect(service, *head, announced, body=b"5\r\n{").close()
    service.stop()
    assert "Traceback" not in service.log


@ON_ONE_STORE
def test_log_has_no_client_address(service: Service) -> None:
    agent = "User-Agent: fetcher (mailto:someone@example.org)"
    for head in (("someone@example.org",), ("GET / HTTP/1.1", "Host: x", agent), ("GET / HTTP/9", "Host: x")):
        with closing(connect(service, *head)) as connection:
            assert read_status_line(connection).startswith("HTTP/1.")
    service.stop()
    assert "Invalid request" in service.log
    text = service.log.replace("http://127.0.0.1:", "").replace("https://127.0.0.1:", "")
    assert "127.0.0.1" not in text
    assert "someone" not in text


SKETCH_EXPECTED = "not a HyperLogLog sketch of log2m 11, regwidth 5"
COUNT_EXPECTED = "not an integer from 0 to 2^53-1"
CODE_EXPECTED = "not a code of up to 8 letters, digits, - or _"

# Inputs that the deployed service stores, loses or answers with 500, and our path and message.
REFUSED = [
    # Rows that the database would refuse.
    (wire(row(station="A" * 9)), "stats[0].station", CODE_EXPECTED),
    (wire(row(bytes=2**63)), "stats[0].bytes", COUNT_EXPECTED),
    (wire(row(nb_requests=2**70)), "stats[0].nb_requests", COUNT_EXPECTED),
    (wire(row(network="GE\x00")), "stats[0].network", CODE_EXPECTED),
    (wire(row(), row(clients="\\x128b7f00")), "stats[1].clients", SKETCH_EXPECTED),
    (wire(row(clients="\\x148c7f" + "00" * 2560)), "stats[0].clients", SKETCH_EXPECTED),  # another log2m
    (wire(row(clients="\\x128b7f" + "00" * 8 * 161)), "stats[0].clients", SKETCH_EXPECTED),
    (wire(row(clients="128b7f")), "stats[0].clients", SKETCH_EXPECTED),
    (wire(row(clients=None)), "stats[0].clients", "not \\x and the hexadecimal digits of a sketch"),
    *[
        (wire({key: value for key, value in row().items() if key != missing}), f"stats[0].{missing}", "missing")
        for missing in ("month", "network", "station", "location", "channel", "bytes", "clients")
    ],
    # Wrong structure.
    ([wire(row())], "$", "not a JSON object"),
    (None, "$", "not a JSON object"),
    ("text", "$", "not a JSON object"),
    ({}, "stats", "missing"),
    (wire(stats=None), "stats", "not a list of objects"),
    (wire(stats={}), "stats", "not a list of objects"),
    (wire("GE.EIL..BHZ"), "stats[0]", "not an object"),
    (wire(row(), None), "stats[1]", "not an object"),
    (wire(row(), days_coverage=["2026-13-45"]), "days_coverage", "not a list of days, YYYY-MM-DD"),
    (wire(row(), days_coverage=["yesterday"]), "days_coverage", "not a list of days, YYYY-MM-DD"),
    (wire(row(), days_coverage=None), "days_coverage", "not a list of days, YYYY-MM-DD"),
    (wire(row(), days_coverage=[]), "days_coverage", "no day"),
    (wire(row(), generated_at=5), "generated_at", "not up to 64 printable ASCII characters"),
    # Wrong values.
    (wire(row(bytes=-1)), "stats[0].bytes", COUNT_EXPECTED),
    (wire(row(nb_successful_requests=-1)), "stats[0].nb_successful_requests", COUNT_EXPECTED),
    (wire(row(bytes=1.5)), "stats[0].bytes", COUNT_EXPECTED),
    (wire(row(bytes="512")), "stats[0].bytes", COUNT_EXPECTED),
    (wire(row(bytes=True)), "stats[0].bytes", COUNT_EXPECTED),
    (wire(row(month="2026-10-02")), "stats[0].month", "not the first day of a month, YYYY-MM-01"),
    (wire(row(month="October")), "stats[0].month", "not the first day of a month, YYYY-MM-01"),
    (wire(row(month="2026-11-01")), "stats[0].month", "2026-11 has no day in days_coverage"),
    (wire(row(month="2999-01-01")), "stats[0].month", "2999-01 has no day in days_coverage"),
    (wire(row(), days_coverage=["2999-01-01", "2026-10-14"]), "days_coverage", "2999-01-01 is in the future"),
    (wire(row(), days_coverage=["0001-01-01", "2026-10-14"]), "days_coverage", "0001-01-01 is before 1990-01-01"),
    (wire(row(country=1)), "stats[0].country", "not a text"),
    (wire(row(location=None)), "stats[0].location", "not a code of up to 8 letters, digits, blanks, - or _"),
    (wire(row(network=None)), "stats[0].network", CODE_EXPECTED),
    (wire(row(network="'; DROP TABLE nodes; --")), "stats[0].network", CODE_EXPECTED),
    (wire(row(channel="\u202eZHB")), "stats[0].channel", "not a code of up to 16 letters, digits, - or _"),
]


@ON_ONE_STORE
def test_bad_fields_are_422_with_their_paths(client: FlaskClient, store: Store, token: str) -> None:
    for body, path, message in REFUSED:
        problem = assert_problem(post(client, token, body), 422, "invalid-payload")
        found = [(error["path"], error["message"]) for error in problem["errors"]]
        assert any(where == path and text.startswith(message) for where, text in found), (path, message, found)
        assert path in problem["detail"]
    assert count(store, "payloads") == count(store, "dataselect_stats") == count(store, "networks") == 0


def test_countries_are_normalized_as_by_sql(
    client: FlaskClient, store: Store, token: str, database_uri: str
) -> None:
    """Deployed aggregators send the country of the log, and a refusal would lose the node's day."""
    countries = ["FR", "fr", "FRA", "Germany", "-", "--", "éé", "ß", "a1", "", "FR\n", "ſs"]
    answer = post(client, token, wire(*(row(country=country, bytes=1) for country in countries)))
    assert (answer.status_code, answer.get_json()["countries_changed"]) == (201, 10)
    normal = "CASE WHEN country ~ '^[A-Za-z0-9]{2}$' THEN upper(country COLLATE \"C\") ELSE '' END"
    with psycopg2.connect(database_uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {normal}, count(*) FROM unnest(%s) AS country GROUP BY 1", [countries])
        expected = dict(cursor.fetchall())
    found = read_sums(store, "dataselect_stats", ("country",))
    assert {key[-1]: values[0] for key, values in found.items()} == expected
    again = post(client, token, wire(*(row(country=country, bytes=1) for country in countries)))
    assert (again.status_code, again.get_json()["type"].rpartition(":")[2]) == (409, "duplicate")
    assert "countries_changed" not in post(client, token, wire(row(network="CX"))).get_json()


@ON_ONE_STORE
def test_up_to_100_bad_fields_are_listed(client: FlaskClient, token: str) -> None:
    rows = [row(bytes=-1, country=[]) for _ in range(3)]
    problem = assert_problem(post(client, token, wire(*rows)), 422, "invalid-payload")
    assert [error["path"] for error in problem["errors"]] == [
        f"stats[{number}].{field}" for number in range(3) for field in ("bytes", "country")
    ]
    many = assert_problem(post(client, token, wire(*[{}] * 300)), 422, "invalid-payload")
    assert len(many["errors"]) == 100


@ON_ONE_STORE
@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE", "OPTIONS"])
def test_only_post_and_put_submit(client: FlaskClient, store: Store, token: str, method: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    response = client.open(SUBMIT, method=method, data=json.dumps(wire(row())), headers=headers)
    assert response.status_code == (200 if method == "OPTIONS" else 405)
    assert count(store, "payloads") == 0


# Answers


def test_csv_begins_with_two_comment_lines(client: FlaskClient, token: str) -> None:
    post(client, token, wire(row(clients=sketch(range(3))), row(network="CX", bytes=5, clients=sketch([1, 9]))))
    response = client.get(f"{PUBLIC}?start=2026-10&level=network")
    assert response.status_code == 200
    assert response.mimetype == "text/csv"
    assert response.text.splitlines() == [
        "# version: 1.0.0",
        "# request_parameters: start=2026-10&level=network",
        "date,node,network,station,location,channel,country,bytes,nb_reqs,nb_successful_reqs,clients",
        "*,GFZ,CX,*,*,*,*,5,1,1,2",
        "*,GFZ,GE,*,*,*,*,512,1,1,3",
    ]


def test_json_has_the_same_fields_as_csv(client: FlaskClient, token: str) -> None:
    post(client, token, wire(row(), row(network="CX", clients=sketch([1, 9]))))
    answer = json.loads(client.get(f"{PUBLIC}?start=2026-10&level=node&format=json").data)
    assert answer == {
        "version": "1.0.0",
        "request_parameters": "start=2026-10&level=node&format=json",
        "results": [
            {
                "date": "*", "node": "GFZ", "network": "*", "station": "*", "location": "*", "channel": "*",
                "country": "*", "bytes": 1024, "nb_reqs": 2, "nb_successful_reqs": 2, "clients": 2,
            }
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("months", "size"),
    [
        ("start=2026-10", 512),
        ("start=2026-10&end=2026-10", 512),
        ("start=2026-11", None),
        ("start=2020-01&end=2026-09", None),
    ],
)
def test_months_from_start_to_end_are_added_up(
    client: FlaskClient, token: str, months: str, size: int | None
) -> None:
    post(client, token, wire(row()))
    rows = csv.DictReader(client.get(f"{PUBLIC}?{months}").text.splitlines()[2:])
    assert [int(found["bytes"]) for found in rows] == ([] if size is None else [size])


@ON_ONE_STORE
@pytest.mark.parametrize(
    "query",
    [
        "", "start=26", "start=2026-13", "start=2026-1-1", "start=2026-02-30", "start=x",
        "start=2026-10&end=soon", "start=2026-10&level=station",
        "start=2026-10&format=xml", "start=2026-10&colour=red", "start=0000-01", "start=2026-10&start=x",
        "start=2026-10&end=2026-09",
    ],
)  # fmt: skip
def test_bad_parameter_is_named(client: FlaskClient, query: str) -> None:
    response = client.get(f"{PUBLIC}?{query}")
    named = query.rpartition("&")[2].partition("=")[0] or "start"
    assert (response.status_code, response.mimetype) == (400, "text/plain")
    # Programs that read the answer as CSV skip comments.
    assert all(line.startswith("# ") for line in response.text.splitlines())
    assert named in response.text


@ON_ONE_STORE
def test_detail_is_problem_then_remedy(client: FlaskClient, token: str) -> None:
    without_start = assert_problem(client.get(f"{PUBLIC}?format=json"), 400, "bad-parameter")
    assert without_start["detail"] == "start is missing. Add the first month, as start=YYYY-MM."
    packed = assert_problem(post(client, token, wire(row()), Content_Encoding="br"), 415, "unsupported-media-type")
    assert packed["detail"] == "Content-Encoding: br. Send the body plain or as gzip."


def test_sums_may_exceed_64_bits(client: FlaskClient, store: Store, token: str) -> None:
    node = store.registry.find_sender_of_token(token, now()).node
    store.dataselect.ingest(node, payload(row(country="FR", network="XX")))
    # The first overflows the roll-up over countries and networks, the second the one over countries.
    for rows in ([row(), row(station="MTE")], [row(), row(network="CX")]):
        huge = payload(*rows)
        for sent in huge.stats:
            sent.bytes = 2**63 - 1 - 1024
        with pytest.raises(RefusedByDatabase):
            store.dataselect.ingest(node, huge)
    other, _ = make_node(store, "BGR")
    for owner in (node, other):
        half = payload(row())
        half.stats[0].bytes = 2**63 - 1 - 1024
        store.dataselect.ingest(owner, half)
    answer = json.loads(client.get(f"{PUBLIC}?start=2026-10&format=json").data)
    assert answer["results"][0]["bytes"] == 2 * (2**63 - 1 - 1024) + 512


def test_health_reports_unreachable_database(client: FlaskClient, tmp_path: Any) -> None:
    assert client.get(f"{PREFIX}/_health").status_code == 200
    nowhere = create_app(Config(f"postgresql://nobody@/nothing?host={tmp_path}")).test_client()
    response = nowhere.get(f"{PREFIX}/_health")
    problem = assert_problem(response, 503, "database-unavailable")
    assert response.headers["Retry-After"]
    assert str(tmp_path) not in json.dumps(problem)  # only the log has the cause


@ON_ONE_STORE
def test_unknown_path_is_a_problem(client: FlaskClient) -> None:
    response = client.get("/nowhere")
    assert (response.status_code, response.content_type) == (404, "application/problem+json")


@ON_ONE_STORE
def test_prefix_is_configurable(service_uri: str) -> None:
    for prefix in ("", "/stats"):
        client = create_app(Config(service_uri, url_prefix=prefix)).test_client()
        assert client.get(f"{prefix}/_health").status_code == 200
