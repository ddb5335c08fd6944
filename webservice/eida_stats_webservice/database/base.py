"""The engine: transactions, and the differences between PostgreSQL and SQLite. Its only table is that of yoyo."""

import contextlib
import datetime
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import aiosql
import msgspec

from eida_statistics.times import format_utc
from eida_stats_webservice.database.pool import Pool
from eida_stats_webservice.errors import (
    DatabaseForbidden,
    DatabaseHidesMigrations,
    DatabaseLocked,
    DatabaseNotReady,
    DatabaseReadOnly,
)

READ_ONLY_HINT = "Name the primary in DATABASE_URI, or reset default_transaction_read_only where it is set."
MAKE_ROOM = "Free some space, or move the database to a larger disk. The data stored so far are safe."
_GRANT_HINT = "Run eida_statsman db grant for the role of the service. Its search_path must include hll's schema."
# SQLite accepts no larger integers as parameters.
ID_BITS = 63
_WITHOUT_FRACTION = len("2026-11-22T02:03:33Z")
_FOLDER = Path(__file__).parent
_PING_SECONDS = 5
# An administrator's command tries for about a minute, two seconds each time.
_ATTEMPTS = 30
_Record = TypeVar("_Record", bound=msgspec.Struct)
_Result = TypeVar("_Result")
_Row = TypeVar("_Row")


def merge_wildcards(pattern: str) -> str:
    """Return an equivalent pattern with at most one `*` in each run of wildcards."""
    return re.sub(r"[*?]*\*[*?]*", lambda run: "?" * run[0].count("?") + "*", pattern)


def repeat_while_locked(attempt: Callable[[], _Result], attempts: int, *, pause: float = 0) -> _Result:
    """Return the result of the first attempt that gets its locks, with a pause of some seconds between attempts.

    An attempt should wait briefly for locks, since later requests queue up behind it.

    Raises:
        DatabaseLocked: if the last attempt fails, too.
    """
    for _ in range(attempts - 1):
        with contextlib.suppress(DatabaseLocked):
            return attempt()
        time.sleep(pause)
    return attempt()


@contextlib.contextmanager
def set_savepoint(connection: Any) -> Iterator[None]:
    """Undo the statements of the context if it raises an exception."""
    connection.cursor().execute("SAVEPOINT part")
    try:
        yield
        # This waits for work in the background, which belongs to the context.
        connection.cursor()
    except BaseException:
        with contextlib.suppress(Exception):
            # The work may fail, too.
            connection.cursor()
        # If the session is lost, this fails, and everything is undone in any case.
        with contextlib.suppress(Exception):
            cursor = connection.cursor()
            cursor.execute("ROLLBACK TO SAVEPOINT part")
            cursor.execute("RELEASE SAVEPOINT part")
        raise
    connection.cursor().execute("RELEASE SAVEPOINT part")


