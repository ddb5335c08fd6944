"""Ingest the crawls that nodes have sent."""

from collections.abc import Iterator
from typing import NamedTuple

from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.archive.crawls import CrawlRepository, ReceivedCrawl
from eida_stats_webservice.archive.errors import ForeignShard, OlderCrawl, ShrinkingCrawl, TooManyBadLines
from eida_stats_webservice.archive.ingestion import CrawlIngestion
from eida_stats_webservice.archive.merging.merge import MergeResult
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import RefusedByDatabase

# The same crawl is refused each time. Other errors, as those of the database, end the run.
_REFUSALS = (InvalidCrawl, TooManyBadLines, OlderCrawl, ShrinkingCrawl, ForeignShard, RefusedByDatabase)


class Ingested(NamedTuple):
    """The end of a crawl that waited: a result, or why it was refused."""

    crawl: ReceivedCrawl
    result: MergeResult | None
    refusal: EidaStatisticsError | None = None


class ReceivedIngestion:
    """Ingests crawls that wait. Each is one transaction."""

    def __init__(
        self, database: Database, shards: ShardRepository, crawls: CrawlRepository, ingestion: CrawlIngestion
    ) -> None:
        self._database = database
        self._shards = shards
        self._crawls = crawls
        self._ingestion = ingestion

    def ingest_all(self, code: str | None, *, may_shrink: bool) -> Iterator[Ingested]:
        """Ingest the crawls of a shard, or of all, in the order in which they began, and yield the end of each.

        One that is refused does not stop the others.

        Args:
            code: the shard.
            may_shrink: whether a crawl may remove more than 20 % of the paths. Then, those that were refused before
                are tried again.

        Raises:
            UnknownShard: if there is no such shard.
        """
        if code is not None:
            with self._database.transaction() as connection:
                self._shards.get(connection, code)
        for crawl in self._crawls.list_waiting(code, also_refused=may_shrink):
            try:
                result = self._ingest(crawl, may_shrink=may_shrink)
            except _REFUSALS as error:
                self._crawls.mark_refused(crawl, _describe(error))
                yield Ingested(crawl, None, error)
                continue
            if result is not None:
                yield Ingested(crawl, result)
        self._crawls.delete_old_files()

    def _ingest(self, crawl: ReceivedCrawl, *, may_shrink: bool) -> MergeResult | None:
        """Ingest a crawl; return None if another run has ingested it meanwhile."""
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            self._shards.lock(connection, crawl.code)
            with self._crawls.open_file(connection, crawl) as file:
                if file is None:
                    return None
                try:
                    result = self._ingestion.ingest_within(
                        connection, crawl.code, file, is_partial=False, may_shrink=may_shrink
                    )
                except EidaStatisticsError as error:
                    # The name of the temporary file means nothing to anybody.
                    error.subject = error.subject.removeprefix(f"{file}: ")
                    raise
            self._crawls.mark_ingested(connection, crawl)
        self._ingestion.finish(crawl.code, result)
        return result


def _describe(error: EidaStatisticsError) -> str:
    """Return an error without its hint, which is for the administrator."""
    return ": ".join(filter(None, [error.title, error.subject]))
