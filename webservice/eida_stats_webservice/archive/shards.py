"""Create, list and remove shards."""

from pathlib import Path
from typing import Any

from eida_statistics.archive.errors import UnusableShard
from eida_statistics.archive.paths import is_normal, overlap
from eida_statistics.archive.shards import check_code
from eida_statistics.texts import find_similar
from eida_stats_webservice.archive.errors import (
    ForeignShard,
    NodeHasShards,
    ShardExists,
    UnknownShard,
)
from eida_stats_webservice.archive.holdings.refresh import HoldingsRefresh
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.storage import open_storage
from eida_stats_webservice.database.base import Database, select_rows, to_records
from eida_stats_webservice.database.foreign import ForeignServer
from eida_stats_webservice.registry.repository import RegistryRepository

# Longer than a million rows take, for a server that hangs.
_COPY_SECONDS = 600


class ShardRepository:
    """The list of shards. A method is one transaction, unless it takes a connection."""

    def __init__(self, database: Database, registry: RegistryRepository) -> None:
        self.database = database
        self.storage = open_storage(database)
        self._registry = registry
        self._holdings = HoldingsRefresh(database)
        self._queries = database.load_queries(Path(__file__).parent)

    def create(
        self, code: str, path: str, node: str, *, open_paths: bool, server: ForeignServer | None = None
    ) -> Shard:
        """Create a shard: without rows, or with those that another server has.

        Raises:
            UnusableShard: if the code or the path is not allowed.
            ShardExists: if there is a shard of this code, one above or below the path, or a schema of this name.
            UnknownNode: if there is no such node.
            UnusableForeignServer: if the server cannot be used, or lacks tables.
        """
        check_code(code)
        check_path(path)

        def create(connection: Any) -> Shard:
            self.lock_list(connection)
            node_id = self._registry.find_id(connection, node)
            present = self.list_all(connection)
            check_new(code, path, present)
            if server is None:
                self.storage.create(connection, code)
            else:
                self.storage.create_foreign(connection, code, server)
            self._queries.add_shard(
                connection,
                code=code,
                path=path,
                node_id=node_id,
                open_paths=open_paths,
                foreign_server=None if server is None else server.place,
            )
            self.storage.replace_views(connection, sorted([code, *(shard.code for shard in present)]))
            return self.get(connection, code)

        return self.database.administer(create)

    def remove(self, code: str) -> None:
        """Remove a shard with all its rows. The snapshots of past holdings stay.

        Raises:
            UnknownShard: if there is no such shard.
        """

        def remove(connection: Any) -> None:
            self.lock_list(connection)
            shard = self.get(connection, code)
            self.storage.replace_views(
                connection, [shard.code for shard in self.list_all(connection) if shard.code != code]
            )
            self.storage.remove(connection, code)
            if shard.foreign_server is not None:
                self.storage.remove_server(connection, code)
            self._queries.remove_shard(connection, code=code)
            # The node now holds the sum of its other shards.
            self._holdings.refresh_history(connection, shard.node_id)

        self.database.administer(remove)

    def refresh(self, code: str) -> Shard:
        """Compute the holdings of a shard again, or copy them from its server, and return the shard.

        Raises:
            UnknownShard: if there is no such shard.
            ForeignServerUnavailable: if its server cannot be reached.
        """
        with self.database.transaction(write=True) as connection:
            self.database.wait_without_limit(connection)
            shard = self.lock(connection, code)
            if shard.foreign_server is None:
                self._holdings.refresh(connection, shard)
            else:
                self.database.limit_time(connection, _COPY_SECONDS)
                with self.storage.enter(connection, code):
                    self._holdings.copy(connection, shard)
            self.bump(connection, code)
            return self.get(connection, code)

    def check_node_has_none(self, node: str) -> None:
        """Check that a node may be removed.

        Raises:
            NodeHasShards: if it has shards, naming them.
        """
        if codes := [shard.code for shard in self.read_all() if shard.node == node]:
            raise NodeHasShards(
                f"{node} has {', '.join(codes)}", hint="Remove them first: eida_statsman shards remove CODE"
            )

    def lock(self, connection: Any, code: str) -> Shard:
        """Return a shard. Other changes of it wait for the end of this transaction.

        Raises:
            UnknownShard: if there is no such shard.
        """
        self._queries.lock_shard(connection, code=code)
        return self.get(connection, code)

    def lock_list(self, connection: Any) -> list[str]:
        """Return the codes of all shards. Changes of the list wait for the end of this transaction."""
        self._queries.lock_shards(connection)
        return [shard.code for shard in self.list_all(connection)]

    def bump(self, connection: Any, code: str) -> None:
        """Raise the generation of a shard."""
        self._queries.bump_generation(connection, code=code)

    def get(self, connection: Any, code: str) -> Shard:
        """Return a shard.

        Raises:
            UnknownShard: if there is no such shard.
        """
        shards = {shard.code: shard for shard in self.list_all(connection)}
        if code in shards:
            return shards[code]
        similar = find_similar(code, shards)
        raise UnknownShard(
            code,
            hint=f"Did you mean {' or '.join(similar)}?" if similar else "List them: eida_statsman shards list",
        )

    def list_all(self, connection: Any) -> list[Shard]:
        """Return all shards, by code."""
        return to_records(Shard, select_rows(connection, self._queries.list_shards))

    def read_all(self) -> list[Shard]:
        """Return all shards, by code."""
        with self.database.transaction() as connection:
            return self.list_all(connection)


def check_path(path: str) -> None:
    """Check that the paths of a shard may begin with this path.

    Raises:
        UnusableShard: if it is not absolute and normalised, or is the root.
    """
    if not is_normal(path) or path == "/":
        raise UnusableShard(f"path {path!r}", hint="Use an absolute path such as /GFZ/archive, without . and ..")
    if not path.isprintable():
        raise UnusableShard(f"path {path!r} has a character that is not printable")


def check_is_local(shard: Shard) -> None:
    """Check that the tables of a shard are in this database, so that it can be changed here.

    Raises:
        ForeignShard: if they are on another server.
    """
    if shard.foreign_server is not None:
        raise ForeignShard(
            f"shard {shard.code} is on {shard.foreign_server}",
            hint=f"Ingest its crawls there. Then run here: eida_statsman shards refresh {shard.code}",
        )


def check_new(code: str, path: str, present: list[Shard]) -> None:
    """Check that a new shard shares neither its code nor a path with others.

    Raises:
        ShardExists: if it does.
    """
    for shard in present:
        if shard.code == code:
            raise ShardExists(code, hint="List them: eida_statsman shards list")
        if overlap(path, shard.path):
            raise ShardExists(
                f"shard {shard.code} has the path {shard.path}",
                hint="Use a path that is neither above nor below it.",
            )
