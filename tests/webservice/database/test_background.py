"""PostgreSQL: work that is done while the caller goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from eida_stats_webservice.database.background import BackgroundConnection
from eida_stats_webservice.database.base import set_savepoint
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
def test_statements_run_in_the_background(connection: Any) -> None:
    may_begin, numbers = threading.Event(), iter(range(3))

    def insert() -> None:
        assert may_begin.wait(10)
        for number in numbers:
            run(connection, f"INSERT INTO copied VALUES ({number})")

    with connection:
        connection.run_in_background(insert)
        may_begin.set()
        assert count_rows(connection) == 3
        connection.run_in_background(lambda: run(connection, "SELECT no_column FROM copied"))
        with pytest.raises(psycopg2.ProgrammingError, match="no_column"):
            connection.run_in_background(insert)


def in_savepoint(connection: Any, function: Callable[[], None]) -> None:
    with set_savepoint(connection):
        function()


@ON_POSTGRESQL
def test_savepoint_undoes_all_of_the_work(connection: Any) -> None:
    may_begin = threading.Event()

    def insert() -> None:
        assert may_begin.wait(10)
        for number in range(200):
            run(connection, f"INSERT INTO copied VALUES ({number})")

    def fail() -> None:
        connection.run_in_background(insert)
        may_begin.set()
        raise InterruptedError

    with connection:
        run(connection, "INSERT INTO copied VALUES (7)")
        with pytest.raises(InterruptedError):
            in_savepoint(connection, fail)
        assert count_rows(connection) == 1


@ON_POSTGRESQL
def test_work_that_fails_at_the_end_of_a_savepoint_is_undone(connection: Any) -> None:
    def fail() -> None:
        run(connection, "INSERT INTO copied VALUES (8)")
        connection.run_in_background(lambda: run(connection, "SELECT no_column FROM copied"))

    with connection:
        run(connection, "INSERT INTO copied VALUES (7)")
        with pytest.raises(psycopg2.ProgrammingError, match="no_column"):
            in_savepoint(connection, fail)
        assert count_rows(connection) == 1


@ON_POSTGRESQL
def test_error_of_the_caller_is_not_hidden_by_that_of_the_work(connection: Any) -> None:
    def fail() -> None:
        connection.run_in_background(lambda: run(connection, "SELECT no_column FROM copied"))
        raise KeyboardInterrupt

    with connection:
        run(connection, "INSERT INTO copied VALUES (7)")
        with pytest.raises(KeyboardInterrupt):
            in_savepoint(connection, fail)
        assert count_rows(connection) == 1


@ON_POSTGRESQL
def test_interrupted_rollback_closes_the_connection(connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the next user of the connection would commit what is left of the work."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    connection.run_in_background(lambda: run(connection, "INSERT INTO copied VALUES (7)"))
    with monkeypatch.context() as patch:
        patch.setattr("eida_stats_webservice.database.background.wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            connection.rollback()
    assert connection.closed


@ON_POSTGRESQL
def test_lost_session_is_an_error(connection: Any, store_uri: str) -> None:
    with closing(connect(store_uri)) as other:
        run(other, "LOCK TABLE copied")
        # It waits for the lock.
        connection.copy_in_background(COPY, LINES)
        run(other, f"SELECT pg_terminate_backend({connection.get_backend_pid()})")
        with pytest.raises(psycopg2.OperationalError):
            connection.commit()
