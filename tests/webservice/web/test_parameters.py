"""Every parameter of every endpoint with malformed values: refused, never a fault, never half understood.

The parameters come from `openapi.yaml`, which lists all of them.
"""

import copy
import datetime
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support import issued, openapi
from support.dates import DAY
from support.kinds import make_quiet_day
from support.payloads import row, wire
from support.sent_crawls import make_crawl
from support.service import PREFIX, read_contents
from support.signer import Signer
from support.statistics import ALIASES
from support.stores import ON_POSTGRESQL, Store
from support.timelines import AVAILABILITY

# These values are refused before any store sees them. PostgreSQL would fail in more ways than SQLite.
pytestmark = ON_POSTGRESQL

METRICS_TOKEN = issued.note("token-of-prometheus")

# SQL quotes and comments, placeholders of its drivers, and typical injections.
SQL = [
    *("'", '"', "\\'", "--", "/*", "$$", "%s", "%(name)s", ":name", "{0}"),
    *("' OR '1'='1", "1 OR 1=1", "'; DROP TABLE nodes; --", "1; DROP TABLE nodes", "(SELECT pg_sleep(9))"),
    "') UNION SELECT value FROM tokens --",
]
CONTROL = ["\0", "\1", "\t", "\n", "\r", "\x1b[2J", "\x7f", "\x85", "\x9b", "\r\nSet-Cookie: a=b"]
BIDI = ["\u202e", "\u2066\u2069", "\u200f", "\u061c", "\u2028", "\ufeff"]
LONG = [sign * 10_000 for sign in ("A", "9", ",", "'", "\0", "\u202e")]
NASTY = [*SQL, *CONTROL, *BIDI, *LONG]

# Values of the other parameters.
SOUND = {
    "start": "2026-01", "end": "2026-10", "node": "GFZ", "network": "GE", "station": "EIL", "location": "--",
    "channel": "BHZ", "country": "DE", "level": "network", "details": "month", "format": "json",
    "hllvalues": "true", "unsuccessful": "true", "nodata": "404", "sort": "-clients", "limit": "10",
    "overlap": "refuse", "replaces": "1", "merge": "nodes", "header": "plain", "kind": "ringserver",
    "direction": "RX", "show": "clients", "by": "year", "top": "10", "compare": "year",
    "space": "GFZ", "time": "2026-01-05T12:00:00Z", "timestamp": "2026-01-05", "match": "before",
    "mode": "reconciled", "interval": "1h", "protocol": "SeedLink",
    "list_root_gpath": "", "intersects": "", "until": "2026-01-06", "namespace": "BH?", "metadata": "mseed",
    "srs": "EPSG:4326", "wkt": "POINT (1 1)",
}  # fmt: skip
# Those of queries of connections, which may begin in the middle of a day.
SOUND_OF_CONNECTIONS = SOUND | {"start": "2026-01-05", "end": "2026-01-06T00:00:00.5Z"}
ALIVE = b'{"event":"alive","instance":"ring"}'
COUNT = {"timestamp": "2026-01-05T12:00:00Z", "direction": "1", "dpu_id": "423"}
QUERIES = tuple(
    f"/{cube}/{kind}" for cube in ("dataselect", "ringserver", "holdings") for kind in ("public", "restricted")
)
# Prefixes that make the service look at a value.
HEADERS = {
    "Authorization": "Bearer ", "Authentication": "Bearer ", "X-Request-ID": "12345678", "X-Forwarded-For": "::1,",
    "Content-Type": "application/json;", "Content-Encoding": "gzip", "If-None-Match": 'W/"',
    "If-Modified-Since": "Sat, 29 Oct 1994 19:43:31 GMT", "Accept-Encoding": "gzip;q=",
}  # fmt: skip
# The service reads none of these itself, but its libraries may.
OTHERS = [
    *("Accept", "Host", "User-Agent", "Cookie", "Range", "Origin", "Referer", "Expect", "X-Forwarded-Host"),
    *("X-Forwarded-Proto", "X-HTTP-Method-Override", "Date", "Via", "TE", "Forwarded"),
]


