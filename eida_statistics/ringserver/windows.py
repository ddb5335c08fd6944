"""When the bytes of a record were transferred: windows, days and hours.

ringserver writes a file for each window. When a window ends, it writes a record for each connection that is still
open, up to a minute late, into the file of that window. Only then does the next window begin. Times are in seconds
since 1970, days are UTC.

Source: `CalcUsageLogInterval` and `WriteTransferLog` of ringserver 4.5.3 (src/logging.c), `CalcIntWin` of 2020.075.
"""

import datetime
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import PurePath
from typing import NamedTuple

import msgspec

from eida_statistics.errors import ConfigurationError
from eida_statistics.ringserver.events import RX, TX, Direction, TransferRecord

LATENESS = 60
"""How late a record may be written, in seconds."""

HOUR = 3600
DAY = 24 * HOUR

_SHORTEST_WINDOW = 60  # names of files have no seconds
_LONGEST_WINDOW = 366 * DAY
# Clocks that were never set show earlier years.
_FIRST_YEAR = 1990
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_FIRST_DAY = datetime.date(_FIRST_YEAR, 1, 1).toordinal() - _EPOCH
# After so many days, the windows no longer depend on when ringserver was started.
_DAYS_BEFORE = 3

_KIND = r"(?:(?P<server>.*)-)?(?P<kind>tx|rx|access)log"
_TIME = r"[0-9]{8}T[0-9]{2}:?[0-9]{2}"  # 2020.075 writes a colon
_DATED_NAME = re.compile(rf"{_KIND}-(?P<start>{_TIME})-(?P<end>{_TIME})(?![0-9A-Za-z:]).*", re.DOTALL)
_OTHER_NAME = re.compile(rf"{_KIND}(?![0-9A-Za-z]).*", re.DOTALL)
_DIRECTIONS: dict[str, Direction] = {"tx": TX, "rx": RX}


