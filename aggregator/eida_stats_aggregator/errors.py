"""Errors that the operator of a node can correct."""

from collections.abc import Mapping
from types import MappingProxyType

from eida_statistics.errors import ConfigurationError, EidaStatisticsError, UnreadableLog


class NotReady(EidaStatisticsError):
    """The log of a day is not ready."""


class NoLogFound(UnreadableLog):
    """There is no log to read, so nothing was written."""


class LogLeftOut(EidaStatisticsError):
    """The log cannot be read, so its days wait for the next run."""


class WorkerLost(EidaStatisticsError):
    """One of the processes that aggregate the logs was killed, so nothing was written."""


class DaskUnusable(ConfigurationError):
    """--dask cannot be used here."""


class ClusterUnavailable(EidaStatisticsError):
    """The Dask cluster cannot be used."""


class NothingToAggregate(EidaStatisticsError):
    """There is nothing to aggregate."""


class BadServerName(ConfigurationError):
    """The prefix of a log's name does not fit the name of a server."""


class AggregateExists(EidaStatisticsError):
    """An aggregate file for these days exists and has other content."""


class AlreadyDelivered(EidaStatisticsError):
    """These days were sent before, so nothing was written."""


class UnclearPeriod(EidaStatisticsError):
    """It is not clear which days these logs cover, so nothing was written."""


class StartUnknown(EidaStatisticsError):
    """The first day to send is not known, so nothing was sent."""


class UnwritableDirectory(EidaStatisticsError):
    """The output directory cannot be written."""


class DirectoryInUse(EidaStatisticsError):
    """Another run uses the output directory."""

    exit_code = 0


class NotDelivered(EidaStatisticsError):
    """The aggregate file could not be delivered and waits for the next run."""

    exit_code = 3

    def __init__(self, subject: str = "", *, hint: str = "", may_have_arrived: bool = False) -> None:
        self.may_have_arrived = may_have_arrived
        super().__init__(subject, hint=hint)


class ServiceFault(NotDelivered):
    """The service failed with the aggregate file, which waits for the next run."""


class ServiceSilent(ServiceFault):
    """The service did not report its version or its payloads, so nothing was sent."""


class OtherNode(NotDelivered):
    """The token belongs to another node than before, so nothing was sent."""


class PathUnknown(NotDelivered):
    """There is no service at this URL, so the aggregate file waits for the right one."""


class PayloadRefused(NotDelivered):
    """The service refused the aggregate file, which stays queued."""


class DeliveryOvertaken(PayloadRefused):
    """Another payload was sent for these days in the meantime, so the aggregate file waits for the next run."""


class PayloadHeld(PayloadRefused):
    """The service has other statistics of these days, so the aggregate file waits for your decision.

    `reason` is the answer of the service, the same for files that are held for the same reason. `sources` has the
    sources of its payloads, by their numbers.
    """

    def __init__(
        self, name: str, reason: str, *, hint: str, sources: Mapping[int, str] = MappingProxyType({})
    ) -> None:
        self.names = [name]
        self.reason = reason
        self.sources = sources
        super().__init__(f"{name} to {reason}", hint=hint)


class ReplacedUnknown(PayloadHeld):
    """The payload to be replaced does not exist, so the aggregate file waits for your decision."""


class AccessLogSkipped(EidaStatisticsError):
    """The access log was skipped."""


class RecordsNotSent(EidaStatisticsError):
    """The records of connections could not be sent, and wait."""

    exit_code = 3


class RecordsRefused(RecordsNotSent):
    """The service refused records of connections, so nothing more is sent."""


class CrawlNotSent(EidaStatisticsError):
    """The crawl could not be sent."""

    exit_code = 3


class CrawlRefused(CrawlNotSent):
    """The service refused the crawl."""


class UnusableState(EidaStatisticsError):
    """The state file cannot be used."""


class ForeignState(ConfigurationError):
    """The state file belongs to something else."""


class ForeignToken(ConfigurationError):
    """The token is that of another node than before, so nothing was sent."""


class StateInUse(UnusableState):
    """Another process has this state file open."""
