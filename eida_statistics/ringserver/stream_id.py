"""The ids of ringserver's streams, such as `FDSN:FR_SURF_00_H_H_Z/MSEED`."""

import re
from functools import lru_cache
from typing import NamedTuple

from eida_statistics.payload import MAX_CHANNEL_CHARACTERS, MAX_CODE_CHARACTERS

# A server has thousands of streams. Random ids must not fill the memory.
_KNOWN_IDS = 1 << 15

_CODE = rf"[0-9A-Za-z-]{{1,{MAX_CODE_CHARACTERS}}}"
_ID = re.compile(
    rf"(?:FDSN:)?(?P<network>{_CODE})_(?P<station>{_CODE})_(?P<location>(?:{_CODE})?)_"
    r"(?P<channel>[0-9A-Za-z-]+|(?P<band>[0-9A-Za-z-]*)_(?P<source>[0-9A-Za-z-]+)_(?P<subsource>[0-9A-Za-z-]*))"
    r"/MSEED[0-9]?(?:/.*)?",
    re.ASCII | re.DOTALL,
)
# How SeedLink and some tools write that there is no location code.
_NO_LOCATION = "--"


class StreamCodes(NamedTuple):
    """The codes of a stream. Those of other streams are all empty."""

    network: str
    station: str
    location: str
    channel: str


OTHER = StreamCodes("", "", "", "")
"""The codes under which streams count that `parse` does not recognise."""


@lru_cache(maxsize=_KNOWN_IDS)
def parse(stream_id: str) -> StreamCodes | None:
    """Return the codes in the id of a stream of miniSEED, or None if it is none.

    An id has the codes of an FDSN source identifier (https://docs.fdsn.org/projects/source-identifiers/) or, before
    ringserver 4.0, of SEED, and the format. More may follow, such as `/1SEC`. A location that is written as `--` is
    empty, as in the statistics of dataselect.

    As in FDSN's mapping to SEED, band, source and subsource of one character each are joined: `H_H_Z` is channel
    `HHZ`. Longer or missing ones keep their underscores, so that they stay distinct: `HH_SRC_SUB`. A channel of
    more than 16 characters fits no payload, so its stream is not recognised.
    """
    match = _ID.fullmatch(stream_id)
    if match is None:
        return None
    network, station, location, channel, band, source, subsource = match.groups()
    if len(channel) > MAX_CHANNEL_CHARACTERS:
        return None
    if band is not None and len(band) == len(source) == len(subsource) == 1:
        channel = band + source + subsource
    return StreamCodes(network, station, "" if location == _NO_LOCATION else location, channel)
