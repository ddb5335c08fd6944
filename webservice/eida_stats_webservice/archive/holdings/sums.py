"""Add up the segments of a stream by the year of their data. All times are in microseconds since 1970."""

import datetime
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_EPOCH = datetime.date(1970, 1, 1).toordinal()
# Databases have the years 1 to 9999. The last entry is the end of the last year.
_YEARS = [(datetime.date(year, 1, 1).toordinal() - _EPOCH) * _DAY for year in range(1, datetime.MAXYEAR + 1)]
_YEARS.append(_YEARS[-1] + 365 * _DAY)
# A sample is due at a boundary although its computed time is this part of a sample period beside it.
_TOLERANCE = 1e-3


class Segment(NamedTuple):
    """A segment of one stream.

    Attributes:
        start: the time of its first sample.
        end: the time of its last sample.
        rate: samples per second; 0 for logs.
        bytes: the size of its records.
        file: the hash of the path of its file.
        identity: the file itself, if it is known. All hard links of a file have the same identity.
    """

    start: int
    end: int
    rate: float
    bytes: int
    file: str
    identity: str | None


class YearSum(NamedTuple):
    """The data of one stream and year in an archive.

    Attributes:
        year: the year of the data.
        bytes: the size of the records.
        files: the number of files with data of this stream and year.
        seconds: the time that samples cover. A sample lasts one sample period.
        first: the time of the first sample.
        last: the time of the last sample.
    """

    year: int
    bytes: int
    files: int
    seconds: float
    first: int
    last: int


class _Part(NamedTuple):
    """The part of a segment that is in one year. It covers the time from `start` to `stop`."""

    year: int
    start: int
    stop: int
    first: int
    last: int
    bytes: int
    file: str
    identity: str


def add_up(segments: Iterable[Segment]) -> list[YearSum]:
    """Return the sums of one stream, by year. Each file counts once, whatever number of names it has.

    The sum of a year depends on the segments in this year alone.

    Args:
        segments: the segments of the stream, in the order of their starts.
    """
    years: defaultdict[int, list[_Part]] = defaultdict(list)
    for segment in segments:
        for part in split_by_year(segment):
            years[part.year].append(part)
    return [_add_up_year(year, years[year]) for year in sorted(years)]


def split_by_year(segment: Segment) -> Iterator[_Part]:
    """Yield the parts of a segment by year. Bytes are divided by samples, and add up to those of the segment."""
    start, end, rate = segment.start, segment.end, segment.rate
    year, last_year = _find_year(start), _find_year(end)
    stop = _find_stop(segment, last_year)
    identity = segment.identity or segment.file
    # Logs have no samples by which they could be divided.
    if year == last_year or rate <= 0:
        yield _Part(year, start, min(stop, _YEARS[year]), start, end, segment.bytes, segment.file, identity)
        return
    samples = round((end - start) * rate / _SECOND) + 1
    counted = 0
    for current in range(year, last_year + 1):
        before = samples if current == last_year else _count_samples(segment, _YEARS[current], samples)
        if before > counted:
            yield _Part(
                current,
                max(start, _YEARS[current - 1]),
                min(stop, _YEARS[current]),
                _find_time(segment, counted),
                end if before == samples else _find_time(segment, before - 1),
                segment.bytes * before // samples - segment.bytes * counted // samples,
                segment.file,
                identity,
            )
        counted = max(counted, before)


def _add_up_year(year: int, parts: list[_Part]) -> YearSum:
    """Return the sum of parts in one year, which are in the order of their starts."""
    chosen: dict[str, str] = {}
    for part in parts:
        if part.file < chosen.setdefault(part.identity, part.file):
            chosen[part.identity] = part.file
    covered = size = 0
    stop = parts[0].start
    last = parts[0].last
    for part in parts:
        if chosen[part.identity] == part.file:
            size += part.bytes
        last = max(last, part.last)
        if part.stop > stop:
            covered += part.stop - max(part.start, stop)
            stop = part.stop
    first = min(part.first for part in parts)
    return YearSum(year, size, len(chosen), covered / _SECOND, first, last)


def _find_year(time: int) -> int:
    return bisect_right(_YEARS, time)


def _find_stop(segment: Segment, last_year: int) -> int:
    """Return the time until which the last sample lasts, but not longer than its year."""
    period = round(_SECOND / segment.rate) if segment.rate > 0 else 0
    return min(segment.end + period, _YEARS[last_year])


def _find_time(segment: Segment, sample: int) -> int:
    # The end of a segment may be up to half a sample before the time that follows from its rate.
    return min(segment.start + round(sample * _SECOND / segment.rate), segment.end)


def _count_samples(segment: Segment, time: int, samples: int) -> int:
    """Return the number of samples before a time."""
    due = (time - segment.start) * segment.rate / _SECOND
    before = int(due - _TOLERANCE) + 1 if due > _TOLERANCE else 0
    return min(before, samples)
