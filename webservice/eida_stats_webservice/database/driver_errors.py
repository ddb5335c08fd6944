"""The errors of PostgreSQL's driver, by class, as the errors that administrators and clients see."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from psycopg2 import errors

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.database.base import MAKE_ROOM, READ_ONLY_HINT, first_line
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
    NodeExists,
    RefusedByDatabase,
)

MIGRATE = (
    "Run eida_statsman db migrate. If that was done, the search_path of this role lacks the schema of the tables:"
    " set it with ALTER ROLE or in the URI, as ?options=-c%20search_path%3DNAME."
)
NO_SCHEMA = (
    "The search_path of this role names no schema that exists and that it may use. Set it with ALTER ROLE … SET"
    " search_path, or in the URI: ?options=-c%20search_path%3DNAME."
)
HLL_UNSEEN = (
    "If this is about hll: have an administrator run CREATE EXTENSION hll in this database. If it is there, add its"
    " schema (psql's \\dx shows it) to the search_path: ALTER ROLE … SET search_path = public, NAME; for"
    " the role of the service, too."
)
_RIGHTS = (
    "The service needs its rights again after each upgrade: eida_statsman db grant. For administration, use the"
    " role that owns the tables. An extension takes a superuser, once: CREATE EXTENSION hll."
)
_TABLES_PRESENT = (
    "Use an empty database, and take over those of the deployed service with eida_statsman db import-upstream."
)
_NO_SUCH_CHARACTER = "The encoding of the database lacks it. Use a database made with ENCODING 'UTF8'."

_ASK_LESS = "Ask for less at once."
_LOCKED = "Something else is being done to it. Try again later."

# Errors that mean the same whatever was tried. The first class that fits counts.
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
    """Raise the driver's errors as the errors that are shown to administrators and clients."""
    try:
        yield
    except psycopg2.Error as error:
        raise _translate(error) from error


def _translate(error: psycopg2.Error) -> EidaStatisticsError:
    match error:
        case errors.LockNotAvailable() | errors.QueryCanceled():
            # Without the reason: the answer goes to the client.
            is_locked = isinstance(error, errors.LockNotAvailable)
            return DatabaseLocked(hint=_LOCKED) if is_locked else DatabaseTooSlow(hint=_ASK_LESS)
        case errors.FeatureNotSupported() | errors.UndefinedFile():
            return DatabaseNotReady(first_line(error), hint=_how_to_install(error))
        case errors.UniqueViolation() if error.diag.constraint_name == "nodes_name_key":
            # Two clients that rename nodes at the same time each find the name free.
            return NodeExists(str(error.diag.message_detail))
        case psycopg2.OperationalError() | psycopg2.InterfaceError() if not isinstance(error, errors.DiskFull):
            # That a connection is closed is noticed when its transaction ends; the cause came before.
            cause = error.__context__ if isinstance(error.__context__, psycopg2.Error) else error
            return DatabaseUnavailable(first_line(cause))
    for driver_class, our_class, hint in _BY_CLASS:
        if isinstance(error, driver_class):
            return our_class(first_line(error), hint=hint)
    return DatabaseFault(first_line(error))


def _how_to_install(error: psycopg2.Error) -> str:
    # The stubs do not know that an error of the connection has no cursor.
    version = error.cursor.connection.server_version // 10000 if error.cursor else "VERSION"
    return f"Install the extension on the database's machine: apt-get install postgresql-{version}-hll"
