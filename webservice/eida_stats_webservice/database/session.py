"""Connections to PostgreSQL whose transactions do not depend on settings of the server, database or role."""

from typing import Any

import psycopg2
from psycopg2 import extensions

# Settings of the URI stay. There are no startup `options`: they would replace those of the URI, and PgBouncer
# refuses them.
_PARAMETERS: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "eida-statistics",
    # Notice a broken line within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# `search_path` is the administrator's. `temp_buffers` cannot change once a session has used a temporary table.
_SETTINGS = {
    # These change how the server writes values, and so answers.
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    # Queries that need a limit set one themselves.
    "statement_timeout": "0",
    # A reader does not wait for a migration: the client tries again. Writers wait longer.
    "lock_timeout": "5s",
    # A transaction that was left open must not block a migration for ever.
    "idle_in_transaction_session_timeout": "60s",
    # A payload of 100,000 rows is read and sorted in memory.
    "work_mem": "32MB",
    # The union of sketches takes 128 kB for each group: a sort needs that for one group at a time.
    "enable_hashagg": "off",
    # Cursors are read to their end.
    "cursor_tuple_fraction": "1",
}
# An administrator's command takes its time.
_WITHOUT_LIMIT = {"lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}


def _set_config(settings: dict[str, str], *, local: bool) -> str:
    """Return the one statement that sets all of these, for the transaction or for the session."""
    return "SELECT " + ", ".join(f"set_config('{name}', '{value}', {local})" for name, value in settings.items())


# Local to the transaction: behind PgBouncer, the next one may have another connection to the server.
_BEGIN = _set_config(_SETTINGS, local=True)
_WAIT_WITHOUT_LIMIT = _set_config(_WITHOUT_LIMIT, local=True)
# Later requests queue up behind a migration that waits for a table. So it waits for a short time, and tries again.
_FOR_MIGRATION = _set_config(_SETTINGS | _WITHOUT_LIMIT | {"lock_timeout": "2s"}, local=False)


def connect(uri: str) -> extensions.connection:
    """Open a connection whose transactions are READ COMMITTED, whatever the default of the server is."""
    given = extensions.parse_dsn(uri)
    parameters = {name: value for name, value in _PARAMETERS.items() if name not in given}
    # The driver's default is the encoding of the database, which may lack characters that the server would name.
    connection: extensions.connection = psycopg2.connect(uri, client_encoding="UTF8", **parameters)
    connection.set_session(isolation_level="READ COMMITTED")
    return connection


def begin(connection: extensions.connection) -> None:
    """Begin a transaction with the settings that answers depend on."""
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN)


def wait_without_limit(connection: extensions.connection) -> None:
    """Let the present transaction wait for locks, and for its client, as long as it takes."""
    with connection.cursor() as cursor:
        cursor.execute(_WAIT_WITHOUT_LIMIT)


def set_for_migration(connection: extensions.connection) -> None:
    """Set the same for all transactions of a session that changes the schema, with a short wait for locks."""
    with connection.cursor() as cursor:
        cursor.execute(_FOR_MIGRATION)
