"""The rights of the role of the service: the files grants.sql of all packages list them."""

from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg2 import sql

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.database.uri import sqlite_path
from eida_stats_webservice.errors import DatabaseForbidden, UnknownRole

_PACKAGE = Path(__file__).parent.parent


def apply(uri: str, role: str) -> None:
    """Grant a role all rights that the service needs, or none; its present rights stay.

    Raises:
        ConfigurationError: if this is the embedded store.
        UnknownRole: if there is no such role.
        DatabaseForbidden: if the role that connects may not grant these rights.
        DatabaseNotReady: if the schema is not up to date.
    """
    if sqlite_path(uri) is not None:
        raise ConfigurationError(
            "the embedded store has no roles", hint="The permissions of its file decide about access."
        )
    with (
        closing(PostgreSQL(uri)) as database,
        database.transaction(write=True) as connection,
        connection.cursor() as cursor,
    ):
        # To PostgreSQL "public" is everybody.
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s AND rolname <> 'public'", (role,))
        if not cursor.rowcount:
            raise UnknownRole(role, hint="Make it first: CREATE ROLE, in psql, as an administrator.")
        names = {"database": connection.info.dbname, "role": role}
        # Notices about the connection itself do not matter below.
        connection.notices.clear()
        _grant_schemas(cursor, role)
        cursor.execute(
            sql.SQL(read_grants()).format(**{name: sql.Identifier(value) for name, value in names.items()})
        )
        # A role that has a right, but may not grant it, only gets a warning.
        if connection.notices:
            raise DatabaseForbidden(
                connection.notices[0].splitlines()[0].removeprefix("WARNING:").strip(),
                hint="Use the role that owns the database and its tables, or an administrator's.",
            )


def read_grants() -> str:
    """Return the GRANT statements of all packages, with placeholders for the names."""
    return "\n".join(path.read_text() for path in sorted(_PACKAGE.glob("*/grants.sql")))


def _grant_schemas(cursor: Any, role: str) -> None:
    """Let a role use the schemas of the tables and of hll, if it may not."""
    cursor.execute(
        "SELECT nspname FROM pg_namespace WHERE NOT has_schema_privilege(%s, oid, 'USAGE') AND (nspname ="
        " current_schema() OR oid = (SELECT extnamespace FROM pg_extension WHERE extname = 'hll'))",
        (role,),
    )
    for (schema,) in cursor.fetchall():
        cursor.execute(
            sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(role))
        )
