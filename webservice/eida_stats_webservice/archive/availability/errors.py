"""Errors of the availability service."""

from eida_statistics.errors import EidaStatisticsError


class TooManyRows(EidaStatisticsError):
    """The answer would have too many rows."""

    http_status = 413
    problem = "too-many-rows"


class NoAvailability(EidaStatisticsError):
    """No data match the request."""

    http_status = 404
    problem = "no-availability"
