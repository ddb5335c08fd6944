"""PostgreSQL with the hll extension."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import count, islice
from typing import Any, TypeVar

import psycopg2
from aiosql.adapters.pyformat import PyFormatAdapter
from psycopg2 import extensions, extras

from eida_stats_webservice.database.background import BackgroundConnection
from eida_stats_webservice.database.base import Database, merge_wildcards, set_savepoint
from eida_stats_webservice.database.driver_errors import translate_errors
from eida_stats_webservice.database.pool import Pool
from eida_stats_webservice.database.schema import FOLDER, list_migration_ids
from eida_stats_webservice.database.session import begin, connect, run_at_once
from eida_stats_webservice.errors import DatabaseReadOnly

_Row = TypeVar("_Row")

_ROWS_AT_ONCE = 5000
# The driver waits until a text is sent. One that is larger than the buffer of the socket waits for the server, and
# then the server waits for the next one.
_COPY_BYTES, _LINES_AT_ONCE = 1 << 16, 1000
# A check for space writes 1 MiB, so it is not repeated at once.
_SPACE_CHECK_SECONDS = 10
_ON_STANDBY = "It is a standby server. Name the primary in DATABASE_URI."
_READ_ONLY_BY_DEFAULT = (
    "default_transaction_read_only is on. Reset it where it is set: ALTER DATABASE or ALTER ROLE … RESET"
    " default_transaction_read_only, ALTER SYSTEM, or the options of the connection."
)


class _Adapter(PyFormatAdapter):
    """Sends the statements of a query for many records in batches of a thousand."""

    def insert_update_delete_many(self, conn: Any, query_name: str, sql: str, parameters: Any) -> int:  # noqa: ARG002
        with conn.cursor() as cursor:
            extras.execute_batch(cursor, sql, parameters, page_size=1000)
        # The number of changed rows is unknown.
        return -1


class PostgreSQL(Database):
    """A PostgreSQL database. Connections that the server has closed are replaced."""

    dialect = "postgresql"
    adapter = _Adapter
    migrations = list_migration_ids(FOLDER)

    def __init__(self, uri: str) -> None:
        super().__init__(Pool(self._connect, _begin_if_usable))
        self._uri = uri
        self._space_checked_at = -float("inf")
        self._cursor_numbers = count()

    @classmethod
    def prepare(cls, sql: str) -> str:
        """Return the statement with the driver's form of parameters; see the base class."""
        return re.sub(r":(\w+)", r"%(\1)s", sql)

    @contextmanager
    def transaction(
        self, *, write: bool = False, wait_seconds: int | None = None
    ) -> Iterator[extensions.connection]:
        """Yield a connection in a transaction; see the base class.

        Raises:
            DatabaseReadOnly: if `write` is set and the database can only be read.
        """
        with translate_errors(), self._pool.borrow() as connection, connection:
            if write:
                read_only, standby, *_ = self._queries.prepare_to_write(connection)
                if read_only:
                    raise DatabaseReadOnly(hint=_ON_STANDBY if standby else _READ_ONLY_BY_DEFAULT)
                if wait_seconds is not None:
                    self._queries.wait_for_locks(connection, seconds=wait_seconds)
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[extensions.connection]:
        """Yield a read-only connection; see the base class."""
        with translate_errors(), self._pool.borrow(_begin_snapshot_if_usable) as connection:
            try:
                if not connection.readonly:
                    # A new one, which has begun another transaction.
                    connection.rollback()
                    _begin_snapshot(connection)
                yield connection
            finally:
                if not connection.closed:
                    # A commit would fail if the transaction lost the connection to a foreign server.
                    connection.rollback()
                    connection.set_session(isolation_level="READ COMMITTED", readonly="default")

    def read(self, query: Any, **parameters: object) -> list[Any]:
        """Run a named query; see the base class. The server gets its settings with it, in one message."""
        with translate_errors(), self._pool.borrow(_is_open) as connection:
            try:
                return run_at_once(connection, query.sql, parameters)
            except psycopg2.Error:
                if not connection.closed:
                    raise
        # The server had closed the connection while nothing used it.
        return super().read(query, **parameters)

    @contextmanager
    def savepoint(self, connection: extensions.connection) -> Iterator[None]:
        """Set a savepoint; see the base class."""
        with translate_errors(), set_savepoint(connection):
            yield

    def load_rows(
        self,
        connection: extensions.connection,
        query: Any,
        rows: Iterable[_Row],
        *,
        to_line: Callable[[_Row], str],
        to_parameters: Callable[[_Row], dict[str, Any]],  # noqa: ARG002
    ) -> None:
        """Load the rows by COPY; see the base class."""
        text = _CopyText(map(to_line, rows))
        with connection.cursor() as cursor:
            try:
                # The driver accepts text, unlike its stubs.
                cursor.copy_expert(query.sql, text)  # type: ignore[arg-type]
            except psycopg2.Error:
                # The driver hides an exception of the row iterator behind its own.
                if text.error is not None:
                    raise text.error from None
                raise

    def load_rows_in_background(
        self,
        connection: BackgroundConnection,
        query: Any,
        rows: Iterable[_Row],
        *,
        to_line: Callable[[_Row], str],
        to_parameters: Callable[[_Row], dict[str, Any]],  # noqa: ARG002
    ) -> None:
        """Load the rows by COPY in another thread; see the base class."""
        connection.copy_in_background(query.sql, map(to_line, rows))

    def run_in_background(self, connection: BackgroundConnection, work: Callable[[], None]) -> None:
        """Run the work in another thread; see the base class."""
        connection.run_in_background(work)

    def to_regex(self, patterns: Iterable[str]) -> str:
        """Return a regular expression, which PostgreSQL matches without backtracking."""
        wild = str.maketrans({"*": ".*", "?": "."})
        return f"^({'|'.join(merge_wildcards(pattern).translate(wild) for pattern in patterns)})$"

    def to_list(self, values: Iterable[str] | Iterable[int]) -> tuple[str | int, ...]:
        """Return a tuple, which the driver writes as a list."""
        return tuple(values)

    def stream(
        self, connection: extensions.connection, sql: str, parameters: dict[str, Any]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a server-side cursor."""
        # An answer may read several cursors in turn.
        with translate_errors(), connection.cursor(f"answer_{next(self._cursor_numbers)}") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(sql, parameters)
            yield from cursor

    def run_alone(self, statement: str) -> None:
        """Run a statement on a connection of its own, outside of transactions; see the base class."""
        with translate_errors(), closing(connect(self._uri)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                # Shorter than deadlock_timeout: of two that wait for each other, this one stops, and not a payload.
                cursor.execute("SET lock_timeout = '500ms'")
                cursor.execute(statement)

    def check_space(self, connection: extensions.connection) -> None:
        """Write 1 MiB and roll back, unless the last check was a few seconds ago; see the base class."""
        if time.monotonic() < self._space_checked_at + _SPACE_CHECK_SECONDS:
            return
        self._queries.create_filler(connection)
        self._queries.fill(connection)
        # A commit would write the catalogue to disk, and wait.
        connection.rollback()
        self._space_checked_at = time.monotonic()

    def _connect(self) -> extensions.connection:
        connection = connect(self._uri)
        try:
            begin(connection)
        except psycopg2.Error:
            connection.close()
            raise
        return connection


def _begin_snapshot(connection: extensions.connection) -> None:
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    begin(connection)


def _begin_if_usable(
    connection: extensions.connection, begin_transaction: Callable[[extensions.connection], None] = begin
) -> bool:
    """Begin a transaction. If the server has closed the connection, close it and return False."""
    try:
        if connection.autocommit:
            # The last use was `run_at_once`.
            connection.autocommit = False
        begin_transaction(connection)
    except psycopg2.Error:
        connection.close()
        return False
    return True


def _is_open(connection: extensions.connection) -> bool:
    return not connection.closed


def _begin_snapshot_if_usable(connection: extensions.connection) -> bool:
    return _begin_if_usable(connection, _begin_snapshot)


class _CopyText:
    """A file of lines for COPY, written on demand.

    Attributes:
        error: the exception of the row iterator, if one ended it.
    """

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._count = 1
        self.error: Exception | None = None

    def read(self, _size: int = -1, /) -> str:
        """Return the next lines, some kilobytes of them; an empty text at the end."""
        try:
            text = "".join(islice(self._lines, self._count))
        except Exception as error:
            self.error = error
            raise
        # The next lines are about as long. If they are much longer, the limit keeps the text small.
        self._count = min(max(1, self._count * _COPY_BYTES // max(1, len(text))), _LINES_AT_ONCE)
        return text
