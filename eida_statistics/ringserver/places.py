"""Where clients are, by a database in MaxMind's format. Its libraries are the extra `ringserver`."""

import ipaddress
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

from eida_statistics.errors import ConfigurationError
from eida_statistics.ringserver.errors import UnusableGeoIP
from eida_statistics.ringserver.identity import normalize_address

DEFAULT_PRECISION = 4
"""Characters of a geohash: cells of about 20 by 40 km."""

MAX_PRECISION = 12

_COUNTRY = re.compile(r"[0-9A-Z]{2}", re.ASCII)
_CACHED_ADDRESSES = 1 << 16
_IP_VERSIONS = (4, 6)
_HINT = "Download it again. The names of these files end in .mmdb."
# The errors that the reader raises if bytes are not as they should be.
_DAMAGES = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError, struct.error)


class Place(NamedTuple):
    """Where a client is. Fields that the database does not know are empty.

    Attributes:
        country: its code, two letters.
        city: its English name.
        geohash: a cell that contains it.
    """

    country: str
    city: str
    geohash: str


NOWHERE = Place("", "", "")


class Places:
    """Finds the places of addresses. It is a context manager that closes the database.

    Args:
        path: the database. Without one, all places are empty.
        precision: characters of a geohash.

    Raises:
        UnusableGeoIP: if a library is missing, or the file is no such database.
        ConfigurationError: if the precision is not between 1 and 12.
    """

    def __init__(self, path: Path | None, precision: int = DEFAULT_PRECISION) -> None:
        if not 1 <= precision <= MAX_PRECISION:
            raise ConfigurationError(f"the precision of geohashes is not between 1 and {MAX_PRECISION}")
        self._database = None if path is None else _Database(path, precision)
        self.find = lru_cache(_CACHED_ADDRESSES)(self._find)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._database:
            self._database.close()

    def _find(self, address: str) -> Place:
        """Return the place of an address.

        Raises:
            UnusableGeoIP: if the database is damaged.
        """
        if self._database is None:
            return NOWHERE
        try:
            parsed = ipaddress.ip_address(normalize_address(address))
        except ValueError:
            return NOWHERE
        return self._database.find(parsed)


class _Database:
    """A database, and the function that encodes its locations."""

    def __init__(self, path: Path, precision: int) -> None:
        try:
            import maxminddb  # noqa: PLC0415 - an extra
            import pygeohash  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise UnusableGeoIP(
                f"there is no package {error.name}", hint="Run in the source: pip install '.[ringserver]'"
            ) from error
        self._path = path
        self._encode = lambda latitude, longitude: pygeohash.encode(latitude, longitude, precision)
        try:
            # The reader in C is faster, but a damaged database crashes it. Addresses are cached.
            self._reader = maxminddb.open_database(path, maxminddb.MODE_MMAP)
            self._ip_version = self._reader.metadata().ip_version
            if self._ip_version not in _IP_VERSIONS:
                raise ValueError("neither IPv4 nor IPv6")
        except OSError as error:
            raise UnusableGeoIP(f"{path}: {error.strerror}") from error
        except _DAMAGES as error:
            raise UnusableGeoIP(f"{path} is no database in MaxMind's format", hint=_HINT) from error

    def close(self) -> None:
        self._reader.close()

    def find(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Place:
        if address.version > self._ip_version:
            return NOWHERE
        try:
            return _read_place(self._reader.get(address), self._encode)
        except _DAMAGES:
            # The cause may quote the address.
            raise UnusableGeoIP(f"{self._path} is damaged", hint=_HINT) from None


def _read_place(found: object, encode: Callable[[float, float], str]) -> Place:
    """Return the place in an entry of a database, whose fields may be missing, or mean something else."""
    country = _get(found, "country", "iso_code")
    city = _get(found, "city", "names", "en")
    return Place(
        country if isinstance(country, str) and _COUNTRY.fullmatch(country) else "",
        city if isinstance(city, str) and city.isprintable() else "",
        _encode_location(_get(found, "location", "latitude"), _get(found, "location", "longitude"), encode),
    )


def _encode_location(latitude: object, longitude: object, encode: Callable[[float, float], str]) -> str:
    if not (isinstance(latitude, int | float) and isinstance(longitude, int | float)):
        return ""
    try:
        return encode(latitude, longitude)
    except ValueError:  # a place that is not on this planet
        return ""


def _get(value: object, *path: str) -> object:
    """Return a value within others, None if it is not there."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
