"""PostgreSQL: rows that are copied while the caller goes on."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from eida_stats_webservice.database.background import BackgroundConnection
from eida_stats_webservice.database.session import connect
from support.stores import ON_POSTGRESQL, Store

COPY = "COPY copied FROM STDIN"
# More than the buffers between the two processes hold.
LINES = ["1234567\n"] * 200_000


@pytest.fixture
def connection(store: Store, store_uri: str) -> Iterator[Any]:
    with closing(connect(store_uri)) as opened:
        assert isinstance(opened, BackgroundConnection)
        run(opened, "CREATE TABLE copied (number integer)")
        opened.commit()
        yield opened


def run(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def count_rows(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM copied")
        return int(cursor.fetchone()[0])


@ON_POSTGRESQL
def test_next_use_waits_for_the_rows(connection: Any) -> None:
    with connection:
        connection.copy_in_background(COPY, LINES)
        connection.copy_in_background(COPY, [])
        connection.copy_in_background(COPY, ["8\n"])
        assert count_rows(connection) == 200_001
        connection.copy_in_background(COPY, LINES)
    assert count_rows(connection) == 400_001


@ON_POSTGRESQL
def test_exception_undoes_the_rows(connection: Any) -> None:
    def interrupt() -> None:
        with connection:
            connection.copy_in_background(COPY, LINES)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert count_rows(connection) == 0


@ON_POSTGRESQL
def test_next_use_raises_the_error(connection: Any) -> None:
    for use in (connection.cursor, connection.commit):
        connection.copy_in_background(COPY, [*LINES, "no number\n"])
        with pytest.raises(psycopg2.DataError):
            use()
        connection.rollback()
    assert count_rows(connection) == 0


@ON_POSTGRESQL
def test_lost_session_is_an_error(connection: Any, store_uri: str) -> None:
    with closing(connect(store_uri)) as other:
        run(other, "LOCK TABLE copied")
        # It waits for the lock.
        connection.copy_in_background(COPY, LINES)
        run(other, f"SELECT pg_terminate_backend({connection.get_backend_pid()})")
        with pytest.raises(psycopg2.OperationalError):
            connection.commit()
