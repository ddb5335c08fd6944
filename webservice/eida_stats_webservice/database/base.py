"""The engine: transactions, and the few differences between PostgreSQL and SQLite. It knows no table but yoyo's."""

import contextlib
import datetime
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import aiosql
import msgspec

from eida_stats_webservice.errors import (
    DatabaseForbidden,
    DatabaseHidesMigrations,
    DatabaseLocked,
    DatabaseNotReady,
    DatabaseReadOnly,
)

READ_ONLY_HINT = "Name the primary in DATABASE_URI, or reset default_transaction_read_only where it is set."
MAKE_ROOM = "Free some space, or move the database to a larger disk. Everything that was stored before is there."
_GRANT_HINT = "Run eida_statsman db grant for the role of the service. Its search_path must have the schema of hll."
# More does not fit into a parameter of SQLite's.
ID_BITS = 63
_FOLDER = Path(__file__).parent
# A check of the health is given up soon.
_PING_SECONDS = 5
# A command of the administrator tries for a minute or so, for two seconds each time.
_ATTEMPTS = 30
_Record = TypeVar("_Record", bound=msgspec.Struct)
_Result = TypeVar("_Result")
_Row = TypeVar("_Row")


def merge_wildcards(pattern: str) -> str:
    """Return a pattern in which each run of `*` and `?` is as many `?` and at most one `*`."""
    return re.sub(r"[*?]*\*[*?]*", lambda run: "?" * run[0].count("?") + "*", pattern)


def repeat_while_locked(attempt: Callable[[], _Result], attempts: int, *, pause: float = 0) -> _Result:
    """Return the result of the first attempt that something else's lock does not stop.

    Args:
        attempt: waits for a lock for a short time only, so that others do not queue up behind it for long.
        attempts: how many there are at most.
        pause: seconds between two of them.

    Raises:
        DatabaseLocked: if the last one fails, too.
    """
    for _ in range(attempts - 1):
        with contextlib.suppress(DatabaseLocked):
            return attempt()
        time.sleep(pause)
    return attempt()


class Database(ABC):
    """A database that threads share. It connects when it is first used.

    All methods raise DatabaseUnavailable if it cannot be reached, and DatabaseNotReady if tables are missing.
    """

    dialect: ClassVar[str]
    """The name of the files with statements of this dialect."""
    adapter: ClassVar[Any]
    """The driver, as aiosql takes it."""
    migrations: frozenset[str]
    """The names of the migrations that it must have."""

    def __init__(self) -> None:
        self._queries = self.load_queries(_FOLDER)

    @classmethod
    @cache
    def load_queries(cls, folder: Path, name: str = "queries") -> Any:
        """Load named queries from the SQL files of a folder.

        Args:
            folder: the folder. A file named after the dialect is read, too.
            name: the name of the file with the queries that both dialects share.

        Returns:
            An object of aiosql, whose methods run the queries.
        """
        own = folder / f"{cls.dialect}.sql"
        shared = cls.translate((folder / f"{name}.sql").read_text())
        return aiosql.from_str(f"{shared}\n\n{own.read_text() if own.exists() else ''}", cls.adapter)

    @staticmethod
    def translate(sql: str) -> str:
        """Return shared statements in this dialect."""
        return sql

    @abstractmethod
    def transaction(self, *, write: bool = False) -> AbstractContextManager[Any]:
        """Return a context with a connection; all changes are committed at its end, or none."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Any]:
        """Return a context with a connection that reads all as it is at one moment, and cannot write."""

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
        """Load many rows into a table.

        Args:
            connection: one in a transaction.
            query: a named query: COPY … FROM STDIN for PostgreSQL, an INSERT for SQLite.
            rows: the rows.
            to_line: writes a row in the text format of COPY.
            to_parameters: returns the parameters of the INSERT.
        """

    @abstractmethod
    def to_regex(self, patterns: Iterable[str]) -> str:
        """Return a regular expression for the texts that one of some patterns with * and ? is for, as a whole."""

    @abstractmethod
    def to_list(self, values: Iterable[str]) -> Any:
        """Return values in the form in which SQL's IN takes them as one parameter."""

    @abstractmethod
    def stream(self, connection: Any, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Run a query and yield its rows one by one, without holding all of them."""

    def select(self, connection: Any, query: Any) -> Iterator[dict[str, Any]]:
        """Run a named query without parameters, and yield its rows by the names of their columns."""
        cursor = connection.cursor()
        cursor.execute(query.sql)
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    @abstractmethod
    def check_space(self, connection: Any) -> None:
        """Check that a small payload can be written: that there is space, and the right to use it.

        Args:
            connection: one in a transaction, which may be over afterwards.

        Raises:
            DatabaseFull: if the disk is full.
            DatabaseReadOnly: if the database can only be read.
            DatabaseForbidden: if the role may not create temporary tables.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connections that are not in use."""

    def ping(self, *rights: Callable[[Any], bool]) -> None:
        """Check that the database answers, has an up-to-date schema, and can store a small payload.

        More migrations than this version knows are no fault: while an upgrade is under way, both versions run.

        Args:
            rights: functions that take a connection and return whether the role may read and write their tables.

        Raises:
            DatabaseUnavailable: if it cannot be reached.
            DatabaseReadOnly: if it can only be read.
            DatabaseFull: if its disk is full.
            DatabaseNotReady: if it lacks a migration.
            DatabaseForbidden: if the role may not read and write what the service needs.
            DatabaseHidesMigrations: if the role may not read which migrations there are.
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
        """End each statement of this transaction after some seconds. SQLite does not do that."""
        self._queries.end_after(connection, seconds=seconds)

    def wait_without_limit(self, connection: Any) -> None:
        """Let a transaction of the administrator take its time."""
        self._queries.be_patient(connection)

    def administer(self, change: Callable[[Any], _Result]) -> _Result:
        """Make a change of the administrator in a transaction, and return what `change` returns.

        It waits for a lock for a short time only and starts again, so that others do not queue up behind it.

        Raises:
            DatabaseLocked: if something else holds a lock for about a minute.
        """

        def attempt() -> _Result:
            with self.transaction(write=True) as connection:
                self._queries.wait_briefly(connection)
                return change(connection)

        return repeat_while_locked(attempt, _ATTEMPTS)


def format_now() -> str:
    """Return the present time as the database takes it."""
    return format_time(datetime.datetime.now(tz=datetime.UTC))


def to_records(record: type[_Record], rows: Iterator[tuple[Any, ...]]) -> list[_Record]:
    """Make records of rows."""
    # SQLite returns times as text, PostgreSQL as datetime; the record decides what becomes of both.
    names = record.__struct_fields__
    # SQLite has numbers for truth.
    return [msgspec.convert(dict(zip(names, row, strict=True)), record, strict=False) for row in rows]


def parse_time(value: Any) -> datetime.datetime:
    """Parse a time of the database."""
    return msgspec.convert(value, datetime.datetime).astimezone(datetime.UTC)


def format_time(time: datetime.datetime) -> str:
    """Return a time as the database takes it."""
    # One width for all, so that SQLite, which compares text, compares times.
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def first_line(error: Exception) -> str:
    """Return the first line of a driver's message; the rest is for programmers."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
