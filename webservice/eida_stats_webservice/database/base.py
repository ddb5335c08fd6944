"""The interface of a database: transactions, and the few differences between PostgreSQL and SQLite."""

import contextlib
import datetime
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import aiosql
import msgspec

from eida_statistics.payload import Row
from eida_stats_webservice.errors import (
    DatabaseForbidden,
    DatabaseHidesMigrations,
    DatabaseLocked,
    DatabaseNotReady,
    DatabaseReadOnly,
    UnknownNode,
)
from eida_stats_webservice.registry.models import Node

READ_ONLY_HINT = "Name the primary in DATABASE_URI, or reset default_transaction_read_only where it is set."
MAKE_ROOM = "Free some space, or move the database to a larger disk. Everything that was stored before is there."
_GRANT_HINT = "Run eida_statsman db grant for the role of the service. Its search_path must have the schema of hll."
# More does not fit into a parameter of SQLite's.
ID_BITS = 63
_SQL = Path(__file__).parent / "sql"
# A check of the health is given up soon.
_PING_SECONDS = 5
# A command of the administrator tries for a minute or so, for two seconds each time.
_ATTEMPTS = 30
_Record = TypeVar("_Record", bound=msgspec.Struct)
_Result = TypeVar("_Result")


def folded(pattern: str) -> str:
    """Return a pattern in which each run of `*` and `?` is as many `?` and at most one `*`."""
    return re.sub(r"[*?]*\*[*?]*", lambda run: "?" * run[0].count("?") + "*", pattern)


def load_queries(dialect: str, driver: Any, translate: Callable[[str], str] = str) -> Any:
    """Load the named queries that all stores share, put into one dialect, and those of that dialect.

    Args:
        dialect: the name of the file with the dialect's own queries.
        driver: the name of the driver, or an adapter to it, as aiosql takes them.
        translate: puts shared queries into the dialect.
    """
    shared, own = ((_SQL / f"{name}.sql").read_text() for name in ("queries", dialect))
    return aiosql.from_str(f"{translate(shared)}\n\n{own}", driver)


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
    """A database; its subclasses know the tables."""

    queries: Any
    """The named queries; aiosql makes methods of them."""
    migrations: frozenset[str]
    """The names of the migrations that it must have."""

    @abstractmethod
    def transaction(self, *, write: bool = False) -> AbstractContextManager[Any]:
        """Return a context with a connection; all changes are committed at its end, or none."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[Any]:
        """Return a context with a connection that reads all as it is at one moment, and cannot write."""

    @abstractmethod
    def load_incoming(self, connection: Any, rows: Iterable[Row]) -> None:
        """Add rows to the temporary table `incoming`."""

    @abstractmethod
    def matching(self, patterns: Iterable[str]) -> str:
        """Return a regular expression for the texts that one of some patterns with * and ? is for, as a whole."""

    @abstractmethod
    def listed(self, values: Iterable[str]) -> Any:
        """Return values in the form in which SQL's IN takes them as one parameter."""

    @abstractmethod
    def stream(self, connection: Any, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Run a query and give its rows as they come, without holding all of them."""

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

    def ping(self) -> None:
        """Check that the database answers, has an up-to-date schema, and can store a small payload.

        More migrations than this version knows are no fault: while an upgrade is under way, both versions run.

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
            self.queries.end_after(connection, seconds=_PING_SECONDS)
            _, read_only, may_read_migrations, may_serve = self.queries.ping(connection)
            if read_only:
                raise DatabaseReadOnly(hint=READ_ONLY_HINT)
            if not may_read_migrations:
                raise DatabaseHidesMigrations(hint=_GRANT_HINT)
            if not may_serve:
                raise DatabaseForbidden(hint=_GRANT_HINT)
            applied = {name for (name,) in self.queries.applied_migrations(connection)}
            self.check_space(connection)
        if missing := sorted(self.migrations - applied):
            raise DatabaseNotReady(f"it lacks {', '.join(missing)}", hint="Run eida_statsman db migrate.")

    def administer(self, change: Callable[[Any], _Result]) -> _Result:
        """Make a change of the administrator in a transaction, and return what `change` returns.

        It waits for a lock for a short time only and starts again, so that others do not queue up behind it.

        Raises:
            DatabaseLocked: if something else holds a lock for about a minute.
        """

        def attempt() -> _Result:
            with self.transaction(write=True) as connection:
                self.queries.wait_briefly(connection)
                return change(connection)

        return repeat_while_locked(attempt, _ATTEMPTS)

    def lock(self, connection: Any, node: Node) -> int:
        """Lock a node against other writers, and return its revision.

        Every transaction that writes rows of a node begins with this, so that no two of them can deadlock.

        Raises:
            UnknownNode: if there is no such node.
        """
        revision = self.queries.lock_node(connection, node_id=node.id)
        if revision is None:
            raise UnknownNode(node.name)
        return int(revision)

    def lock_named(self, connection: Any, name: str) -> Node:
        """Lock a node against other writers, and return it.

        Raises:
            UnknownNode: if there is no node of that name.
        """
        node = Node(self.node_id(connection, name), name)
        self.lock(connection, node)
        return node

    def node_id(self, connection: Any, name: str) -> int:
        """Find the id of a node.

        Raises:
            UnknownNode: if there is no such node.
        """
        found = self.queries.find_node(connection, name=name)
        if found is None:
            raise UnknownNode(name)
        return int(found[0])


def now() -> str:
    """Return the present time as the database takes it."""
    return iso(datetime.datetime.now(tz=datetime.UTC))


def records(record: type[_Record], rows: Iterator[tuple[Any, ...]]) -> list[_Record]:
    """Make records of rows."""
    # SQLite returns times as text, PostgreSQL as datetime; the record decides what becomes of both.
    names = record.__struct_fields__
    # SQLite has numbers for truth.
    return [msgspec.convert(dict(zip(names, row, strict=True)), record, strict=False) for row in rows]


def as_time(value: Any) -> datetime.datetime:
    """Parse a time of the database."""
    return msgspec.convert(value, datetime.datetime).astimezone(datetime.UTC)


def iso(time: datetime.datetime) -> str:
    """Write a time as the database takes it."""
    # One width for all, so that SQLite, which compares text, compares times.
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def first_line(error: Exception) -> str:
    """Return the first line of a driver's message; the rest is for programmers."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
