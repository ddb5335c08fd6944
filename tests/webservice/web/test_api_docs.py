"""What the service says of itself: that it is valid, true and complete, and shown without the help of others."""

import datetime
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import openapi_spec_validator
import pytest
import yaml
from flask.testing import FlaskClient

from eida_statistics import __version__
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import migrations
from eida_stats_webservice.query.model import LEVELS
from eida_stats_webservice.query.parameters import ALIASES, FORMATS, MAX_LIMIT
from support.dates import DAY
from support.payloads import payload, row
from support.service import PREFIX
from support.stores import Store, open_store

PREFIXES = ("", "/statistics", PREFIX)
COARSE = {
    *("start", "end", "node", "network", "country", "level", "details", "format"),
    *("hllvalues", "unsuccessful", "nodata", "sort", "limit", "merge", "header"),
}
PARAMETERS = {
    "/dataselect/public": COARSE,
    "/dataselect/restricted": COARSE | {"station", "location", "channel"},
}
# A value of each that the service below must take; of those that have an enumeration, all of it.
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
    "limit": str(MAX_LIMIT),
}
WADL = {"": "http://wadl.dev.java.net/2009/02"}


@pytest.fixture
def database_uri(tmp_path: Path) -> str:
    uri = f"sqlite:///{tmp_path / 'statistics.db'}"
    migrations.apply(uri)
    return uri


@pytest.fixture
def store_uri(database_uri: str) -> str:
    return database_uri


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return dict(yaml.safe_load(client.get(f"{PREFIX}/openapi.yaml").text))


@pytest.fixture
def wadl(client: FlaskClient) -> ET.Element:
    return ET.fromstring(client.get(f"{PREFIX}/application.wadl").text)


@pytest.fixture
def operator(database_uri: str) -> dict[str, str]:
    """Store something, and give the headers of the operator of its network."""
    now = datetime.datetime.now(tz=datetime.UTC)
    store: Store = open_store(database_uri)
    store.registry.add_node("NODE1", "operator@node1.example")
    node = store.registry.sender_of_token(store.registry.add_token("NODE1", now - DAY, now + DAY)[1], now).node
    store.payloads.ingest(node, payload(row(month="2026-10-01", network="GE")))
    token = store.registry.add_network_token("GE", now - DAY, now + DAY)[1]
    store.close()
    return {"Authorization": f"Bearer {token}"}


def described(document: dict[str, Any], path: str) -> dict[str, dict[str, Any]]:
    """The parameters of a path in the OpenAPI document, by name."""
    operations = document["paths"][path].values()
    resolved = [resolve(document, parameter) for each in operations for parameter in each.get("parameters", [])]
    return {parameter["name"]: parameter for parameter in resolved}


