"""Reports of single nodes: days, gaps, comparisons and names, on both databases."""

import datetime

import pytest

from eida_statistics import hll
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.reports import writers
from support.federation import fill
from support.kinds import make_quiet_day
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.reports import make_report
from support.stores import ON_ONE_STORE, Store

as_date = datetime.date.fromisoformat


@ON_ONE_STORE
def test_one_of_several_ringservers_makes_a_day_received(store: Store) -> None:
    node = make_node(store, "A")[0]
    for day, source in (("01", "south"), ("01", "north"), ("03", "north")):
        store.ringserver.ingest(node, make_quiet_day(as_date(f"2024-02-{day}"), source))
    (coverage,) = make_report(store, "2024-02", "2024-02", kind=Kind.RINGSERVER).coverage
    assert (coverage.days_received, coverage.not_received[0].is_day) == (2, True)
    assert coverage.not_received[0].start == as_date("2024-02-02")


def test_month_without_any_day_is_a_gap(store: Store) -> None:
    gap = (as_date("2024-05-01"), as_date("2024-05-31"))
    fill(store, ["A"], [2024], gaps={"A": [gap]}, networks=1)
    report = make_report(store)
    may = next(found for found in report.select("month") if found.date == "2024-05")
    assert (may.bytes, may.clients, may.days_received, may.days_due) == (None, None, 0, 31)
    assert "| May 2024 | – | – | – | – |  | 0 % |" in writers.write_markdown(report).decode().replace("\u00a0", " ")


def test_received_month_without_requests_is_zero(store: Store) -> None:
    node = fill(store, ["A"], [2023], networks=1)["A"]
    store.dataselect.ingest(node, payload(days_coverage=[], period={"start": "2024-01-01", "end": "2024-01-31"}))
    january, february, *_ = make_report(store).select("month")
    assert (january.bytes, january.clients, january.clients_standard_error) == (0, 0, 0.0)
    assert (february.bytes, february.days_received) == (None, 0)
    # With MIN_CLIENTS, what is not shown may be hidden.
    hidden = make_report(store, min_clients=5, network="GE").select("month")[0]
    assert hidden.bytes is None


def test_node_that_joined_is_not_comparable(store: Store) -> None:
    fill(store, ["A"], [2024], networks=1)
    (total,) = make_report(store).select("total")
    assert total.days_due == 366
    compared = total.comparisons["year"]
    assert (compared.sums, compared.changes) == (None, {"clients": None})
    assert "not comparable with 2023" in writers.write_markdown(make_report(store)).decode()


@pytest.mark.parametrize(("clients", "is_exact"), [(160, True), (161, False)])
def test_up_to_160_clients_are_exact(store: Store, clients: int, is_exact: bool) -> None:
    node = fill(store, ["A"], [], networks=0)["A"]
    found = row(month="2024-01-01", clients=sketch(map(hll.hash_client, range(clients))))
    period = {"start": "2024-01-01", "end": "2024-01-31"}
    store.dataselect.ingest(node, payload(found, days_coverage=["2024-01-02"], period=period))
    (total,) = make_report(store).select("total")
    assert (total.clients_standard_error == 0) == is_exact
    assert total.clients == pytest.approx(clients, rel=0 if is_exact else 0.1)


@ON_ONE_STORE
def test_report_without_nodes_has_no_figures(store: Store) -> None:
    report = make_report(store)
    assert [found.table for found in report.rows] == ["total", *["month"] * 12]
    assert all(found.bytes is None for found in report.rows)
    assert b"# Data delivered on request in 2024" in writers.write_markdown(report)


@ON_ONE_STORE
def test_markup_in_names_is_escaped(store: Store) -> None:
    fill(store, ["<script>alert(1)</script>|*"], [2024], networks=1)
    text = writers.write_markdown(make_report(store)).decode()
    assert "<script>" not in text
    assert r"\<script\>alert(1)\</script\>\|\*" in text
