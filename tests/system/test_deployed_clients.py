"""Requests of programs written for the deployed service, and the answers that they need."""

import datetime
import gzip
import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row, wire
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store

PUBLIC = f"{PREFIX}/dataselect/public"
RESTRICTED = f"{PREFIX}/dataselect/restricted"
SUBMIT = f"{PREFIX}/submit"
MONTHS = ("2026-08", "2026-09", "2026-10")
pytestmark = ON_ONE_STORE


@pytest.fixture
def token(store: Store) -> str:
    """Return the token of a node that sent three months: two networks, and failed requests without a country."""
    node, token = make_node(store, "GFZ")
    failed = {"network": "", "station": "", "channel": "", "location": "--", "country": "", "bytes": 0}
    for month in MONTHS:
        rows = [row(month=f"{month}-01", **more) for more in ({}, {"network": "FR", "country": "FR"}, failed)]
        store.dataselect.ingest(node, payload(*rows, days_coverage=[f"{month}-05"]))
    return token


@pytest.fixture
def service_settings(token: str) -> dict[str, Any]:
    return {}


def query_results(client: FlaskClient, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"{PUBLIC}?format=json&{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.get_json()["results"]
    return found


def read_detail(answer: TestResponse, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(json.loads(answer.data)["detail"])


# Months


@pytest.mark.parametrize(
    ("period", "months"),
    [
        ("start=2026-8&end=2026-9", MONTHS[:2]),
        ("start=2026-08&end=2026-9", MONTHS[:2]),
        ("start=2026-9-01&end=2026-09-30", MONTHS[1:2]),
        ("start=2026-09-01&end=2026-10", MONTHS[1:]),
        ("start=2026", MONTHS),
        ("start=2026&end=2026", MONTHS),
        ("start=2025&end=2025", ()),
        ("start=1970-1&end=2026-08", MONTHS[:1]),
        ("start=0001", MONTHS),
    ],
)
def test_month_can_be_written_in_several_ways(client: FlaskClient, period: str, months: tuple[str, ...]) -> None:
    found = query_results(client, f"{period}&details=month")
    assert [one["date"] for one in found] == list(months)


@pytest.mark.parametrize(
    ("period", "hint"),
    [
        ("start=2026-01&end=2022-01-01", "To include this month: end=2022-01. To leave it out: end=2021-12."),
        ("start=2026-12-31", "To include this month: start=2026-12. To leave it out: start=2027-01."),
        ("start=0001&end=0001-01-01", "To include this month: end=0001-01."),
        ("start=2026-02-29", "There is no such day."),
        ("start=2026-9-1", "Use YYYY-MM or YYYY."),
        ("start=2026-00", "Use YYYY-MM or YYYY."),
        ("start=2026-123", "Use YYYY-MM or YYYY."),
        ("start=0000", "Use YYYY-MM or YYYY."),
        ("start=2026-02&end=2026-01", "end=2026-01 is before start=2026-02"),
    ],
)
def test_part_of_a_month_is_refused(client: FlaskClient, period: str, hint: str) -> None:
    assert hint in read_detail(client.get(f"{PUBLIC}?format=json&{period}"), 400)


# Other parameters


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("node=GFZ&node=GFZ", 9),
        ("country=DE&country=FR", 6),
        ("country=de", 3),
        ("country=--", 3),
        ("country=", 3),
        ("country=--,fr", 6),
        ("network=--", 3),
        ("network=", 3),
        ("net=GE", 3),
        ("_=1764115200000&_nocache=x", 9),
        ("details=country&details=month", 9),
    ],
)
def test_parameters_of_deployed_clients_are_accepted(client: FlaskClient, query: str, rows: int) -> None:
    details = "" if query.startswith("details") else "&details=country,month"
    assert len(query_results(client, f"start=2026-01&level=network&{query}{details}")) == rows


@pytest.mark.parametrize(
    "query",
    [
        "country=FR,", "country=,", "country=FRA", "country=%C3%9F", "node=", "station=", "level=&level=network",
        "sort=bytes&sort=bytes", "limit=1&limit=2", "start=2026-01&starttime=2026-01", "network=GE,--", "x_=1",
        f"country={'DE,' * 700}DE&country={'DE,' * 700}DE",
    ],
)  # fmt: skip
def test_other_parameters_are_refused(client: FlaskClient, query: str) -> None:
    assert client.get(f"{PUBLIC}?format=json&start=2026-01&{query}").status_code == 400


def test_repeated_networks_are_joined(client: FlaskClient, store: Store) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    headers = {"Authorization": f"Bearer {store.registry.add_network_token('GE', now - DAY, now + DAY)[1]}"}
    query = "start=2026-01&format=json&level=network"
    for networks, found in (("network=--", [""]), ("network=GE", ["GE"]), ("net=GE&net=GE", ["GE"])):
        answer = client.post(f"{RESTRICTED}?{query}&{networks}", headers=headers)
        assert [one["network"] for one in answer.get_json()["results"]] == found
    refused = client.post(f"{RESTRICTED}?{query}&network=GE&net=FR", headers=headers)
    assert "Only operators" in read_detail(refused, 400)
    assert client.post(f"{RESTRICTED}?{query}&_=1", headers=headers).status_code == 400


