"""A cube is enough for a second source of statistics: its queries over HTTP, and the SQL of queries."""

import csv
import datetime
import io
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pyarrow import parquet

from eida_statistics import hll
from eida_stats_webservice.app import create_app
from eida_stats_webservice.auth.authenticator import Authenticator
from eida_stats_webservice.config import Config
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query import routes
from eida_stats_webservice.query.decisions import Decisions
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.query.sql import Sketches, compose
from eida_stats_webservice.registry.models import PUBLIC, Viewer
from eida_stats_webservice.web.concurrency import ConcurrencyLimit
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row
from support.service import PREFIX
from support.stores import Store
from support.streaming import STREAMING, Record, add_up, create_tables, draw_records

WHOLE = {"start": "2026-08-01", "end": "2026-09-30"}
PUBLIC_PATH, RESTRICTED_PATH = (f"{PREFIX}/streaming/{kind}" for kind in ("public", "restricted"))


@pytest.fixture
def records(store: Store) -> list[Record]:
    """Fill the tables with the records of two nodes."""
    for name in ("A", "B"):
        sender, _ = make_node(store, name)
        # Payloads register networks.
        store.dataselect.ingest(sender, payload(*(row(network=network) for network in ("GE", "FR", "X"))))
    drawn = draw_records(("A", "B"), count=50, users=12)
    create_tables(store, drawn)
    return drawn


@pytest.fixture
def client(store: Store, store_uri: str, service_settings: dict[str, Any]) -> FlaskClient:
    """Return a client of a service with the second cube."""
    config = Config(store_uri, **service_settings)
    app = create_app(config)
    limit = ConcurrencyLimit(at_once=4, waiting=4)
    authenticator = Authenticator(store.registry, None, limit, lambda _address: None)
    blueprint = routes.create_blueprint(
        STREAMING, store.statistics, store.registry, limit, authenticator, config.privacy, Decisions()
    )
    app.register_blueprint(blueprint, url_prefix=PREFIX)
    return app.test_client()


def ask(client: FlaskClient, **query: str) -> list[dict[str, Any]]:
    response = client.get(PUBLIC_PATH, query_string={**query, "format": "json"})
    assert response.status_code == 200, response.text
    return list(response.get_json()["results"])


def take_sums(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    found = {
        tuple(row[name] for name in STREAMING.keys): (row["bytes"], row["packets"], row["clients"]) for row in rows
    }
    assert len(found) == len(rows)
    return found


def select(**parameters: str) -> dict[str, str]:
    """Return the parameters that are not empty."""
    return {name: value for name, value in parameters.items() if value}


DATES = ("", "year", "month", "day", "hour")


def test_all_divisions_match_the_records(client: FlaskClient, records: list[Record]) -> None:
    filters: tuple[dict[str, str], ...] = (
        *({}, {"direction": "RX"}, {"node": "B"}, {"network": "GE"}, {"country": "DE"}),
        {"start": "2026-08-31", "end": "2026-09-01"},
    )
    for level, date, some in itertools.product(("", "node", "network"), DATES, filters):
        for detail in ("", "country"):
            details = ",".join(filter(None, (date, detail)))
            if "start" in some and date not in ("day", "hour"):
                continue
            query = WHOLE | some | select(level=level, details=details)
            assert take_sums(ask(client, **query)) == add_up(records, **query), query


@pytest.mark.parametrize("date", DATES[:-1])
def test_places_match_the_records(client: FlaskClient, records: list[Record], date: str) -> None:
    for some in ({}, {"city": "Bonn"}, {"geohash": "u33d,u05k", "level": "node"}):
        query = {**WHOLE, **some, "details": ",".join(filter(None, (date, "city,geohash,country")))}
        assert take_sums(ask(client, **query)) == add_up(records, **query), query


@pytest.mark.parametrize("details", ["day,country", "hour", "city"])
def test_all_formats_have_the_same_rows(client: FlaskClient, records: list[Record], details: str) -> None:
    query = {**WHOLE, "details": details, "with_records": "true", "header": "plain"}
    query |= {} if details == "city" else {"hllvalues": "true"}
    answers = {form: client.get(PUBLIC_PATH, query_string={**query, "format": form}) for form in
               ("json", "csv", "text", "parquet")}  # fmt: skip
    assert {answer.status_code for answer in answers.values()} == {200}
    expected = json.loads(answers["json"].data)["results"]
    sketches = ["hll_clients"] if "hllvalues" in query else []
    assert list(expected[0]) == [*STREAMING.keys, "bytes", "packets", "records", "clients", *sketches]
    assert (expected[0]["records"] is None) == (details == "hour")
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in expected]
    assert list(csv.DictReader(io.StringIO(answers["csv"].text))) == texts
    assert list(csv.DictReader(io.StringIO(answers["text"].text.removeprefix("#")), delimiter="|")) == texts
    assert parquet.read_table(io.BytesIO(answers["parquet"].data)).to_pylist() == expected


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"level": "network", "details": "city"}, "city, network cannot be combined"),
        ({"details": "city", "hllvalues": "true"}, "city, hllvalues cannot be combined"),
        ({"details": "hour,city"}, "details=hour with city"),
        ({"city": "Bonn", "network": "GE"}, "city, network cannot be combined"),
        ({"details": "hour", "start": "2025-08"}, "at most 400 days"),
        ({"details": "day,hour"}, "Use only one of hour and day and month and year"),
        ({"details": "day", "start": "2026-09-31"}, "no such day"),
        ({"start": "2026-09-02"}, "add details=day"),
        ({"direction": "XX"}, "Use TX or RX"),
        ({"unsuccessful": "true"}, "unsuccessful"),
        ({"station": "S1"}, "station"),
    ],
)
def test_bad_combinations_are_refused(client: FlaskClient, query: dict[str, str], words: str) -> None:
    response = client.get(PUBLIC_PATH, query_string={**WHOLE, **query, "format": "json"})
    assert response.status_code == 400
    assert words in response.get_json()["detail"]