class Endpoint(NamedTuple):
    """A method, a path and its parameters."""

    method: str
    path: str
    parameters: tuple[str, ...]


def read_endpoints() -> Iterator[Endpoint]:
    """Yield the endpoints of the document, with each parameter under all of its names."""
    document = openapi.read()
    shared = document["components"]["parameters"]
    for path, operations in document["paths"].items():
        # Its parameters and errors are those of FDSN; the tests of its folder check them.
        if path.startswith(AVAILABILITY):
            continue
        for method, operation in operations.items():
            parameters = operation.get("parameters", [])
            known = [shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in parameters]
            names = [one["name"] for one in known if one["in"] == "query"]
            also = [short for short, name in ALIASES.items() if name in names and path in QUERIES]
            yield Endpoint(method.upper(), path, (*names, *also))


ENDPOINTS = list(read_endpoints())


class Service(NamedTuple):
    """A client of the service, and the database that it must not change."""

    client: FlaskClient
    uri: str
    token: str
    operators: str

    def ask(self, method: str, path: str, **how: Any) -> Any:
        """Send a valid request, except for the given arguments."""
        path = path.replace("{path}", "GFZ/archive").replace("{shard}", "gfz")
        token = {
            "/dataselect/restricted": self.operators,
            "/ringserver/restricted": self.operators,
            "/holdings/restricted": self.operators,
            "/report": self.operators,
            "/metrics": METRICS_TOKEN,
        }.get(path, self.token)
        sound: dict[str, Any] = {"headers": {"Authorization": f"Bearer {token}"}}
        if path in ("/submit", "/dataselectstats"):
            sound["json"] = wire(row(bytes=77))
        elif path == "/ringserver":
            sound["data"] = make_quiet_day(datetime.date(2026, 10, 14)).to_json()
        elif path == "/connections":
            sound["data"] = ALIVE
        elif path.endswith("/crawl"):
            sound["data"] = make_crawl()
        elif path == "/send":
            sound["json"] = COUNT
        return self.client.open(f"{PREFIX}{path}", method=method, **(sound | how))


@pytest.fixture
def service(store_uri: str, service_uri: str, store: Store) -> Service:
    now = datetime.datetime.now(tz=datetime.UTC)
    store.registry.add_node("GFZ", "operator@gfz.example")
    token = store.registry.add_token("GFZ", now - DAY, now + DAY)[1]
    store.shards.create("gfz", "/GFZ/archive", "GFZ", open_paths=False)
    operators = store.registry.add_network_token("GE", now - DAY, now + DAY)[1]
    client = create_app(Config(service_uri, metrics_token=METRICS_TOKEN, max_failures_per_minute=0)).test_client()
    made = Service(client, store_uri, token, operators)
    assert made.ask("POST", "/submit", json=wire(row())).status_code == 201
    assert made.ask("POST", "/connections").status_code == 200
    return made


def get_sound(path: str, parameters: Iterable[str]) -> dict[str, str]:
    """Return valid values of some parameters."""
    sound = SOUND
    if path.startswith("/connections"):
        sound = SOUND_OF_CONNECTIONS
    elif path.startswith("/holdings"):
        sound = SOUND | {"details": "held_year", "sort": "-bytes_held"}
    return {name: sound[name] for name in parameters if name in sound}


def is_valid(path: str, name: str, text: str) -> bool:
    """Return whether a value is valid although it looks malformed."""
    if name == "space" and path == "/count":
        # Unknown spaces have no count, whatever their names are.
        return len(text) <= 130 and re.search("[\x00-\x1f\x7f]", text) is None
    if name == "protocol":
        return re.fullmatch("[A-Za-z0-9][A-Za-z0-9 ._/-]{0,31}", text) is not None
    return name in ("location", "country") and set(text) == {"-"}


def shorten(value: str) -> str:
    return ascii(value[:40])


