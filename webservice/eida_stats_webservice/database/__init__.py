"""The databases: PostgreSQL with hll, and SQLite."""

from eida_stats_webservice.database.base import Database
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.database.sqlite import SQLite
from eida_stats_webservice.database.uri import sqlite_path

__all__ = ["Database", "open_database"]


def open_database(uri: str, name: str = "DATABASE_URI") -> Database:
    """Return the database that a URI names; it connects when it is first used.

    Args:
        uri: the URI.
        name: the name of the setting, for errors.

    Raises:
        ConfigurationError: if the URI names none.
    """
    path = sqlite_path(uri, name)
    return PostgreSQL(uri) if path is None else SQLite(path)
