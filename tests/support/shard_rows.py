"""The rows of a shard, as both databases return them."""

import json
from typing import Any

from eida_stats_webservice.archive.storage import VIEWS
from support.stores import Store
from support.tables import select

TABLES = (*VIEWS, "digests")
"""The tables of a shard."""

Rows = dict[str, list[tuple[Any, ...]]]


def read_rows(store: Store, code: str, *, with_crawls: bool = False) -> Rows:
    """Return the rows of all tables of a shard, without times of access and of ingestion."""
    return {table: _read(store, code, table, with_crawls) for table in VIEWS}


def read_places(store: Store, code: str) -> Rows:
    """Return where PostgreSQL keeps the rows of all tables, which changes when they are written."""
    rows = {}
    with store.database.transaction() as connection, store.shards.storage.enter(connection, code):
        for table in TABLES:
            cursor = connection.cursor()
            cursor.execute(f"SELECT ctid::text, xmin::text, {table}::text FROM {table}")
            rows[table] = sorted(cursor.fetchall())
    return rows


def clear(store: Store, code: str) -> None:
    """Delete the rows of a shard, as if it were new."""
    with store.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        parameters = {"code": code}
        for table in TABLES:
            _delete(store, connection, code, table)
        for statement in (
            "DELETE FROM holdings WHERE sh_code = :code",
            "UPDATE shards SET crawled_at = NULL, refreshed_at = NULL WHERE sh_code = :code",
        ):
            cursor.execute(store.database.prepare(statement), parameters)


def forget_lines(store: Store, code: str) -> None:
    """Delete the digests of lines, as if an earlier version of the program had ingested the last crawl."""
    with store.database.transaction(write=True) as connection:
        _delete(store, connection, code, "digests")


def read_settled(store: Store, code: str) -> set[str]:
    """Return the hashes of the paths whose lines are not checked again if they are the same in the next crawl."""
    is_sqlite = store.database.dialect == "sqlite"
    statement = "SELECT dg_hash FROM digests" + (" WHERE sh_code = :code" if is_sqlite else "")
    with store.database.transaction() as connection, store.shards.storage.enter(connection, code):
        cursor = connection.cursor()
        cursor.execute(statement, {"code": code})
        return {path_hash for (path_hash,) in cursor.fetchall()}


def _delete(store: Store, connection: Any, code: str, table: str) -> None:
    is_sqlite = store.database.dialect == "sqlite"
    with store.shards.storage.enter(connection, code):
        connection.cursor().execute(
            f"DELETE FROM {table}" + (" WHERE sh_code = :code" if is_sqlite else ""), {"code": code}
        )


def _read(store: Store, code: str, table: str, with_crawls: bool) -> list[tuple[Any, ...]]:
    columns = [column for column in VIEWS[table] if not column.endswith(("_ingested", "_atime"))]
    kept = "" if table != "metadata" or with_crawls else " AND md_type <> 'crawl'"
    found = select(store, f"SELECT {', '.join(columns)} FROM {table} WHERE sh_code = :code{kept}", code=code)
    rows = [tuple(map(_normalise, columns, row)) for row in found]
    return sorted(rows, key=repr)


def _normalise(column: str, value: Any) -> Any:
    if column != "md_json":
        return str(value) if isinstance(value, list) else value
    found = json.loads(value) if isinstance(value, str) else value
    found.pop("atime", None)
    return json.dumps(found, sort_keys=True)
