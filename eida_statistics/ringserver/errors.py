"""Faults of the files that an operator supplies to count transfers."""

from eida_statistics.errors import ConfigurationError


class UnusableUserSalt(ConfigurationError):
    """The user salt cannot be used."""


class UnusableGeoIP(ConfigurationError):
    """Addresses have no places, because GeoIP cannot be used."""
