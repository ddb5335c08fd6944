"""GET report: its formats, parameters and rights."""

import datetime
import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.reports import writers
from eida_stats_webservice.reports.formats import FORMATS
from support import openapi
from support.dates import DAY
from support.federation import fill
from support.reports import make_report
from support.ringserver_federation import fill_streaming
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store
from support.templates import fill_sqlite

pytestmark = ON_ONE_STORE

PATH = f"{PREFIX}/report"
YEAR = {"start": "2024-01", "end": "2024-12"}


def fill_federation(store: Store) -> None:
    fill(store, ["A", "B"], [2023, 2024], networks=1)
    store.registry.set_network_policy("A", "A0", inverted=True)


@pytest.fixture(scope="module")
def sqlite_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_sqlite(sqlite_template, tmp_path_factory.mktemp("federation"), fill_federation)


@pytest.fixture
def federation(store: Store) -> Store:
    return store


@pytest.fixture
def token(federation: Store) -> str:
    now = datetime.datetime.now(tz=datetime.UTC)
    return federation.registry.add_network_token("A0", now - DAY, now + DAY)[1]


def test_formats_are_those_of_the_command(federation: Store, client: FlaskClient) -> None:
    report = make_report(federation)
    for name, form in FORMATS.items():
        response = client.get(PATH, query_string={**YEAR, "format": name})
        assert (response.status_code, response.content_type) == (200, form.content_type)
        assert response.headers["Content-Disposition"] == f'inline; filename="report-2024-01-2024-12.{name}"'
        # Also two children make the same PDF, though at different times.
        assert response.data == form.write(report)
    assert client.get(PATH, query_string={**YEAR, "format": "", "node": ""}).mimetype == "text/html"


def test_kind_chooses_streaming(store: Store, client: FlaskClient) -> None:
    fill_streaming(store, ["S"], [datetime.date(2024, 2, 1)])
    query = {"start": "2024-02", "end": "2024-02", "kind": "ringserver"}
    report = make_report(store, "2024-02", "2024-02", kind=Kind.RINGSERVER)
    for name, form in FORMATS.items():
        response = client.get(PATH, query_string={**query, "format": name})
        found = f'inline; filename="ringserver-report-2024-02-2024-02.{name}"'
        assert (response.status_code, response.headers["Content-Disposition"]) == (200, found)
        assert response.data == form.write(report)
        known = {"If-None-Match": response.headers["ETag"]}
        assert client.get(PATH, query_string={**query, "format": name}, headers=known).status_code == 304
    found = client.get(PATH, query_string={**query, "format": "json"}).get_json()
    assert list(make_validator().iter_errors(found)) == []
    assert found["scope"]["kind"] == "ringserver"
    refused = client.get(PATH, query_string={**query, "kind": "streaming", "format": "json"})
    assert (refused.status_code, "Use dataselect or ringserver." in refused.text) == (400, True)


def test_page_has_a_strict_policy(federation: Store, client: FlaskClient) -> None:
    response = client.get(PATH, query_string=YEAR)
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert policy.endswith("; frame-ancestors 'none'")
    # Browsers ignore frame-ancestors in the page itself, and log an error.
    assert "frame-ancestors" not in response.text


def make_validator() -> Draft202012Validator:
    document = openapi.read()
    return Draft202012Validator({"$ref": "#/components/schemas/Report", "components": document["components"]})


def test_json_matches_its_schema(federation: Store, client: FlaskClient, token: str) -> None:
    validator = make_validator()
    headers = {"Authorization": f"Bearer {token}"}
    for query, sent in (({}, {}), ({"start": "2024-05", "end": "2024-06"}, {}), ({}, headers)):
        found = client.get(PATH, query_string={**YEAR, **query, "format": "json"}, headers=sent).get_json()
        assert list(validator.iter_errors(found)) == []
        assert found["rows"]
    assert list(validator.iter_errors({**found, "rows": [{"table": "total"}]}))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"start": ""}, "start is missing"),
        ({"start": "2024-13"}, "start=2024-13"),
        ({"start": "2100-01", "end": ""}, "It is in the future"),
        ({"end": "2023-12"}, "is before"),
        ({"start": "0001", "end": "1989"}, "Statistics begin in 1990"),
        ({"format": "pdf2"}, "Use html, pdf, csv, json, md"),
        ({"node": "C"}, "No node 'C'"),
        ({"network": "QQ"}, "No network 'QQ'"),
        ({"network": "--"}, "Name a network"),
        ({"country": "Germany"}, "country codes of two characters"),
        ({"level": "node"}, "level"),
    ],
)
def test_bad_parameters_are_named(
    federation: Store, client: FlaskClient, query: dict[str, str], words: str
) -> None:
    response = client.get(PATH, query_string={**YEAR, "format": "json", **query})
    assert response.status_code == 400
    assert words in response.get_json()["detail"]