def test_holder_of_a_token_sees_stations(client: FlaskClient, store: Store, records: list[Record]) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    store.registry.set_network_policy("A", "X", inverted=True)
    token = store.registry.add_network_token("X", now - DAY, now + DAY)[1]
    headers = {"Authorization": f"Bearer {token}"}
    query = {**WHOLE, "network": "X", "level": "station", "details": "month"}
    response = client.post(RESTRICTED_PATH, query_string={**query, "format": "json"}, headers=headers)
    assert take_sums(response.get_json()["results"]) == add_up(records, **query)
    daily = client.post(RESTRICTED_PATH, query_string={**query, "details": "day"}, headers=headers)
    assert (
        daily.status_code,
        "details=day with network, station. These are by year or month only" in daily.text,
    ) == (400, True)
    # X of node A is withheld from everybody else.
    public = ask(client, **WHOLE, level="network", details="day")
    assert {row["node"] for row in public if row["network"] == "X"} == {"B"}
    assert "Other" in {row["network"] for row in public}


# MIN_CLIENTS


MINIMUM = 4
WITH_MIN_CLIENTS = pytest.mark.parametrize(
    "service_settings", [{"min_clients": MINIMUM, "min_sketch_clients": 0, "closed_after_days": 0}]
)
LEVELS = ("", "node", "network")


def query_bits(client: FlaskClient, level: str, dates: str, others: Iterable[str]) -> dict[tuple[str, ...], int]:
    """Return the records of each row, as their bytes."""
    rows = ask(client, **WHOLE, **select(level=level, details=",".join(filter(None, (dates, *others)))))
    return {key: size for key, (size, *_) in take_sums(rows).items()}


def count_clients(bits: int, records: list[Record]) -> int:
    return len(frozenset().union(*(record["users"] for record in records if record["bytes"] & bits)))


def is_within(key: tuple[str, ...], total: tuple[str, ...]) -> bool:
    in_date = total[0] == "*" or key[0].startswith(total[0])
    return in_date and all(there in ("*", here) for here, there in zip(key[1:], total[1:], strict=True))


