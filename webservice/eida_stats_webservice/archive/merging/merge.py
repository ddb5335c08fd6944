"""Merge a crawl into the tables of a shard: decide what changes, and change it."""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eida_statistics.archive.paths import hash_path
from eida_statistics.archive.records import POSIX
from eida_stats_webservice.archive.bad_lines import BadLines
from eida_stats_webservice.archive.crawl_lines import CrawlReader
from eida_stats_webservice.archive.errors import ShrinkingCrawl
from eida_stats_webservice.archive.merging.staging import join_ranges, stage_crawl, stage_paths
from eida_stats_webservice.archive.merging.timelines import TimelineUpdate
from eida_stats_webservice.archive.models import PolygonResult, Shard, Stream
from eida_stats_webservice.archive.path_lines import LineRange
from eida_stats_webservice.database.base import Database, parse_time

_MAX_SHRINK_SHARE = 0.2


@dataclass
class MergeResult:
    """The changes of a crawl.

    Attributes:
        lines: the number of lines.
        found: the number of paths that it has.
        changes: the number of lines that have changed something, with the one of the crawl itself.
        added: new paths.
        changed: paths that were there before, with metadata that are new or have changed.
        removed: paths that are gone.
        dropped: metadata that are gone although their paths are there.
        untyped: `posix` records without a type.
        bad: the lines that were refused.
        polygons: what was found in metadata of rasters, with PostGIS only.
        is_first: whether it was loaded into empty tables.
        streams: the streams whose segments changed, or the files that have them; empty if it was the first crawl.
        years: the years of the data in these files; None if there are none, or it was the first crawl.
    """

    lines: int
    found: int
    changes: int
    added: int
    changed: int
    removed: int
    dropped: int
    untyped: int
    bad: BadLines
    polygons: PolygonResult = field(default_factory=PolygonResult)
    is_first: bool = False
    streams: list[Stream] = field(default_factory=list)
    years: range | None = None

    @property
    def is_change(self) -> bool:
        """Whether anything has changed."""
        return any((self.changes, self.removed, self.dropped))


