"""Where the rows of shards are: in PostgreSQL, each shard has a schema; in SQLite, they are in common tables."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from eida_stats_webservice.archive.errors import ShardExists
from eida_stats_webservice.archive.foreign_tables import create_foreign_tables
from eida_stats_webservice.database import foreign, schemas
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.database.foreign import ForeignServer
from eida_stats_webservice.errors import DatabaseLocked, UnusableForeignServer

_FOLDER = Path(__file__).parent
# The schemas of a rebuild: the new tables, and those that they have replaced.
_COPY, _REPLACED = "_tmp", "_old"
_SWAP_SECONDS = 0.2
# For a server that hangs while its shard is created.
_FOREIGN_SECONDS = 15
_OWNER = {"mode": "text", "inode": "text", "uid": "text", "gid": "text", "user": "text", "group": "text"}
_TIMES = {"ctime": "timestamptz", "mtime": "timestamptz", "atime": "timestamptz"}


def _name_columns(prefix: str, **types: str) -> dict[str, str]:
    return {f"{prefix}_{name}": type_ for name, type_ in types.items()}


# Sorted by an index, as by Python, whatever the database's collation.
_CODE = 'text COLLATE "C"'
_STREAM = dict.fromkeys(("network", "station", "location", "channel", "quality"), _CODE) | {"rate": "float8"}
_SPAN = {"start": "timestamptz", "end": "timestamptz"}
VIEWS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "paths": _name_columns(
            "pa", hash="uuid", ingested="timestamp", type="path_type", path="text", parents="uuid[]"
        ),
        "metadata": _name_columns("md", hash="uuid", ingested="timestamp", type="text", json="jsonb"),
        "files": _name_columns("fi", hash="uuid", parent="uuid", name="text", size="bigint", **_TIMES, **_OWNER),
        "directories": _name_columns(
            "di", hash="uuid", parent="uuid", name="text", **_TIMES, **_OWNER, count="numeric", size="numeric"
        ),
        "links": _name_columns(
            "li",
            hash="uuid",
            parent="uuid",
            name="text",
            **_TIMES,
            **{name: type_ for name, type_ in _OWNER.items() if name != "mode"},
            intact="boolean",
            target="text",
        ),
        "spans": _name_columns("sp", hash="uuid", **_STREAM, **_SPAN, bytes="bigint"),
        "timeline": _name_columns("tl", **_STREAM, **_SPAN, updated="timestamptz", spans="bigint"),
    }
)
"""The views over all shards, with their columns. Their last column is `sh_code`."""
POLYGONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "polygons": _name_columns(
            "po",
            hash="uuid",
            stamps="timestamptz[]",
            min_stamp="timestamptz",
            max_stamp="timestamptz",
            name="text",
            pixel_x="numeric",
            pixel_y="numeric",
            polygon="geometry",
        )
    }
)
"""The view that there is only with PostGIS."""


class ShardStorage(Protocol):
    """Creates and removes what a shard needs beside its row in `shards`. All methods take a connection."""

    def create(self, connection: Any, code: str) -> None:
        """Create the tables of a shard; raise ShardExists if a schema has its name."""

    def create_foreign(self, connection: Any, code: str, server: ForeignServer) -> None:
        """Create a shard whose tables are on another server.

        Raises:
            ShardExists: if a schema has its name.
            UnusableForeignServer: if the server cannot be used, or the database is SQLite.
        """

    def create_copy(self, connection: Any, code: str) -> None:
        """Create the empty tables of a rebuild, and clear up after one that was killed."""

    def enter_copy(self, connection: Any, code: str) -> AbstractContextManager[None]:
        """Return a context in which the names of tables stand for those of a rebuild."""

    def may_replace(self, connection: Any, code: str) -> bool:
        """Return whether the role of the connection may replace the tables of a shard, as a rebuild does."""

    def index_copy(self, connection: Any, code: str) -> None:
        """Create the indexes of a rebuild, once most of its rows are there."""

    def swap(self, connection: Any, code: str, record: Callable[[Any], list[str]]) -> None:
        """Replace the tables of a shard by those of a rebuild.

        Readers wait for 0.2 s at most. If others need the tables for longer, this is tried again until it succeeds.

        Args:
            connection: the connection.
            code: the shard.
            record: locks the list of shards, records the rebuild, and returns the codes of all shards.
        """

    def remove_replaced(self, connection: Any, code: str) -> None:
        """Remove the tables that a rebuild has replaced, once nobody reads them."""

    def enter(self, connection: Any, code: str) -> AbstractContextManager[None]:
        """Return a context in which the names of tables stand for those of a shard; outside, they are the views."""

    def remove(self, connection: Any, code: str) -> None:
        """Remove the tables of a shard. No view may read them any more."""

    def remove_server(self, connection: Any, code: str) -> None:
        """Remove the foreign server of a shard, with the password for it."""

    def replace_views(self, connection: Any, codes: Iterable[str]) -> None:
        """Let the views over all shards read these shards."""


class SchemaStorage:
    """A schema for each shard."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, connection: Any, code: str) -> None:
        """Create the schema with its tables; see ShardStorage."""
        _check_is_free(connection, code)
        tables, indexes = self.read_scripts(connection)
        schemas.create(connection, code, tables + indexes)

    def create_foreign(self, connection: Any, code: str, server: ForeignServer) -> None:
        """Create a server, and the schema with foreign tables; see ShardStorage."""
        _check_is_free(connection, code)
        schemas.create(connection, code)
        self._database.limit_time(connection, _FOREIGN_SECONDS)
        foreign.create_server(connection, code, server)
        create_foreign_tables(connection, code, server, VIEWS)

    def create_copy(self, connection: Any, code: str) -> None:
        """Create the schema CODE_tmp; see ShardStorage."""
        for suffix in (_COPY, _REPLACED):
            schemas.drop(connection, code + suffix)
        schemas.create(connection, code + _COPY, self.read_scripts(connection)[0])
        # Other servers may read the shard.
        schemas.copy_grants(connection, code, code + _COPY)

    def enter_copy(self, connection: Any, code: str) -> AbstractContextManager[None]:
        """Put CODE_tmp first in the search_path; see ShardStorage."""
        return schemas.enter(connection, code + _COPY)

    def may_replace(self, connection: Any, code: str) -> bool:
        """Return whether the role may rename the schema and create one; see ShardStorage."""
        return schemas.may_replace(connection, code)

    def index_copy(self, connection: Any, code: str) -> None:
        """Create the indexes of CODE_tmp; see ShardStorage."""
        schemas.run(connection, code + _COPY, self.read_scripts(connection)[1])

    def swap(self, connection: Any, code: str, record: Callable[[Any], list[str]]) -> None:
        """Rename the schemas, and create the views over them again; see ShardStorage."""
        schemas.analyse(connection, code + _COPY, VIEWS)
        if uses_polygons(connection):
            schemas.analyse(connection, code + _COPY, POLYGONS)
        while True:
            try:
                with self._database.savepoint(connection):
                    self._swap(connection, code, record)
            except DatabaseLocked:
                # Readers that came meanwhile go first.
                time.sleep(_SWAP_SECONDS)
            else:
                return

    def _swap(self, connection: Any, code: str, record: Callable[[Any], list[str]]) -> None:
        deadline = time.monotonic() + _SWAP_SECONDS

        def limit_wait() -> None:
            # Of all locks together. 0 would be no limit.
            schemas.limit_lock_wait(connection, max(1, round((deadline - time.monotonic()) * 1000)))

        limit_wait()
        codes = record(connection)
        schemas.rename(connection, code, code + _REPLACED)
        schemas.rename(connection, code + _COPY, code)
        for view, columns in VIEWS.items():
            limit_wait()
            schemas.replace_union_views(connection, {view: columns}, codes, "sh_code")
        if uses_polygons(connection):
            limit_wait()
            create_polygon_view(connection, codes)

    def remove_replaced(self, connection: Any, code: str) -> None:
        """Drop CODE_old; see ShardStorage."""
        schemas.drop(connection, code + _REPLACED)

    def enter(self, connection: Any, code: str) -> AbstractContextManager[None]:
        """Put the schema first in the search_path; see ShardStorage."""
        return schemas.enter(connection, code)

    def remove(self, connection: Any, code: str) -> None:
        """Drop the schema, and those of a rebuild that was killed; see ShardStorage."""
        for suffix in ("", _COPY, _REPLACED):
            schemas.drop(connection, code + suffix)

    def remove_server(self, connection: Any, code: str) -> None:
        """Drop the server and its user mapping; see ShardStorage."""
        foreign.drop_server(connection, code)

    def replace_views(self, connection: Any, codes: Iterable[str]) -> None:
        """Replace the views; see ShardStorage."""
        names = list(codes)
        schemas.replace_union_views(connection, VIEWS, names, "sh_code")
        if uses_polygons(connection):
            create_polygon_view(connection, names)

    def read_scripts(self, connection: Any) -> tuple[str, str]:
        """Return the statements that create the tables of a shard, and those that create their indexes.

        The schema of the shard must not have been entered.
        """
        names = ["shard", "polygon_table"] if uses_polygons(connection) else ["shard"]
        indexes = ["shard_indexes", "polygon_indexes"][: len(names)]
        return "".join(map(read_script, names)), "".join(map(read_script, indexes))


