"""Answers are in the order of the query, also if keys are empty or numbers are unknown."""

import datetime
import itertools
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.archive.holdings.cube import HOLDINGS
from eida_stats_webservice.archive.holdings.models import HoldingsRow
from eida_stats_webservice.config import Config
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query.cube import Cube
from eida_stats_webservice.query.model import Statistic, StatisticsQuery
from eida_stats_webservice.query.order import sort_and_limit
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.service import PREFIX
from support.stores import Store

DAY = datetime.date(2026, 9, 3)
NETWORKS_AND_COUNTRIES = [("GE", "DE"), ("", ""), ("FR", ""), ("FR", "FR")]


def make_query(cube: Cube, **parts: Any) -> StatisticsQuery:
    return StatisticsQuery(cube=cube, start=DAY, end=DAY, **parts)


@pytest.mark.parametrize("cube", [DATASELECT, HOLDINGS])
def test_rows_are_ordered_by_any_column(cube: Cube) -> None:
    rows: list[Any] = []
    for size, (network, country) in enumerate(NETWORKS_AND_COUNTRIES):
        keys = tuple({"network": network, "country": country}.get(name, "*") for name in cube.keys)
        measures = (size % 2, None, *range(len(cube.measures) - 2))
        rows.append(Statistic(keys, measures, size) if cube is DATASELECT else HoldingsRow(keys, measures))
    for column in (*cube.keys, *cube.numbers):
        number = (*cube.keys, *cube.numbers).index(column)

        def get_value(one: Any, number: int = number) -> Any:
            return (*one.keys, *one.numbers)[number]

        for sort, reverse in ((column, False), (f"-{column}", True)):
            found = sort_and_limit(rows, make_query(cube, sort=sort))
            values = [value for value in map(get_value, found) if value is not None]
            assert values == sorted(values, reverse=reverse)
            assert {one.keys for one in found} == {one.keys for one in rows}
            assert sort_and_limit(rows, make_query(cube, sort=sort, limit=2)) == found[:2]


@pytest.fixture
def sent(store: Store) -> None:
    node, _ = make_node(store, "GFZ")
    rows = [
        row(month="2026-09-01", network=network, country=country, clients=sketch(range(1, 9)))
        for network, country in NETWORKS_AND_COUNTRIES
    ]
    store.dataselect.ingest(node, payload(*rows, days_coverage=[DAY.isoformat()]))


@pytest.fixture(params=[0, 5])
def client(service_uri: str, request: pytest.FixtureRequest) -> FlaskClient:
    return create_app(Config(service_uri, min_clients=request.param)).test_client()


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("dataselect/public?details=country&", ("network", "country", "clients")),
        ("usage?details=country&", ("network", "country", "clients")),
        ("holdings/public?", ("network", "bytes_served")),
    ],
)
def test_all_answers_can_be_sorted(client: FlaskClient, query: str, columns: tuple[str, ...]) -> None:
    for column, sign in itertools.product(columns, ("", "-")):
        found = client.get(
            f"{PREFIX}/{query}start=2026-09&end=2026-09&level=network&sort={sign}{column}&format=json"
        )
        assert found.status_code == 200, found.text
        values = [one[column] for one in found.get_json()["results"]]
        assert values
        assert values == sorted(values, reverse=bool(sign))
