"""eida_statsman report: its options, files and errors."""

import csv
import datetime
import json
from pathlib import Path

import pytest

from support.federation import fill
from support.ringserver_federation import fill_streaming
from support.statsman import Statsman
from support.stores import ON_ONE_STORE, Store

pytestmark = ON_ONE_STORE

REGISTRY = {
    "networks": [
        {"fdsn_code": "GE", "start_date": "1993-01-01", "name": "GEOFON", "doi": "10.14470/TR560404"},
        {"fdsn_code": "A0", "start_date": "2001-01-01", "name": None, "doi": ""},
    ]
}


@pytest.fixture
def statsman(store_uri: str, store: Store) -> Statsman:
    fill(store, ["A"], [2023, 2024], networks=1)
    return Statsman(store_uri)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (("--year", "2024"), "2024-01", "2024-12"),
        (("--quarter", "2024-Q3"), "2024-07", "2024-09"),
        (("--month", "2024-05"), "2024-05", "2024-05"),
        (("--start", "2023-11", "--end", "2024-02"), "2023-11", "2024-02"),
    ],
)
def test_period_is_stated_in_four_ways(statsman: Statsman, period: tuple[str, ...], start: str, end: str) -> None:
    found = json.loads(statsman.run("report", *period, "-o", "-", "--format", "json"))
    assert found["period"] == {"start": start, "end": end}
    assert [one["name"] for one in found["comparisons"]] == (
        ["year"] if "--year" in period else ["year", "previous"]
    )


def test_extension_decides_the_format(statsman: Statsman, tmp_path: Path) -> None:
    for name in ("report.json", "report.CSV", "report.md", "report.html"):
        assert statsman.run("report", "--year", "2024", "-o", str(tmp_path / name)) == ""
    assert json.loads((tmp_path / "report.json").read_text())["scope"]["network"] is None
    rows = list(csv.DictReader((tmp_path / "report.CSV").read_text().splitlines()))
    assert {one["table"] for one in rows} == {"total", "month", "year", "node", "network", "country"}
    assert (tmp_path / "report.md").read_text().startswith("# Data delivered on request in 2024\n")


def test_kind_chooses_streaming(statsman: Statsman, store: Store) -> None:
    fill_streaming(store, ["A"], [datetime.date(2024, 2, 1)])
    options = ("--month", "2024-02", "-o", "-", "--format")
    text = statsman.run("report", "--kind", "ringserver", *options, "md")
    assert text.startswith("# Data streamed in real time in February 2024\n")
    assert statsman.run("report", "--kind", "dataselect", *options, "csv") == statsman.run(
        "report", *options, "csv"
    )
    refused = statsman("report", "--kind", "streaming", *options, "md")
    assert (refused.returncode, "'dataselect', 'ringserver'" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "State one period"),
        (("--year", "2024", "--month", "2024-01"), "State one period"),
        (("--start", "2024-01"), "State one period"),
        (("--start", "2024-02", "--end", "2024-01"), "--end 2024-01 is before --start 2024-02"),
        (("--month", "2024-13"), "must be a month as YYYY-MM"),
        (("--quarter", "2024-Q5"), "must be a quarter as YYYY-QN"),
        (("--year", "9000"), "begins in the future"),
        (("--year", "2024", "--node", "A", "--network", "GE"), "--node or --network, not both"),
        (("--year", "2024", "--restricted"), "--restricted needs --network"),
    ],
)
def test_wrong_options_are_explained(
    statsman: Statsman, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    output = tmp_path / "report.json"
    refused = statsman("report", *options, "-o", str(output))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert words in refused.stderr
    assert not output.exists()


def test_format_must_be_known(statsman: Statsman) -> None:
    for output in ("-", "report", "report.doc"):
        refused = statsman("report", "--year", "2024", "-o", output)
        assert refused.returncode == 2
        assert (
            f"The name {output} does not say the format. Add --format: html, pdf, csv, json, md." in refused.stderr
        )


def test_pdf_without_weasyprint_is_explained(statsman: Statsman, tmp_path: Path) -> None:
    (tmp_path / "weasyprint.py").write_text("import missing_package")
    statsman.set(PYTHONPATH=str(tmp_path))
    refused = statsman("report", "--year", "2024", "-o", str(tmp_path / "report.pdf"))
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (1, "", 1)
    assert "pip install '.[webservice,report]'" in refused.stderr
    assert "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0" in refused.stderr
    assert not list(tmp_path.glob("*report*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--node", "a"), "Error: No node 'a' (capitals matter). Did you mean A?"),
        (("--network", "QQ"), "Error: No network 'QQ' (capitals matter)."),
        (("--network", "ge"), "Error: No network 'ge' (capitals matter). Did you mean GE?"),
        (("--network", "A0"), "Error: Network A0 is restricted. For a report of it, add --restricted."),
    ],
)
def test_unknown_names_leave_no_file(
    statsman: Statsman, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    statsman.run("networks", "set-policy", "A", "A0", "inverted")
    refused = statsman("report", "--year", "2024", *options, "-o", str(tmp_path / "report.json"))
    assert (refused.returncode, refused.stderr) == (2, f"{message}\n")
    assert not list(tmp_path.glob("*report*"))


def test_output_that_cannot_be_written_is_named(statsman: Statsman, tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "report.md"
    refused = statsman("report", "--year", "2024", "-o", str(missing))
    assert (refused.returncode, refused.stderr) == (1, f"eida_statsman: {missing}: No such file or directory\n")
    refused = statsman("report", "--year", "2024", "-o", str(tmp_path), "--format", "md")
    assert (refused.returncode, "is a directory. To write all reports into it, add --all." in refused.stderr) == (
        2,
        True,
    )


def test_names_of_networks_come_from_a_file(statsman: Statsman, tmp_path: Path) -> None:
    registry = tmp_path / "networks.json"
    registry.write_text(json.dumps(REGISTRY))
    options = ("--year", "2024", "--networks", str(registry), "-o", "-", "--format", "json")
    found = json.loads(statsman.run("report", "--network", "GE", *options))
    assert (found["name"], found["doi"]) == ("GEOFON", "10.14470/TR560404")
    assert "GEOFON (1993)." in found["citation"]
    unnamed = json.loads(statsman.run("report", "--network", "A0", *options))
    assert (unnamed["name"], unnamed["doi"], unnamed["citation"]) == (None, None, None)
    registry.write_text("[]")
    refused = statsman("report", "--network", "GE", *options)
    assert (refused.returncode, "networks.json" in refused.stderr) == (1, True)


def test_restricted_report_is_not_public(statsman: Statsman, store: Store) -> None:
    store.registry.set_network_policy("A", "A0", inverted=True)
    refused = statsman("report", "--year", "2024", "--network", "A0", "-o", "-", "--format", "md")
    assert refused.returncode != 0
    assert "restricted" in refused.stderr
    text = statsman.run("report", "--year", "2024", "--network", "A0", "--restricted", "-o", "-", "--format", "md")
    assert "not public" in text
    assert "## Stations" in text
