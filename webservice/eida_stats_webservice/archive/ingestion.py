"""Ingest the crawl of an archive into its shard."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from eida_statistics.archive.records import Time
from eida_stats_webservice.archive.crawl_lines import CrawlReader
from eida_stats_webservice.archive.crawls import check_start, overlaps
from eida_stats_webservice.archive.errors import OlderCrawl
from eida_stats_webservice.archive.merging.merge import CrawlMerge, MergeResult
from eida_stats_webservice.archive.models import Shard, Stream
from eida_stats_webservice.archive.polygons import PolygonRepository
from eida_stats_webservice.archive.shards import ShardRepository, check_is_local
from eida_stats_webservice.archive.times import format_moment
from eida_stats_webservice.database.base import Database, parse_time

RefreshHoldings = Callable[[Any, Shard, Collection[Stream] | None, Collection[int] | None], None]
"""Computes the holdings of some streams and years of a shard again; of all, if they are None."""


def keep_holdings(
    _connection: Any, _shard: Shard, _streams: Collection[Stream] | None, _years: Collection[int] | None
) -> None:
    """Compute no holdings."""


class CrawlIngestion:
    """Ingests crawls. A method is one transaction, unless it takes a connection."""

    def __init__(
        self, database: Database, shards: ShardRepository, refresh_holdings: RefreshHoldings = keep_holdings
    ) -> None:
        self._database = database
        self._shards = shards
        self._refresh_holdings = refresh_holdings
        self._queries = database.load_queries(Path(__file__).parent)
        self._merge = CrawlMerge(database)
        self._polygons = PolygonRepository(database, shards)

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
            return self.ingest_within(connection, code, file, is_partial=is_partial, may_shrink=may_shrink)

    def ingest_within(
        self, connection: Any, code: str, file: Path, *, is_partial: bool, may_shrink: bool
    ) -> MergeResult:
        """Ingest a crawl in the transaction of a connection; see `ingest`."""
        self._database.wait_without_limit(connection)
        shard = self._shards.lock(connection, code)
        check_is_local(shard)
        crawl = CrawlReader(file, shard.path, is_partial=is_partial)
        with self._shards.storage.enter(connection, code):
            self._check_newest(connection, shard, crawl)
            result = self._merge.merge(connection, shard, crawl, may_shrink=may_shrink)
            if result.is_change:
                result.polygons = self._polygons.refresh(connection, shard, self._merge.list_located(connection))
        if result.is_change:
            # Late, since these locks are in the way of creating shards.
            self.record_crawl(connection, code, crawl)
            # They were never computed, or a rebuild was killed before.
            changed = (None, None) if shard.refreshed_at is None else (result.streams, result.years)
            self._refresh_holdings(connection, self._shards.get(connection, code), *changed)
        return result

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
            if started > crawl.first.started and overlaps(root, crawl.root):
                raise OlderCrawl(
                    f"a crawl of {root} that began {format_time(started)}; this one began"
                    f" {format_time(crawl.first.started)}",
                    members={
                        "ingested": format_moment(started),
                        "refused": format_moment(crawl.first.started),
                    },
                )


def format_time(time: Time) -> str:
    """Return a time in UTC for people."""
    # Crawls may begin within one second.
    return f"{format_moment(time)[: -len('+00:00')].rstrip('0').rstrip('.')}Z"
