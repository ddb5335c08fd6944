"""Read shards one by one, since a query of all would fail if one foreign server did.

The rows of a foreign shard come from another server. All else is the same for local shards and for SQLite.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

from eida_stats_webservice.archive.errors import ShardUnavailable
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import (
    DatabaseFault,
    DatabaseForbidden,
    DatabaseFull,
    DatabaseNotReady,
    DatabaseTooSlow,
    ForeignServerUnavailable,
    RefusedByDatabase,
)

INCOMPLETE_HEADER = "X-Incomplete"
"""The header of an answer that names the shards that it lacks."""

# A proxy in front waits for somewhat longer.
_ANSWER_SECONDS = 120
# Also for a server that hangs: not all versions of PostgreSQL respect connect_timeout.
_FIRST_ROWS_SECONDS = 30
# Errors of another server, or of reading it. Others are of the connection to this database.
_FAULTS_OF_SERVERS = (
    ForeignServerUnavailable,
    DatabaseTooSlow,
    DatabaseFull,
    DatabaseNotReady,
    DatabaseForbidden,
    DatabaseFault,
    RefusedByDatabase,
)

_Row = TypeVar("_Row")
Query = Callable[[Any, Shard], Iterable[_Row]]
"""A function that runs a query of one shard, and returns its rows. Large results come from `Database.stream`."""


class ShardReader:
    """Reads shards in one snapshot.

    Args:
        database: the database.
        connection: the connection of the snapshot.
        partial: read the other shards if some are unavailable.

    Attributes:
        incomplete: the codes of the shards that are unavailable. They are known once `read` has returned, before
            the headers of an answer are sent.
    """

    def __init__(self, database: Database, connection: Any, *, partial: bool) -> None:
        self.connection = connection
        self.incomplete: list[str] = []
        self._database = database
        self._partial = partial

    @property
    def headers(self) -> dict[str, str]:
        """The header that names the shards that are missing, if some are."""
        return {INCOMPLETE_HEADER: ",".join(self.incomplete)} if self.incomplete else {}

    @property
    def members(self) -> dict[str, list[str]]:
        """The member of a JSON document that names the shards that are missing, if some are."""
        return {"incomplete": self.incomplete} if self.incomplete else {}

    def read(self, shards: Iterable[Shard], query: Query[_Row]) -> list[tuple[Shard, Iterator[_Row]]]:
        """Run a query for each shard, up to its first row, and return the rows of each.

        All rows have to be read within the snapshot. A server that fails after its first row ends the answer.

        Raises:
            ShardUnavailable: if a shard cannot be read and `partial` is not set. The rows raise it, too.
        """
        found = []
        for shard in shards:
            try:
                found.append((shard, self._begin(shard, query)))
            except ShardUnavailable:
                if not self._partial:
                    raise
                self.incomplete.append(shard.code)
        return found

    def _begin(self, shard: Shard, query: Query[_Row]) -> Iterator[_Row]:
        """Run a query, and return its rows when the first one is there."""
        if shard.foreign_server is None:
            return iter(query(self.connection, shard))
        self._database.limit_time(self.connection, _FIRST_ROWS_SECONDS)
        # The savepoint keeps the transaction usable after a failure.
        with _name_shard(shard), self._database.savepoint(self.connection):
            rows = iter(query(self.connection, shard))
            first = list(islice(rows, 1))
        self._database.limit_time(self.connection, _ANSWER_SECONDS)
        return chain(first, _read_further(shard, rows))


@contextmanager
def open_reader(database: Database, *, partial: bool = False) -> Iterator[ShardReader]:
    """Yield a reader with a snapshot of its own. Each statement has a time limit."""
    with database.snapshot() as connection:
        database.limit_time(connection, _ANSWER_SECONDS)
        yield ShardReader(database, connection, partial=partial)


def _read_further(shard: Shard, rows: Iterator[_Row]) -> Iterator[_Row]:
    with _name_shard(shard):
        yield from rows


@contextmanager
def _name_shard(shard: Shard) -> Iterator[None]:
    """Raise errors of the server of a shard as ShardUnavailable."""
    try:
        yield
    except _FAULTS_OF_SERVERS as error:
        raise ShardUnavailable(shard.code, shard.node) from error
