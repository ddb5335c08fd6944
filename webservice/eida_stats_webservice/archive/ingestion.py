"""Ingest the crawl of an archive into its shard."""

from pathlib import Path
from typing import Any

from eida_statistics.archive.paths import overlap
from eida_stats_webservice.archive.crawl_checks import check_start
from eida_stats_webservice.archive.crawl_lines import CrawlReader
from eida_stats_webservice.archive.errors import OlderCrawl
from eida_stats_webservice.archive.holdings.refresh import HoldingsRefresh
from eida_stats_webservice.archive.merging.merge import CrawlMerge, MergeResult
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.polygons import PolygonRepository
from eida_stats_webservice.archive.rebuild import ShardRebuild
from eida_stats_webservice.archive.shards import ShardRepository, check_is_local
from eida_stats_webservice.database.base import Database, format_moment, parse_time


class CrawlIngestion:
    """Ingests crawls. A method is one transaction, unless it takes a connection."""

    def __init__(self, database: Database, shards: ShardRepository) -> None:
        self._database = database
        self._shards = shards
        self._queries = database.load_queries(Path(__file__).parent)
        self._merge = CrawlMerge(database)
        self._polygons = PolygonRepository(database, shards)
        self._holdings = HoldingsRefresh(database)
        self._rebuild = ShardRebuild(database, shards)

    def ingest(self, code: str, file: Path, *, is_partial: bool = False, may_shrink: bool = False) -> MergeResult:
        """Ingest a crawl. Ingests and rebuilds of one shard wait for each other.

        Args:
            code: the shard.
            file: the file of the crawl.
            is_partial: whether it lists changes only; then, nothing that it lacks is removed.
            may_shrink: whether it may remove more than 20 % of the paths.

        Raises:
            UnknownShard: if there is no such shard.
            ForeignShard: if the shard is on another server.
            InvalidCrawl: if the file is damaged or cut off, or of another path.
            TooManyBadLines: if more than one line of a hundred is bad.
            OlderCrawl: if a crawl that began later was ingested before.
            ShrinkingCrawl: if it would remove more than 20 % of the paths.
        """
        with self._database.transaction(write=True) as connection:
            result = self.ingest_within(connection, code, file, is_partial=is_partial, may_shrink=may_shrink)
        self.finish(code, result)
        return result

    def ingest_within(
        self, connection: Any, code: str, file: Path, *, is_partial: bool, may_shrink: bool
    ) -> MergeResult:
        """Ingest a crawl in the transaction of a connection; see `ingest`. After its end, call `finish`."""
        self._database.wait_without_limit(connection)
        shard = self._shards.lock(connection, code)
        check_is_local(shard)
        crawl = CrawlReader(file, shard.path, is_partial=is_partial)
        with self._shards.storage.enter(connection, code):
            self._check_newest(connection, shard, crawl)
            is_first = not is_partial and self._merge.is_empty(connection, code)
        if is_first and self._shards.storage.may_replace(connection, code):
            # Indexes are created at once in a fraction of the time that changing them row by row takes.
            return self._rebuild.replace(connection, shard, [crawl])[0]
        with self._shards.storage.enter(connection, code):
            result = self._merge.merge(connection, shard, crawl, may_shrink=may_shrink)
            if result.is_change:
                result.polygons = self._polygons.refresh(connection, shard, self._merge.list_located(connection))
        if result.is_change:
            # Late, since these locks are in the way of creating shards.
            self.record_crawl(connection, code, crawl)
            # They were never computed, or a rebuild was killed before.
            changed = (None, None) if shard.refreshed_at is None else (result.streams, result.years)
            self._holdings.refresh(connection, self._shards.get(connection, code), *changed)
        return result

    def finish(self, code: str, result: MergeResult) -> None:
        """Compute the holdings of a shard after its first crawl. For others, they were computed with it."""
        if result.is_first:
            self._rebuild.finish(code)

    def record_crawl(self, connection: Any, code: str, crawl: CrawlReader) -> None:
        """Raise the generation of a shard, and record the start of a complete crawl."""
        self._shards.bump(connection, code)
        if not crawl.is_partial and crawl.first is not None and crawl.first.started is not None:
            self._queries.set_crawled_at(connection, code=code, crawled_at=format_moment(crawl.first.started))

    def _check_newest(self, connection: Any, shard: Shard, crawl: CrawlReader) -> None:
        """Check that a crawl began neither before one of its paths that was ingested, nor in the future."""
        if crawl.root is None or crawl.first is None or crawl.first.started is None:
            return
        check_start(crawl.first.started)
        for root, text in self._merge.find_crawls(connection, shard.code):
            started = parse_time(text)
            if started > crawl.first.started and overlap(root, crawl.root):
                raise OlderCrawl(crawl.first.started, started)
