"""Errors of crawls."""

from eida_statistics.errors import ConfigurationError, EidaStatisticsError


class InvalidLine(EidaStatisticsError):
    """This line of a crawl is not valid."""

    http_status = 400
    problem = "invalid-line"


class InvalidCrawl(EidaStatisticsError):
    """This is not a crawl, or it is damaged."""

    http_status = 422
    problem = "invalid-crawl"


class InvalidPath(ConfigurationError):
    """This is not a path of an archive."""


class UnusableShard(ConfigurationError):
    """A shard cannot have this code or path."""