def test_restricted_network_needs_its_token(federation: Store, client: FlaskClient, token: str) -> None:
    query = {**YEAR, "network": "A0", "format": "json"}
    refused = client.get(PATH, query_string=query)
    assert (refused.status_code, "rows" in refused.get_json()) == (401, False)
    headers = {"Authorization": f"Bearer {token}"}
    response = client.get(PATH, query_string=query, headers=headers)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.data == writers.write_json(make_report(federation, network="A0", restricted=True))
    assert client.get(PATH, query_string={**YEAR, "format": "json"}, headers=headers).data == response.data
    other = client.get(PATH, query_string={**query, "network": "GE"}, headers=headers)
    assert (other.status_code, "The token is for network A0" in other.text) == (403, True)
    # The token is checked before the parameters.
    wrong = client.get(PATH, query_string={"start": "x"}, headers={"Authorization": "Bearer x"})
    assert wrong.status_code == 403


def test_unchanged_report_is_304(federation: Store, client: FlaskClient) -> None:
    first = client.get(PATH, query_string=YEAR)
    headers = {"If-None-Match": first.headers["ETag"]}
    assert client.get(PATH, query_string=YEAR, headers=headers).status_code == 304
    assert client.get(PATH, query_string={**YEAR, "node": "A"}, headers=headers).status_code == 200
    federation.registry.set_network_policy("B", "B0", inverted=True)
    assert client.get(PATH, query_string=YEAR, headers=headers).status_code == 200


def test_etag_depends_on_the_protection(federation: Store, service_uri: str) -> None:
    clients = [create_app(Config(service_uri, min_clients=minimum)).test_client() for minimum in (0, 4, 5)]
    etags = {client.get(PATH, query_string=YEAR).headers["ETag"] for client in clients}
    assert len(etags) == 3


def test_names_come_from_the_setting(federation: Store, service_uri: str, tmp_path: Path) -> None:
    registry = tmp_path / "networks.json"
    registry.write_text(
        json.dumps({"networks": [{"fdsn_code": "GE", "start_date": "1993-01-01", "name": "GEOFON"}]})
    )
    client = create_app(Config(service_uri, networks_file=str(registry))).test_client()
    assert client.get(PATH, query_string={**YEAR, "network": "GE", "format": "json"}).get_json()["name"] == "GEOFON"


def test_bad_registry_is_an_error_of_the_settings(service_uri: str, tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")
    for name, words in (("missing.json", "No such file"), ("list.json", "Expected `object`")):
        with pytest.raises(ConfigurationError, match="NETWORKS_FILE") as raised:
            create_app(Config(service_uri, networks_file=str(tmp_path / name)))
        assert words in str(raised.value)


def test_period_begins_in_1990_at_the_earliest(federation: Store, client: FlaskClient) -> None:
    found = client.get(PATH, query_string={"start": "0001", "end": "2024-12", "format": "json"}).get_json()
    assert found["period"] == {"start": "1990-01", "end": "2024-12"}
    years = {one["date"]: one["bytes"] for one in found["rows"] if one["table"] == "year"}
    assert years.keys() == {"2023", "2024"}


@pytest.mark.parametrize("path", [PATH, f"{PREFIX}/"])
def test_page_follows_the_data(federation: Store, service_uri: str, client: FlaskClient, path: str) -> None:
    first, again = (client.get(path, query_string=YEAR).data for _ in range(2))
    assert first == again
    federation.payloads.retract(federation.payloads.list_payloads("A")[0].payload)
    changed = client.get(path, query_string=YEAR).data
    assert first != changed == create_app(Config(service_uri)).test_client().get(path, query_string=YEAR).data


def test_kept_pages_are_public(federation: Store, client: FlaskClient, token: str) -> None:
    header = {"Authorization": f"Bearer {token}"}
    public = client.get(PATH, query_string=YEAR)
    restricted = client.get(PATH, query_string=YEAR, headers=header)
    assert "Not public" in restricted.text
    assert client.get(PATH, query_string=YEAR).data == public.data
    named = {**YEAR, "network": "A0"}
    assert client.get(PATH, query_string=named, headers=header).status_code == 200
    assert client.get(PATH, query_string=named).status_code == 401
