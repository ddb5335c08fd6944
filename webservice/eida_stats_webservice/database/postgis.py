"""PostGIS, the extension of PostgreSQL for geometries. A database may lack it."""

from typing import NamedTuple

from psycopg2 import extensions

_FIND = """
SELECT extversion, nspname,
    to_regtype('geometry') IS NOT DISTINCT FROM to_regtype(quote_ident(nspname) || '.geometry')
FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'postgis'
"""


class PostGIS(NamedTuple):
    """The extension in a database.

    Attributes:
        version: its version.
        schema: the schema that has it.
        is_visible: whether the search_path finds it, so that it can be used.
    """

    version: str
    schema: str
    is_visible: bool


def find(connection: extensions.connection) -> PostGIS | None:
    """Return the extension of the database, if it has it."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND)
        row = cursor.fetchone()
    return PostGIS(*row) if row else None
