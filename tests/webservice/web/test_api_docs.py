"""The documents of the interface are valid, true and complete, and the page needs no other host."""

import datetime
import json
import re
import xml.etree.ElementTree as ET
from contextlib import closing
from typing import Any
from urllib.parse import urljoin, urlsplit

import openapi_spec_validator
import pytest
from flask.testing import FlaskClient

from eida_statistics import __version__
from eida_stats_webservice.app import create_app
from eida_stats_webservice.archive.paths.parameters import OPERATIONS
from eida_stats_webservice.config import Config
from eida_stats_webservice.query.parameters import FORMATS, MAX_LIMIT
from support import openapi
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row
from support.ringserver_days import make_day
from support.service import PREFIX
from support.statistics import ALIASES, LEVELS
from support.stores import Store, open_store
from support.transfer_logs import Log, Stream

PREFIXES = ("", "/statistics", PREFIX)
COARSE = {
    *("start", "end", "node", "network", "country", "level", "details", "format"),
    *("hllvalues", "unsuccessful", "nodata", "sort", "limit", "merge", "header"),
}
_HOLDINGS = COARSE - {"hllvalues", "unsuccessful", "country"} | {"streams", "growth"}
PARAMETERS = {
    "/dataselect/public": COARSE,
    "/dataselect/restricted": COARSE | {"station", "location", "channel"},
    "/ringserver/public": COARSE - {"unsuccessful"} | {"direction"},
    "/ringserver/restricted": COARSE - {"unsuccessful"} | {"direction", "station", "location", "channel"},
    "/usage": COARSE - {"hllvalues", "unsuccessful"},
    "/holdings/public": _HOLDINGS,
    "/holdings/restricted": _HOLDINGS | {"station", "location", "channel"},
}
_OUTPUT = {"format", "header", "nodata"}
LIVE = {
    "/connections/now": {"space"} | _OUTPUT,
    "/connections/count": {"space", "time", "match", "mode", "protocol"} | _OUTPUT,
    "/connections/series": {"space", "start", "end", "interval", "protocol"} | _OUTPUT,
}
PATHS = {
    *("list_sub_gpath", "timestamps", "extents", "intersects", "time", "until", "namespace", "metadata", "srs"),
    *("wkt", "limit", "token"),
}
# A valid value of each parameter without an enumeration.
VALUES = {
    "start": "2025-11",
    "end": "2026-10",
    "node": "NODE1",
    "network": "GE",
    "station": "E*",
    "location": "--,0?",
    "channel": "BH?",
    "country": "DE,A1",
    "hllvalues": "true",
    "unsuccessful": "false",
    "streams": "true",
    "limit": str(MAX_LIMIT),
}
WADL = {"": "http://wadl.dev.java.net/2009/02"}


@pytest.fixture
def store_uri(sqlite_uri: str) -> str:
    return sqlite_uri


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return openapi.parse(client.get(f"{PREFIX}/openapi.yaml").text)


@pytest.fixture
def wadl(client: FlaskClient) -> ET.Element:
    return ET.fromstring(client.get(f"{PREFIX}/application.wadl").text)


@pytest.fixture
def operator(store_uri: str) -> dict[str, str]:
    """Store a row of each kind, and return the headers of the operator of their network."""
    now = datetime.datetime.now(tz=datetime.UTC)
    store: Store = open_store(store_uri)
    node, _ = make_node(store, "NODE1")
    store.dataselect.ingest(node, payload(row(month="2026-10-01", network="GE")))
    times = {"connected": "2026-10-30T01:00:00Z", "written": "2026-10-30T02:00:00Z"}
    store.ringserver.ingest(node, make_day([Log(streams=(Stream("FDSN:GE_EIL__B_H_Z/MSEED"),), **times)]))
    token = store.registry.add_network_token("GE", now - DAY, now + DAY)[1]
    store.close()
    return {"Authorization": f"Bearer {token}"}