class Database(ABC):
    """A database that threads can share. It connects at its first use.

    All methods raise DatabaseUnavailable if it cannot be reached, and DatabaseNotReady if tables are missing.
    """

    dialect: ClassVar[str]
    """The name of the SQL files with statements of this dialect."""
    adapter: ClassVar[Any]
    """The driver adapter for aiosql."""
    migrations: frozenset[str]
    """The names of the migrations that this version needs."""

    def __init__(self, pool: Pool[Any]) -> None:
        self._pool = pool
        self._queries = self.load_queries(_FOLDER)

    @classmethod
    @cache
    def load_queries(cls, folder: Path, name: str = "queries") -> Any:
        """Return the named queries of a folder, as methods of an object of aiosql.

        They are in NAME.sql for both dialects, and in a file named after the dialect if there is one.
        """
        own = folder / f"{cls.dialect}.sql"
        shared = cls.translate((folder / f"{name}.sql").read_text())
        return aiosql.from_str(f"{shared}\n\n{own.read_text() if own.exists() else ''}", cls.adapter)

    @classmethod
    def prepare(cls, sql: str) -> str:
        """Return a composed statement with parameters like :name in the form of this dialect and its driver."""
        return cls.translate(sql)

    @staticmethod
    def translate(sql: str) -> str:
        """Return shared statements, translated to this dialect."""
        return sql

    @abstractmethod
    def transaction(self, *, write: bool = False, wait_seconds: int | None = None) -> AbstractContextManager[Any]:
        """Return a context with a connection. It commits at its end, and rolls back after an exception.

        Args:
            write: whether it writes; it then waits long for locks.
            wait_seconds: how long a writer waits for each lock instead.

        Raises:
            DatabaseLocked: if another transaction holds a lock for longer.
        """

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Any]:
        """Return a context with a read-only connection whose queries all see the same state."""

    def read(self, query: Any, **parameters: object) -> list[Any]:
        """Run a named query that only reads, as a transaction of its own, and return its rows."""
        with self.transaction() as connection:
            return list(query(connection, **parameters))

    @abstractmethod
    def savepoint(self, connection: Any) -> AbstractContextManager[None]:
        """Return a context in a transaction. An exception undoes its statements, and the transaction can go on."""

    @abstractmethod
    def load_rows(
        self,
        connection: Any,
        query: Any,
        rows: Iterable[_Row],
        *,
        to_line: Callable[[_Row], str],
        to_parameters: Callable[[_Row], dict[str, Any]],
    ) -> None:
        """Load many rows into a table, in a transaction.

        The query is COPY … FROM STDIN for PostgreSQL, which takes lines, and INSERT for SQLite, which takes
        parameters.
        """

    def load_rows_in_background(
        self,
        connection: Any,
        query: Any,
        rows: Iterable[_Row],
        *,
        to_line: Callable[[_Row], str],
        to_parameters: Callable[[_Row], dict[str, Any]],
    ) -> None:
        """Load many rows as `load_rows` does, while the caller goes on if the database is able to.

        The next use of the connection waits for the end, and raises the exception if there was one. All rows are
        in memory until then.
        """
        self.load_rows(connection, query, rows, to_line=to_line, to_parameters=to_parameters)

    def run_in_background(self, connection: Any, work: Callable[[], None]) -> None:  # noqa: ARG002
        """Call a function that uses the connection, while the caller goes on if the database is able to.

        The next use of the connection waits for the end, and raises the exception if there was one.
        """
        work()

    def run_all(self, connection: Any, query: Any, parameters: Mapping[str, Any]) -> None:
        """Run the statements of a named query. Each ends at the end of a line, and may use any parameter."""
        cursor = connection.cursor()
        for statement in query.sql.split(";\n"):
            cursor.execute(statement, parameters)

    @abstractmethod
    def to_regex(self, patterns: Iterable[str]) -> str:
        """Return a regular expression that matches whole texts against any of some patterns with * and ?."""

    @abstractmethod
    def to_list(self, values: Iterable[str] | Iterable[int]) -> Any:
        """Return the parameter for SQL's IN with these values."""

    @abstractmethod
    def stream(self, connection: Any, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Run a query and yield its rows, without keeping all of them in memory."""

    @abstractmethod
    def run_alone(self, statement: str) -> None:
        """Run a statement that some databases refuse within a transaction. It waits for locks less than a second.

        Raises:
            DatabaseLocked: if another transaction holds a lock.
        """

    @abstractmethod
    def check_space(self, connection: Any) -> None:
        """Check that there is space for a small payload. This may end the transaction of the connection.

        Raises:
            DatabaseFull: if the disk is full.
            DatabaseReadOnly: if the database can only be read.
            DatabaseForbidden: if the role may not create temporary tables.
        """

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pool.close()

    def ping(self, *rights: Callable[[Any], bool]) -> None:
        """Check that the database answers, has an up-to-date schema, and can store a small payload.

        Additional migrations are accepted, since two versions of the service run during an upgrade. `rights` are
        functions that return whether the role of a connection has its rights on their tables.

        Raises:
            DatabaseUnavailable: if it cannot be reached.
            DatabaseReadOnly: if it can only be read.
            DatabaseFull: if its disk is full.
            DatabaseNotReady: if it lacks a migration.
            DatabaseForbidden: if the role lacks rights.
            DatabaseHidesMigrations: if the role may not read the list of migrations.
            DatabaseTooSlow: if it does not answer within 5 seconds.
        """
        with self.transaction() as connection:
            self.limit_time(connection, _PING_SECONDS)
            read_only, may_read_migrations, has_hll = self._queries.read_state(connection)
            if read_only:
                raise DatabaseReadOnly(hint=READ_ONLY_HINT)
            if not may_read_migrations:
                raise DatabaseHidesMigrations(hint=_GRANT_HINT)
            if not (has_hll and all(has_rights(connection) for has_rights in rights)):
                raise DatabaseForbidden(hint=_GRANT_HINT)
            applied = {name for (name,) in self._queries.applied_migrations(connection)}
            self.check_space(connection)
        if missing := sorted(self.migrations - applied):
            raise DatabaseNotReady(f"it lacks {', '.join(missing)}", hint="Run eida_statsman db migrate.")

    def limit_time(self, connection: Any, seconds: int) -> None:
        """Limit the time of each statement of this transaction. SQLite has no such limit."""
        self._queries.set_statement_timeout(connection, seconds=seconds)

    def wait_without_limit(self, connection: Any) -> None:
        """Remove the time limits of this transaction, for long commands of the administrator."""
        self._queries.wait_without_limit(connection)

    def administer(self, change: Callable[[Any], _Result]) -> _Result:
        """Call `change` with a connection in a transaction, and return its result.

        The transaction waits briefly for locks and starts again, so that requests do not queue up behind it.

        Raises:
            DatabaseLocked: if another transaction holds a lock for about a minute.
        """

        def attempt() -> _Result:
            with self.transaction(write=True) as connection:
                self._queries.wait_briefly(connection)
                return change(connection)

        return repeat_while_locked(attempt, _ATTEMPTS)


def format_now() -> str:
    """Return the present time in the form of the database."""
    return format_time(datetime.datetime.now(tz=datetime.UTC))


def select_rows(connection: Any, query: Any, **parameters: object) -> Iterator[dict[str, Any]]:
    """Run a named query and yield its rows, keyed by the names of their columns."""
    cursor = connection.cursor()
    cursor.execute(query.sql, parameters)
    names = [column[0] for column in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def to_records(record: type[_Record], rows: Iterable[Mapping[str, Any]]) -> list[_Record]:
    """Return a record for each row. Columns without a field are ignored."""
    # Conversion is lax, since SQLite returns times as text and booleans as numbers.
    return [msgspec.convert(row, record, strict=False) for row in rows]


def parse_time(value: Any) -> datetime.datetime:
    """Parse a time of the database."""
    return msgspec.convert(value, datetime.datetime).astimezone(datetime.UTC)


def format_time(time: datetime.datetime) -> str:
    """Return a time with milliseconds in the form of the database."""
    # Of fixed width, since SQLite compares times as text.
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def format_moment(moment: datetime.datetime) -> str:
    """Return a time with microseconds in the form of the database; as texts, they have the order of times.

    Raises:
        OverflowError: if its year in UTC is not of 1 to 9999.
    """
    text = format_utc(moment)
    return f"{text[:-1]}{'' if len(text) > _WITHOUT_FRACTION else '.000000'}+00:00"


def get_first_line(error: Exception) -> str:
    """Return the first line of a driver's message. The other lines are for programmers."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
