"""The database engine, for PostgreSQL with hll and for SQLite."""

from eida_stats_webservice.database.base import Database
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.database.sqlite import SQLite
from eida_stats_webservice.database.uri import parse_sqlite_path

__all__ = ["Database", "open_database"]


def open_database(uri: str, name: str = "DATABASE_URI") -> Database:
    """Return the database of a URI. It connects at its first use. Errors call the setting `name`.

    Raises:
        ConfigurationError: if the URI is not that of a database.
    """
    path = parse_sqlite_path(uri, name)
    return PostgreSQL(uri) if path is None else SQLite(path)
