"""Extended codes of temporary networks, from the FDSN registry.

FDSN assigns the two-character codes of temporary networks (first character a digit, X, Y or Z) repeatedly. The
extended code is the code and the first year of the deployment (epoch) that contains the start of the data: Z3 in
2016 is Z32015.
"""

import codecs
import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from eida_statistics.errors import EidaStatisticsError, InvalidRegistry, RegistryUnavailable
from eida_statistics.files import write_file
from eida_statistics.user import get_cache_directory

REGISTRY_URL = "https://www.fdsn.org/ws/networks/1/query"
REFRESH_AFTER_SECONDS = 7 * 86400
_SHORT_CODE = 2
_YEAR_DIGITS = 4
_TEMPORARY = re.compile(r"[0-9XYZ][0-9A-Z]")


@lru_cache(maxsize=4096)
def is_temporary(code: str) -> bool:
    """Return whether a code is the short code of a temporary network, which needs a year."""
    return _TEMPORARY.fullmatch(code) is not None


class Epoch(msgspec.Struct, frozen=True):
    """One deployment under a network code, in UTC days; without an end date it is open."""

    fdsn_code: str
    start_date: date
    end_date: date | None = None
    # Of any type, so that an odd name or DOI does not cost the epoch.
    name: Any = None
    doi: Any = None

    def holds(self, day: date) -> bool:
        """Return whether a day lies within the deployment, including both ends."""
        return self.start_date <= day and (self.end_date is None or day <= self.end_date)


class NetworkDescription(msgspec.Struct, frozen=True):
    """The name, first year and DOI of a network from the registry; a name or DOI that it lacks is empty."""

    name: str
    start_year: int
    doi: str

    @property
    def citation(self) -> str:
        """How to cite the network, as FDSN recommends; empty without a name or a DOI."""
        if not (self.name and self.doi):
            return ""
        return (
            f"{self.name} ({self.start_year}). International Federation of Digital Seismograph Networks."
            f" https://doi.org/{self.doi}"
        )


class _Answer(msgspec.Struct):
    networks: list[msgspec.Raw]


class NetworkRegistry:
    """The epochs of all networks, loaded when the first temporary code needs them."""

    def __init__(self, load: Callable[[], Iterable[Epoch]]) -> None:
        self._load = load
        self._epochs: Mapping[str, list[Epoch]] | None = None

    def extend(self, code: str, day: date | None) -> str:
        """Return the extended code of a network whose data start on a day.

        Permanent and extended codes pass through, whatever the day. So does a temporary code that the registry
        does not know on that day; `is_temporary` recognises it.

        Raises:
            RegistryUnavailable: if the code needs the registry, which cannot be loaded.
            InvalidRegistry: if the registry is invalid.
        """
        if not is_temporary(code):
            return code
        for epoch in self._find_epochs(code):
            # The registry lists epochs that overlap; like the deployed aggregator, take the first.
            if day is not None and epoch.holds(day):
                return f"{code}{epoch.start_date.year:04d}"
        return code

    def describe(self, code: str) -> NetworkDescription | None:
        """Return the description of a network by its extended code, or None if the registry does not know it.

        Raises:
            RegistryUnavailable: if the registry cannot be loaded.
            InvalidRegistry: if it is invalid.
        """
        short = code if len(code) <= _SHORT_CODE else code[:-_YEAR_DIGITS]
        for epoch in self._find_epochs(short):
            if code in (short, f"{short}{epoch.start_date.year:04d}") and (short != code or not is_temporary(code)):
                return NetworkDescription(_to_text(epoch.name), epoch.start_date.year, _to_doi(epoch.doi))
        return None

    def _find_epochs(self, code: str) -> list[Epoch]:
        if self._epochs is None:
            epochs: dict[str, list[Epoch]] = {}
            for epoch in self._load():
                epochs.setdefault(epoch.fdsn_code, []).append(epoch)
            self._epochs = epochs
        return self._epochs.get(code, [])


