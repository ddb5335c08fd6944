"""Unusual statistics in reports, and the texts of their pages."""

from typing import Any

import pytest

from eida_statistics import hll
from eida_stats_webservice.reports.html import write_html
from eida_stats_webservice.reports.numbers import NO_BREAK
from support.node_client import make_node
from support.pages import Page
from support.payloads import payload, row, sketch
from support.reports import make_report
from support.stores import ON_ONE_STORE, Store

pytestmark = ON_ONE_STORE

JANUARY = {"start": "2024-01-01", "end": "2024-01-31"}


def submit(store: Store, *rows: dict[str, Any], node: str = "A", **fields: Any) -> None:
    """Store a payload of January 2024, by default of all its days."""
    sent = payload(*rows, **{"days_coverage": ["2024-01-02"], "period": JANUARY, **fields})
    store.dataselect.ingest(make_node(store, node)[0], sent)


def read_page(store: Store, **options: Any) -> Page:
    return Page(write_html(make_report(store, "2024-01", "2024-01", **options)).decode().replace(NO_BREAK, " "))


def in_january(**fields: Any) -> dict[str, Any]:
    return row(month="2024-01-01", **fields)


FAILED = in_january(
    network="", station="", location="--", channel="", bytes=0, nb_successful_requests=0, nb_unsuccessful_requests=1
)


def test_saturated_sketch_has_an_estimate(store: Store) -> None:
    # 2,048 registers of 5 bits, all of them at the largest value.
    saturated = hll.to_hex(b"\x14\x8b\x7f" + b"\xff" * 1280)
    submit(store, in_january(clients=saturated))
    (total,) = make_report(store, "2024-01", "2024-01").select("total")
    assert total.clients is not None
    assert total.clients > 10**9
    assert "Distinct clients" in read_page(store).text


def test_billions_are_short_in_headlines(store: Store) -> None:
    submit(store, in_january(nb_requests=2_684_000_000, nb_successful_requests=2_684_000_000))
    page = read_page(store)
    assert "2.68 billion" in page.text
    assert page.sections["months"].rows[1][2] == "2,684,000,000"


def test_small_groups_are_one_other_line(store: Store) -> None:
    submit(store, in_january(network="GE"), in_january(network="GR", country="FR"))
    page = read_page(store, min_clients=5)
    for name in ("networks", "countries"):
        assert [line[0] for line in page.sections[name].rows[1:]] == ["Other"]
    assert not page.sections["countries"].titles
    assert "Other adds up restricted networks and groups of few clients." in page.text


def test_map_does_not_say_who_is_in_other(store: Store) -> None:
    many = sketch(map(hll.hash_client, range(50)))
    submit(
        store,
        in_january(clients=many),
        in_january(clients=many, country="IT"),
        in_january(country="FR", clients=sketch([1])),
    )
    page = read_page(store, min_clients=5)
    assert "none, or too few to show" in page.text
    assert "France" not in page.text
    assert "none, or too few to show" not in read_page(store).text


def test_failed_requests_alone_are_no_network(store: Store) -> None:
    submit(store, FAILED)
    page = read_page(store)
    assert [line[:6] for line in page.sections["networks"].rows[1:]] == [
        ["requests without data", "0", "0 %", "0", "1", "1"]
    ]
    assert (
        "Networks"
        not in page.text.partition("How to read")[0].partition("Distinct clients")[2].partition("Netw")[0]
    )


def test_failed_requests_and_other_are_not_ranked(store: Store) -> None:
    submit(
        store,
        in_january(bytes=1),
        {**FAILED, "nb_requests": 9, "nb_unsuccessful_requests": 9},
        in_january(network="GR"),
    )
    store.registry.set_network_policy("A", "GR", inverted=True)
    names = [line[0] for line in read_page(store).sections["networks"].rows[1:]]
    assert names == ["GE", "requests without data", "Other"]


@pytest.mark.parametrize(
    ("country", "name"),
    [("XK", "Kosovo"), ("A1", "Anonymous proxy"), ("", "Not known"), ("AQ", "Antarctica"), ("ZQ", "ZQ")],
)
def test_countries_have_names_or_their_codes(store: Store, country: str, name: str) -> None:
    submit(store, in_january(country=country), in_january(country="NA", network="NA"))
    rows = read_page(store).sections["countries"].rows
    assert {line[0] for line in rows[1:]} == {name, "Namibia"}


def test_two_sources_are_one_days_coverage(store: Store) -> None:
    node = make_node(store, "A")[0]
    # The second server has sent the first half of the month only.
    halves = {"north": JANUARY, "south": {"start": "2024-01-01", "end": "2024-01-15"}}
    for source, period in halves.items():
        sent = payload(in_january(), days_coverage=["2024-01-02"], period=period, source=source)
        store.dataselect.ingest(node, sent)
    (coverage,) = make_report(store, "2024-01", "2024-01").coverage
    assert (coverage.days_received, coverage.days_due, coverage.not_received) == (31, 31, [])
    assert "only one of several servers" in read_page(store).text


def test_quiet_days_of_old_aggregators_are_explained(store: Store) -> None:
    submit(store, in_january(), days_coverage=["2024-01-02", "2024-01-05"], period=None)
    page = read_page(store)
    assert "A: 3 to 4 January 2024, 6 to 31 January 2024." in page.text
    assert "At A, these may have been days without requests, which older aggregators do not report." in page.text


def test_long_names_are_shown_whole(store: Store) -> None:
    name = "N" * 200
    submit(store, in_january(), node=name)
    assert read_page(store).sections["nodes"].rows[1][0] == name
