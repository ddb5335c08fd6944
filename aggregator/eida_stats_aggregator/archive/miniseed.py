"""Read the content of a file of miniSEED: its segments, and their records and bytes."""

import datetime
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from pymseed import clear_error_messages, get_error_messages
from pymseed.clib import ffi

from eida_statistics.archive.records import CANNOT_BE_READ, MseedRecord, Segment
from eida_statistics.compression import MAGIC
from eida_stats_aggregator.archive.traces import (
    add_damaged_file,
    add_file,
    find_end,
    list_lengths,
    list_segments,
    make_traces,
)

# Why a file has no segment. `--since` reads files again that could not be read.
EMPTY = "the file is empty"
_COMPRESSED = "the file is compressed"
_NO_RECORD = "no miniSEED record was found"
_NO_STREAM = "its records have no valid stream, time or sample rate"

Extend = Callable[[str, datetime.date], str]
"""Returns the extended code of a network whose data start on a day."""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MINISEED_2 = 2
# libmseed numbers the qualities of miniSEED 2 as if they were versions.
_QUALITIES = {1: "R", 2: "D", 3: "Q", 4: "M"}
# FDSN:NETWORK_STATION_LOCATION_BAND_SOURCE_SUBSOURCE, see http://docs.fdsn.org/projects/source-identifiers/
_SOURCE_IDENTIFIER = re.compile(
    r"FDSN:([0-9A-Za-z-]{1,12})_([0-9A-Za-z-]{1,12})_([0-9A-Za-z-]{0,12})"
    r"_([0-9A-Za-z]{0,8})_([0-9A-Za-z]{0,8})_([0-9A-Za-z]{0,8})"
)


class _Codes(NamedTuple):
    """The codes of a stream, as its records have them."""

    network: str
    station: str
    location: str
    channel: str


def read_content(path: str, size: int, extend: Extend) -> MseedRecord:
    """Return the content of a file. Samples are not decoded.

    Args:
        path: an absolute path, with surrogates for bytes that are not UTF-8.
        size: the size of the file in bytes, found before.
        extend: returns the extended codes of networks.

    Raises:
        RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        InvalidRegistry: if the registry is invalid.
    """
    if size == 0:
        return MseedRecord(error=EMPTY)
    found = make_traces()
    if add_file(found, path, size):
        return _describe(found, size, extend, damaged=False)
    return _read_damaged(path, size, extend)


def _read_damaged(path: str, size: int, extend: Extend) -> MseedRecord:
    """Return the content of a file of which not all is miniSEED. This is slower, and hides where the damage is."""
    clear_error_messages()
    found = make_traces()
    # It has the records before one that libmseed can neither read nor skip.
    if not add_damaged_file(found, path) and not found[0].numtraceids:
        return MseedRecord(error=_explain_failure(path, get_error_messages()))
    return _describe(found, size, extend, damaged=True)


def _describe(traces: Any, size: int, extend: Extend, *, damaged: bool) -> MseedRecord:
    found = list(list_segments(traces))
    lengths = _measure([raw.recordlist for _, raw in found], size, damaged)
    unread = size
    segments = []
    for (trace, raw), length in zip(found, lengths, strict=True):
        segment = _make_segment(trace, raw, length, extend)
        if segment is not None:
            segments.append(segment)
            unread -= length
    if not segments:
        return MseedRecord(error=_NO_STREAM if found else _NO_RECORD)
    if len(segments) > 1:
        segments.sort(key=lambda one: (one.sid, one.start, one.end, one.quality, one.rate, one.samples, one.bytes))
    # The file may have grown since.
    return MseedRecord(segments, max(unread, 0), damaged)


def _measure(lists: Sequence[Any], size: int, damaged: bool) -> list[int]:
    """Return the bytes of the records of each list.

    Mostly, they follow from the first and the last record of each: 20,000 records of a day file would take 5 ms.

    Args:
        lists: structures of libmseed, of all segments in the file.
        size: the size of the file in bytes.
        damaged: whether there may be something between the records.
    """
    if not damaged and lists:
        last = lists[-1].last
        if len(lists) == 1 and find_end(last) == size:
            # Records are read one after the other, and this one ends where the file does.
            return [size]
        length = last.msr.reclen
        if all(one.first.msr.reclen == length == one.last.msr.reclen for one in lists):
            lengths = [one.recordcnt * length for one in lists]
            if sum(lengths) == size:
                return lengths
    return [sum(list_lengths(one)) for one in lists]


def _make_segment(trace: Any, raw: Any, length: int, extend: Extend) -> Segment | None:
    """Return a segment; None if it has no valid stream, time or sample rate."""
    sid, version = ffi.string(trace.sid).decode("utf-8", "replace"), trace.pubversion
    codes = _parse_sid(sid)
    first, last, rate = raw.starttime, raw.endtime, raw.samprate
    if codes is None or last < first or not (isfinite(rate) and rate >= 0):
        return None
    start = _to_time(first)
    records = raw.recordlist
    is_old = records.first.msr.formatversion == _MINISEED_2
    return Segment(
        sid,
        extend(codes.network, start.date()),
        codes.station,
        codes.location,
        codes.channel,
        _QUALITIES[version] if is_old and version in _QUALITIES else str(version),
        rate,
        start,
        _to_time(last),
        raw.samplecnt,
        records.recordcnt,
        length,
    )


def _to_time(nanoseconds: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(0, 0, nanoseconds // 1000)


@lru_cache(maxsize=1 << 14)
def _parse_sid(sid: str) -> _Codes | None:
    """Return the codes of an FDSN source identifier; None if it is something else."""
    match = _SOURCE_IDENTIFIER.fullmatch(sid)
    if match is None:
        return None
    network, station, location, *parts = match.groups()
    # Longer codes stay apart, or two channels might have the same name.
    return _Codes(network, station, location, ("" if all(len(part) == 1 for part in parts) else "_").join(parts))


def get_short_network(segment: Segment) -> str | None:
    """Return the code of a network as its records have it."""
    codes = _parse_sid(segment.sid)
    return None if codes is None else codes.network


def _explain_failure(path: str, messages: list[str]) -> str:
    try:
        with Path(path).open("rb") as file:
            beginning = file.read(16)
    except OSError as problem:
        return f"{CANNOT_BE_READ}{problem.strerror}"
    if any(beginning.startswith(magic) for magic in MAGIC):
        return _COMPRESSED
    # Its texts have the path, if it is about anything else than the format.
    texts = [text.removeprefix("Error: ").strip() for text in messages if path not in text]
    return f"libmseed cannot read it: {texts[0]}" if texts else _NO_RECORD