def get_cache_path() -> Path:
    """Return the path of the cached registry in the user's cache directory."""
    return get_cache_directory() / "fdsn-networks.json"


def _to_doi(value: object) -> str:
    """Return a DOI without the prefixes with which some write it."""
    return re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)\s*", "", _to_text(value), flags=re.IGNORECASE)


def _to_text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


# The registry, or why it could not be loaded, which only matters if a network needs it.
LoadedRegistry = list[Epoch] | EidaStatisticsError


def try_to_load(load: Callable[[], Iterable[Epoch]]) -> LoadedRegistry:
    """Return the registry, or the error of loading it."""
    try:
        return list(load())
    except EidaStatisticsError as error:
        return error


def get_epochs(loaded: LoadedRegistry) -> list[Epoch]:
    """Return the registry, or raise the error of loading it."""
    if isinstance(loaded, EidaStatisticsError):
        # It may be raised for many logs, and must not gather frames.
        raise loaded.with_traceback(None)
    return loaded


def read_registry(path: Path) -> list[Epoch]:
    """Read a registry from a file in the format of the FDSN networks/1 service.

    Raises:
        RegistryUnavailable: if the file cannot be read.
        InvalidRegistry: if it has another format.
    """
    try:
        answer = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise RegistryUnavailable(f"{path}: {error.strerror}") from error
    return _decode(answer, str(path))


def read_cached_registry(cache: Path, url: str = REGISTRY_URL, *, warn: Callable[[str], None]) -> list[Epoch]:
    """Return the registry from the cache, or fetch it again after a week.

    If the service does not answer, the old registry is used, with a warning that states its age.

    Raises:
        RegistryUnavailable: if there is no cache and the service does not answer.
    """
    age, kept = _read_age(cache), None
    if age is not None:
        # A power cut may leave a damaged cache, which is ignored.
        with contextlib.suppress(RegistryUnavailable, InvalidRegistry):
            kept = read_registry(cache)
    if kept is not None and age is not None and age < REFRESH_AFTER_SECONDS:
        return kept
    try:
        answer = _fetch(url)
        epochs = _decode(answer, url)
    except (RegistryUnavailable, InvalidRegistry) as error:
        if kept is None or age is None:
            raise RegistryUnavailable(
                f"{url} cannot be fetched ({error.subject})",
                hint=f"Save the answer of {url} to a file and name it with --networks FILE.",
            ) from error
        warn(f"the registry of networks is {age / 86400:.0f} days old: {url} cannot be fetched ({error.subject})")
        return kept
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_file(cache, answer)
    except OSError as error:
        warn(f"{cache}: {error.strerror}; the registry of networks is not cached for the next run")
    return epochs


def _read_age(cache: Path) -> float | None:
    try:
        return time.time() - cache.stat().st_mtime
    except OSError:
        return None


def _fetch(url: str) -> bytes:
    # Slow to import, and needed once a week.
    import requests  # noqa: PLC0415

    try:
        answer = requests.get(url, timeout=60, headers={"Accept": "application/json"})
        answer.raise_for_status()
    except requests.RequestException as error:
        raise RegistryUnavailable(type(error).__name__) from error
    return answer.content.removeprefix(codecs.BOM_UTF8)


def _decode(answer: bytes, source: str) -> list[Epoch]:
    """Read the epochs; skip those that cannot be read, such as one without a start."""
    try:
        entries = msgspec.json.decode(answer, type=_Answer).networks
    except msgspec.DecodeError as error:
        raise InvalidRegistry(f"{source}: {error}") from error
    epochs = []
    for entry in entries:
        with contextlib.suppress(msgspec.ValidationError):
            epochs.append(msgspec.json.decode(entry, type=Epoch))
    if not epochs:
        raise InvalidRegistry(f"{source}: there is no network in it")
    return epochs
