"""Errors of `eida_archive`."""

from eida_statistics.errors import ConfigurationError, EidaStatisticsError


class PackageMissing(ConfigurationError):
    """A package that this command needs is not installed."""


class UnreadableRoot(EidaStatisticsError):
    """The archive cannot be read, so nothing was written."""


class UnwritableCrawl(EidaStatisticsError):
    """The crawl cannot be written."""


class OtherArchive(ConfigurationError):
    """The previous crawl is that of another archive, so nothing was written."""


class CrawlStopped(EidaStatisticsError):
    """The crawl was stopped before its end."""


class CrawlerLost(CrawlStopped):
    """One of the processes that read the archive was killed."""
