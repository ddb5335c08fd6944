"""Grant roles their rights: the service's role, and one that only reads the dashboard for Grafana.

The files grants.sql and dashboard_grants.sql of all packages list them; postgis_grants.sql those of a database with
PostGIS.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg2 import sql

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.database import postgis
from eida_stats_webservice.database.postgresql import PostgreSQL
from eida_stats_webservice.database.uri import parse_sqlite_path
from eida_stats_webservice.errors import DatabaseForbidden, UnknownRole

_PACKAGE = Path(__file__).parent.parent


def apply(uri: str, role: str, statements: str | None = None) -> None:
    """Grant a role all rights that the service needs, in one transaction. Other rights of the role stay.

    Args:
        uri: the database.
        role: the name of a role.
        statements: other GRANT statements than those for the service, with placeholders for the names.

    Raises:
        ConfigurationError: if the database is SQLite.
        UnknownRole: if there is no such role.
        DatabaseForbidden: if the connected role may not grant these rights.
        DatabaseNotReady: if the schema is out of date.
    """
    if parse_sqlite_path(uri) is not None:
        raise ConfigurationError(
            "an SQLite database (embedded store) has no roles",
            hint="Set the permissions of its file and directory instead.",
        )
    with (
        closing(PostgreSQL(uri)) as database,
        database.transaction(write=True) as connection,
        connection.cursor() as cursor,
    ):
        # In GRANT, "public" stands for all roles.
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s AND rolname <> 'public'", (role,))
        if not cursor.rowcount:
            raise UnknownRole(role, hint="Create it in psql, as a database administrator: CREATE ROLE.")
        # Keep only the notices of the statements below.
        connection.notices.clear()
        _grant_schemas(cursor, role)
        grants = sql.SQL(_select_grants(connection) if statements is None else statements)
        cursor.execute(grants.format(database=sql.Identifier(connection.info.dbname), role=sql.Identifier(role)))
        # PostgreSQL only warns a role that has a right without the option to grant it.
        if connection.notices:
            raise DatabaseForbidden(
                connection.notices[0].splitlines()[0].removeprefix("WARNING:").strip(),
                hint="Use the role that owns the database and its tables, or a database administrator's.",
            )


def read_grants() -> str:
    """Return the GRANT statements for the service, with placeholders for the names."""
    return _join("*/grants.sql")


def _select_grants(connection: Any) -> str:
    """Return the GRANT statements for the service that fit this database."""
    extension = postgis.find(connection)
    if extension is None or not extension.is_visible:
        return read_grants()
    return read_grants() + _join("*/postgis_grants.sql")


def read_dashboard_grants() -> str:
    """Return the GRANT statements for a role that only reads the dashboard, with placeholders for the names."""
    return _join("*/dashboard_grants.sql")


def _join(pattern: str) -> str:
    return "\n".join(path.read_text() for path in sorted(_PACKAGE.glob(pattern)))


def _grant_schemas(cursor: Any, role: str) -> None:
    """Grant a role the use of the schemas of the tables and extensions, where it lacks this right."""
    cursor.execute(
        "SELECT nspname FROM pg_namespace WHERE NOT has_schema_privilege(%s, oid, 'USAGE') AND (nspname ="
        " current_schema() OR oid IN (SELECT extnamespace FROM pg_extension WHERE extname IN ('hll', 'postgis')))",
        (role,),
    )
    for (schema,) in cursor.fetchall():
        cursor.execute(
            sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(role))
        )
