"""Schemas of PostgreSQL whose names are data. SQLite has none.

All functions take a connection in a transaction of the role that owns the tables. Names are always quoted.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from psycopg2 import extensions, sql

Columns = Mapping[str, str]
"""The names and types of the columns of a view."""

# The grants to all roles (number 0) are left out: a shard has none.
_LIST_GRANTS = """
SELECT format('GRANT %%s ON SCHEMA %%I TO %%I', privilege_type, %(target)s, rolname)
FROM pg_namespace, aclexplode(nspacl) JOIN pg_roles ON pg_roles.oid = grantee
WHERE nspname = %(source)s AND grantee <> nspowner
UNION ALL
SELECT format('GRANT %%s ON %%I.%%I TO %%I', privilege_type, %(target)s, relname, rolname)
FROM pg_class, aclexplode(relacl) JOIN pg_roles ON pg_roles.oid = grantee
WHERE relnamespace = to_regnamespace(quote_ident(%(source)s)) AND relkind = 'r' AND grantee <> relowner
"""


def exists(connection: extensions.connection, name: str) -> bool:
    """Return whether there is a schema of this name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_namespace WHERE nspname = %s", (name,))
        return cursor.rowcount > 0


def may_replace(connection: extensions.connection, name: str) -> bool:
    """Return whether the role may rename a schema and create another one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_namespace WHERE nspname = %s AND pg_has_role(nspowner, 'USAGE')"
            " AND has_database_privilege(current_database(), 'CREATE')",
            (name,),
        )
        return cursor.rowcount > 0


def list_with_column(connection: extensions.connection, table: str, column: str) -> set[str]:
    """Return the schemas that have a table with a column. A view is no table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nspname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
            " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE relname = %s AND relkind = 'r' AND attname = %s AND NOT attisdropped",
            (table, column),
        )
        return {name for (name,) in cursor}


def has_view(connection: extensions.connection, name: str) -> bool:
    """Return whether the search_path finds a view of this name, before any table of it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_class WHERE oid = to_regclass(quote_ident(%s)) AND relkind = 'v'", (name,))
        return cursor.rowcount > 0


def has_column(connection: extensions.connection, table: str, column: str) -> bool:
    """Return whether the search_path finds a table of this name, before any view of it, that has a column."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
            " WHERE attrelid = to_regclass(quote_ident(%s)) AND relkind = 'r' AND attname = %s"
            " AND NOT attisdropped",
            (table, column),
        )
        return cursor.rowcount > 0


def drop_table(connection: extensions.connection, schema: str, table: str) -> None:
    """Drop a table of a schema, if it exists. No view may read it."""
    _execute(connection, "DROP TABLE IF EXISTS {}.{}", schema, table)


def create(connection: extensions.connection, name: str, script: str = "") -> None:
    """Create a schema, and run a script that creates its tables, if any."""
    _execute(connection, "CREATE SCHEMA {}", name)
    if script:
        run(connection, name, script)


def run(connection: extensions.connection, name: str, script: str) -> None:
    """Run a script whose tables are in a schema. Types may be in the other schemas of the search_path."""
    with enter(connection, name), connection.cursor() as cursor:
        cursor.execute(script)


@contextmanager
def enter(connection: extensions.connection, name: str) -> Iterator[None]:
    """Look for tables in a schema first while the context lasts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        (before,) = cursor.fetchone() or ("",)
        cursor.execute(
            "SELECT set_config('search_path', concat_ws(', ', %s, nullif(%s, '')), true)",
            (sql.Identifier(name).as_string(connection), before),
        )
        yield
        # After an exception, the end of the transaction restores it.
        cursor.execute("SELECT set_config('search_path', %s, true)", (before,))


def analyse(connection: extensions.connection, name: str, tables: Iterable[str]) -> None:
    """Compute the statistics of tables of a schema, which plans of queries depend on."""
    for table in tables:
        _execute(connection, "ANALYZE {}.{}", name, table)


def limit_lock_wait(connection: extensions.connection, milliseconds: int) -> None:
    """Limit how long each statement of this transaction waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{milliseconds}ms",))


def copy_grants(connection: extensions.connection, source: str, target: str) -> None:
    """Grant the rights of other roles on a schema and its tables also on another one with such tables."""
    with connection.cursor() as cursor:
        cursor.execute(_LIST_GRANTS, {"source": source, "target": target})
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)


def rename(connection: extensions.connection, old: str, new: str) -> None:
    """Rename a schema. Views go on reading the tables that they were created for."""
    _execute(connection, "ALTER SCHEMA {} RENAME TO {}", old, new)


def drop(connection: extensions.connection, name: str) -> None:
    """Drop a schema with all that is in it, if it exists. No view may read its tables."""
    _execute(connection, "DROP SCHEMA IF EXISTS {} CASCADE", name)


def replace_union_views(
    connection: extensions.connection, views: Mapping[str, Columns], schemas: Iterable[str], label: str
) -> None:
    """Replace views by the rows of the tables of the same names in some schemas.

    Args:
        connection: the connection.
        views: the views, with the columns that they and the tables have.
        schemas: the schemas.
        label: the last column of the views, with the name of the schema. A comparison of it with a constant leaves
            one table to read, at planning.
    """
    names = list(schemas)
    for view, columns in views.items():
        parts: list[sql.Composable] = [
            sql.SQL("SELECT {}, {}::text AS {} FROM {}").format(
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.Literal(name),
                sql.Identifier(label),
                sql.Identifier(name, view),
            )
            for name in names
        ]
        # PostgreSQL would keep a part without a table in each plan.
        parts = parts or [_select_nothing({**columns, label: "text"})]
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("CREATE OR REPLACE VIEW {} AS {}").format(
                    sql.Identifier(view), sql.SQL(" UNION ALL ").join(parts)
                )
            )


def _select_nothing(columns: Columns) -> sql.Composable:
    nulls = [sql.SQL(f"NULL::{type_} AS {{}}").format(sql.Identifier(name)) for name, type_ in columns.items()]
    return sql.SQL("SELECT {} WHERE false").format(sql.SQL(", ").join(nulls))


def _execute(connection: extensions.connection, statement: str, *names: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
