"""Parse the answer of an FDSN station service as text, with `level=channel`."""

import datetime
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from eida_statistics.archive.errors import InvalidLine
from eida_statistics.archive.records import MAX_CODE
from eida_statistics.networks import NetworkRegistry
from eida_stats_webservice.archive.bad_lines import BadLines
from eida_stats_webservice.archive.errors import InvalidStations
from eida_stats_webservice.archive.models import StationEpoch

# Network, Station, Location, Channel, Latitude, Longitude, Elevation, Depth, Azimuth, Dip, SensorDescription,
# Scale, ScaleFreq, ScaleUnits, SampleRate, StartTime, EndTime.
_COLUMNS = 17
_START, _END = 15, 16
_CODE = re.compile(rf"[0-9A-Za-z_-]{{1,{MAX_CODE}}}", re.ASCII)
_NO_LOCATION = "--"
_MAX_LATITUDE, _MAX_LONGITUDE = 90, 180
# Python would also accept weeks, and blanks.
_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ][\d:.+Zz-]*)?", re.ASCII)
_HINT = "Request format=text and level=channel from the station service of the node."

_Found = dict[tuple[object, ...], tuple[int, StationEpoch]]


class StationReader:
    """Reads a file of channels by epoch.

    Args:
        file: the file.
        networks: the registry, for the codes of temporary networks.

    Attributes:
        lines: the number of lines with channels.
        bad: the lines that were refused.
    """

    def __init__(self, file: Path, networks: NetworkRegistry) -> None:
        self._file = file
        self._networks = networks
        self.lines = 0
        self.bad = BadLines()

    def read(self) -> list[StationEpoch]:
        """Return all epochs of all channels. Equal lines count once.

        Raises:
            InvalidStations: if there is none.
            TooManyBadLines: if more than one line of a hundred was refused.
            RegistryUnavailable: if the code of a network needs the registry, which cannot be loaded.
            InvalidRegistry: if the registry is invalid.
        """
        found: _Found = {}
        for number, line in self._read_lines():
            self.lines += 1
            try:
                _add(found, number, parse_channel(line, self._networks))
            except InvalidLine as error:
                self.bad.add(number, error)
        self.bad.check_share(self._file, self.lines, hint=_HINT)
        if not found:
            raise InvalidStations(f"{self._file}: there is no channel in it", hint=_HINT)
        return [epoch for _, epoch in found.values()]

    def _read_lines(self) -> Iterator[tuple[int, str]]:
        # Descriptions of sensors may have another encoding. They are not used.
        with self._file.open(encoding="utf-8-sig", errors="replace") as lines:
            yield from _skip_comments(lines)


def _add(found: _Found, number: int, epoch: StationEpoch) -> None:
    before, same = found.setdefault(epoch[:5], (number, epoch))
    if same != epoch:
        raise InvalidLine(f"line {before:,} has another place or end of the same channel and start")


def _skip_comments(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            yield number, line


def parse_channel(line: str, networks: NetworkRegistry) -> StationEpoch:
    """Parse one epoch of a channel.

    The code of a temporary network is extended by the start of the epoch.

    Raises:
        InvalidLine: if it is not valid.
        RegistryUnavailable: if the code of the network needs the registry, which cannot be loaded.
        InvalidRegistry: if the registry is invalid.
    """
    columns = [column.strip() for column in line.split("|")]
    if len(columns) != _COLUMNS:
        raise InvalidLine(f"{len(columns)} columns instead of {_COLUMNS}")
    network, station, location, channel = columns[:4]
    for name, code in (("network", network), ("station", station), ("channel", channel)):
        _check_code(name, code)
    location = "" if location == _NO_LOCATION else location
    if location:
        _check_code("location", location)
    first = _parse_time("start", columns[_START])
    last = _parse_time("end", columns[_END]) if columns[_END] else None
    if last is not None and last < first:
        raise InvalidLine("the end is before the start")
    return StationEpoch(
        networks.extend(network, first.date()),
        station,
        location,
        channel,
        first,
        last,
        _parse_degrees("latitude", columns[4], _MAX_LATITUDE),
        _parse_degrees("longitude", columns[5], _MAX_LONGITUDE),
    )


def _check_code(name: str, code: str) -> None:
    if not _CODE.fullmatch(code):
        raise InvalidLine(f"{name}: not a code of up to {MAX_CODE} letters and digits")


def _parse_time(name: str, text: str) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(text if _TIME.fullmatch(text) else "")
        return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise InvalidLine(f"{name}: not a time such as 2010-03-16T00:00:00") from None


def _parse_degrees(name: str, text: str, limit: int) -> float:
    try:
        degrees = float(text)
    except ValueError:
        degrees = math.nan
    # A comparison with NaN is false.
    if not -limit <= degrees <= limit:
        raise InvalidLine(f"{name}: not a number from -{limit} to {limit}")
    return degrees
