"""Errors of the catalogue."""

from eida_statistics.errors import ConfigurationError, EidaStatisticsError
from eida_stats_webservice.errors import Conflict, TooLarge


class UnknownShard(EidaStatisticsError):
    """There is no such shard."""

    http_status = 404
    problem = "unknown-shard"


class UnusableShard(ConfigurationError):
    """A shard cannot have this code or path."""


class ShardExists(Conflict):
    """There is a shard of this code, or of an overlapping path."""

    exit_code = 2
    problem = "shard-exists"


class NodeHasShards(Conflict):
    """This node has shards."""

    problem = "node-has-shards"


class OtherShard(EidaStatisticsError):
    """This shard belongs to another node."""

    http_status = 403
    problem = "other-shard"


class OlderCrawl(Conflict):
    """This crawl is older than the last one, so nothing was stored."""

    problem = "older-crawl"


class CrawlTooLarge(TooLarge):
    """The crawl is too large to be sent."""