class RowStorage:
    """Common tables with the column `sh_code`. Their rows go with the row in `shards`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(_FOLDER)

    def create(self, connection: Any, code: str) -> None:
        """Do nothing; see ShardStorage."""

    def create_foreign(self, _connection: Any, _code: str, server: ForeignServer) -> None:
        """Raise UnusableForeignServer; see ShardStorage."""
        raise UnusableForeignServer(
            f"an SQLite database cannot read {server.place}",
            hint="Use a PostgreSQL database, or ingest the crawl here, in a shard without --foreign.",
        )

    def create_copy(self, connection: Any, code: str) -> None:
        """Delete the rows. Others see them until the end of the transaction; see ShardStorage."""
        self._database.run_all(connection, self._queries.delete_rows, {"code": code})

    def enter_copy(self, connection: Any, code: str) -> AbstractContextManager[None]:
        """Change nothing; see ShardStorage."""
        return self.enter(connection, code)

    def may_replace(self, connection: Any, code: str) -> bool:  # noqa: ARG002
        """Return true: SQLite has no roles; see ShardStorage."""
        return True

    def index_copy(self, connection: Any, code: str) -> None:
        """Do nothing; see ShardStorage."""

    def swap(self, connection: Any, code: str, record: Callable[[Any], list[str]]) -> None:  # noqa: ARG002
        """Record the rebuild; see ShardStorage."""
        record(connection)

    def remove_replaced(self, connection: Any, code: str) -> None:
        """Do nothing; see ShardStorage."""

    def enter(self, connection: Any, code: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Change nothing: statements name the shard by `sh_code`; see ShardStorage."""
        return nullcontext()

    def remove(self, connection: Any, code: str) -> None:
        """Do nothing; see ShardStorage."""

    def remove_server(self, connection: Any, code: str) -> None:
        """Do nothing; see ShardStorage."""

    def replace_views(self, connection: Any, codes: Iterable[str]) -> None:
        """Do nothing; see ShardStorage."""


def open_storage(database: Database) -> ShardStorage:
    """Return the storage of a database."""
    return SchemaStorage(database) if database.dialect == "postgresql" else RowStorage(database)


def uses_polygons(connection: Any) -> bool:
    """Return whether shards have polygons. `eida_statsman db migrate` creates their view if PostGIS is there.

    PostgreSQL drops the view with the extension.
    """
    return schemas.has_view(connection, "polygons")


def has_polygons(connection: Any) -> bool:
    """Return whether the shard that was entered has polygons."""
    return schemas.has_column(connection, "polygons", "po_polygon")


def create_polygon_view(connection: Any, codes: Iterable[str]) -> None:
    """Create the view over the polygons of shards, or replace it. Foreign shards have none."""
    present = schemas.list_with_column(connection, "polygons", "po_polygon")
    schemas.replace_union_views(connection, POLYGONS, [code for code in codes if code in present], "sh_code")


def read_script(name: str) -> str:
    """Return the statements of a file of this folder."""
    return (_FOLDER / f"{name}.sql").read_text()


def _check_is_free(connection: Any, code: str) -> None:
    if schemas.exists(connection, code):
        raise ShardExists(f"the database has a schema {code}", hint="Choose another code.")