class Window(msgspec.Struct, frozen=True, order=True):
    """The time of one file, without its end."""

    start: int
    end: int

    def list_days(self) -> list[datetime.date]:
        """Return the UTC days with which it shares time."""
        # The year of a name may be 9999.
        end = min(-(-self.end // DAY), datetime.date.max.toordinal() + 1 - _EPOCH)
        return [_to_date(number) for number in range(self.start // DAY, end)]


class Grid(msgspec.Struct, frozen=True):
    """The windows of a ringserver that runs all the time.

    Each day in its time zone begins with a window. The last window of the day before lasts until its end, even if
    the windows do not fill the days evenly.

    Attributes:
        seconds: the length of a window.

    Raises:
        ConfigurationError: if it is not between a minute and a day.
    """

    zone: datetime.tzinfo = datetime.UTC
    seconds: int = DAY

    def __post_init__(self) -> None:
        if not _SHORTEST_WINDOW <= self.seconds <= DAY:
            raise ConfigurationError(
                "windows are between a minute and 24 hours long",
                hint="The names of files state the length of longer windows: read the files under these names.",
            )

    def find_window(self, written_at: int, began_at: int) -> Window:
        """Return the window in which a record was written that began at a time.

        A record that began before that window and was written in its first minute is a late one
        of the window before.
        """
        windows, ends = _list_windows(self.zone, self.seconds, written_at // DAY)
        number = bisect_right(ends, written_at)
        turn = ends[number - 1]
        return windows[number - 1 if began_at < turn and written_at <= turn + LATENESS else number]


@lru_cache(maxsize=64)
def _list_windows(zone: datetime.tzinfo, seconds: int, day: int) -> tuple[list[Window], list[int]]:
    """Return the windows in which ringserver writes during a UTC day, and one before, and their ends."""
    start = day * DAY
    windows = [_compute_window(zone, seconds, start - _DAYS_BEFORE * DAY)]
    while windows[-1].end < start + DAY:
        windows.append(_compute_window(zone, seconds, windows[-1].end))
    ends = [window.end for window in windows]
    first = bisect_right(ends, start) - 1
    return windows[first:], ends[first:]


def _compute_window(zone: datetime.tzinfo, seconds: int, reference: int) -> Window:
    """Return the window that ringserver chooses at a time, at its start and at the end of each window."""
    midnight = _find_midnight(zone, reference)
    start = reference - (reference - midnight) % seconds
    return Window(start, start + seconds)


def _find_midnight(zone: datetime.tzinfo, reference: int) -> int:
    """Return the last midnight as the C function `mktime` does: in summer time if it is summer time now."""
    now = datetime.datetime.fromtimestamp(reference, zone)
    midnight = now.replace(hour=0, minute=0, second=0, fold=0)
    if bool(midnight.dst()) == bool(now.dst()):
        return int(midnight.timestamp())
    return reference - (now.replace(tzinfo=None) - midnight.replace(tzinfo=None)) // datetime.timedelta(seconds=1)


class LogName(NamedTuple):
    """The server, direction and window in the name of a file.

    Attributes:
        server: the prefix that its operator has chosen for this server, or empty.
        direction: None for an access log.
        window: None if the name has none.
    """

    server: str
    direction: Direction | None
    window: Window | None


def parse_log_name(name: str, grid: Grid) -> LogName | None:
    """Parse the name of a log, such as `rs-b-txlog-20261122T0201-20261122T0202.jsonl.gz`.

    Only the last part of a path counts.

    Returns:
        None if ringserver writes no names like this.
    """
    name = PurePath(name).name
    if dated := _DATED_NAME.fullmatch(name):
        window = _parse_window(dated["start"], dated["end"], grid)
        return LogName(dated["server"] or "", _DIRECTIONS.get(dated["kind"]), window)
    if other := _OTHER_NAME.fullmatch(name):
        return LogName(other["server"] or "", _DIRECTIONS.get(other["kind"]), None)
    return None


def _parse_window(start: str, end: str, grid: Grid) -> Window | None:
    """Return the window between two local times, None if no ringserver has such a window.

    At the end of summer time, a local time may mean two times. The window is then as long as those of the grid, or
    else as short as possible.
    """
    candidates = [
        Window(first, last)
        for first in _parse_local_time(start, grid.zone)
        for last in _parse_local_time(end, grid.zone)
        if 0 < last - first <= _LONGEST_WINDOW and first >= _FIRST_DAY * DAY
    ]
    # Windows of one length need an order, too.
    order = sorted(candidates, key=lambda one: (one.end - one.start != grid.seconds, one.end - one.start, one))
    return order[0] if order else None


def _parse_local_time(text: str, zone: datetime.tzinfo) -> set[int]:
    """Return the times that a local time such as `20261122T0201` may mean, none if it is no time."""
    digits = text.replace(":", "")
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    try:
        local = datetime.datetime(year, month, day, int(digits[9:11]), int(digits[11:]), tzinfo=zone)
        return {int(local.replace(fold=fold).timestamp()) for fold in (0, 1)}
    except (ValueError, OverflowError):
        return set()


class Stay(NamedTuple):
    """The time that a record covers. Its end is not earlier than its start."""

    start: int
    end: int

    @property
    def middle(self) -> int:
        """The time to which the whole record counts where it cannot be divided."""
        return (self.start + self.end) // 2


def find_stay(record: TransferRecord, window: Window | None, grid: Grid) -> Stay:
    """Return the time that a record covers.

    A record belongs to its window: if its middle is later, because it was written late, its end is that of the
    window.

    Args:
        record: a record whose clock may have been wrong. If it began after its own time, it covers only that time.
        window: the one in the name of its file. If the record does not lie in it, because files were joined or
            renamed, the window is that of the grid.
        grid: the windows of the server.
    """
    written_at, began_at = record.written_at, record.starts_at
    start = record.connected_at if began_at is None else began_at
    if window is None or not window.start <= written_at <= window.end + LATENESS:
        window = grid.find_window(written_at, start)
    # Ringserver computes the start for JSON Lines, from a clock that may have been set since.
    if began_at is None or written_at - began_at > _LONGEST_WINDOW:
        start = max(start, window.start)
    if not _FIRST_DAY * DAY <= start <= written_at:
        return Stay(written_at, written_at)
    stay = Stay(start, written_at)
    return stay if stay.middle < window.end or start >= window.end else Stay(start, window.end)


def find_day(stay: Stay) -> datetime.date:
    """Return the UTC day of a stay, which is that of its middle."""
    return _to_date(stay.middle // DAY)


class SourceWindows:
    """The windows in the names of the files of one source.

    Args:
        names: of all files of this source that are read, those without records, too.
        now: the time of the run.
    """

    def __init__(self, names: Iterable[LogName], now: int) -> None:
        self._now = now
        windows: dict[Direction, set[Window]] = {TX: set()}
        for name in names:
            if name.window and name.direction and name.window.start < now:
                windows.setdefault(name.direction, set()).add(name.window)
        self._open = sorted(
            {window for of_direction in windows.values() for window in of_direction if window.end + LATENESS > now}
        )
        self._joined = [_join(of_direction) for of_direction in windows.values()]

    def is_ready(self, day: datetime.date) -> bool:
        """Return whether a day is over, and all windows that overlap it, as far as the names state them."""
        return _get_window(day).end + LATENESS <= self._now and not self.list_open_windows(day)

    def list_open_windows(self, day: datetime.date) -> list[Window]:
        """Return the windows that overlap a day and into which ringserver still writes."""
        return [window for window in self._open if day in window.list_days()]

    def covers(self, day: datetime.date) -> bool:
        """Return whether windows cover a whole day: those of TX, and those of RX if there are any."""
        whole = _get_window(day)
        return all(
            any(window.start <= whole.start and whole.end <= window.end for window in joined)
            for joined in self._joined
        )

    def list_quiet_days(
        self, busy: Collection[datetime.date], damaged: Collection[Window] = ()
    ) -> list[datetime.date]:
        """Return the days that are ready and covered and have no records.

        Args:
            busy: the days that have records.
            damaged: windows whose logs do not prove that nothing happened.
        """
        doubtful = find_days(damaged)
        return [day for day in self._list_empty_days(busy) if day not in doubtful]

    def list_doubtful_days(
        self, busy: Collection[datetime.date], damaged: Collection[Window]
    ) -> list[datetime.date]:
        """Return the days that would be quiet, if their logs were not damaged."""
        doubtful = find_days(damaged)
        return [day for day in self._list_empty_days(busy) if day in doubtful]

    def _list_empty_days(self, busy: Collection[datetime.date]) -> list[datetime.date]:
        sent = self._joined[0]
        numbers = (number for window in sent for number in range(-(-window.start // DAY), window.end // DAY))
        days = map(_to_date, numbers)
        return [day for day in days if day not in busy and self.covers(day) and self.is_ready(day)]


def find_days(windows: Iterable[Window]) -> set[datetime.date]:
    """Return the UTC days with which some windows share time."""
    return {day for window in windows for day in window.list_days()}


def list_source_windows(logs: Iterable[tuple[str, LogName | None]], now: int) -> dict[str, SourceWindows]:
    """Return the windows of each source.

    Args:
        logs: the source of each log that is read, and its parsed name, if that states anything.
        now: the time of the run.
    """
    names: defaultdict[str, list[LogName]] = defaultdict(list)
    for source, name in logs:
        names[source] += [] if name is None else [name]
    return {source: SourceWindows(found, now) for source, found in names.items()}


def _join(windows: Iterable[Window]) -> list[Window]:
    """Unite windows that overlap or follow each other."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start <= joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return joined


def _get_window(day: datetime.date) -> Window:
    start = (day.toordinal() - _EPOCH) * DAY
    return Window(start, start + DAY)


def _to_date(number: int) -> datetime.date:
    """Return the day with a number, counted from 1970."""
    return datetime.date.fromordinal(_EPOCH + number)
