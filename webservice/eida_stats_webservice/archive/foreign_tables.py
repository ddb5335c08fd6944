"""The foreign tables of a shard on another server, which is a database of this program, too."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from eida_stats_webservice.database import foreign
from eida_stats_webservice.database.foreign import Column, ForeignServer
from eida_stats_webservice.database.schemas import Columns
from eida_stats_webservice.errors import UnusableForeignServer

# Tables with rows of all shards of the other database. Here they have a prefix, since the schema of a shard may be
# first in the search_path.
_PREFIX = "foreign_"
_COMMON_TABLES: Mapping[str, Columns] = MappingProxyType(
    {
        "holdings": {
            "sh_code": "text",
            **dict.fromkeys(("network", "station", "location", "channel"), "text"),
            "year": "integer",
            "bytes": "bigint",
            "files": "integer",
            "seconds": "float8",
            "first": "timestamptz",
            "last": "timestamptz",
        },
        "shards": {"sh_code": "text", "crawled_at": "timestamptz"},
    }
)


def create_foreign_tables(
    connection: Any, code: str, server: ForeignServer, shard_tables: Mapping[str, Columns]
) -> None:
    """Create the foreign tables of a shard, and check that the user of the server may read them.

    Args:
        connection: the connection.
        code: the code of the shard, which is also the name of its server and schema.
        server: the server.
        shard_tables: the tables of a shard, with their columns.

    Raises:
        UnusableForeignServer: if the server refuses, or tables or columns are missing.
    """
    present = foreign.list_columns(connection, code, server)
    common_schema = _find_common_schema(present, server)
    for schema, prefix, tables in ((server.schema, "", shard_tables), (common_schema, _PREFIX, _COMMON_TABLES)):
        for table, columns in tables.items():
            types = foreign.name_types(connection, columns)
            due = {Column(schema, table, name, type_) for name, type_ in types.items()}
            if missing := sorted(due - present):
                raise _describe_missing(missing[0], server)
            foreign.create_table(connection, code, prefix + table, columns, (schema, table))
            foreign.read_first_row(connection, code, prefix + table, server)


def _find_common_schema(present: set[Column], server: ForeignServer) -> str:
    """Return the schema that has the list of shards."""
    schemas = sorted({column.schema for column in present if column[1:3] == ("shards", "sh_code")})
    if not schemas:
        raise _describe_missing(Column("public", "shards", "sh_code", "text"), server)
    return schemas[0]


def _describe_missing(column: Column, server: ForeignServer) -> UnusableForeignServer:
    return UnusableForeignServer(
        f"{server.place} has no column {column.schema}.{column.table}.{column.name} of type {column.type} that"
        f" {server.user} may read",
        hint="Create the shard there with eida_statsman, and grant this role SELECT on its tables, on holdings and"
        " on shards. Name its schema with --schema.",
    )
