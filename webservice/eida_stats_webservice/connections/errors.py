"""Errors of live connections that a client or an administrator can act on."""

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.errors import Conflict


class UnusableTime(EidaStatisticsError):
    """No event can have this time."""

    http_status = 400
    problem = "unusable-time"


class ConflictingEvent(Conflict):
    """An event differs from one that was received before, so nothing was stored."""

    problem = "conflicting-event"


class ArchivedEvents(Conflict):
    """The events of this month are archived, so nothing was stored."""

    problem = "archived-events"


class NameTaken(Conflict):
    """A space or sensor with this name exists already, so nothing was stored."""

    problem = "name-taken"


class SnapshotUnknown(Conflict):
    """There is no snapshot before this one, so nothing was stored."""

    problem = "snapshot-unknown"


class ForeignSensor(EidaStatisticsError):
    """This sensor belongs to another node."""

    http_status = 403
    problem = "foreign-sensor"


class UnusableSensor(EidaStatisticsError):
    """This sensor cannot send such events."""

    http_status = 400
    problem = "unusable-sensor"


class UnknownSpace(EidaStatisticsError):
    """There is no such space, or you may not see it."""

    http_status = 404
    problem = "unknown-space"


class UnknownSensor(EidaStatisticsError):
    """There is no such sensor."""

    http_status = 404
    problem = "unknown-sensor"


class UnusableSpace(Conflict):
    """This space cannot be used so, so nothing was changed."""

    problem = "unusable-space"


class OverlappingInstallation(Conflict):
    """The sensor is installed elsewhere at that time, so nothing was changed."""

    problem = "overlapping-installation"


class ArchiveDiffers(EidaStatisticsError):
    """The file of an archive differs from the log, so nothing was deleted."""

    problem = "archive-differs"


class ConnectionDifferences(EidaStatisticsError):
    """The live connections differ from their log."""

    problem = "connection-differences"
