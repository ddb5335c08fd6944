"""The queries of availability use the indexes of timelines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.archive import availability
from eida_stats_webservice.database.postgresql import PostgreSQL
from support.stores import ON_POSTGRESQL, Store
from support.timelines import AVAILABILITY

# Ten years of 300 channels of 10 networks, each with 60 spans of two months.
_FILL = """
INSERT INTO gfz.timeline
SELECT 'N' || channel / 30, 'S' || channel, '', 'BHZ', 'D', 20,
    '2015-01-01'::timestamptz + span * interval '60 days',
    '2015-01-01'::timestamptz + span * interval '60 days' + interval '59 days', '2026-01-01', 1
FROM generate_series(0, 299) AS channel, generate_series(0, 59) AS span;
ANALYZE gfz.timeline;
UPDATE shards SET generation = 1;
"""
_HOUR = "start=2020-06-15T10:00:00&end=2020-06-15T11:00:00"


@pytest.fixture
def plans(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fill a shard, and return the list of the plans of all statements that are streamed from now on."""
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", "/gfz", "GFZ", open_paths=False)
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute(_FILL)
    found: list[str] = []
    stream = PostgreSQL.stream

    def explain(self: Any, connection: Any, sql: str, parameters: Any) -> Iterator[Any]:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}", parameters)
            found.append("\n".join(line for (line,) in cursor))
        return stream(self, connection, sql, parameters)

    monkeypatch.setattr(PostgreSQL, "stream", explain)
    return found


@ON_POSTGRESQL
@pytest.mark.parametrize(
    ("path", "parameters", "index", "other"),
    [
        ("query", "net=N0&sta=S7&loc=--&cha=BHZ", "tli_stream", "tli_time"),
        ("query", "net=N0&sta=S7*", "tli_stream", "tli_time"),
        ("query", "net=N0", "tli_stream", "tli_time"),
        ("extent", "net=N0", "tli_stream", "tli_time"),
        ("query", f"net=*&{_HOUR}", "tli_time", "tli_stream"),
        ("extent", f"net=*&{_HOUR}", "tli_time", "tli_stream"),
        ("query", f"net=N0&{_HOUR}", "tli_time", "Seq Scan"),
    ],
)
def test_index_finds_the_spans(
    client: FlaskClient, plans: list[str], path: str, parameters: str, index: str, other: str
) -> None:
    assert client.get(f"{AVAILABILITY}/{path}?{parameters}").status_code == 200
    (plan,) = plans
    assert index in plan
    assert other not in plan
    assert "Seq Scan" not in plan


@ON_POSTGRESQL
def test_index_finds_the_spans_of_lines(client: FlaskClient, plans: list[str]) -> None:
    lines = "".join(f"N{number // 30} S{number} -- BHZ 2020-01-01 2020-02-01\n" for number in range(0, 300, 10))
    response = client.post(f"{AVAILABILITY}/query", data=lines)
    assert len(response.text.splitlines()) == 1 + 30
    (plan,) = plans
    assert "tli_stream" in plan
    assert "Seq Scan" not in plan


@ON_POSTGRESQL
def test_networks_are_found_without_reading_spans(client: FlaskClient, plans: list[str], store: Store) -> None:
    assert plans == []
    queries = store.database.load_queries(Path(availability.__file__).parent)
    with store.database.transaction() as connection:
        cursor = connection.cursor()
        # Without ANALYZE, the plan of the second term is not shown.
        cursor.execute(f"EXPLAIN (ANALYZE) {queries.list_networks.sql}", {"code": "gfz"})
        plan = "\n".join(line for (line,) in cursor)
    assert plan.count("Index Only Scan using tli_stream") == 2
