"""Every parameter of every endpoint, fed with what values are not: refused, never a fault, never half understood.

The parameters are those of `openapi.yaml`, which has all that there are.
"""

import copy
import datetime
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import yaml
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.query.parameters import ALIASES
from eida_stats_webservice.store import Store
from eida_stats_webservice.web import api_docs
from support import issued
from support.dates import DAY
from support.payloads import row, wire
from support.service import PREFIX, read_contents
from support.signer import Signer
from support.stores import ON_POSTGRESQL

# These values are refused before any store sees them. PostgreSQL would fail in more ways than SQLite.
pytestmark = ON_POSTGRESQL

METRICS_TOKEN = issued.note("token-of-prometheus")

# One of each kind: quotes and comments of SQL, placeholders of its drivers, and what is done with them.
SQL = [
    *("'", '"', "\\'", "--", "/*", "$$", "%s", "%(name)s", ":name", "{0}"),
    *("' OR '1'='1", "1 OR 1=1", "'; DROP TABLE nodes; --", "1; DROP TABLE nodes", "(SELECT pg_sleep(9))"),
    "') UNION SELECT value FROM tokens --",
]
CONTROL = ["\0", "\1", "\t", "\n", "\r", "\x1b[2J", "\x7f", "\x85", "\x9b", "\r\nSet-Cookie: a=b"]
BIDI = ["\u202e", "\u2066\u2069", "\u200f", "\u061c", "\u2028", "\ufeff"]
LONG = [sign * 10_000 for sign in ("A", "9", ",", "'", "\0", "\u202e")]
NASTY = [*SQL, *CONTROL, *BIDI, *LONG]

# What is sent if a parameter is not the one that is fed.
SOUND = {
    "start": "2026-01", "end": "2026-10", "node": "GFZ", "network": "GE", "station": "EIL", "location": "--",
    "channel": "BHZ", "country": "DE", "level": "network", "details": "month", "format": "json",
    "hllvalues": "true", "unsuccessful": "true", "nodata": "404", "sort": "bytes", "limit": "10",
    "overlap": "refuse", "replaces": "1", "merge": "nodes", "header": "plain",
}  # fmt: skip
# What a value may begin with, so that it is looked at.
HEADERS = {
    "Authorization": "Bearer ", "Authentication": "Bearer ", "X-Request-ID": "12345678", "X-Forwarded-For": "::1,",
    "Content-Type": "application/json;", "Content-Encoding": "gzip", "If-None-Match": 'W/"',
    "If-Modified-Since": "Sat, 29 Oct 1994 19:43:31 GMT", "Accept-Encoding": "gzip;q=",
}  # fmt: skip
# The service looks at none of these itself, but what it is built on may.
OTHERS = [
    *("Accept", "Host", "User-Agent", "Cookie", "Range", "Origin", "Referer", "Expect", "X-Forwarded-Host"),
    *("X-Forwarded-Proto", "X-HTTP-Method-Override", "Date", "Via", "TE", "Forwarded"),
]


class Endpoint(NamedTuple):
    """What can be asked."""

    method: str
    path: str
    parameters: tuple[str, ...]