def read_openapi_parameters(document: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    """Return the parameters of a path in the OpenAPI document, by name."""
    operations = document["paths"][path].values()
    resolved = [resolve(document, parameter) for each in operations for parameter in each.get("parameters", [])]
    return {parameter["name"]: parameter for parameter in resolved}


def resolve(document: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in parameter:
        found: Any = document
        for name in parameter["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return dict(found)
    return parameter


def read_wadl_parameters(wadl: ET.Element, path: str) -> dict[str, ET.Element]:
    """Return the parameters of a path in the WADL, by name."""
    found = wadl.find("resources", WADL)
    for part in path.removeprefix("/").split("/"):
        assert found is not None, path
        found = found.find(f"resource[@path='{part}']", WADL)
    assert found is not None, path
    return {str(parameter.get("name")): parameter for parameter in found.findall("method/request/param", WADL)}


# Served


def test_version_is_that_of_the_package(client: FlaskClient) -> None:
    response = client.get(f"{PREFIX}/version")
    assert (response.status_code, response.mimetype, response.text) == (200, "text/plain", f"{__version__}\n")


@pytest.mark.parametrize(
    ("path", "media_type"), [("openapi.yaml", "application/yaml"), ("application.wadl", "application/xml")]
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_documents_are_below_the_prefix(store_uri: str, prefix: str, path: str, media_type: str) -> None:
    response = create_app(Config(store_uri, url_prefix=prefix)).test_client().get(f"{prefix}/{path}")
    assert (response.status_code, response.mimetype) == (200, media_type)


# Valid


def test_openapi_document_is_valid(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)
    assert (document["info"]["title"], document["info"]["version"]) == ("EIDA statistics", "1.0.0")
    assert document["servers"] == [{"url": "."}]


def test_openapi_document_has_no_merge_keys(client: FlaskClient) -> None:
    assert "<<" not in client.get(f"{PREFIX}/openapi.yaml").text


def test_patterns_match_whole_values(document: dict[str, Any]) -> None:
    # Only the beginning of a comment line may continue.
    patterns = set(re.findall(r'"pattern": "(.*?)"', json.dumps(document))) - {"^# "}
    assert len(patterns) > 5
    assert [pattern for pattern in patterns if not re.fullmatch(r"\^.*\$", pattern)] == []


def test_operations_and_parameters_are_described(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
        for name, parameter in read_openapi_parameters(document, path).items():
            assert parameter["description"], (path, name)
            schema = resolve(document, parameter["schema"])
            assert {"enum", "pattern", "default", "maximum"} & schema.keys(), (path, name)


def test_wadl_base_is_the_requested_url(store_uri: str) -> None:
    client = create_app(Config(store_uri, url_prefix="/statistics")).test_client()
    for query in ("https://statistics.example:8443", "http://127.0.0.1"):
        resources = ET.fromstring(client.get("/statistics/application.wadl", base_url=query).text).find(
            "resources", WADL
        )
        assert resources is not None
        assert resources.get("base") == f"{query}/statistics/"


def test_host_is_escaped_in_the_wadl(client: FlaskClient) -> None:
    for host in ('a"b', "<b>", "a&b", "\xff"):
        text = client.get(f"{PREFIX}/application.wadl?x={host}", headers={"Host": host}).text
        assert len(ET.fromstring(text).findall("resources", WADL)) == 1
        assert host not in text


# True


def test_exactly_the_routes_are_described(store_uri: str, document: dict[str, Any]) -> None:
    served = {
        # The prefix leads to the same page without its slash.
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix(PREFIX)) or "/")
        for rule in create_app(Config(store_uri)).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    # Below are a page, and the scripts and styles of both pages.
    served = {(method, path) for method, path in served if not path.startswith(("/explorer", "/assets"))}
    assert served == {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_wadl_paths_are_served(client: FlaskClient, wadl: ET.Element) -> None:
    def paths(resource: ET.Element, above: str) -> list[tuple[str, str]]:
        here = [(str(method.get("name")), above) for method in resource.findall("method", WADL)]
        for below in resource.findall("resource", WADL):
            here += paths(below, f"{above}/{below.get('path')}")
        return here

    resources = wadl.find("resources", WADL)
    assert resources is not None
    found = paths(resources, "")
    assert {("GET", "/dataselect/public"), ("POST", "/dataselect/restricted")} <= set(found)
    for method, path in found:
        assert client.open(PREFIX + path, method=method).status_code not in {404, 405}, path


@pytest.mark.parametrize("path", LIVE)
def test_both_documents_have_parameters_of_counts(document: dict[str, Any], wadl: ET.Element, path: str) -> None:
    assert read_openapi_parameters(document, path).keys() == LIVE[path]
    assert read_wadl_parameters(wadl, path).keys() == LIVE[path]


def test_both_documents_have_parameters_of_paths(document: dict[str, Any], wadl: ET.Element) -> None:
    path = "/archive/{path}"
    described = read_openapi_parameters(document, path)
    assert described.keys() - {"path"} == PATHS
    in_wadl = read_wadl_parameters(wadl, path)
    assert in_wadl.keys() == PATHS
    for name in PATHS:
        choices = resolve(document, described[name]["schema"]).get("enum", [])
        assert [option.get("value") for option in in_wadl[name].findall("option", WADL)] == choices, name
    operations = {name: set(parameters) for name, parameters in OPERATIONS.items() if name != "list_root_gpath"}
    assert operations.keys() | set().union(*operations.values()) == PATHS


@pytest.mark.parametrize("path", PARAMETERS)
def test_both_documents_have_all_parameters(document: dict[str, Any], wadl: ET.Element, path: str) -> None:
    parameters = read_openapi_parameters(document, path)
    aliases = {alias: name for alias, name in ALIASES.items() if name in PARAMETERS[path]}
    assert parameters.keys() == PARAMETERS[path]
    assert {
        alias: name for name, parameter in parameters.items() for alias in parameter.get("x-aliases", [])
    } == aliases
    assert all(f"`{alias}`" in parameters[name]["description"] for alias, name in aliases.items())
    assert read_wadl_parameters(wadl, path).keys() == PARAMETERS[path] | aliases.keys()


@pytest.mark.parametrize("path", [*PARAMETERS, *LIVE])
def test_choices_and_defaults_are_equal(document: dict[str, Any], wadl: ET.Element, path: str) -> None:
    in_wadl = read_wadl_parameters(wadl, path)
    for name, parameter in read_openapi_parameters(document, path).items():
        schema = resolve(document, parameter["schema"])
        choices = ["true", "false"] if schema["type"] == "boolean" else list(map(str, schema.get("enum", [])))
        default = schema.get("default")
        default = str(default).lower() if isinstance(default, bool) else default
        assert [option.get("value") for option in in_wadl[name].findall("option", WADL)] == choices, name
        assert in_wadl[name].get("default") == default, name


def test_choices_are_those_of_the_service(document: dict[str, Any]) -> None:
    public, restricted = (
        read_openapi_parameters(document, path) for path in ("/dataselect/public", "/dataselect/restricted")
    )
    assert public["format"]["schema"]["enum"] == list(FORMATS)
    assert public["level"]["schema"]["enum"] == list(LEVELS[:2])
    assert restricted["level"]["schema"]["enum"] == list(LEVELS)
    assert public["limit"]["schema"]["maximum"] == MAX_LIMIT


@pytest.mark.parametrize("path", PARAMETERS)
def test_described_parameters_are_accepted(
    client: FlaskClient, operator: dict[str, str], document: dict[str, Any], path: str
) -> None:
    for name, parameter in read_openapi_parameters(document, path).items():
        choices = resolve(document, parameter["schema"]).get("enum", [])
        for called in (name, *parameter.get("x-aliases", [])):
            for value in choices or [VALUES[name]]:
                query = {called: value, "network": "GE", "start": "2025-11"}
                if name == "merge":
                    query["level"] = "network"
                if called in ALIASES:
                    query.pop(ALIASES[called], None)
                if name == "network" and called != name:
                    query.pop("network", None)
                open_to = client.post if path.endswith("restricted") else client.get
                response = open_to(PREFIX + path, query_string=query, headers=operator)
                assert response.status_code == 200, (query, response.text)


def test_described_columns_are_those_of_an_answer(
    client: FlaskClient, operator: dict[str, str], document: dict[str, Any]
) -> None:
    for path, optional, schema in (
        ("dataselect/public", ("hllvalues", "unsuccessful"), "Row"),
        ("ringserver/public", ("hllvalues",), "StreamingRow"),
        ("usage", (), "UsageRow"),
        ("holdings/public", ("streams",), "HoldingsRow"),
    ):
        described = document["components"]["schemas"][schema]
        query = {"start": "2025-11", "format": "json"}
        for columns, added in (
            (described["properties"].keys(), dict.fromkeys(optional, "true")),
            (described["required"], {}),
        ):
            response = client.get(f"{PREFIX}/{path}", query_string=query | added)
            (found,) = json.loads(response.text)["results"]
            assert list(found) == list(columns), path


@pytest.mark.parametrize("path", LIVE)
def test_described_parameters_of_counts_are_accepted(
    client: FlaskClient, operator: dict[str, str], store_uri: str, document: dict[str, Any], path: str
) -> None:
    assert operator
    with closing(open_store(store_uri)) as store:
        _, token = make_node(store, "NODE1")
    alive = b'{"event":"alive","instance":"ring"}'
    assert client.post(f"{PREFIX}/connections", data=alive, headers={"Authorization": f"Bearer {token}"}).json
    fixed = {
        "space": "NODE1",
        "protocol": "SeedLink",
        "time": "2026-01-05",
        "start": "2026-01-05",
        "end": "2026-01-06",
    }
    for name, parameter in read_openapi_parameters(document, path).items():
        for value in resolve(document, parameter["schema"]).get("enum") or [fixed[name]]:
            query = {key: fixed[key] for key in LIVE[path] & {"space", "start", "end"}} | {name: value}
            response = client.get(PREFIX + path, query_string=query)
            assert response.status_code == 200, (query, response.text)


# Shown


@pytest.mark.parametrize("prefix", PREFIXES)
def test_pages_are_found_without_their_slash(store_uri: str, prefix: str) -> None:
    client = create_app(Config(store_uri, url_prefix=prefix)).test_client()
    for path, title in (
        *((("", "There are no statistics of requests yet"),) if prefix else ()),
        ("/", "There are no statistics of requests yet"),
        ("/explorer", "<title>EIDA statistics</title>"),
        ("/explorer/", "<title>EIDA statistics</title>"),
    ):
        address = f"http://localhost{prefix}{path}"
        response = client.get(urlsplit(address).path or "/")
        if response.status_code == 302:
            # As a browser does; the test client would resolve it from the root.
            address = urljoin(address, response.headers["Location"])
            response = client.get(urlsplit(address).path)
        assert (response.status_code, response.mimetype) == (200, "text/html"), path
        assert urlsplit(address).path == f"{prefix}{path.removesuffix('/')}/"
        assert title in response.text


@pytest.mark.parametrize("path", ["", "/explorer"])
def test_redirections_name_no_host(client: FlaskClient, path: str) -> None:
    location = client.get(f"{PREFIX}{path}").headers["Location"]
    assert not urlsplit(location).netloc
    assert not location.startswith("/")
    assert urljoin(f"https://proxy.example{PREFIX}{path}", location) == f"https://proxy.example{PREFIX}{path}/"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_page_loads_from_this_host_only(store_uri: str, prefix: str) -> None:
    client = create_app(Config(store_uri, url_prefix=prefix)).test_client()
    page = client.get(f"{prefix}/explorer/")
    settings = json.loads(re.findall(r"user_config = (\{.*?\});", page.text)[0])
    references = [*re.findall(r'(?:src|href)="(.*?)"', page.text), settings["url"]]
    assert len(references) >= 5
    for reference in references:
        address = urlsplit(urljoin(f"http://localhost{prefix}/explorer/", reference))
        assert address.netloc == "localhost", reference
        with client.get(address.path) as response:
            assert response.status_code == 200, reference
            assert response.data
    assert "://" not in page.text
    assert settings["validatorUrl"] is None
    assert "connect-src 'self'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["%2e%2e/__init__.py", "..%2f__init__.py", "%00", "missing.js", "templates/index.template.html"]
)
def test_page_serves_only_its_own_files(client: FlaskClient, path: str) -> None:
    assert client.get(f"{PREFIX}/explorer/{path}").status_code == 404
