"""Open PostgreSQL sessions that are independent of the settings of the server, database and role."""

import re
from typing import Any

import psycopg2
from psycopg2 import extensions

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
# The settings apply to a transaction (`local`) or to a session. Behind PgBouncer, the next transaction may use
# another connection to the server. `search_path` is the administrator's choice. `temp_buffers` cannot change once
# a session has used a temporary table.
_SETTINGS = """
SELECT
    -- These change how the server writes values.
    set_config('bytea_output', 'hex', %(local)s),
    set_config('extra_float_digits', '1', %(local)s),
    set_config('TimeZone', 'UTC', %(local)s),
    set_config('DateStyle', 'ISO, MDY', %(local)s),
    set_config('IntervalStyle', 'postgres', %(local)s),
    -- Queries that need a limit set their own.
    set_config('statement_timeout', '0', %(local)s),
    -- A reader does not wait for a migration: the client tries again. Writers set a longer limit.
    set_config('lock_timeout', '5s', %(local)s),
    -- A transaction that was left open must not block a migration for ever.
    set_config('idle_in_transaction_session_timeout', '60s', %(local)s),
    -- A payload of 100,000 rows is read and sorted in memory.
    set_config('work_mem', '32MB', %(local)s),
    -- The union of sketches takes 128 kB for each group. A sort keeps one group in memory at a time.
    set_config('enable_hashagg', 'off', %(local)s),
    -- Cursors are read to their end.
    set_config('cursor_tuple_fraction', '1', %(local)s)
"""
# The comments above need not travel with each transaction.
_APPLY_SETTINGS = re.sub(r" *--.*\n", "", _SETTINGS)
_REMOVE_LIMITS = "SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
# Requests queue up behind a migration that waits for a table, so it waits briefly and tries again.
_LIMIT_MIGRATION = "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = 0"


def connect(uri: str) -> extensions.connection:
    """Open a connection with READ COMMITTED transactions, whatever the default of the server."""
    given = extensions.parse_dsn(uri)
    parameters = {name: value for name, value in _PARAMETERS.items() if name not in given}
    # The default is the encoding of the database, which may lack characters of the server's messages.
    connection: extensions.connection = psycopg2.connect(uri, client_encoding="UTF8", **parameters)
    connection.set_session(isolation_level="READ COMMITTED")
    return connection


def begin(connection: extensions.connection) -> None:
    """Begin a transaction with the settings that answers depend on."""
    with connection.cursor() as cursor:
        cursor.execute(_APPLY_SETTINGS, {"local": True})


def wait_without_limit(connection: extensions.connection) -> None:
    """Remove the time limits of the present transaction for locks and for an idle client."""
    with connection.cursor() as cursor:
        cursor.execute(_REMOVE_LIMITS)


def set_for_migration(connection: extensions.connection) -> None:
    """Apply the settings to a whole session that changes the schema, with a short wait for locks."""
    with connection.cursor() as cursor:
        cursor.execute(_APPLY_SETTINGS, {"local": False})
        cursor.execute(_LIMIT_MIGRATION)
