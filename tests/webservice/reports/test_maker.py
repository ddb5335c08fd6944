"""Reports on both databases: every figure is a public answer, and gaps are never zeros."""

import csv
import datetime
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.errors import BadParameter, RestrictedNetwork
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.reports import writers
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.models import Report, Row, Scope
from eida_stats_webservice.reports.periods import list_comparisons, parse_months
from support.federation import fill
from support.postgresql import Cluster
from support.reports import TODAY, make_maker, make_report
from support.ringserver_federation import fill_streaming
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store
from support.templates import fill_postgresql, fill_sqlite

as_date = datetime.date.fromisoformat
NODES = ("A", "B", "C")
GAPS = {
    "B": [(as_date("2024-03-10"), as_date("2024-03-19"))],
    "C": [(as_date("2023-05-01"), as_date("2023-05-31")), (as_date("2024-11-11"), as_date("2024-11-11"))],
}
KEYS = ("date", "node", "network", "station", "location", "channel", "country")


def fill_federation(store: Store) -> None:
    fill(store, NODES, (2023, 2024), gaps=GAPS)
    store.registry.set_network_policy("A", "A1", inverted=True)


@pytest.fixture(scope="module")
def template(postgresql: Cluster, template: str) -> Iterator[str]:
    with fill_postgresql(postgresql, template, fill_federation) as filled:
        yield filled


