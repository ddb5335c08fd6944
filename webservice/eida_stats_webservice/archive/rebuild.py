"""Build the tables of a shard from crawls, beside the present ones, and replace these."""

import datetime
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eida_stats_webservice.archive.crawl_lines import CrawlReader
from eida_stats_webservice.archive.holdings.refresh import HoldingsRefresh
from eida_stats_webservice.archive.merging.merge import CrawlMerge, MergeResult
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.polygons import PolygonRepository
from eida_stats_webservice.archive.shards import ShardRepository, check_is_local
from eida_stats_webservice.database.base import Database, format_moment


class ShardRebuild:
    """Rebuilds shards."""

    def __init__(self, database: Database, shards: ShardRepository) -> None:
        self._database = database
        self._shards = shards
        self._queries = database.load_queries(Path(__file__).parent)
        self._merge = CrawlMerge(database)
        self._polygons = PolygonRepository(database, shards)
        self._holdings = HoldingsRefresh(database)

    def rebuild(self, code: str, files: Sequence[Path]) -> list[MergeResult]:
        """Replace a shard by the result of complete crawls, which are ingested in the order in which they began.

        Readers see the old tables or the new ones. If this is killed, the old ones stay, unless the new ones were
        complete. Ingests and rebuilds of one shard wait for each other.

        Raises:
            UnknownShard: if there is no such shard.
            ForeignShard: if the shard is on another server.
            InvalidCrawl: if a file is damaged or cut off, or of another path.
            TooManyBadLines: if more than one line of a hundred is bad.
        """
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            shard = self._shards.lock(connection, code)
            check_is_local(shard)
            crawls = [CrawlReader(file, shard.path, is_partial=False) for file in files]
            crawls.sort(key=get_start)
            results = self.replace(connection, shard, crawls)
        self.finish(code)
        return results

    def replace(self, connection: Any, shard: Shard, crawls: Sequence[CrawlReader]) -> list[MergeResult]:
        """Replace a shard that is locked, in the transaction of a connection. Then, call `finish`.

        Nothing else should follow in this transaction, since readers wait for its end.
        """
        results = self._build(connection, shard, crawls)
        self._shards.storage.swap(connection, shard.code, partial(self._record, shard=shard, crawls=crawls))
        return results

    def finish(self, code: str) -> None:
        """Compute the holdings, and remove the old tables. After a kill, the next ingest or rebuild does."""
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            self._holdings.refresh(connection, self._shards.lock(connection, code))
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            # Another rebuild would drop them at the same time.
            self._shards.lock(connection, code)
            self._shards.storage.remove_replaced(connection, code)

    def _build(self, connection: Any, shard: Shard, crawls: Sequence[CrawlReader]) -> list[MergeResult]:
        storage = self._shards.storage
        storage.create_copy(connection, shard.code)
        results: list[MergeResult] = []
        for crawl in crawls:
            with storage.enter_copy(connection, shard.code):
                if results:
                    result = self._merge.merge(connection, shard, crawl, may_shrink=True)
                else:
                    result = self._merge.load(connection, shard, crawl)
                # Before the indexes, too.
                changed = self._merge.list_located(connection) if results else None
                result.polygons = self._polygons.refresh(connection, shard, changed)
                results.append(result)
            if len(results) == 1:
                storage.index_copy(connection, shard.code)
        return results

    def _record(self, connection: Any, *, shard: Shard, crawls: Sequence[CrawlReader]) -> list[str]:
        codes = self._shards.lock_list(connection)
        self._shards.bump(connection, shard.code)
        self._queries.forget_crawls(connection, code=shard.code)
        self._queries.set_crawled_at(
            connection, code=shard.code, crawled_at=format_moment(max(map(get_start, crawls)))
        )
        return codes


def get_start(crawl: CrawlReader) -> datetime.datetime:
    """Return when a complete crawl began."""
    if crawl.first is None or crawl.first.started is None:
        raise AssertionError  # no reader of a complete crawl is without
    return crawl.first.started
