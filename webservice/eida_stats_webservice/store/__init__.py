"""The database: one interface, PostgreSQL and SQLite behind it."""

from eida_stats_webservice.database.uri import sqlite_path
from eida_stats_webservice.store.base import Store

__all__ = ["Store", "open_store"]


def open_store(uri: str, name: str = "DATABASE_URI") -> Store:
    """Return the store that a URI names; it connects when it is first used.

    Args:
        uri: the URI of the database.
        name: what to call it in an error.

    Raises:
        ConfigurationError: if the URI names none.
    """
    # Both stores subclass `Store`, which is in this package.
    from eida_stats_webservice.database.postgresql import PostgreSQLStore  # noqa: PLC0415
    from eida_stats_webservice.database.sqlite import SQLiteStore  # noqa: PLC0415

    path = sqlite_path(uri, name)
    return PostgreSQLStore(uri) if path is None else SQLiteStore(path)