@pytest.fixture(scope="module")
def sqlite_template(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_sqlite(sqlite_template, tmp_path_factory.mktemp("federation"), fill_federation)


@pytest.fixture
def federation(store: Store) -> Store:
    return store


def ask(client: FlaskClient, query: str) -> dict[tuple[str, ...], dict[str, str]]:
    response = client.get(f"{PREFIX}/dataselect/public?{query}&header=plain&unsuccessful=true")
    assert response.status_code == 200, response.text
    return {tuple(one[name] for name in KEYS): one for one in csv.DictReader(io.StringIO(response.text))}


def make(maker: ReportMaker, **scope: Any) -> Report:
    period = parse_months("2024-01", "2024-12")
    return maker.make(Scope(**scope), period, list_comparisons(period), TODAY)


def get_key(found: Row) -> tuple[str, ...]:
    return tuple(getattr(found, name) for name in KEYS)


def select_known(report: Report, table: Any) -> Iterator[Row]:
    return (found for found in report.select(table) if found.bytes is not None)


QUERIES = {
    "total": "",
    "month": "details=month",
    "node": "level=node",
    "network": "level=network&merge=nodes",
    "country": "details=country",
}


@pytest.mark.parametrize("min_clients", [0, 5])
@pytest.mark.parametrize("scope", [{}, {"node": ("B",)}, {"network": "GE"}])
def test_figures_are_public_answers(
    federation: Store, service_uri: str, min_clients: int, scope: dict[str, Any]
) -> None:
    client = create_app(Config(service_uri, min_clients=min_clients)).test_client()
    report = make_report(federation, min_clients=min_clients, **scope)
    chosen = {"node": "".join(scope.get("node", ())), "network": scope.get("network", "")}
    filters = "&".join(f"{name}={value}" for name, value in chosen.items() if value)
    for table, query in QUERIES.items():
        if table == "network" and "network" in scope:
            assert not report.select("network")
            continue
        expected = ask(client, f"start=2024-01&end=2024-12&{filters}&{query}")
        found = {get_key(one): one for one in select_known(report, table)}
        assert found.keys() == expected.keys(), table
        for key, one in found.items():
            columns = ("bytes", "nb_successful_reqs", "nb_unsuccessful_reqs", "clients")
            assert [str(one.get(column)) for column in columns] == [expected[key][column] for column in columns]


def test_json_and_csv_have_the_same_rows(federation: Store) -> None:
    report = make_report(federation)
    document = json.loads(writers.write_json(report))
    rows = list(csv.DictReader(io.StringIO(writers.write_csv(report).decode())))
    as_text = [
        {name: "" if value is None else str(value) for name, value in found.items()} for found in document["rows"]
    ]
    assert rows == as_text
    assert document["schema"] == "eida-statistics-report/1"
    assert list(rows[0])[: len(KEYS) + 1] == ["table", *KEYS]
    assert writers.write_json(report) == writers.write_json(make_report(federation))


def test_streaming_has_reports_of_its_own(federation: Store) -> None:
    # A received February completely in both years, B did not, and C has no ringserver.
    months = [as_date("2023-02-01"), as_date("2024-02-01")]
    gaps = {"B": [(as_date("2024-02-10"), as_date("2024-02-19"))]}
    fill_streaming(federation, ["A", "B"], months, gaps=gaps)
    before = make_report(federation, "2024-02", "2024-02")
    report = make_report(federation, "2024-02", "2024-02", kind=Kind.RINGSERVER)
    assert report.select("total")[0].bytes != before.select("total")[0].bytes
    assert {one.node: (one.days_received, one.days_due) for one in report.coverage} == {
        "A": (29, 29),
        "B": (19, 29),
        "C": (0, 0),
    }
    assert [found.node for found in report.select("node")] == ["A", "B"]
    networks = {found.network for found in report.select("network")}
    assert networks == {"", "GE", "A0", "B0", "B1", "Other"}
    (first, *_) = csv.DictReader(io.StringIO(writers.write_csv(report).decode()))
    columns = [name for name in first if not name.startswith(("year_", "previous_"))]
    assert columns[len(KEYS) + 1 :] == [
        *("bytes", "packets", "clients", "clients_standard_error", "days_received", "days_due")
    ]
    assert {"year_packets", "year_packets_change", "previous_bytes"} <= first.keys()
    sums = {
        year: make_report(federation, f"{year}-02", f"{year}-02", kind=Kind.RINGSERVER, node=("A",))
        for year in (2023, 2024)
    }
    packets = {year: found.select("total")[0].get("packets") or 0 for year, found in sums.items()}
    compared = sums[2024].select("total")[0].comparisons["year"]
    assert compared.changes["packets"] == pytest.approx(packets[2024] / packets[2023] - 1)
    text = writers.write_markdown(report).decode()
    assert text.startswith("# Data streamed in real time in February 2024\n")
    assert "**10 of 58 node-days were not received.** B: 10 to 19 February 2024." in text
    assert "| no network code |" in text
    assert not {"requests without data", "Streams delivered"} & set(re.split("[*|:] ?", text))
    assert make_report(federation, "2024-02", "2024-02", kind=Kind.RINGSERVER, network="GE").citation is not None


def test_coverage_names_the_days_not_received(federation: Store) -> None:
    report = make_report(federation)
    coverage = {one.node: one for one in report.coverage}
    assert {name: (one.days_received, one.days_due) for name, one in coverage.items()} == {
        "A": (366, 366),
        "B": (356, 366),
        "C": (365, 366),
    }
    assert [(gap.start, gap.end) for gap in coverage["B"].not_received] == GAPS["B"]
    march = next(found for found in report.select("month") if found.date == "2024-03")
    assert (march.days_received, march.days_due) == (83, 93)
    # B0 is at B only.
    networks = {found.network: found for found in report.select("network")}
    assert networks["B0"].days_due == 366
    assert networks["GE"].days_due == 3 * 366
    text = writers.write_markdown(report).decode()
    assert "**11 of 1,098 node-days were not received.** B: 10 to 19 March 2024; C: 11 November 2024." in text


def test_retracted_payload_makes_a_gap(federation: Store) -> None:
    (found,) = [
        record
        for record in federation.payloads.list_payloads("A")
        if record.period is not None and record.period.start == as_date("2023-01-01")
    ]
    federation.payloads.retract(found.payload)
    coverage = next(one for one in make_report(federation, "2023-01", "2023-12").coverage if one.node == "A")
    assert (coverage.days_received, coverage.days_due) == (334, 365)


def test_change_is_over_complete_months(federation: Store) -> None:
    report, (total,) = make_report(federation), make_report(federation).select("total")
    compared = total.comparisons["year"]
    # C was not complete in May 2023 and November 2024, B in March 2024.
    left_out = {("B", 3), ("C", 5), ("C", 11)}
    sums = {2023: 0, 2024: 0}
    for year in sums:
        for node in NODES:
            for month in make_report(federation, f"{year}-01", f"{year}-12", node=(node,)).select("month"):
                if (node, int(month.date[5:])) not in left_out:
                    sums[year] += month.bytes or 0
    assert compared.changes["bytes"] == pytest.approx(sums[2024] / sums[2023] - 1)
    assert (compared.base_nodes, compared.clients_base_nodes, len(report.comparisons)) == (3, 1, 1)
    # A is the only node that is complete in both years, and has less than half of the bytes.
    assert compared.changes["clients"] is None


def test_change_of_clients_is_over_complete_nodes(federation: Store) -> None:
    # B was not complete in March 2024.
    (total,) = make_report(federation, "2024-01", "2024-03").select("total")
    compared = total.comparisons["year"]
    assert (compared.base_nodes, compared.clients_base_nodes) == (3, 2)
    now, before = (
        make_report(federation, f"{year}-01", f"{year}-03", node=("A", "C")).select("total")[0].clients
        for year in (2024, 2023)
    )
    assert now is not None
    assert before is not None
    assert compared.changes["clients"] == pytest.approx(now / before - 1)
    text = writers.write_markdown(make_report(federation, "2024-01", "2024-03")).decode()
    assert ", over 2 of 3 nodes" in text


def test_network_has_its_citation(federation: Store) -> None:
    report = make_report(federation, network="GE")
    assert report.citation == (
        "GEOFON (1993). International Federation of Digital Seismograph Networks. https://doi.org/10.14470/TR560404"
    )
    assert make_report(federation, network="B0").citation is None


@ON_ONE_STORE
def test_restricted_network_is_refused(federation: Store) -> None:
    with pytest.raises(RestrictedNetwork):
        make_report(federation, network="A1")
    report = make_report(federation, network="A1", restricted=True)
    assert {found.station for found in report.select("station")} == {"S0", "S1"}
    assert "A1" not in {found.network for found in make_report(federation).select("network")}
    with pytest.raises(BadParameter, match="No network 'QQ'"):
        make_report(federation, network="QQ")


@ON_ONE_STORE
def test_days_of_a_restricted_node_do_not_count(federation: Store) -> None:
    federation.registry.set_network_policy("B", "GE", inverted=True)
    report = make_report(federation, network="GE")
    assert [one.node for one in report.coverage] == ["A", "C"]
    networks = {found.network: found for found in make_report(federation).select("network")}
    assert networks["GE"].days_due == 2 * 366
    with pytest.raises(BadParameter, match="No node 'Z'"):
        make_report(federation, network="GE", node=("Z",), restricted=True)


def test_snapshot_makes_reports_of_one_state(federation: Store) -> None:
    maker = make_maker(federation)
    with maker.snapshot() as snapshot:
        scopes, before = snapshot.list_public_scopes(), make(snapshot)
        federation.registry.set_network_policy("B", "B0", inverted=True)
        with pytest.raises(BadParameter), snapshot.savepoint():
            make(snapshot, network="QQ")
        assert (snapshot.list_public_scopes(), make(snapshot)) == (scopes, before)
        assert make(snapshot, network="B0").select("total")[0].bytes
    assert Scope(network="B0") in set(scopes) - set(maker.list_public_scopes())
    assert Scope(network="A1") not in scopes
    with pytest.raises(RestrictedNetwork):
        make(maker, network="B0")
