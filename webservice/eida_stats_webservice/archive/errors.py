"""Errors of the catalogue."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.times import format_utc
from eida_stats_webservice.errors import Conflict, TooLarge, Unavailable

_SHOWN_LINES = 5


class BadLine(NamedTuple):
    """A line of a file that was refused."""

    number: int
    reason: str


class UnknownShard(EidaStatisticsError):
    """There is no such shard."""

    http_status = 404
    problem = "unknown-shard"


class ShardExists(Conflict):
    """There is a shard of this code, or of an overlapping path."""

    exit_code = 2
    problem = "shard-exists"


class NodeHasShards(Conflict):
    """This node has shards."""

    problem = "node-has-shards"


class ForeignShard(Conflict):
    """The tables of this shard are on another server."""

    exit_code = 2
    problem = "foreign-shard"


class ShardUnavailable(Unavailable):
    """A shard cannot be read at present."""

    problem = "shard-unavailable"
    is_reason_public = True

    def __init__(self, code: str, node: str) -> None:
        super().__init__(
            f"shard {code} of node {node}",
            hint="Try again later, or leave it out: partial=true.",
            members={"shard": code, "node": node},
        )


class OtherShard(EidaStatisticsError):
    """This shard belongs to another node."""

    http_status = 403
    problem = "other-shard"


class OlderCrawl(Conflict):
    """This crawl is older than another one, so nothing was changed."""

    problem = "older-crawl"

    def __init__(self, started: datetime.datetime, last_started: datetime.datetime) -> None:
        times = {"started": format_utc(started), "last_started": format_utc(last_started)}
        super().__init__(
            f"it began at {times['started']}, the last crawl of these paths at {times['last_started']}",
            hint="Crawl again, and send that one.",
            members=times,
        )


class CrawlTooLarge(TooLarge):
    """The crawl is too large to be sent."""


class ForbiddenPath(EidaStatisticsError):
    """Only the node of this path may see it, or there is no such path."""

    http_status = 403
    problem = "forbidden-path"


class PostgisMissing(EidaStatisticsError):
    """This service cannot search the polygons of GDAL."""

    http_status = 501
    problem = "postgis-missing"
    is_reason_public = True


class ShrinkingCrawl(Conflict):
    """This crawl would remove more than 20 % of the paths, so nothing was changed."""

    problem = "shrinking-crawl"


class TooManyBadLines(EidaStatisticsError):
    """More than 1 % of the lines are bad, so nothing was stored."""

    http_status = 422
    problem = "too-many-bad-lines"

    def __init__(self, file: Path, bad: int, lines: int, bad_lines: Sequence[BadLine], *, hint: str = "") -> None:
        self.bad_lines = list(bad_lines)
        shown = "; ".join(f"line {number}: {reason}" for number, reason in bad_lines[:_SHOWN_LINES])
        super().__init__(f"{file}: {bad:,} of {lines:,} lines. {shown}", hint=hint)


class InvalidStations(EidaStatisticsError):
    """The file has no channels of stations."""

    problem = "invalid-stations"


class RefusedCrawls(EidaStatisticsError):
    """Some crawls that were received cannot be ingested."""

    problem = "refused-crawls"


class CatalogueDifferences(EidaStatisticsError):
    """The tables of a shard differ from its metadata."""

    problem = "catalogue-differences"
