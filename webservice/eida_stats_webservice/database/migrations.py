"""Apply and list the migrations of the schema with yoyo, compatible with `yoyo apply` in a checkout."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yoyo
from psycopg2 import extensions
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.connections import parse_uri
from yoyo.exceptions import LockTimeout

from eida_statistics.user import get_login_name
from eida_stats_webservice.database.base import READ_ONLY_HINT, repeat_while_locked
from eida_stats_webservice.database.driver_errors import HLL_UNSEEN, NO_SCHEMA, translate_errors
from eida_stats_webservice.database.schema import FOLDER
from eida_stats_webservice.database.session import begin, connect, set_for_migration
from eida_stats_webservice.database.uri import parse_sqlite_path
from eida_stats_webservice.errors import DatabaseForbidden, DatabaseNotReady, DatabaseReadOnly, DatabaseUnavailable

# At two seconds each, longer than PostgreSQL keeps the transaction of a reader that stopped reading (a minute).
_ATTEMPTS = 60
# Requests that queued up behind an attempt run in the pause.
_PAUSE_SECONDS = 1

_CAN_MIGRATE = """
SELECT current_setting('transaction_read_only')::boolean, current_schema() IS NOT NULL,
    to_regtype('hll') IS NULL AND EXISTS (SELECT FROM pg_extension WHERE extname = 'hll'),
    to_regclass('_yoyo_migration') IS NULL AND NOT has_schema_privilege(current_schema(), 'CREATE'),
    current_schema()
"""


class Migration(NamedTuple):
    """A migration, and whether the database has it."""

    id: str
    applied: bool


def get_folder(uri: str) -> Path:
    """Return the folder with the migrations for the database of a URI."""
    return FOLDER if parse_sqlite_path(uri) is None else FOLDER / "sqlite"


def list_migrations(uri: str) -> list[Migration]:
    """Return all migrations, oldest first."""
    known = yoyo.read_migrations(str(get_folder(uri)))
    path = parse_sqlite_path(uri)
    if path is not None and not path.exists():
        return [Migration(migration.id, applied=False) for migration in known]
    with _open_backend(uri) as backend:
        missing = {migration.id for migration in backend.to_apply(known)}
        return [Migration(migration.id, migration.id not in missing) for migration in known]


def apply(uri: str) -> list[str]:
    """Bring the schema up to date and return the names of the applied migrations.

    Raises:
        DatabaseUnavailable: if the database cannot be reached, or the directory of its file is missing.
        DatabaseReadOnly: if it can only be read.
        DatabaseLocked: if another transaction holds a lock on a table for minutes.
        DatabaseForbidden: if the role may not create tables, or may not create the hll extension.
        DatabaseHasOtherTables: if the database has other tables of these names, as the deployed service does.
        DatabaseNotReady: if the server lacks the hll extension, the search_path lacks a schema for the tables or
            that of the extension, or an interrupted migration left its lock.
    """
    path = parse_sqlite_path(uri)
    if path is None:
        _check_before_migrating(uri)
    elif not path.parent.is_dir():
        raise DatabaseUnavailable(
            f"the directory {path.parent} does not exist", hint="Create it, or correct DATABASE_URI."
        )
    else:
        _protect_file(path)
    missing = [migration.id for migration in list_migrations(uri) if not migration.applied]
    repeat_while_locked(lambda: _apply_missing(uri), _ATTEMPTS, pause=_PAUSE_SECONDS)
    return missing


def _protect_file(path: Path) -> None:
    """Create the database file, or change its permissions, so that only its owner can read it.

    Small sketches list hashes of users. Older versions let all users of the machine read the file.
    """
    try:
        path.touch(0o600)
        for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            if file.exists() and file.stat().st_uid == os.geteuid():
                file.chmod(file.stat().st_mode & 0o700)
    except OSError as error:
        raise DatabaseUnavailable(f"{path}: {error.strerror}") from error


def _apply_missing(uri: str) -> None:
    # yoyo logs this name, and needs one.
    os.environ.setdefault("LOGNAME", get_login_name())
    with _open_backend(uri) as backend, backend.lock():
        backend.apply_migrations(backend.to_apply(yoyo.read_migrations(str(get_folder(uri)))))


def _check_before_migrating(uri: str) -> None:
    """Check that yoyo can create its lock. It takes every failure for the lock of another migration, and waits."""
    with translate_errors(), closing(connect(uri)) as connection, connection, connection.cursor() as cursor:
        begin(connection)
        cursor.execute(_CAN_MIGRATE)
        read_only, has_schema, hll_is_hidden, may_not_create, schema = cursor.fetchone() or ()
    if read_only:
        raise DatabaseReadOnly(hint=READ_ONLY_HINT)
    if not has_schema:
        raise DatabaseNotReady("the search_path names no schema", hint=NO_SCHEMA)
    if may_not_create:
        raise DatabaseForbidden(
            f"this role may not create tables in schema {schema}",
            hint="Migrate as the owner of the database. The service has its own role: eida_statsman db grant.",
        )
    if hll_is_hidden:
        raise DatabaseNotReady("the search_path lacks the schema of the hll extension", hint=HLL_UNSEEN)


class _Backend(PostgresqlBackend):  # type: ignore[misc] # yoyo has no types
    """Connects yoyo to PostgreSQL, independent of the server's settings."""

    def init_connection(self, connection: extensions.connection) -> None:
        """Set up one of the connections of yoyo."""
        super().init_connection(connection)
        set_for_migration(connection)


def _connect(uri: str) -> Any:
    if parse_sqlite_path(uri) is not None:
        return yoyo.get_backend(uri)
    backend = _Backend(parse_uri(uri), yoyo.default_migration_table)
    backend.init_database()
    return backend


@contextmanager
def _open_backend(uri: str) -> Iterator[Any]:
    try:
        with translate_errors(), _connect(uri) as backend:
            yield backend
    except LockTimeout as error:
        raise DatabaseNotReady(
            "another migration is running, or an interrupted one left its lock",
            hint="If none is running, remove the lock: yoyo break-lock --database URI. Then run this again.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise DatabaseUnavailable(str(error)) from error