@WITH_MIN_CLIENTS
@pytest.mark.parametrize(
    ("level", "date", "others"),
    [
        *(("network", date, ()) for date in DATES),
        *(("", "day", ("country",)), ("network", "hour", ("country",))),
        *(("", "", ("city",)), ("node", "", ("city", "geohash", "country")), ("", "day", ("city", "geohash"))),
    ],
)
def test_totals_reveal_no_small_group(
    client: FlaskClient, records: list[Record], level: str, date: str, others: tuple[str, ...]
) -> None:
    shown = query_bits(client, level, date, others)
    assert sum(shown.values()) == sum(record["bytes"] for record in records if record["direction"] == "TX")
    for key, bits in shown.items():
        # Other may be small if it is all of its date, since that total is public.
        assert count_clients(bits, records) >= MINIMUM or [one for one in shown if one[0] == key[0]] == [key]
    for coarser_level, coarser_date in itertools.product(
        LEVELS[: LEVELS.index(level) + 1], DATES[: DATES.index(date) + 1]
    ):
        for some in itertools.chain.from_iterable(
            itertools.combinations(others, n) for n in range(len(others) + 1)
        ):
            for total, bits in query_bits(client, coarser_level, coarser_date, some).items():
                within = [of_row for key, of_row in shown.items() if is_within(key, total)]
                left = bits - sum(within)
                # The totals of nodes and dates are public.
                if within and "Other" not in total and set(total[2:]) != {"*"}:
                    assert left == 0 or (left > 0 and count_clients(left, records) >= MINIMUM), total


@WITH_MIN_CLIENTS
@pytest.mark.usefixtures("records")
def test_small_place_is_not_shown_by_name(client: FlaskClient) -> None:
    shown = {key[7] for key in take_sums(ask(client, **WHOLE, details="city,day"))}
    assert "Other" in shown
    for city in ("Potsdam", "Bonn", "Lyon"):
        assert {key[7] for key in take_sums(ask(client, **WHOLE, details="day,city", city=city))} <= shown


@WITH_MIN_CLIENTS
@pytest.mark.usefixtures("records")
def test_sketches_of_small_groups_are_empty(client: FlaskClient) -> None:
    rows = ask(client, **WHOLE, level="network", details="day", hllvalues="true")
    assert {row["hll_clients"] for row in rows if row["network"] == "Other"} == {hll.to_hex(hll.EMPTY)}


# SQL

GROUP = Viewer(networks=frozenset("X"), groups=frozenset(["group"]))
TX = {"direction": "TX"}
QUERIES: dict[str, tuple[Viewer, dict[str, Any]]] = {
    "total": (PUBLIC, {}),
    "network_by_month": (PUBLIC, {"level": "network", "details": {"month"}}),
    "merged_nodes": (PUBLIC, {"level": "network", "merge_nodes": True, "details": {"year"}}),
    "most_clients": (PUBLIC, {"details": {"country"}, "sort": "-clients", "limit": 9}),
    "streams": (
        GROUP,
        {"level": "channel", "filters": {"network": ("X",), "station": ("S*",), "country": ("DE",)}},
    ),
    "stations": (GROUP, {"level": "station", "filters": {"network": ("X",)}}),
    "streaming_by_hour": (PUBLIC, {"cube": STREAMING, "choices": TX, "level": "node", "details": {"hour"}}),
    "streaming_by_city": (PUBLIC, {"cube": STREAMING, "choices": TX, "details": {"day", "city"}}),
}


@pytest.mark.parametrize("name", QUERIES)
def test_sql_is_that_of_its_file(name: str) -> None:
    viewer, parts = QUERIES[name]
    query = StatisticsQuery(
        **{"cube": DATASELECT, "start": datetime.date(2026, 1, 1), "end": datetime.date(2026, 3, 31), **parts}
    )
    sketches = Sketches.ALL if viewer == GROUP else Sketches.NONE
    composed = compose(query, viewer, sketches=sketches, policies=viewer == GROUP)
    assert composed == read_sql(name)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cells_by_country", {"level": "network", "details": {"country"}, "filters": {"network": ("X",)}}),
        ("cells_like_the_table", {"level": "network", "details": {"month", "country"}}),
        ("cells_by_hour", {"cube": STREAMING, "choices": TX, "level": "network", "details": {"hour"}}),
    ],
)
def test_sql_of_cells_is_that_of_its_file(name: str, parts: dict[str, Any]) -> None:
    query = StatisticsQuery(
        **{"cube": DATASELECT, "start": datetime.date(2026, 1, 1), "end": datetime.date(2026, 3, 31), **parts}
    )
    composed = compose(query, PUBLIC, sketches=Sketches.OF_SMALL, policies=False, cells=True)
    assert composed == read_sql(name)


def read_sql(name: str) -> str:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_text().rstrip("\n")
