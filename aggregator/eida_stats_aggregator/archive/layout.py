"""The names of files in SeisComP's archives, which say the stream and day of their content.

SDS is `YEAR/NET/STA/CHAN.TYPE/NET.STA.LOC.CHAN.TYPE.YEAR.DAY`. SDSbynet has the network on top, then the year.
"""

import datetime
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from eida_statistics.archive.records import Segment

Layout = Literal["sds", "sdsbynet"]

# NET.STA.LOC.CHAN.TYPE.YEAR.DAY
_PARTS = 7
_DIRECTORIES = {
    "sds": "/{year}/{network}/{station}/{channel}.{type}/",
    "sdsbynet": "/{network}/{year}/{station}/{channel}.{type}/",
}


def is_misnamed(path: str, segments: Sequence[Segment], layout: Layout | None) -> bool:
    """Return whether the name of a file says another stream or day than its segments have.

    A name that does not look as in SDS says nothing. A few records of a neighbouring day are normal, so the day is
    another one only if no segment touches it.

    Args:
        path: an absolute path.
        segments: the content of the file.
        layout: the layout of the directories, which must agree with the name; None if they say nothing.
    """
    directory, _, name = path.rpartition("/")
    parts = name.split(".")
    if len(parts) != _PARTS or not segments:
        return False
    network, station, location, channel, data_type, year, day = parts
    if not _is_day(year, day):
        return False
    if layout is not None and not f"{directory}/".endswith(
        _DIRECTORIES[layout].format(year=year, network=network, station=station, channel=channel, type=data_type)
    ):
        return True
    stream = station, "" if location == "--" else location, channel
    for one in segments:
        # A short code is in the name, and in the identifier. The extended code may be in the name, too.
        if (one.station, one.location, one.channel) != stream or network not in (one.network, one.sid[5:7]):
            return True
    bounds = _find_bounds(year, day)
    if bounds is None:
        return True
    start, end = bounds
    return all(one.start >= end or one.end < start for one in segments)


@lru_cache(maxsize=1024)
def _is_day(year: str, day: str) -> bool:
    return re.fullmatch("[0-9]{4}/[0-9]{3}", f"{year}/{day}") is not None


@lru_cache(maxsize=1024)
def _find_bounds(year: str, day: str) -> tuple[datetime.datetime, datetime.datetime] | None:
    """Return when a day of a year begins and ends; None if there is none."""
    try:
        first = datetime.datetime(int(year), 1, 1, tzinfo=datetime.UTC)
        start = first + datetime.timedelta(days=int(day) - 1)
        return (start, start + datetime.timedelta(days=1)) if start.year == first.year else None
    except (ValueError, OverflowError):  # the years 0 and 9999
        return None
