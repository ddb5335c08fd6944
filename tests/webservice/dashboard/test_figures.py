"""Every figure of the dashboard is in the public answer that is linked beside it, on both databases."""

import csv
import datetime
import io
from itertools import product

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.reports.numbers import Unit, format_bytes, format_clients, format_count
from support.dashboard import follow, show
from support.federation import fill
from support.pages import Page
from support.ringserver_federation import fill_streaming
from support.stores import Store

as_date = datetime.date.fromisoformat
YEAR = {"start": "2024-01", "end": "2024-12"}
KINDS = {
    "dataselect": YEAR,
    # A year of days would take long to store.
    "ringserver": {"start": "2024-02", "end": "2024-03", "kind": "ringserver"},
}
COUNTS = {"Streams": "nb_successful_reqs", "Without data": "nb_unsuccessful_reqs", "Packets": "packets"}
"""The columns of answers by the heads of tables."""
GAPS = {
    "B": [(as_date("2024-03-10"), as_date("2024-03-19"))],
    "C": [(as_date("2023-05-01"), as_date("2023-05-31")), (as_date("2024-11-11"), as_date("2024-11-11"))],
}


def fill_kind(store: Store, kind: str, *, clients: int = 2000, seed: int = 1) -> None:
    """Store statistics of a kind, with days that were not received and a restricted network."""
    nodes = ["A", "B", "C"]
    if kind == "dataselect":
        fill(store, nodes, [2023, 2024], gaps=GAPS, networks=2, clients=clients, seed=seed)
    else:
        months = [as_date("2024-02-01"), as_date("2024-03-01")]
        fill_streaming(store, nodes, months, gaps=GAPS, clients=clients, seed=seed)
    store.registry.set_network_policy("A", "A0", inverted=True)


def format_answer(client: FlaskClient, link: str) -> set[tuple[str, ...]]:
    """Return the numbers of a public answer as a table shows them: bytes, the counts of the kind, clients."""
    response = follow(client, f"{link}&header=plain")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    unit = Unit(max((int(row["bytes"]) for row in rows), default=0))
    return {
        (
            unit.format(int(row["bytes"])),
            *(format_count(int(row[column])) for column in COUNTS.values() if column in row),
            f"{int(row['clients']):,}",
        )
        for row in rows
    }


def read_numbers(row: list[str], head: list[str]) -> tuple[str, ...]:
    """Return the numbers of a row of a table, without marks."""
    unit = next(column for column in head if column in ("B", "KiB", "MiB", "GiB", "TiB"))
    numbers = dict(zip(head, (cell.rstrip("†") for cell in row), strict=True))
    # Networks have no requests without data: those belong to none. A page about a network has no column for them.
    counts = ("Packets",) if "Packets" in numbers else ("Streams", "Without data")
    return tuple(numbers.get(name, "") or "0" for name in (unit, *counts, "Clients"))


@pytest.mark.parametrize(("kind", "seed"), [("dataselect", 1), ("dataselect", 2), ("ringserver", 1)])
def test_tables_have_the_figures_of_their_links(store: Store, service_uri: str, kind: str, seed: int) -> None:
    # Below 161 clients, no number is rounded.
    fill_kind(store, kind, clients=30 * seed, seed=seed)
    for min_clients, query in product(
        (0, 5), ({}, {"node": "A,B"}, {"network": "GE"}, {"country": "DE", "show": "clients"})
    ):
        client = create_app(Config(service_uri, min_clients=min_clients)).test_client()
        page = Page(show(client, **KINDS[kind], **query, top="100").text)
        compared = 0
        for name, section in page.sections.items():
            if not section.rows or name == "clients":
                continue
            head, *rows = section.rows
            link = section.links["These figures as CSV"]
            assert link.startswith(f"{kind}/public?")
            expected = format_answer(client, link)
            assert {read_numbers(row, head) for row in rows if "–" not in row} == expected, (query, name)
            compared += len(rows)
        assert compared > 8


def describe(row: dict[str, str], shown: str) -> str:
    """Return the figure of a row of an answer as charts have it."""
    if shown == "bytes":
        return format_bytes(int(row["bytes"]))
    if shown == "requests":
        streams = format_count(int(row["nb_successful_reqs"]))
        return (
            f"{streams} streams delivered, {format_count(int(row['nb_unsuccessful_reqs']))} requests without data"
        )
    if shown == "packets":
        return f"{format_count(int(row['packets']))} packets"
    # Of an estimate, three digits are shown.
    error = 0 if int(row["clients"]) <= 160 else 1
    return format_clients(int(row["clients"]), error)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_charts_have_the_figures_of_the_answer(store: Store, client: FlaskClient, kind: str) -> None:
    fill_kind(store, kind)
    for shown in ("bytes", "requests" if kind == "dataselect" else "packets", "clients"):
        sections = Page(show(client, **KINDS[kind], show=shown).text).sections
        for name in ("countries", "clients" if shown == "clients" else "months"):
            response = follow(client, f"{sections[name].links['These figures as CSV']}&header=plain")
            for row in csv.DictReader(io.StringIO(response.text)):
                if row["country"] not in ("", "A1"):
                    assert any(describe(row, shown) in title for title in sections[name].titles), (shown, row)


def test_days_not_received_are_marked(store: Store, client: FlaskClient) -> None:
    fill_kind(store, "dataselect")
    page = Page(show(client, **YEAR).text)
    assert "11 of 1,098 node-days were not received." in page.text
    assert "B: 10 to 19 March 2024; C: 11 November 2024" in page.text
    (months,) = [section for name, section in page.sections.items() if name == "months"]
    marked = {row[0] for row in months.rows[1:] if row[1].endswith("†")}
    assert marked == {"March 2024", "November 2024"}