def resolve(document: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in described:
        found: Any = document
        for name in described["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return dict(found)
    return described


def in_wadl(wadl: ET.Element, path: str) -> dict[str, ET.Element]:
    """The parameters of a path in the WADL, by name."""
    found = wadl.find("resources", WADL)
    for part in path.removeprefix("/").split("/"):
        assert found is not None, path
        found = found.find(f"resource[@path='{part}']", WADL)
    assert found is not None, path
    return {str(parameter.get("name")): parameter for parameter in found.findall("method/request/param", WADL)}


# Served


def test_the_version_is_that_of_the_software(client: FlaskClient) -> None:
    response = client.get(f"{PREFIX}/version")
    assert (response.status_code, response.mimetype, response.text) == (200, "text/plain", f"{__version__}\n")


@pytest.mark.parametrize(
    ("path", "media_type"), [("openapi.yaml", "application/yaml"), ("application.wadl", "application/xml")]
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_documents_are_below_the_prefix(database_uri: str, prefix: str, path: str, media_type: str) -> None:
    response = create_app(Config(database_uri, url_prefix=prefix)).test_client().get(f"{prefix}/{path}")
    assert (response.status_code, response.mimetype) == (200, media_type)


# Valid


def test_the_openapi_document_is_valid(document: dict[str, Any]) -> None:
    openapi_spec_validator.validate(document)
    assert (document["info"]["title"], document["info"]["version"]) == ("EIDA statistics", "1.0.0")
    assert document["servers"] == [{"url": "."}]


def test_the_openapi_document_has_no_merged_keys_which_only_old_yaml_knows(client: FlaskClient) -> None:
    assert "<<" not in client.get(f"{PREFIX}/openapi.yaml").text


def test_every_pattern_is_of_the_whole_value(document: dict[str, Any]) -> None:
    # Only what begins every line of a comment goes on.
    patterns = set(re.findall(r'"pattern": "(.*?)"', json.dumps(document))) - {"^# "}
    assert len(patterns) > 5
    assert [pattern for pattern in patterns if not re.fullmatch(r"\^.*\$", pattern)] == []


def test_every_operation_and_every_parameter_says_what_it_is(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
        for name, parameter in described(document, path).items():
            assert parameter["description"], (path, name)
            schema = resolve(document, parameter["schema"])
            assert {"enum", "pattern", "default", "maximum"} & schema.keys(), (path, name)


def test_the_wadl_says_where_the_service_is_as_it_was_asked(database_uri: str) -> None:
    client = create_app(Config(database_uri, url_prefix="/statistics")).test_client()
    for asked in ("https://statistics.example:8443", "http://127.0.0.1"):
        resources = ET.fromstring(client.get("/statistics/application.wadl", base_url=asked).text).find(
            "resources", WADL
        )
        assert resources is not None
        assert resources.get("base") == f"{asked}/statistics/"


def test_nobody_writes_into_the_wadl(client: FlaskClient) -> None:
    for host in ('a"b', "<b>", "a&b", "\xff"):
        text = client.get(f"{PREFIX}/application.wadl?x={host}", headers={"Host": host}).text
        assert len(ET.fromstring(text).findall("resources", WADL)) == 1
        assert host not in text


# True


def test_every_route_is_described_and_nothing_else(database_uri: str, document: dict[str, Any]) -> None:
    served = {
        # Without its slash the prefix leads to the same page.
        (method, re.sub(r"<int:(\w+)>", r"{\1}", rule.rule.removeprefix(PREFIX)) or "/")
        for rule in create_app(Config(database_uri)).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    # What is below is a page, its scripts and styles.
    served = {(method, path) for method, path in served if not path.startswith("/explorer")}
    assert served == {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_every_path_of_the_wadl_is_served(client: FlaskClient, wadl: ET.Element) -> None:
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


@pytest.mark.parametrize("path", PARAMETERS)
def test_every_parameter_is_in_both_documents_with_its_other_name(
    document: dict[str, Any], wadl: ET.Element, path: str
) -> None:
    parameters = described(document, path)
    aliases = {alias: name for alias, name in ALIASES.items() if name in PARAMETERS[path]}
    assert parameters.keys() == PARAMETERS[path]
    assert {
        alias: name for name, parameter in parameters.items() for alias in parameter.get("x-aliases", [])
    } == aliases
    assert all(f"`{alias}`" in parameters[name]["description"] for alias, name in aliases.items())
    assert in_wadl(wadl, path).keys() == PARAMETERS[path] | aliases.keys()


@pytest.mark.parametrize("path", PARAMETERS)
def test_both_documents_have_the_same_choices_and_defaults(
    document: dict[str, Any], wadl: ET.Element, path: str
) -> None:
    told = in_wadl(wadl, path)
    for name, parameter in described(document, path).items():
        schema = resolve(document, parameter["schema"])
        choices = ["true", "false"] if schema["type"] == "boolean" else list(map(str, schema.get("enum", [])))
        default = None if "default" not in schema else str(schema["default"]).lower()
        assert [option.get("value") for option in told[name].findall("option", WADL)] == choices, name
        assert told[name].get("default") == default, name


def test_the_choices_are_those_of_the_service(document: dict[str, Any]) -> None:
    public, restricted = (described(document, path) for path in PARAMETERS)
    assert public["format"]["schema"]["enum"] == list(FORMATS)
    assert public["level"]["schema"]["enum"] == list(LEVELS[:2])
    assert restricted["level"]["schema"]["enum"] == list(LEVELS)
    assert public["limit"]["schema"]["maximum"] == MAX_LIMIT


@pytest.mark.parametrize("path", PARAMETERS)
def test_every_parameter_and_choice_that_is_described_is_taken_by_all_its_names(
    client: FlaskClient, operator: dict[str, str], document: dict[str, Any], path: str
) -> None:
    for name, parameter in described(document, path).items():
        choices = resolve(document, parameter["schema"]).get("enum", [])
        for called in (name, *parameter.get("x-aliases", [])):
            for value in choices or [VALUES[name]]:
                asked = {called: value, "network": "GE", "start": "2025-11"}
                if name == "merge":
                    asked["level"] = "network"
                if called in ALIASES:
                    asked.pop(ALIASES[called], None)
                if name == "network" and called != name:
                    asked.pop("network", None)
                open_to = client.post if path.endswith("restricted") else client.get
                response = open_to(PREFIX + path, query_string=asked, headers=operator)
                assert response.status_code == 200, (asked, response.text)


def test_the_columns_that_are_described_are_those_of_an_answer(
    client: FlaskClient, operator: dict[str, str], document: dict[str, Any]
) -> None:
    asked = {"start": "2025-11", "format": "json", "hllvalues": "true", "unsuccessful": "true"}
    (found,) = json.loads(client.get(f"{PREFIX}/dataselect/public", query_string=asked).text)["results"]
    described = document["components"]["schemas"]["Row"]
    assert found.keys() == described["properties"].keys()
    del asked["hllvalues"], asked["unsuccessful"]
    (found,) = json.loads(client.get(f"{PREFIX}/dataselect/public", query_string=asked).text)["results"]
    assert list(found) == described["required"]


# Shown


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_page_is_found_from_the_prefix_with_and_without_a_slash(database_uri: str, prefix: str) -> None:
    client = create_app(Config(database_uri, url_prefix=prefix)).test_client()
    for path in ("", "/", "/explorer", "/explorer/"):
        address = f"http://localhost{prefix}{path}"
        response = client.get(urlsplit(address).path or "/")
        if response.status_code == 302:
            # As a browser does; the client of the tests takes it for a path from the root.
            address = urljoin(address, response.headers["Location"])
            response = client.get(urlsplit(address).path)
        assert (response.status_code, response.mimetype) == (200, "text/html"), path
        assert urlsplit(address).path == f"{prefix}/explorer/"
        assert "<title>EIDA statistics</title>" in response.text


@pytest.mark.parametrize("path", ["", "/", "/explorer"])
def test_redirections_name_no_host_since_a_proxy_may_have_another(client: FlaskClient, path: str) -> None:
    location = client.get(f"{PREFIX}{path}").headers["Location"]
    assert not urlsplit(location).netloc
    assert not location.startswith("/")
    assert urljoin(f"https://proxy.example{PREFIX}{path}", location) == f"https://proxy.example{PREFIX}/explorer/"


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_page_and_all_that_it_refers_to_come_from_this_host(database_uri: str, prefix: str) -> None:
    client = create_app(Config(database_uri, url_prefix=prefix)).test_client()
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
def test_the_page_serves_its_own_files_only(client: FlaskClient, path: str) -> None:
    assert client.get(f"{PREFIX}/explorer/{path}").status_code == 404