def test_valid_values_are_accepted(service: Service) -> None:
    answers = {
        f"{method} {path}": service.ask(
            method,
            path.replace("{number}", "1"),
            # With a space, the page is a count and has no other parameters.
            query_string=get_sound(path, [name for name in parameters if (path, name) != ("/", "space")]),
        ).status_code
        for method, path, parameters in ENDPOINTS
        if path != "/payloads/{number}"
    }
    # It was sent before, and overlap=refuse is valid. The first payload is not of a ringserver.
    assert {query: status for query, status in answers.items() if status not in (200, 201, 202, 302)} == {
        "POST /submit": 409,
        "POST /dataselectstats": 409,
        "PUT /ringserver": 404,
        # Nothing was received.
        "GET /ringserver/public": 404,
        "POST /ringserver/restricted": 404,
        "GET /connections/sessions": 404,
    }


@pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in ENDPOINTS if endpoint.parameters],
    ids=lambda endpoint: f"{endpoint.method} {endpoint.path}",
)
def test_malformed_values_are_refused(service: Service, endpoint: Endpoint) -> None:
    method, path, parameters = endpoint
    before = read_contents(service.uri)
    # A page has a form with the names of countries.
    longest = len(service.ask("GET", "/", query_string="top=0").text) + 1500
    for number, name in enumerate(parameters):
        canonical = ALIASES.get(name, name)
        sound = get_sound(path, parameters)
        others = {other: value for other, value in sound.items() if other != canonical}
        # Every other value stands behind a valid one. For the next parameter, it is the others.
        for text in (f"{sound.get(canonical, '')}{one}" if at % 2 else one for at, one in enumerate(NASTY, number)):
            if is_valid(path, canonical, text):
                continue
            query = "&".join(f"{key}={quote(text)}" for key, text in {**others, name: text}.items())
            response = service.ask(method, path, query_string=query)
            assert 400 <= response.status_code < 500, (name, shorten(text), response.text)
            assert len(response.text) < (longest if response.mimetype == "text/html" else 1500), (
                name,
                shorten(text),
            )
            assert response.text.replace("\n", "").isprintable(), (name, shorten(text))
        assert read_contents(service.uri) == before, name


def test_malformed_parameter_names_are_no_fault(service: Service) -> None:
    before = read_contents(service.uri)
    for method, path, _ in ENDPOINTS:
        for name in NASTY:
            response = service.ask(
                method, path.replace("{number}", "1"), query_string=f"start=2026-01&{quote(name)}=1"
            )
            # Documents ignore parameters.
            assert response.status_code < 500, (path, shorten(name), response.text)
    assert read_contents(service.uri) == before


def test_malformed_numbers_in_paths_are_404(service: Service) -> None:
    before = read_contents(service.uri)
    for value in [*NASTY, "-1", "1.0", "0x1", "٣", "9" * 19, "9" * 4301, str(2**63)]:
        for text in (value, f"1{value}", f"{value}1"):
            response = service.ask("DELETE", f"/payloads/{quote(text, safe='')}")
            assert response.status_code in (404, 405), (shorten(text), response.text)
            assert len(response.text) < 1500, shorten(text)
    assert read_contents(service.uri) == before


