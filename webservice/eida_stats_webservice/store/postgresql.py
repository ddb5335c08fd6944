"""The store of a centre: PostgreSQL with the hll extension."""

import datetime
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any

import psycopg2
from psycopg2 import errors, extensions

from eida_statistics.errors import (
    NodeExists,
    RefusedByStore,
    StoreForbidden,
    StoreNotReady,
    StoreTooSlow,
    StoreUnavailable,
)
from eida_statistics.payload import Row
from eida_stats_webservice.store.base import Store
from eida_stats_webservice.store.database import first_line, load_queries
from eida_stats_webservice.store.pool import Pool

_OPTIONS = " ".join(
    [
        "-c timezone=UTC",
        # A connection that forgot its transaction must not block a migration for ever.
        "-c idle_in_transaction_session_timeout=60s",
        # Nor wait for one: what is asked is told to come again. Who writes waits longer.
        "-c lock_timeout=5s",
        # A payload of 100,000 rows is copied, read and sorted in memory.
        "-c temp_buffers=64MB -c work_mem=32MB",
        # Uniting sketches takes 128 kB for each group; a sort lets it have one at a time.
        "-c enable_hashagg=off",
        # A cursor is read to its end.
        "-c cursor_tuple_fraction=1",
    ]
)
_CONNECT_SECONDS = 10
_ROWS_AT_ONCE = 5000


class PostgreSQLStore(Store):
    """Shares some connections among threads, and makes new ones where the server has closed them."""

    queries = load_queries("postgresql", "psycopg2")

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._pool = Pool(self._connect, _is_usable)

    @contextmanager
    def transaction(self, *, write: bool = False) -> Iterator[extensions.connection]:
        """Give a connection; see `Store.transaction`."""
        with _translated(), self._pool.lent() as connection, connection:
            if write:
                self.queries.wait_for_locks(connection)
            yield connection

    def load_incoming(self, connection: extensions.connection, rows: Iterable[Row]) -> None:
        """Load the rows by COPY."""
        with connection.cursor() as cursor:
            # The stubs know bytes only; the driver takes text as well.
            cursor.copy_expert("COPY incoming FROM STDIN", CopyText(rows))  # type: ignore[arg-type]

    def listed(self, values: Iterable[str]) -> tuple[str, ...]:
        """Give a tuple, which the driver writes as SQL's list."""
        return tuple(values)

    def stream(
        self, connection: extensions.connection, sql: str, parameters: dict[str, Any]
    ) -> Iterator[tuple[Any, ...]]:
        """Read from a cursor of the server's."""
        with connection.cursor("answer") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(sql, parameters)
            yield from cursor

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._pool.close()

    def _connect(self) -> extensions.connection:
        return psycopg2.connect(
            self._uri,
            options=_OPTIONS,
            connect_timeout=_CONNECT_SECONDS,
            application_name="eida-statistics",
            # A line that was cut is noticed within half a minute.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=25_000,
        )


def _is_usable(connection: extensions.connection) -> bool:
    """Ask, since the server may have gone since the last request; it costs a tenth of a millisecond."""
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except psycopg2.Error:
        connection.close()
        return False
    return True


class CopyText:
    """Rows in COPY's text format, written while the server reads what came before."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = iter(rows)

    def read(self, _size: int = -1, /) -> str:
        """Give the next thousand lines, or nothing at the end."""
        # No code can hold a tab, a line break or a backslash, and the sketch's own backslash is doubled.
        return "".join(
            [
                f"{_iso(row.month)}\t{row.network}\t{row.station}\t{row.location}\t{row.channel}\t{row.country}\t{row.bytes}"
                f"\t{row.nb_requests}\t{row.nb_successful_requests}\t{row.nb_unsuccessful_requests}"
                f"\t\\{row.clients}\n"
                for row in islice(self._rows, 1000)
            ]
        )


@lru_cache(maxsize=1024)
def _iso(month: datetime.date) -> str:
    # A date is slow to format, and there are few months among many rows.
    return month.isoformat()


@contextmanager
def _translated() -> Iterator[None]:
    """Give the driver's errors the names that the edges know."""
    try:
        yield
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        raise StoreNotReady(first_line(error), hint="Run eida_statsman db migrate.") from error
    except errors.InsufficientPrivilege as error:
        raise StoreForbidden(
            first_line(error),
            hint="The service needs its rights anew after an upgrade: eida_statsman db grant;"
            " for administration, use the role that owns the tables.",
        ) from error
    except errors.QueryCanceled as error:
        raise StoreTooSlow(hint="Ask for less at once.") from error
    except errors.LockNotAvailable as error:
        raise StoreTooSlow(hint="Something else is being done to it. Try again later.") from error
    except (psycopg2.OperationalError, psycopg2.InterfaceError, errors.ReadOnlySqlTransaction) as error:
        # That a connection is closed, as is found out when its transaction ends, has a cause.
        cause = error.__context__ if isinstance(error.__context__, psycopg2.Error) else error
        raise StoreUnavailable(first_line(cause)) from error
    except errors.UniqueViolation as error:
        # Two renamings at once each find the name free.
        if error.diag.constraint_name == "nodes_name_key":
            raise NodeExists(str(error.diag.message_detail)) from error
        raise RefusedByStore(first_line(error)) from error
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        raise RefusedByStore(first_line(error)) from error
