"""The schema, as yoyo keeps it: the same migrations that `yoyo apply` finds in a checkout."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import yoyo
from psycopg2 import errors
from yoyo.exceptions import LockTimeout

from eida_statistics.errors import StoreForbidden, StoreNotReady, StoreUnavailable
from eida_stats_webservice.store.uri import sqlite_path

FOLDER = Path(__file__).parent.parent / "migrations"


class Migration(NamedTuple):
    """One migration, and whether the database has it."""

    id: str
    applied: bool


def folder(uri: str) -> Path:
    """The migrations for the database of a URI."""
    return FOLDER if sqlite_path(uri) is None else FOLDER / "sqlite"


def status(uri: str) -> list[Migration]:
    """Tell which migrations there are, oldest first, and which of them the database has."""
    known = yoyo.read_migrations(str(folder(uri)))
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        return [Migration(migration.id, applied=False) for migration in known]
    with _backend(uri) as backend:
        missing = {migration.id for migration in backend.to_apply(known)}
        return [Migration(migration.id, migration.id not in missing) for migration in known]


def apply(uri: str) -> list[str]:
    """Bring the database's schema up to date, and tell which migrations that took.

    Raises:
        StoreUnavailable: if the database cannot be reached.
        StoreForbidden: if the role may not do it; an administrator may have to create the hll extension first.
        StoreNotReady: if the server lacks the hll extension, or an ended migration left its lock.
    """
    path = sqlite_path(uri)
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(f"{path.parent}: {error.strerror}") from error
    with _backend(uri) as backend, backend.lock():
        missing = backend.to_apply(yoyo.read_migrations(str(folder(uri))))
        backend.apply_migrations(missing)
        return [migration.id for migration in missing]


@contextmanager
def _backend(uri: str) -> Iterator[Any]:
    try:
        backend = yoyo.get_backend(uri)
        try:
            yield backend
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            version = backend.connection.server_version // 10000
            raise StoreNotReady(
                str(error).splitlines()[0],
                hint=f"Install the extension on the database's machine: apt-get install postgresql-{version}-hll",
            ) from error
        finally:
            backend.connection.close()
    except LockTimeout as error:
        raise StoreNotReady(
            "another migration is under way, or one was ended in the middle and left its lock",
            hint="If none is: yoyo break-lock --database with this database's URI. Then run this again.",
        ) from error
    except errors.InsufficientPrivilege as error:
        raise StoreForbidden(
            str(error).splitlines()[0],
            hint="Use the role that owns the tables. If it is about the extension: have an administrator run"
            " CREATE EXTENSION hll in this database, once.",
        ) from error
    except (psycopg2.OperationalError, sqlite3.DatabaseError) as error:
        raise StoreUnavailable(str(error).strip().splitlines()[0]) from error
