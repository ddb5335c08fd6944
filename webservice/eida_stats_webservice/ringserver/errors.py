"""Errors of raw logs that a client or an administrator can act on."""

from eida_statistics.errors import EidaStatisticsError
from eida_stats_webservice.errors import Conflict, Unavailable


class MixedDelivery(Conflict):
    """Raw logs and payloads of one source exclude each other, so nothing was stored."""

    problem = "mixed-delivery"


class OtherKey(Conflict):
    """Records of this day were stored with another key, so nothing was stored."""

    problem = "other-key"


class EmptyReplacement(EidaStatisticsError):
    """The logs would delete days without replacing them, so nothing was changed."""

    http_status = 422
    problem = "empty-replacement"


class RawLogsOff(EidaStatisticsError):
    """This service takes no raw logs."""

    http_status = 403
    problem = "raw-logs-off"


class NetworksUnknown(Unavailable):
    """There is no registry of networks, and the log has temporary network codes."""

    problem = "no-registry"
    is_reason_public = True