def test_token_is_checked_before_parameters(client: FlaskClient) -> None:
    assert client.post(f"{RESTRICTED}?start=nonsense&format=json").status_code == 401
    wrong = client.get(f"{RESTRICTED}?start=nonsense&format=json")
    assert read_detail(wrong, 405) == "POST your token here."
    assert set(wrong.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_networks_show_their_restriction(client: FlaskClient, store: Store) -> None:
    store.registry.set_network_policy("GFZ", "GE", inverted=True)
    store.registry.set_network_group("GFZ", "GE", "a-group")
    found = {one["name"]: one for one in client.get(f"{PREFIX}/networks").get_json()["networks"]}
    assert (found["GE"]["restriction_policy"], found["FR"]["restriction_policy"]) == ("1", "0")
    assert "eas_group" not in found["GE"]


def test_double_slash_is_not_redirected(client: FlaskClient) -> None:
    for path in (f"{PREFIX}//nodes", "//nodes", f"{PREFIX}//", f"/{PREFIX}/nodes"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "Location" not in answer.headers


# Bodies


@pytest.mark.parametrize(
    ("headers", "packed"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded"}, False),
        ({"Content-Type": "multipart/form-data"}, False),
        ({"Content-Type": "application/octet-stream"}, True),
        ({}, True),
        ({"Content-Encoding": "x-gzip"}, True),
        ({"Content-Encoding": "gzip, identity"}, True),
        ({"Content-Encoding": "Identity"}, False),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_beginning_of_a_body_decides_its_format(
    client: FlaskClient, token: str, headers: dict[str, str], packed: bool, mark: bytes
) -> None:
    body = mark + json.dumps(wire(row(month="2026-07-01"), days_coverage=["2026-07-05"])).encode()
    sent = gzip.compress(body) if packed else body
    for name, scheme, status in (("Authentication", "Token", 201), ("Authorization", "Bearer", 409)):
        answer = client.post(SUBMIT, data=sent, headers={**headers, name: f"{scheme} {token}"})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("body", [b"", b"\xef\xbb", b"\xef\xbb\xbf", b"\x1f", b" ", b"\xef\xbb\xbf<"])
def test_short_or_malformed_bodies_are_refused(client: FlaskClient, token: str, body: bytes) -> None:
    answer = client.post(SUBMIT, data=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 400


# Errors


NASTY = "<p><img src=x onerror=alert(1)></p>"


def find_paragraph(body: str) -> str:
    """Return the part of an error that the dashboard shows."""
    found = re.search(r"<p>(.*?)</p>", body)
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    ("query", "status"),
    [(f"start={NASTY}", 400), (f"{NASTY}=1&start=2026", 400), ("start=2026-01&node=X<p>1</p>", 400)],
)
def test_dashboard_shows_fixed_text_of_errors(client: FlaskClient, query: str, status: int) -> None:
    answer = client.get(f"{PUBLIC}?format=json&{query}")
    assert answer.status_code == status
    assert answer.text.startswith('{"html":"<p>')
    assert answer.text.count("<") == 2
    text = find_paragraph(answer.text)
    assert "Internal" not in text
    assert "Time-out" not in text
    assert text == f"<p>{json.loads(answer.text)['title']}</p>"
    assert "<" in json.loads(answer.text)["detail"]


def test_fault_is_a_timeout_to_the_dashboard(client: FlaskClient, store: Store) -> None:
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("DROP TABLE dataselect_stats_by_network")
    answer = client.get(f"{PUBLIC}?format=json&start=2026-01&level=network")
    assert answer.status_code >= 500
    assert "Time-out" in find_paragraph(answer.text)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_errors_as_comment_have_no_html(client: FlaskClient) -> None:
    answer = client.get(f"{PUBLIC}?start=x")
    assert answer.status_code == 400
    assert "<p>" not in answer.text


# Pages of other sites


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("dataselect/public?start=2026-01", 200), ("dataselect/public", 400), ("dataselect/restricted", 405),
        ("nodes", 200), ("networks", 200), ("version", 200), ("_health", 200), ("openapi.yaml", 200),
        ("nothing", 404), ("node_restriction_policy?node=X", 400), ("explorer/", 200),
    ],
)  # fmt: skip
def test_other_origins_may_read(client: FlaskClient, path: str, status: int) -> None:
    for headers in ({}, {"Origin": "https://example.org"}):
        answer = client.get(f"{PREFIX}/{path}", headers=headers)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        exposed = answer.headers["Access-Control-Expose-Headers"]
        assert set(exposed.split(", ")) == {"ETag", "Last-Modified", "Retry-After", "X-Incomplete", "X-Request-ID"}


def test_other_origins_may_post_a_token(client: FlaskClient) -> None:
    preflight = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    answer = client.options(RESTRICTED, headers={**preflight, "Access-Control-Request-Headers": "content-type"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert "content-type" in answer.headers["Access-Control-Allow-Headers"].lower()


@pytest.mark.parametrize("path", ["submit", "dataselectstats", "payloads", "payloads/1", "metrics"])
def test_other_origins_may_not_submit(client: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = client.open(f"{PREFIX}/{path}", method=method, headers={"Origin": "https://example.org"})
        assert not [name for name in dict(answer.headers) if name.startswith("Access-Control")]
