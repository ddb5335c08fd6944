"""SQLite, with the sketch functions of PostgreSQL's hll extension."""

import errno
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from eida_statistics import hll
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.database.base import MAKE_ROOM, Database, merge_wildcards, set_savepoint
from eida_stats_webservice.database.pool import Pool
from eida_stats_webservice.database.schema import SQLITE_FOLDER, list_migration_ids
from eida_stats_webservice.errors import (
    DatabaseFull,
    DatabaseLocked,
    DatabaseMissing,
    DatabaseNotReady,
    DatabaseReadOnly,
    DatabaseUnavailable,
    RefusedByDatabase,
)

_Row = TypeVar("_Row")

# The time limit of a writer that waits for another one. Payloads are stored one at a time.
_BUSY_SECONDS = 120
_SPACE_BYTES = 1 << 20
# A full disk, a quota, a limit of the process.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
# The last byte of an extended code is the primary code.
_PRIMARY_CODE = 0xFF
_READ_ONLY_HINT = "Give the service write permission for the database file and its directory."


class SQLite(Database):
    """An SQLite database in a file."""

    dialect = "sqlite"
    adapter = "sqlite3"
    migrations = list_migration_ids(SQLITE_FOLDER)

    def __init__(self, path: Path) -> None:
        super().__init__(Pool(self._connect, self._is_usable))
        self._path = path

    @staticmethod
    def translate(sql: str) -> str:
        """Return shared statements with lists as JSON parameters, and without COLLATE "C", SQLite's default."""
        return re.sub(r"\bIN :(\w+)", r"IN (SELECT value FROM json_each(:\1))", sql).replace(' COLLATE "C"', "")

    @contextmanager
    def transaction(self, *, write: bool = False, wait_seconds: int | None = None) -> Iterator[sqlite3.Connection]:
        """Yield a connection; see the base class. With `write`, it takes the write lock at once."""
        with self._translate_errors(), self._pool.borrow() as connection:
            # Connections are used again.
            milliseconds = (_BUSY_SECONDS if wait_seconds is None else wait_seconds) * 1000
            connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def snapshot(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return a transaction, whose queries all see the state at the first one."""
        return self.transaction()

    @contextmanager
    def savepoint(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Set a savepoint; see the base class."""
        with self._translate_errors(), set_savepoint(connection):
            yield

    def load_rows(
        self,
        connection: sqlite3.Connection,
        query: Any,
        rows: Iterable[_Row],
        *,
        to_line: Callable[[_Row], str],  # noqa: ARG002
        to_parameters: Callable[[_Row], dict[str, Any]],
    ) -> None:
        """Load the rows by one executemany; see the base class."""
        query(connection, map(to_parameters, rows))

    def to_regex(self, patterns: Iterable[str]) -> str:
        """Return a regular expression without backtracking."""
        return rf"^(?:{'|'.join(map(_to_linear_regex, map(merge_wildcards, patterns)))})\Z"

    def to_list(self, values: Iterable[str] | Iterable[int]) -> str:
        """Return a JSON array, which `translate` expects."""
        return json.dumps(sorted(values))

    def stream(
        self, connection: sqlite3.Connection, sql: str, parameters: dict[str, Any]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        yield from connection.execute(sql, parameters)

    def run_alone(self, statement: str) -> None:
        """Run a statement as a transaction; see the base class."""
        with self.transaction(write=True) as connection:
            connection.execute(statement)

    def check_space(self, _connection: sqlite3.Connection) -> None:
        """Allocate 1 MiB and free it, without waiting for writers; see the base class."""
        if not os.access(self._path, os.W_OK):
            raise DatabaseReadOnly(str(self._path), hint=_READ_ONLY_HINT)
        _reserve_space(self._path.parent)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, OverflowError) as error:
            raise RefusedByDatabase(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.DatabaseError) -> EidaStatisticsError:
        # The error for a file that is not a database has no code.
        match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE:
            case sqlite3.SQLITE_FULL:
                return DatabaseFull(str(error), hint=MAKE_ROOM)
            case sqlite3.SQLITE_BUSY:
                return DatabaseLocked(hint="Another operation uses it. Try again later.")
            case sqlite3.SQLITE_READONLY:
                return DatabaseReadOnly(str(error), hint=_READ_ONLY_HINT)
            case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
                # A full disk is one of many reasons.
                try:
                    _reserve_space(self._path.parent)
                except (DatabaseFull, DatabaseReadOnly) as reason:
                    return reason
        if "no such table" in str(error) or "no such column" in str(error):
            return DatabaseNotReady(str(error), hint="Run eida_statsman db migrate.")
        return DatabaseUnavailable(str(error))

    def _connect(self) -> "_Connection":
        if not self._path.exists():
            raise DatabaseMissing(
                str(self._path), hint="Correct the path, or create the database: eida_statsman db migrate."
            )
        return connect(self._path)

    def _is_usable(self, connection: "_Connection") -> bool:
        """Return whether a connection is to the present file. Writes to a file that was replaced would be lost."""
        if connection.file == _identify_file(self._path):
            return True
        connection.close()
        return False


class _Connection(sqlite3.Connection):
    """A connection to a file, identified by device and inode; None if the file changed during the opening."""

    file: tuple[int, int] | None = None

    def __del__(self) -> None:
        # Python 3.13 warns of connections that are deleted without being closed.
        self.close()


def _identify_file(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def connect(path: Path) -> _Connection:
    """Open a database and add the sketch functions of PostgreSQL's hll extension."""
    before = _identify_file(path)
    # Threads share it, but one at a time.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=_Connection
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite opens the file at the first statement, above.
    if before is not None and before == _identify_file(path):
        connection.file = before
    connection.create_function("hll_union", 2, lambda *sketches: hll.merge(sketches), deterministic=True)
    connection.create_function("hll_cardinality", 1, hll.estimate, deterministic=True)
    connection.create_function("regexp_like", 2, _match_regex, deterministic=True)
    connection.create_aggregate("hll_union_agg", 1, _UnionAggregate)  # type: ignore[arg-type] # any value
    # SQLite's own sum fails beyond 63 bits, unlike PostgreSQL's.
    connection.create_aggregate("sum", 1, _SumAggregate)  # type: ignore[arg-type] # text where it is large
    return connection


def _to_linear_regex(pattern: str) -> str:
    """Return a regular expression that runs in linear time, since it takes the first match of each part."""
    first, *others = (part.replace("?", ".") for part in pattern.split("*"))
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}"


def _match_regex(text: str, pattern: str) -> bool:
    return _compile_regex(pattern).search(text) is not None


@lru_cache(maxsize=64)
def _compile_regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class _SumAggregate:
    """The sum of integers or real numbers, without those that are null; null if there are none."""

    def __init__(self) -> None:
        self._sum: float | None = None

    def step(self, number: float | None) -> None:
        if number is not None:
            self._sum = number if self._sum is None else self._sum + number

    def finalize(self) -> float | str | None:
        # SQLite has no larger integers. Readers parse the text; integer columns refuse it.
        return str(self._sum) if isinstance(self._sum, int) and self._sum >= 2**63 else self._sum


class _UnionAggregate:
    def __init__(self) -> None:
        self._sketches: list[bytes] = []

    def step(self, sketch: bytes) -> None:
        self._sketches.append(sketch)

    def finalize(self) -> bytes:
        # Sketches are checked before they are stored.
        return hll.unite(self._sketches)


def _reserve_space(directory: Path) -> None:
    """Allocate space in a directory and free it; raise the reason if that is not possible."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            os.posix_fallocate(file.fileno(), 0, _SPACE_BYTES)
    except OSError as error:
        if error.errno in _FULL:
            raise DatabaseFull(f"{directory}: {error.strerror}", hint=MAKE_ROOM) from error
        if error.errno in _NOT_WRITABLE:
            raise DatabaseReadOnly(f"{directory}: {error.strerror}", hint=_READ_ONLY_HINT) from error
        raise DatabaseUnavailable(f"{directory}: {error.strerror}") from error