class CrawlMerge:
    """Merges crawls. All methods take a connection in a transaction that has entered the shard and locked it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.queries = database.load_queries(Path(__file__).parent)
        self._timeline = TimelineUpdate(database, self.queries)

    def merge(self, connection: Any, shard: Shard, crawl: CrawlReader, *, may_shrink: bool) -> MergeResult:
        """Merge a crawl. Of a complete one, only the lines of paths that differ from the last one are checked.

        Raises:
            InvalidCrawl: if the file is damaged or cut off.
            TooManyBadLines: if more than one line of a hundred was refused.
            ShrinkingCrawl: if more than 20 % of the paths would go, unless it may shrink.
        """
        place = _Place(connection, shard.code, crawl)
        self._create_staging(place)
        ranges = None if crawl.is_partial else self._find_ranges(place, crawl)
        self._stage(place, crawl, ranges)
        self._decide(place, crawl)
        result = self._describe(place, crawl, *self._fetch(place, self.queries.count_changes))
        if not crawl.is_partial and not may_shrink:
            self._check_shrink(place, crawl, result)
        if result.is_change:
            self._run(place, self.queries.find_touched)
            times = self._find_period(place)
            self._apply(place)
            self._run(place, self.queries.merge_digests, types=crawl.types_digest)
            times += self._find_period(place)
            if times:
                result.years = range(min(times).year, max(times).year + 1)
            result.streams = self._timeline.update(connection, shard.code)
            self._run(place, self.queries.empty_pending_list)
        return result

    def load(self, connection: Any, shard: Shard, crawl: CrawlReader) -> MergeResult:
        """Load a complete crawl into empty tables, which need no indexes yet.

        Raises:
            InvalidCrawl: if the file is damaged or cut off.
            TooManyBadLines: if more than one line of a hundred was refused.
        """
        place = _Place(connection, shard.code, crawl)
        self._create_staging(place)
        self._stage(place, crawl, None)
        place.found = self._fetch(place, self.queries.count_staged)[0]
        changes, added = self._fetch(place, self.queries.count_loaded)
        result = self._describe(place, crawl, changes, added, 0)
        result.is_first = True
        self._run(place, self.queries.load_tables, types=crawl.types_digest)
        self._timeline.create(connection, shard.code)
        return result

    def is_empty(self, connection: Any, code: str) -> bool:
        """Return whether a shard has no paths."""
        return not self.queries.has_paths(connection, code=code)

    def find_crawls(self, connection: Any, code: str) -> list[tuple[str, str]]:
        """Return the roots of all crawls that were ingested, with the times at which they began."""
        return list(self.queries.find_crawls(connection, code=code))

    def list_located(self, connection: Any) -> Iterator[str]:
        """Yield the hashes of paths that may have other polygons than before, after a merge."""
        for (path_hash,) in self._database.stream(connection, self.queries.list_located.sql, {}):
            yield path_hash

    def _create_staging(self, place: "_Place") -> None:
        for query in (self.queries.configure, self.queries.create_staging):
            self._run(place, query)

    def _find_ranges(self, place: "_Place", crawl: CrawlReader) -> list[LineRange]:
        """Return the ranges of lines that have to be checked, and count the paths of all others."""
        stage_paths(self._database, self.queries, place.connection, crawl)
        self._run(place, self.queries.find_unsettled, types=crawl.found_types_digest)
        place.found = self._fetch(place, self.queries.count_settled)[0]
        return join_ranges(self._database.stream(place.connection, self.queries.list_ranges.sql, {}))

    def _stage(self, place: "_Place", crawl: CrawlReader, ranges: Sequence[LineRange] | None) -> None:
        stage_crawl(self._database, self.queries, place.connection, crawl, ranges)
        self._run(place, self.queries.analyse_staged)
        self._run(place, self.queries.delete_repeated)
        if crawl.is_partial:
            self._run(place, self.queries.delete_removed)
        self.queries.add_unreadable(
            place.connection, [{"hash": hash_path(path), "path": path} for path in crawl.unreadable]
        )
        # The type of a path is known until it goes.
        self.queries.add_replaced(place.connection, [{"type": one} for one in crawl.types if one != POSIX])

    def _decide(self, place: "_Place", crawl: CrawlReader) -> None:
        """Find the rows to remove, and the lines that change something."""
        place.found += self._fetch(place, self.queries.count_staged)[0]
        if crawl.is_partial:
            self._run(place, self.queries.find_removed)
        else:
            self._run(place, self.queries.find_gone)
            self._run(place, self.queries.find_replaced)
        self._run(place, self.queries.find_no_files)
        self._run(place, self.queries.find_changes)

    def _describe(self, place: "_Place", crawl: CrawlReader, changes: int, added: int, changed: int) -> MergeResult:
        return MergeResult(
            lines=crawl.lines,
            found=place.found,
            changes=changes,
            added=added,
            changed=changed,
            removed=self._fetch(place, self.queries.count_gone)[0],
            dropped=self._fetch(place, self.queries.count_dropped)[0],
            untyped=crawl.untyped,
            bad=crawl.bad,
        )

    def _check_shrink(self, place: "_Place", crawl: CrawlReader, result: MergeResult) -> None:
        (present,) = self._fetch(place, self.queries.count_below)
        if result.removed > present * _MAX_SHRINK_SHARE:
            raise ShrinkingCrawl(
                f"{result.removed:,} of {present:,} paths below {crawl.root} are not in it",
                hint="Is a disk unmounted? If not, use --allow-shrink.",
            )

    def _apply(self, place: "_Place") -> None:
        queries = self.queries
        # The state before.
        self._run(place, queries.add_files, sign=-1)
        for query in (
            *(queries.keep_sums, queries.sum_below_new, queries.find_streams),
            *(queries.merge_metadata, queries.merge_paths, queries.merge_files, queries.merge_links),
        ):
            self._run(place, query)
        # The state after.
        self._run(place, queries.add_files, sign=1)
        for query in (queries.merge_directories, queries.update_sums, queries.merge_spans, queries.find_streams):
            self._run(place, query)

    def _find_period(self, place: "_Place") -> list[datetime.datetime]:
        """Return the first and the last time of the data in the files that change, if there are any."""
        ((first, last),) = self._database.stream(place.connection, self.queries.find_period.sql, place.parameters)
        return [] if first is None else [parse_time(first), parse_time(last)]

    def _run(self, place: "_Place", query: Any, **parameters: int) -> None:
        """Run the statements of a query."""
        self._database.run_all(place.connection, query, place.parameters | parameters)

    def _fetch(self, place: "_Place", query: Any) -> tuple[int, ...]:
        """Return the numbers of a row."""
        cursor = place.connection.cursor()
        cursor.execute(query.sql, place.parameters)
        return tuple(map(int, cursor.fetchone()))


class _Place:
    """Where a crawl is merged: the connection, and the parameters of the statements."""

    def __init__(self, connection: Any, code: str, crawl: CrawlReader) -> None:
        root = crawl.root or ""
        self.connection = connection
        self.found = 0
        self.parameters = {"code": code, "root": hash_path(root), "root_path": root}
