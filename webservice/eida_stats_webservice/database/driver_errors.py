"""Translate errors of the PostgreSQL driver to the errors that administrators and clients see."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2 import errors

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.database.base import MAKE_ROOM, READ_ONLY_HINT, get_first_line
from eida_stats_webservice.errors import (
    DatabaseFault,
    DatabaseForbidden,
    DatabaseFull,
    DatabaseHasOtherTables,
    DatabaseLacksCharacter,
    DatabaseLocked,
    DatabaseNotReady,
    DatabaseReadOnly,
    DatabaseTooSlow,
    DatabaseUnavailable,
    ForeignServerUnavailable,
    NodeExists,
    RefusedByDatabase,
)

MIGRATE = (
    "Run eida_statsman db migrate. If the schema is up to date, add the schema of the tables to this role's"
    " search_path: with ALTER ROLE, or in the URI, as ?options=-c%20search_path%3DNAME."
)
NO_SCHEMA = (
    "Set the search_path of this role to a schema that exists and that it may use: with ALTER ROLE … SET"
    " search_path, or in the URI, as ?options=-c%20search_path%3DNAME."
)
HLL_UNSEEN = (
    "If hll is missing, ask a database administrator to run CREATE EXTENSION hll in this database. If the extension"
    " exists, add its schema (see \\dx in psql) to the search_path, also for the role of the service:"
    " ALTER ROLE … SET search_path = public, NAME."
)
_RIGHTS = (
    "For the role of the service: run eida_statsman db grant after each upgrade. For administration: use the role"
    " that owns the tables. For the extensions: run CREATE EXTENSION hll and CREATE EXTENSION btree_gist once, as a"
    " superuser."
)
_TABLES_PRESENT = (
    "Use an empty database. To copy the tables of the old service into it: eida_statsman db import-upstream."
)
_NO_SUCH_CHARACTER = "The encoding of the database lacks it. Use a database created with ENCODING 'UTF8'."

_ASK_LESS = "Request less data at once."
_LOCKED = "Another operation uses it. Try again later."

# The database server lost the connection to a foreign server, cannot open it, or must not without a password.
# Errors of the connection to the database server itself have no code.
_FOREIGN_CODES = frozenset({"08000", "08001", "08003", "08006", "2F003"})
_FOREIGN_CLASS = "HV"
_END_OF_SESSION = "57P"

# Errors with the same meaning for every operation. The first matching class counts.
_BY_CLASS: tuple[tuple[type[psycopg2.Error], type[EidaStatisticsError], str], ...] = (
    (errors.DiskFull, DatabaseFull, MAKE_ROOM),
    (errors.UndefinedTable, DatabaseNotReady, MIGRATE),
    (errors.UndefinedColumn, DatabaseNotReady, MIGRATE),
    (errors.UndefinedObject, DatabaseNotReady, HLL_UNSEEN),
    (errors.UndefinedFunction, DatabaseNotReady, HLL_UNSEEN),
    (errors.InvalidSchemaName, DatabaseNotReady, NO_SCHEMA),
    (errors.DuplicateTable, DatabaseHasOtherTables, _TABLES_PRESENT),
    (errors.DuplicateObject, DatabaseHasOtherTables, _TABLES_PRESENT),
    (errors.InsufficientPrivilege, DatabaseForbidden, _RIGHTS),
    (errors.ReadOnlySqlTransaction, DatabaseReadOnly, READ_ONLY_HINT),
    (errors.UntranslatableCharacter, DatabaseLacksCharacter, _NO_SUCH_CHARACTER),
    (psycopg2.DataError, RefusedByDatabase, ""),
    (psycopg2.IntegrityError, RefusedByDatabase, ""),
)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise errors of the driver as the errors that administrators and clients see."""
    try:
        yield
    except psycopg2.Error as error:
        raise (_translate_foreign(error) or _translate(error)) from error


def _translate(error: psycopg2.Error) -> EidaStatisticsError:
    match error:
        case errors.LockNotAvailable() | errors.QueryCanceled():
            # Without the driver's message, since the answer goes to the client.
            is_locked = isinstance(error, errors.LockNotAvailable)
            return DatabaseLocked(hint=_LOCKED) if is_locked else DatabaseTooSlow(hint=_ASK_LESS)
        case errors.FeatureNotSupported() | errors.UndefinedFile():
            return DatabaseNotReady(get_first_line(error), hint=_suggest_package(error))
        case errors.UniqueViolation() if error.diag.constraint_name == "nodes_name_key":
            # Two commands that rename nodes at the same time both find the name free.
            return NodeExists(str(error.diag.message_detail))
        case psycopg2.OperationalError() | psycopg2.InterfaceError() if not isinstance(error, errors.DiskFull):
            # A closed connection raises a second error at the end of its transaction; the context has the cause.
            cause = error.__context__ if isinstance(error.__context__, psycopg2.Error) else error
            return DatabaseUnavailable(get_first_line(cause))
    for driver_class, our_class, hint in _BY_CLASS:
        if isinstance(error, driver_class):
            return our_class(get_first_line(error), hint=hint)
    return DatabaseFault(get_first_line(error))


def _translate_foreign(error: psycopg2.Error) -> ForeignServerUnavailable | None:
    code = error.pgcode or ""
    # A server that ends the session of this role leaves no connection open.
    ends_foreign_session = (
        code.startswith(_END_OF_SESSION) and error.cursor is not None and not error.cursor.connection.closed
    )
    if code in _FOREIGN_CODES or code.startswith(_FOREIGN_CLASS) or ends_foreign_session:
        detail = error.diag.message_detail
        return ForeignServerUnavailable(get_first_line(error) + (f": {detail}" if detail else ""))
    return None


def _suggest_package(error: psycopg2.Error) -> str:
    # An error of the connection has no cursor, unlike in the stubs.
    version = error.cursor.connection.server_version // 10000 if error.cursor else "VERSION"
    return f"Install the extension on the database server: apt-get install postgresql-{version}-hll"
