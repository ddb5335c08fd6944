"""Cut hours into pieces of a limited number of events, so that each piece is a short transaction."""

import datetime
from collections.abc import Iterable, Iterator
from typing import NamedTuple

HOUR = datetime.timedelta(hours=1)
EVENTS_AT_ONCE = 20_000
_WINDOWS_AT_ONCE = 2_000
# The sizes of hours may be wrong, where they are computed again.
_LONGEST = datetime.timedelta(days=31)


class Window(NamedTuple):
    """The hours of a space from `start` to `stop`, which is not included."""

    space_id: int
    start: datetime.datetime
    stop: datetime.datetime


def cut_hours(
    hours: Iterable[tuple[int, datetime.datetime, int]], events_at_once: int = EVENTS_AT_ONCE
) -> Iterator[list[Window]]:
    """Yield hours of spaces in pieces. Each hour has a space, its start and the number of its events."""
    piece: list[Window] = []
    total = 0
    for space_id, hour, events in hours:
        if piece and (total + events > events_at_once or len(piece) == _WINDOWS_AT_ONCE):
            yield piece
            piece, total = [], 0
        piece.append(Window(space_id, hour, hour + HOUR))
        total += events
    if piece:
        yield piece


def cut_range(
    start: datetime.datetime, stop: datetime.datetime, sizes: Iterable[tuple[datetime.datetime, int]]
) -> Iterator[tuple[datetime.datetime, datetime.datetime]]:
    """Yield the range from `start` to `stop` in pieces. Each size is the number of events of an hour, by time."""
    total = 0
    for hour, events in sizes:
        while hour - start > _LONGEST:
            yield start, start + _LONGEST
            start, total = start + _LONGEST, 0
        if total and total + events > EVENTS_AT_ONCE:
            yield start, hour
            start, total = hour, 0
        total += events
    while stop - start > _LONGEST:
        yield start, start + _LONGEST
        start += _LONGEST
    if start < stop:
        yield start, stop