@pytest.mark.parametrize("headers", [*((header,) for header in HEADERS), tuple(OTHERS)], ids=lambda value: value[0])
def test_malformed_headers_do_no_harm(service: Service, headers: tuple[str, ...]) -> None:
    before = read_contents(service.uri)
    variables = [header.upper().replace("-", "_") for header in headers]
    variables = [name if name == "CONTENT_TYPE" else f"HTTP_{name}" for name in variables]
    paths = [("GET", "/dataselect/public"), ("POST", "/dataselect/restricted"), ("PUT", "/submit")]
    if headers[0] in ("Authorization", "Authentication"):
        paths += [("GET", "/payloads"), ("GET", "/metrics")]
    if "Host" in headers:
        paths += [("GET", "/application.wadl")]
    for method, path in paths:
        query = {"query_string": "start=2026-01&network=GE"} if path.startswith("/dataselect") else {}
        query |= {"json": wire(row())} if path == "/submit" else {}
        for value in NASTY:
            begun = [HEADERS[name] for name in headers if name in HEADERS]
            begun += [f"Bearer {service.token}"] if begun == ["Bearer "] else []
            for text in (value, *(f"{start}{value}" for start in begun)):
                # As a server passes it on, even if it would refuse it.
                environ = dict.fromkeys(variables, text.encode().decode("latin-1"))
                response = service.ask(method, path, environ_overrides=environ, **query)
                assert response.status_code < 500, (path, shorten(text), response.text)
                assert response.status_code != 304, (path, shorten(text))
                assert re.fullmatch(r"[A-Za-z0-9-]{8,64}", response.headers["X-Request-ID"]), shorten(text)
                if headers == ("Authorization",) and path not in ("/dataselect/public", "/application.wadl"):
                    own = text.removeprefix("Bearer ").strip() == service.token
                    assert response.status_code in (401, 403) or own, (path, shorten(text))
    assert read_contents(service.uri) == before


def list_paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths to all values in a document."""
    keyed = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in keyed:
        yield (*here, key)
        yield from list_paths(inner, (*here, key))


WHOLE = wire(row(), excluded={"client_classes": ["robot"], "client_patterns": ["curl"]})


@pytest.mark.parametrize("place", list(list_paths(WHOLE)), ids=lambda place: ".".join(map(str, place)))
def test_malformed_fields_are_refused_or_kept(service: Service, store: Store, place: tuple[Any, ...]) -> None:
    *way, last = place
    before, stored = read_contents(service.uri), 0
    for number, value in enumerate([*NASTY, "\ud800"]):
        sent = copy.deepcopy(WHOLE)
        # Each payload has another number of bytes, so none is a duplicate.
        sent["stats"][0]["bytes"] = 1000 + number
        inner = sent
        for key in way:
            inner = inner[key]
        inner[last] = value
        response = service.ask("POST", "/submit", json=sent)
        assert response.status_code in (201, 400, 422), (shorten(value), response.text)
        if response.status_code != 201:
            continue
        stored += 1
        # Free text is kept unchanged.
        kept = json.loads(store.payloads.read_payload(response.json["payload"]))
        for key in place:
            kept = kept[key]
        # An invalid country counts as unknown.
        assert kept == ("" if last == "country" else value), shorten(value)
    assert len(store.payloads.list_payloads()) == 1 + stored
    if not stored:
        assert read_contents(service.uri) == before


def test_malformed_field_names_are_ignored(service: Service, store: Store) -> None:
    before = read_contents(service.uri)
    for name in NASTY:
        for sent in (wire(row(), **{name: name}), wire(row() | {name: name})):
            response = service.ask("POST", "/submit", json=sent)
            # The field is skipped, and the rest was sent before.
            assert response.status_code == 409, (shorten(name), response.text)
    assert read_contents(service.uri) == before


def test_malformed_groups_are_refused(store_uri: str, service_uri: str, store: Store, service: Service) -> None:
    with Signer() as signer:
        keys = {"eas_keyring": str(signer.keyring), "eas_fingerprints": signer.fingerprint}
        client = create_app(Config(service_uri, max_failures_per_minute=0, **keys)).test_client()
        store.registry.set_node_policy("GFZ", restricted=True)
        before = read_contents(service.uri)
        query = f"{PREFIX}/dataselect/restricted?start=2026-01&network=GE"
        for value in NASTY:
            assert client.post(query, data=value.encode()).status_code in (400, 401), shorten(value)
            for groups in (value, f"/epos/{value}", f"/epos/alparray/{value}"):
                response = client.post(query, data=signer.token(groups))
                assert response.status_code in (401, 403, 413), (shorten(groups), response.text)
        assert read_contents(store_uri) == before
