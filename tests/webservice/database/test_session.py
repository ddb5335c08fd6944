"""Settings of a PostgreSQL server, database, role or environment do not change answers."""

import datetime
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import psycopg2
import pytest
import requests
from psycopg2 import sql

from eida_stats_webservice.database import migrations
from eida_stats_webservice.dataselect.legacy_import import LegacyDatabase
from eida_stats_webservice.errors import DatabaseReadOnly
from support.deployed_service import CONTENTS, TABLES
from support.payloads import row, sketch, wire
from support.postgresql import Cluster
from support.roles import SERVICE, grant_service
from support.service import Contents, Service, read_contents, register_nodes
from support.stores import ON_POSTGRESQL, Store, open_store
from support.tables import select

HOSTILE = {
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "TimeZone": "Asia/Tokyo",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "lock_timeout": "1ms",
    "statement_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "work_mem": "64kB",
    "cursor_tuple_fraction": "0.01",
    "synchronous_commit": "off",
}
QUESTIONS = [
    {"start": "2026-10"},
    {"start": "2026-10", "level": "network", "details": "country", "hllvalues": "true", "format": "json"},
    {"start": "2026-10", "level": "network", "hllvalues": "true", "sort": "clients"},
    {"start": "2026-10", "level": "node", "details": "month", "format": "text"},
]


