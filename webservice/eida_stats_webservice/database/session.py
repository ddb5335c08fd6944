"""Open PostgreSQL sessions that are independent of the settings of the server, database and role."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import extensions

from eida_stats_webservice.database.background import BackgroundConnection

# Parameters of the URI take precedence. There are no startup `options`: they would replace those of the URI, and
# PgBouncer refuses them.
_PARAMETERS: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "eida-statistics",
    # Detect a broken connection within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# The comments need not travel with each transaction.
_APPLY_SETTINGS = re.sub(r" *--.*\n", "", Path(__file__).with_name("session.sql").read_text())
_READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
# Requests queue up behind a migration that waits for a table, so it waits briefly and tries again.
_LIMIT_MIGRATION = "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = 0"


def connect(uri: str) -> extensions.connection:
    """Open a connection with READ COMMITTED transactions, whatever the default of the server."""
    given = extensions.parse_dsn(uri)
    parameters = {name: value for name, value in _PARAMETERS.items() if name not in given}
    # The default is the encoding of the database, which may lack characters of the server's messages.
    connection: extensions.connection = psycopg2.connect(
        uri, client_encoding="UTF8", connection_factory=BackgroundConnection, **parameters
    )
    connection.set_session(isolation_level="READ COMMITTED")
    return connection


def begin(connection: extensions.connection) -> None:
    """Begin a transaction with the settings that answers depend on."""
    with connection.cursor() as cursor:
        cursor.execute(_APPLY_SETTINGS, {"local": True})


def run_at_once(connection: extensions.connection, statement: str, parameters: Mapping[str, object]) -> list[Any]:
    """Run a statement as a READ COMMITTED transaction of its own, with the settings for answers; return its rows.

    The connection stays in autocommit mode, since leaving it takes a message of its own.
    """
    if connection.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
        # A new connection has begun a transaction.
        connection.rollback()
    connection.autocommit = True
    with connection.cursor() as cursor:
        # The server runs all statements of a message in one transaction.
        cursor.execute(f"{_READ_COMMITTED}; {_APPLY_SETTINGS}; {statement}", {"local": True, **parameters})
        return cursor.fetchall()


def set_for_migration(connection: extensions.connection) -> None:
    """Apply the settings to a whole session that changes the schema, with a short wait for locks."""
    with connection.cursor() as cursor:
        cursor.execute(_APPLY_SETTINGS, {"local": False})
        cursor.execute(_LIMIT_MIGRATION)