def endpoints() -> Iterator[Endpoint]:
    """Yield those of the document, each of its parameters under all of its names."""
    document = yaml.safe_load(api_docs.OPENAPI.read_text())
    shared = document["components"]["parameters"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parameters = operation.get("parameters", [])
            known = [shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in parameters]
            names = [one["name"] for one in known if one["in"] == "query"]
            also = [short for short, name in ALIASES.items() if name in names and path.startswith("/dataselect/")]
            yield Endpoint(method.upper(), path, (*names, *also))


ENDPOINTS = list(endpoints())


class Service(NamedTuple):
    """The service, and what it must not change of the database."""

    client: FlaskClient
    uri: str
    token: str
    operators: str

    def ask(self, method: str, path: str, **how: Any) -> Any:
        """Ask with all that is needed, but for what is given otherwise."""
        token = {"/dataselect/restricted": self.operators, "/metrics": METRICS_TOKEN}.get(path, self.token)
        sound: dict[str, Any] = {"headers": {"Authorization": f"Bearer {token}"}}
        if path in ("/submit", "/dataselectstats"):
            sound["json"] = wire(row(bytes=77))
        return self.client.open(f"{PREFIX}{path}", method=method, **(sound | how))


@pytest.fixture
def service(store_uri: str, service_uri: str, store: Store) -> Service:
    now = datetime.datetime.now(tz=datetime.UTC)
    store.add_node("GFZ", "operator@gfz.example")
    token = store.add_token("GFZ", now - DAY, now + DAY)[1]
    operators = store.add_network_token("GE", now - DAY, now + DAY)[1]
    client = create_app(Config(service_uri, metrics_token=METRICS_TOKEN, max_failures_per_minute=0)).test_client()
    made = Service(client, store_uri, token, operators)
    assert made.ask("POST", "/submit", json=wire(row())).status_code == 201
    return made


def shown(value: str) -> str:
    return ascii(value[:40])


def test_what_is_sent_with_all_endpoints_is_sound(service: Service) -> None:
    answers = {
        f"{method} {path}": service.ask(
            method,
            path.replace("{number}", "1"),
            query_string={name: SOUND[name] for name in parameters if name in SOUND},
        ).status_code
        for method, path, parameters in ENDPOINTS
        if path != "/payloads/{number}"
    }
    # It has been sent before, and overlap=refuse is sound.
    assert {asked: status for asked, status in answers.items() if status not in (200, 201, 302)} == {
        "POST /submit": 409,
        "POST /dataselectstats": 409,
    }


@pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if endpoint.parameters],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
def test_a_parameter_takes_nothing_of_the_kind(service: Service, endpoint: Endpoint) -> None:
    method, path, parameters = endpoint
    before = read_contents(service.uri)
    for name in parameters:
        said = ALIASES.get(name, name)
        others = {other: SOUND[other] for other in parameters if other in SOUND and other != said}
        for fed in (text for value in NASTY for text in (value, f"{SOUND[said]}{value}")):
            if said == "location" and set(fed) == {"-"}:
                continue  # the code of one
            query = "&".join(f"{key}={quote(text)}" for key, text in {**others, name: fed}.items())
            response = service.ask(method, path, query_string=query)
            assert 400 <= response.status_code < 500, (name, shown(fed), response.text)
            assert len(response.text) < 1500, (name, shown(fed))
            assert response.text.replace("\n", "").isprintable(), (name, shown(fed))
        assert read_contents(service.uri) == before, name


def test_the_name_of_a_parameter_is_nothing_of_the_kind(service: Service) -> None:
    before = read_contents(service.uri)
    for method, path, _ in ENDPOINTS:
        for name in NASTY:
            response = service.ask(
                method, path.replace("{number}", "1"), query_string=f"start=2026-01&{quote(name)}=1"
            )
            # Documents are the same whatever is asked of them.
            assert response.status_code < 500, (path, shown(name), response.text)
    assert read_contents(service.uri) == before


def test_a_number_in_a_path_is_nothing_of_the_kind(service: Service) -> None:
    before = read_contents(service.uri)
    for value in [*NASTY, "-1", "1.0", "0x1", "٣", "9" * 19, "9" * 4301, str(2**63)]:
        for fed in (value, f"1{value}", f"{value}1"):
            response = service.ask("DELETE", f"/payloads/{quote(fed, safe='')}")
            assert response.status_code in (404, 405), (shown(fed), response.text)
            assert len(response.text) < 1500, shown(fed)
    assert read_contents(service.uri) == before