class Outcome(NamedTuple):
    """The answers of a service that received eight payloads at once."""

    statuses: list[int]
    answers: list[str]
    differences: int
    received: list[str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Start another cluster than that of the other tests: settings of a role apply to all databases."""
    with Cluster() as running:
        yield running


@pytest.fixture
def uri(cluster: Cluster) -> Iterator[str]:
    made = cluster.create_database("statistics")
    migrations.apply(made)
    yield made
    cluster.drop_database("statistics")
    cluster.psql("postgres", f"DROP ROLE IF EXISTS {SERVICE}")


@pytest.fixture(scope="module")
def expected(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return the outcome with the server's default settings."""
    made = cluster.create_database("reference")
    migrations.apply(made)
    outcome = send_and_ask(made, grant_service(made), tmp_path_factory.mktemp("reference"))
    cluster.drop_database("reference")
    return outcome


def send_and_ask(uri: str, service_uri: str, directory: Path, **settings: str) -> Outcome:
    """Send eight payloads of one node at once, and query their statistics."""
    (token,) = register_nodes(uri, "GFZ")
    # Each has a row of its own, and one that all share.
    bodies = [
        wire(
            row(clients=sketch(range(number * 1_000, number * 1_000 + 303))),
            row(network=f"N{number}", clients=sketch(range(7))),
            days_coverage=[f"2026-10-{number + 1:02}"],
        )
        for number in range(8)
    ]
    with Service(service_uri, directory, MIN_CLIENTS="5", **settings) as service, ThreadPoolExecutor(8) as nodes:
        sent = nodes.map(lambda body: service.post(msgspec.json.encode(body), token).status_code, bodies)
        statuses = list(sent)
        answers = [remove_time(service.get("dataselect/public", **question).text) for question in QUESTIONS]
        listed = requests.get(
            f"{service.url}/payloads", headers={"Authorization": f"Bearer {token}"}, timeout=60
        ).json()
    with closing(open_store(uri)) as store:
        differences = sum(len(found) for *_, found in store.verification.verify())
    return Outcome(statuses, answers, differences, [record["received_at"] for record in listed["payloads"]])


def remove_time(answer: str) -> str:
    """Return an answer without the parts that depend on the time."""
    return "\n".join(line for line in answer.splitlines() if "generated" not in line.lower())


def set_in_database(cluster: Cluster, settings: dict[str, str]) -> dict[str, str]:
    execute(cluster, "ALTER DATABASE statistics SET {} = %s", settings)
    return {}


def set_for_role(cluster: Cluster, settings: dict[str, str]) -> dict[str, str]:
    execute(cluster, f"ALTER ROLE {SERVICE} SET {{}} = %s", settings)
    return {}


def set_in_environment(_cluster: Cluster, settings: dict[str, str]) -> dict[str, str]:
    escaped = {name: value.replace(" ", r"\ ") for name, value in settings.items()}
    options = " ".join(f"-c {name}={value}" for name, value in escaped.items())
    return {
        "PGOPTIONS": options,
        "PGTZ": "Asia/Tokyo",
        "PGDATESTYLE": "German",
        "PGCLIENTENCODING": "LATIN1",
        "PGGEQO": "off",
    }


def execute(cluster: Cluster, statement: str, settings: dict[str, str]) -> None:
    with (
        closing(psycopg2.connect(cluster.uri("postgres"))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        for name, value in settings.items():
            values = value.split(", ") if name == "DateStyle" else [value]
            literals = sql.SQL(", ").join(map(sql.Literal, values)).as_string(connection)
            cursor.execute(sql.SQL(statement.replace("%s", literals)).format(sql.Identifier(name)))


@ON_POSTGRESQL
def test_statements_are_not_compiled(store: Store) -> None:
    assert select(store, "SHOW jit") == [("off",)]


# The strictest level in each way, and the one between that and the service's own, read committed.
@pytest.mark.parametrize(
    ("set_hostile", "isolation"),
    [
        (set_in_database, "serializable"),
        (set_for_role, "serializable"),
        (set_in_environment, "serializable"),
        (set_in_database, "repeatable read"),
    ],
)
def test_settings_do_not_change_answers(
    cluster: Cluster,
    uri: str,
    expected: Outcome,
    set_hostile: Callable[[Cluster, dict[str, str]], dict[str, str]],
    isolation: str,
    tmp_path: Path,
) -> None:
    service_uri = grant_service(uri)
    hostile = HOSTILE | {"default_transaction_isolation": isolation}
    environment: dict[str, Any] = set_hostile(cluster, hostile)
    outcome = send_and_ask(uri, service_uri, tmp_path, **environment)
    assert outcome.statuses == [201] * 8
    assert outcome.answers == expected.answers
    assert outcome.differences == 0
    assert {datetime.datetime.fromisoformat(time).utcoffset() for time in outcome.received} == {
        datetime.timedelta()
    }


def test_migration_ignores_hostile_limits(cluster: Cluster) -> None:
    cluster.create_database("migrated")
    try:
        execute(cluster, "ALTER DATABASE migrated SET {} = %s", HOSTILE | {"statement_timeout": "200ms"})
        uri = cluster.uri("migrated")
        with migrations._open_backend(uri) as backend:
            backend.execute("SELECT pg_sleep(0.3)")
        assert migrations.apply(uri)
        with closing(open_store(uri)) as store:
            store.ping()
    finally:
        cluster.drop_database("migrated")


def test_import_ignores_hostile_settings(cluster: Cluster) -> None:
    cluster.create_database("plain")
    cluster.psql("plain", TABLES + CONTENTS)
    cluster.create_database("hostile", "plain")
    execute(cluster, "ALTER DATABASE hostile SET {} = %s", HOSTILE)
    try:
        imported = [import_into(cluster, name) for name in ("plain", "hostile")]
        assert imported[0] == imported[1]
        assert len(imported[0]["dataselect_stats"]) > 20
    finally:
        for name in ("plain", "hostile"):
            cluster.drop_database(name)


def import_into(cluster: Cluster, name: str) -> Contents:
    """Return the contents of a new database after importing an old one, without payloads, which name its time."""
    made = cluster.create_database("new")
    try:
        migrations.apply(made)
        with closing(open_store(made)) as store, closing(LegacyDatabase(cluster.uri(name))) as source:
            list(store.transfer.import_legacy(source))
        return {table: rows for table, rows in read_contents(made).items() if table != "payloads"}
    finally:
        cluster.drop_database("new")


def test_reference_has_all_compared_data(expected: Outcome) -> None:
    assert expected.statuses == [201] * 8
    # Each of the eight payloads has a network of its own, and all share one.
    everything, countries, networks, nodes = expected.answers
    assert [answer.count("GFZ") for answer in (countries, networks, nodes)] == [9, 9, 1]
    assert [answer.count("8b7f") for answer in (everything, countries, networks)] == [0, 9, 9]


def test_writes_commit_synchronously(cluster: Cluster, uri: str) -> None:
    execute(cluster, "ALTER DATABASE statistics SET {} = %s", {"synchronous_commit": "off"})
    with closing(open_store(uri)) as store:
        for write, value in ((True, "on"), (False, "off")):
            with store.database.transaction(write=write) as connection, connection.cursor() as cursor:
                cursor.execute("SHOW synchronous_commit")
                assert cursor.fetchone() == (value,)


def test_read_only_default_is_named(cluster: Cluster, uri: str) -> None:
    execute(cluster, "ALTER DATABASE statistics SET {} = %s", {"default_transaction_read_only": "on"})
    with closing(open_store(uri)) as store:
        with pytest.raises(DatabaseReadOnly, match="default_transaction_read_only is on"):
            store.registry.add_node("GFZ", "operator@node.example")
        with pytest.raises(DatabaseReadOnly):
            store.ping()
        assert store.registry.list_nodes() == []


def test_options_of_the_uri_are_kept(postgresql: Cluster, postgresql_database: str) -> None:
    name = urlsplit(postgresql_database).path.removeprefix("/")
    postgresql.psql(name, "CREATE SCHEMA mine")
    mine = f"{postgresql_database}&options=-c%20search_path%3Dmine"
    migrations.apply(mine)
    with closing(open_store(mine)) as store:
        store.registry.add_node("GFZ", "operator@node.example")
        store.ping()
        assert select(store, "SELECT count(*) FROM mine.nodes") == [(1,)]


def test_reused_connection_resets_its_settings(uri: str) -> None:
    with closing(open_store(uri)) as store:
        with store.database.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SET bytea_output = 'escape'; SET default_transaction_isolation = 'serializable'")
        assert select(store, "SELECT current_setting('bytea_output')") == [("hex",)]
        assert select(store, "SELECT current_setting('transaction_isolation')") == [("read committed",)]
        with store.database.snapshot() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("repeatable read",)
        assert select(store, "SELECT current_setting('transaction_isolation')") == [("read committed",)]
