"""The classes of errors."""

from eida_statistics.errors import EidaStatisticsError


def list_classes(base: type[EidaStatisticsError] = EidaStatisticsError) -> list[type[EidaStatisticsError]]:
    """Return a class of errors and all its subclasses."""
    return [base, *(found for child in base.__subclasses__() for found in list_classes(child))]
