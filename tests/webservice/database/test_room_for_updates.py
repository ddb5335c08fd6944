"""Rows that most payloads of a month update stay in their pages, so that the index does not change."""

import datetime

from support.node_client import make_node
from support.payloads import payload, row
from support.ringserver_federation import Group, make_day_of_groups
from support.stores import ON_POSTGRESQL, Store
from support.tables import select

CODES = [f"S{number:03}" for number in range(400)]
# Without room, none of them would stay: the first payload fills some pages.
SOME = CODES[::4]


def read_pages(store: Store, table: str, code: str) -> dict[str, float]:
    """Return the number of the page of each row."""
    return dict(select(store, f"SELECT {code}, (CAST(CAST(ctid AS text) AS point))[0] FROM {table}"))


@ON_POSTGRESQL
def test_rows_of_dataselect_stay_in_their_pages(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    tables = ("dataselect_stats", "dataselect_stats_by_station")
    store.dataselect.ingest(node, payload(*(row(station=code) for code in CODES), days_coverage=["2026-10-01"]))
    pages = [read_pages(store, table, "station") for table in tables]
    assert len(set(pages[0].values())) > 2
    updated = payload(*(row(station=code) for code in SOME), days_coverage=["2026-10-02"])
    number = store.dataselect.ingest(node, updated).payload
    assert [read_pages(store, table, "station") for table in tables] == pages
    # Their sums are built again.
    store.payloads.retract(number, node)
    assert read_pages(store, tables[0], "station") == pages[0]
    assert set(select(store, "SELECT nb_reqs FROM dataselect_stats")) == {(1,)}


@ON_POSTGRESQL
def test_rows_of_ringservers_stay_in_their_pages(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    pages = []
    for day, codes in ((1, CODES), (2, SOME)):
        groups = [Group(code, [1, day]) for code in codes]
        store.ringserver.ingest(node, make_day_of_groups(datetime.date(2026, 10, day), groups))
        pages.append(read_pages(store, "ringserver_stats", "network"))
    assert len(set(pages[0].values())) > 2
    assert pages[0] == pages[1]
