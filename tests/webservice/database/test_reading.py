"""Queries that are a transaction of their own, which PostgreSQL gets with its settings in one message."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import aiosql
import pytest

from eida_stats_webservice.errors import DatabaseNotReady, RefusedByDatabase
from support.stores import ON_POSTGRESQL, Store, open_store
from support.tables import select


def read(store: Store, statement: str, **parameters: object) -> list[Any]:
    query = aiosql.from_str(
        f"-- name: statement({', '.join(parameters)})\n{statement}", store.database.adapter
    ).statement
    return [tuple(row) for row in store.database.read(query, **parameters)]


@pytest.fixture
def other(store: Store, store_uri: str) -> Iterator[Store]:
    """Open the same database with a session of its own."""
    with closing(open_store(store_uri)) as opened:
        yield opened


def test_rows_of_a_statement(store: Store) -> None:
    assert read(store, "SELECT 1, :text UNION ALL SELECT 2, :text ORDER BY 1", text="a%b") == [
        (1, "a%b"),
        (2, "a%b"),
    ]
    assert read(store, "SELECT 1 FROM nodes") == []


def test_next_statement_works_after_an_error(store: Store) -> None:
    for number in range(3):
        with pytest.raises(DatabaseNotReady):
            read(store, "SELECT 1 FROM unknown")
        assert read(store, "SELECT 1") == [(1,)]
        store.registry.add_node(f"N{number}", "")
    assert len(store.registry.list_nodes()) == 3


@ON_POSTGRESQL
def test_settings_hold_for_the_statement_only(store: Store, other: Store, database_uri: str) -> None:
    name = select(store, "SELECT current_database()")[0][0]
    with other.database.transaction() as connection:
        connection.cursor().execute(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'")
    with closing(open_store(database_uri)) as opened:
        for _ in range(2):
            assert read(opened, "SELECT current_setting('TimeZone'), current_setting('jit')") == [("UTC", "off")]
        assert select(
            other,
            "SELECT DISTINCT state FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        ) == [("idle",)]


@ON_POSTGRESQL
def test_no_other_message_follows(store: Store, other: Store) -> None:
    last_message = "SELECT query ~ '^SET TRANSACTION[^;]*;\\s*SELECT' FROM pg_stat_activity WHERE pid = :pid"
    for _ in range(2):
        ((pid,),) = read(store, "SELECT pg_backend_pid()")
        assert select(other, last_message, pid=pid) == [(True,)]


@ON_POSTGRESQL
def test_isolation_is_not_that_of_the_server(store: Store, database_uri: str) -> None:
    levels = [("read committed",)]
    shown = "SELECT current_setting('transaction_isolation')"
    with store.database.transaction() as connection:
        name = connection.info.dbname
        connection.cursor().execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with closing(open_store(database_uri)) as opened:
        for _ in range(2):
            assert read(opened, shown) == levels
            assert select(opened, shown) == levels
            with opened.database.snapshot() as connection, connection.cursor() as cursor:
                cursor.execute(shown)
                assert cursor.fetchall() == [("repeatable read",)]


@ON_POSTGRESQL
def test_statement_is_one_transaction(store: Store) -> None:
    with pytest.raises(RefusedByDatabase):
        read(store, "INSERT INTO nodes (name, contact) VALUES ('GFZ', ''); SELECT 1 / 0")
    assert store.registry.list_nodes() == []


@ON_POSTGRESQL
def test_closed_connection_is_replaced(store: Store, other: Store) -> None:
    for statement in ("SELECT 1", "SELECT 2"):
        assert len(read(store, statement)) == 1
        select(
            other,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()",
        )
    assert read(store, "SELECT 3") == [(3,)]
