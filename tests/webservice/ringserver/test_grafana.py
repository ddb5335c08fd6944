"""The panels of the dashboard for Grafana equal the API and the tables."""

import datetime
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from flask.testing import FlaskClient

from eida_statistics.ringserver.places import Places
from support import grafana
from support.geoip import write_database
from support.node_client import make_node
from support.raw_logs import make_log, make_settings
from support.ringserver_days import make_day
from support.roles import grant_grafana
from support.service import PREFIX
from support.stores import ON_POSTGRESQL, Store
from support.tables import select
from support.transfer_logs import Log, Stream

NOW = datetime.datetime(2026, 11, 23, 14, 34, 56, 789000, tzinfo=datetime.UTC)
HOURS, DAYS, MONTHS, NETWORKS, TOP_CLIENTS, MAP = 1, 3, 5, 7, 8, 9
# The units of time of panels with bytes. Each is followed by a panel with clients.
GRAINS = {HOURS: "hour", DAYS: "day", MONTHS: "month"}

STREAMS = (
    *(Stream(), Stream("FDSN:GE_EIL__B_H_Z/MSEED", 512, 1)),
    *(Stream("XX_A_00_HHZ/MSEED", 64, 1), Stream("soh", 7, 1)),
)
PLACES: dict[str, dict[str, Any]] = {
    "192.0.2.0/31": {
        "country": {"iso_code": "FR"},
        "city": {"names": {"en": "Grenoble"}},
        "location": {"latitude": 45.1787, "longitude": 5.7148},
    },
    "192.0.2.2/31": {"country": {"iso_code": "IS"}, "location": {"latitude": 57.64911, "longitude": 10.40744}},
}
# Two nodes, of which one sends payloads, and a name with quotes.
RAW, SENT = "GFZ", 'O\'Neill "N"'
CHOICES: tuple[dict[str, str | list[str]], ...] = (
    {},
    {"direction": "RX"},
    {"node": [RAW], "network": ["GE"]},
    {"node": [RAW, SENT], "network": ["(none)", "FR"]},
    {"node": [SENT], "network": ["FR", "it's", "') OR true --"]},
)


def make_records(node: int) -> list[list[Log]]:
    """Return the records of each day, with some hours of each record."""
    days = ("2026-06-30", "2026-10-31", "2026-11-01", "2026-11-22", "2026-11-23")
    return [
        [
            Log(
                address=f"192.0.2.{(number + node) % 5}",
                streams=STREAMS[: 1 + number % len(STREAMS)],
                direction="RX" if number % 4 == 3 else "TX",
                connected=f"{day}T{number:02d}:10:00Z",
                written=f"{day}T{number + 3:02d}:40:00Z",
            )
            for number in range(node, 19 + node)
        ]
        for day in days
    ]


@pytest.fixture
def dashboard() -> grafana.Dashboard:
    return grafana.load()


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    """Store raw logs of one node, and payloads of the other."""
    raw, sent = (make_node(store, name)[0] for name in (RAW, SENT))
    with Places(write_database(tmp_path / "City.mmdb", PLACES)) as places:
        settings = make_settings()._replace(places=places)
        logs = [make_log(b"".join(record.text() for record in day)) for day in make_records(0)]
        store.raw_logs.store(raw, logs, settings)
    for day in make_records(1):
        store.ringserver.ingest(sent, make_day(day))
    return store


class Reader:
    """Runs the SQL of panels as the role of Grafana, in a time zone far from UTC."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.columns: list[str] = []

    def run(self, sql: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a query."""
        self._cursor.execute(sql)
        self.columns = [column.name for column in self._cursor.description]
        return list(self._cursor.fetchall())

    def read(
        self, dashboard: grafana.Dashboard, number: int, chosen: Mapping[str, str | list[str]]
    ) -> Sequence[Sequence[Any]]:
        """Return the rows of a panel."""
        panel = next(panel for panel in dashboard.panels if panel.id == number)
        span = grafana.find_span(dashboard, panel, NOW)
        values = grafana.choose_values(dashboard, self.run, span, chosen)
        return self.run(grafana.make_sql(panel.query.raw_sql, values, span))

    def read_series(
        self, dashboard: grafana.Dashboard, number: int, chosen: Mapping[str, str | list[str]]
    ) -> dict[tuple[datetime.datetime, str], int]:
        """Return the values of a panel of series, by time and node."""
        rows = self.read(dashboard, number, chosen)
        return grafana.read_series(self.columns, rows)