@pytest.mark.parametrize("headers", [*((header,) for header in HEADERS), tuple(OTHERS)], ids=lambda value: value[0])
def test_a_header_does_no_harm(service: Service, headers: tuple[str, ...]) -> None:
    before = read_contents(service.uri)
    variables = [header.upper().replace("-", "_") for header in headers]
    variables = [name if name == "CONTENT_TYPE" else f"HTTP_{name}" for name in variables]
    paths = [("GET", "/dataselect/public"), ("POST", "/dataselect/restricted"), ("PUT", "/submit")]
    if headers[0] in ("Authorization", "Authentication"):
        paths += [("GET", "/payloads"), ("GET", "/metrics")]
    if "Host" in headers:
        paths += [("GET", "/application.wadl")]
    for method, path in paths:
        asked = {"query_string": "start=2026-01&network=GE"} if path.startswith("/dataselect") else {}
        asked |= {"json": wire(row())} if path == "/submit" else {}
        for value in NASTY:
            begun = [HEADERS[name] for name in headers if name in HEADERS]
            begun += [f"Bearer {service.token}"] if begun == ["Bearer "] else []
            for fed in (value, *(f"{start}{value}" for start in begun)):
                # As a server hands it over, also what a server refuses itself.
                environ = dict.fromkeys(variables, fed.encode().decode("latin-1"))
                response = service.ask(method, path, environ_overrides=environ, **asked)
                assert response.status_code < 500, (path, shown(fed), response.text)
                assert response.status_code != 304, (path, shown(fed))
                assert re.fullmatch(r"[A-Za-z0-9-]{8,64}", response.headers["X-Request-ID"]), shown(fed)
                if headers == ("Authorization",) and path not in ("/dataselect/public", "/application.wadl"):
                    own = fed.removeprefix("Bearer ").strip() == service.token
                    assert response.status_code in (401, 403) or own, (path, shown(fed))
    assert read_contents(service.uri) == before


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the ways to all values in a document."""
    keyed = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in keyed:
        yield (*here, key)
        yield from places(inner, (*here, key))


WHOLE = wire(row(), excluded={"client_classes": ["robot"], "client_patterns": ["curl"]})


@pytest.mark.parametrize("place", list(places(WHOLE)), ids=lambda place: ".".join(map(str, place)))
def test_a_field_of_a_payload_takes_what_is_of_its_kind_or_nothing(
    service: Service, store: Store, place: tuple[Any, ...]
) -> None:
    *way, last = place
    before, stored = read_contents(service.uri), 0
    for number, value in enumerate([*NASTY, "\ud800"]):
        sent = copy.deepcopy(WHOLE)
        # No payload is that of another value.
        sent["stats"][0]["bytes"] = 1000 + number
        inner = sent
        for key in way:
            inner = inner[key]
        inner[last] = value
        response = service.ask("POST", "/submit", json=sent)
        assert response.status_code in (201, 400, 422), (shown(value), response.text)
        if response.status_code != 201:
            continue
        stored += 1
        # What is free is kept as it came.
        kept = json.loads(store.payload(response.json["payload"]))
        for key in place:
            kept = kept[key]
        # A country that is none is not known.
        assert kept == ("" if last == "country" else value), shown(value)
    assert len(store.list_payloads()) == 1 + stored
    if not stored:
        assert read_contents(service.uri) == before


def test_a_name_of_a_field_is_nothing_of_the_kind(service: Service, store: Store) -> None:
    before = read_contents(service.uri)
    for name in NASTY:
        for sent in (wire(row(), **{name: name}), wire(row() | {name: name})):
            response = service.ask("POST", "/submit", json=sent)
            # It is passed over, and without it all of this was sent before.
            assert response.status_code == 409, (shown(name), response.text)
    assert read_contents(service.uri) == before


def test_a_token_of_the_authentication_system_takes_nothing_of_the_kind(
    store_uri: str, service_uri: str, store: Store, service: Service
) -> None:
    with Signer() as signer:
        keys = {"eas_keyring": str(signer.keyring), "eas_fingerprints": signer.fingerprint}
        client = create_app(Config(service_uri, max_failures_per_minute=0, **keys)).test_client()
        store.set_node_policy("GFZ", restricted=True)
        before = read_contents(service.uri)
        asked = f"{PREFIX}/dataselect/restricted?start=2026-01&network=GE"
        for value in NASTY:
            assert client.post(asked, data=value.encode()).status_code in (400, 401), shown(value)
            for groups in (value, f"/epos/{value}", f"/epos/alparray/{value}"):
                response = client.post(asked, data=signer.token(groups))
                assert response.status_code in (401, 403, 413), (shown(groups), response.text)
        assert read_contents(store_uri) == before
