"""A second PostgreSQL server with a shard, and a database that reads it, whose owner has no further rights."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.reading import Query
from eida_stats_webservice.database import migrations
from eida_stats_webservice.database.foreign import ForeignServer, parse_server
from support import issued
from support.paths import ROOT
from support.postgresql import SUPERUSER, Cluster
from support.stores import Store, open_store

OWNER = "eida_owner"
READER = "reader"
DATABASE = "noa"
PASSWORD = issued.note(r"p'ass\word of the reader")
ROWS = 25_000
"""More than two of the pieces in which rows are fetched from the other server."""

_FILL = f"""
INSERT INTO archive.timeline
SELECT 'GE', 'APE', '', 'BHZ', 'D', 20, start, start + interval '1 hour', start, 1
FROM generate_series(1, {ROWS}) AS n,
    LATERAL (SELECT timestamptz '2000-01-01Z' + n * interval '2 hours') AS t (start);
INSERT INTO archive.paths (pa_hash, pa_type, pa_path, pa_parents)
VALUES (md5('/NOA/archive/a')::uuid, 'file', '/NOA/archive/a',
    ARRAY[md5('/NOA')::uuid, md5('/NOA/archive')::uuid]);
INSERT INTO holdings
SELECT 'archive', id, 'GE', 'APE', '', 'BHZ', 2000, 512, 1, 3600, '2000-01-01Z', '2000-01-01T01:00Z'
FROM nodes;
UPDATE shards SET crawled_at = '2020-01-01Z';
"""
# The last rows of this table never arrive.
_HANG = """
ALTER TABLE archive.timeline RENAME TO complete;
CREATE VIEW archive.timeline AS
SELECT * FROM archive.complete UNION ALL SELECT complete.* FROM archive.complete, pg_sleep(600);
GRANT SELECT ON archive.timeline TO reader;
"""
_END_HANG = "DROP VIEW archive.timeline; ALTER TABLE archive.complete RENAME TO timeline"


class ForeignCluster:
    """A server that asks for passwords, and has one shard."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.uri = cluster.create_database(DATABASE)
        execute(self.uri, "CREATE EXTENSION hll")
        migrations.apply(self.uri)
        with closing(open_store(self.uri)) as store:
            store.registry.add_node("NOA", "")
            store.shards.create("archive", "/NOA/archive", "NOA", open_paths=False)
        execute(self.uri, _read_grants(), password=PASSWORD)
        execute(self.uri, _FILL)

    @property
    def reader_uri(self) -> str:
        place = self.uri.partition("@")[2]
        return f"postgresql://{READER}@{place}"

    @contextmanager
    def hang(self) -> Iterator[None]:
        """Let queries of the timeline hang after all rows."""
        execute(self.uri, _HANG)
        try:
            yield
        finally:
            execute(self.uri, _END_HANG)

    @property
    def server(self) -> ForeignServer:
        return parse_server(self.reader_uri, PASSWORD, "archive")


@contextmanager
def make_centre(cluster: Cluster) -> Iterator[str]:
    """Yield the URI of a migrated database whose owner may use postgres_fdw."""
    administrator = cluster.uri("postgres")
    execute(administrator, f"CREATE ROLE {OWNER} LOGIN")
    uri = cluster.create_database("centre")
    execute(
        uri,
        f"ALTER DATABASE centre OWNER TO {OWNER}; CREATE EXTENSION hll; CREATE EXTENSION postgres_fdw;"
        f" GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {OWNER}; ALTER SCHEMA public OWNER TO {OWNER}",
    )
    owned = uri.replace(f"{SUPERUSER}@", f"{OWNER}@")
    migrations.apply(owned)
    try:
        yield owned
    finally:
        cluster.drop_database("centre")
        execute(administrator, f"DROP ROLE {OWNER}")


def _read_grants() -> str:
    """Return the statements of the README that create the reader."""
    readme = (ROOT / "webservice" / "README.md").read_text()
    statements = re.search(r"^ +CREATE ROLE reader.*?(?=\n\n)", readme, re.DOTALL | re.MULTILINE)
    assert statements is not None
    return statements[0].replace("'…'", "%(password)s").replace("eida_statistics", DATABASE)


def execute(uri: str, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
    """Run statements, and return the rows of the last one."""
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def query_timeline(store: Store) -> Query[tuple[Any, ...]]:
    """Return a query of the starts of spans."""
    sql = store.database.prepare("SELECT tl_start FROM timeline WHERE sh_code = :code")

    def query(connection: Any, shard: Shard) -> Iterator[tuple[Any, ...]]:
        return store.database.stream(connection, sql, {"code": shard.code})

    return query