@pytest.fixture
def reader(filled: Store, store_uri: str) -> Iterator[Reader]:
    with closing(psycopg2.connect(grant_grafana(store_uri))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET TIME ZONE 'Pacific/Auckland'")
        yield Reader(cursor)


def ask(client: FlaskClient, grain: str, chosen: Mapping[str, Any], *, level: str) -> list[dict[str, Any]]:
    """Return rows of the API for the chosen nodes, in the default time of the panels."""
    start = {"hour": "2026-11-22", "day": "2026-08-25", "month": "2024-11"}[grain]
    span = {"start": start, "end": "2026-11-23"[: len(start)]}
    query = {"direction": chosen.get("direction", "TX"), "level": level, "details": grain, "format": "json"}
    response = client.get(f"{PREFIX}/ringserver/public", query_string=query | span)
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.get_json()["results"]
    rows = [row for row in rows if row["node"] in chosen.get("node", (RAW, SENT))]
    return [row for row in rows if "2026-11-22T14" < row["date"] <= "2026-11-23T14"] if grain == "hour" else rows


def is_chosen(network: str, chosen: Mapping[str, Any]) -> bool:
    return "network" not in chosen or (network or "(none)") in chosen["network"]


def parse_date(text: str) -> datetime.datetime:
    """Return the beginning of an hour, a day or a month."""
    return datetime.datetime.fromisoformat(f"{text}-01" if len(text) == 7 else text).replace(tzinfo=datetime.UTC)


@ON_POSTGRESQL
def test_series_equal_the_api(reader: Reader, dashboard: grafana.Dashboard, client: FlaskClient) -> None:
    for chosen, (number, grain) in itertools.product(CHOICES, GRAINS.items()):
        sums: defaultdict[tuple[datetime.datetime, str], int] = defaultdict(int)
        for row in ask(client, grain, chosen, level="network"):
            if is_chosen(row["network"], chosen):
                sums[parse_date(row["date"]), row["node"]] += row["bytes"]
        assert reader.read_series(dashboard, number, chosen) == sums, (chosen, grain)
        clients = {
            (parse_date(row["date"]), row["node"]): row["clients"]
            for row in ask(client, grain, chosen, level="node")
        }
        assert reader.read_series(dashboard, number + 1, chosen) == clients, (chosen, grain)
        assert sums
        assert clients


@ON_POSTGRESQL
def test_networks_equal_the_api(reader: Reader, dashboard: grafana.Dashboard, client: FlaskClient) -> None:
    for chosen in CHOICES:
        sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in ask(client, "day", chosen, level="network"):
            if is_chosen(row["network"], chosen):
                found = sums[row["network"] or "(none)"]
                found[:] = [found[0] + row["bytes"], found[1] + row["packets"], found[2] + row["records"]]
        rows = reader.read(dashboard, NETWORKS, chosen)
        assert {network: list(map(int, numbers)) for network, *numbers in rows} == sums, chosen
        assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
        assert reader.columns == ["Network", "Bytes", "Packets", "Stream lines"]


def select_rows(store: Store, table: str, columns: str, chosen: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return rows of a table for the chosen nodes and direction, in the default time of the dashboard."""
    rows = select(
        store,
        f"SELECT nodes.name, direction, {columns} FROM {table} JOIN nodes ON nodes.id = node_id"
        " WHERE date >= '2026-08-25'",
    )
    nodes, direction = chosen.get("node", (RAW, SENT)), chosen.get("direction", "TX")
    return [row[2:] for row in rows if row[0] in nodes and row[1] == direction]


@ON_POSTGRESQL
def test_top_clients_equal_the_table(reader: Reader, dashboard: grafana.Dashboard, filled: Store) -> None:
    for chosen in CHOICES:
        sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        days: defaultdict[str, set[datetime.date]] = defaultdict(set)
        for hosthash, date, *numbers in select_rows(
            filled, "ringserver_by_client", "hosthash, date, bytes, packets, records", chosen
        ):
            sums[hosthash] = [one + other for one, other in zip(sums[hosthash], numbers, strict=True)]
            days[hosthash].add(date)
        rows = reader.read(dashboard, TOP_CLIENTS, chosen)
        assert reader.columns == ["Host hash", "Bytes", "Packets", "Stream lines", "Days"]
        assert {row[0]: list(map(int, row[1:])) for row in rows} == {
            hosthash: [*numbers, len(days[hosthash])] for hosthash, numbers in sums.items()
        }, chosen
        # Payloads have no host hashes.
        assert bool(rows) == (RAW in chosen.get("node", (RAW, SENT)))


@ON_POSTGRESQL
def test_map_equals_the_table(reader: Reader, dashboard: grafana.Dashboard, filled: Store) -> None:
    for chosen in CHOICES:
        sums: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        for *place, size, packets in select_rows(
            filled, "ringserver_by_place", "geohash, country, city, bytes, packets", chosen
        ):
            if place[0]:
                sums[tuple(place)] = [sums[tuple(place)][0] + size, sums[tuple(place)][1] + packets]
        rows = reader.read(dashboard, MAP, chosen)
        assert reader.columns == ["geohash", "Country", "City", "Bytes", "Packets", "Clients"]
        assert {tuple(row[:3]): list(map(int, row[3:5])) for row in rows} == sums, chosen
        # Two addresses are in each place.
        assert {row[5] for row in rows} <= {2}
        # The payloads have no places.
        assert bool(rows) == (RAW in chosen.get("node", (RAW, SENT)))


@ON_POSTGRESQL
def test_empty_database_has_empty_panels(store: Store, store_uri: str, dashboard: grafana.Dashboard) -> None:
    """No variable has an option then. The columns are there to which the settings of the panels refer."""
    with closing(psycopg2.connect(grant_grafana(store_uri))) as connection, connection.cursor() as cursor:
        reader = Reader(cursor)
        for panel, written in zip(
            dashboard.panels, json.loads(grafana.DASHBOARD.read_bytes())["panels"], strict=True
        ):
            assert reader.read(dashboard, panel.id, {}) == []
            assert set(list_columns(written)) <= set(reader.columns), panel.title


def list_columns(panel: dict[str, Any]) -> Iterator[str]:
    """Yield the names of columns in the settings of a panel."""
    yield from (override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"])
    yield from (sort["displayName"] for sort in panel["options"].get("sortBy", ()))
    for layer in panel["options"].get("layers", ()):
        yield from (layer["location"]["geohash"], layer["config"]["style"]["size"]["field"])
