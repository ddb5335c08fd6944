"""Find transfer logs, and parse their names."""

import contextlib
import datetime
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from eida_statistics.compression import read_chunks
from eida_statistics.errors import ForeignLog, UnreadableLog
from eida_statistics.payload import SOURCE_RULE, is_source
from eida_statistics.ringserver.events import RX, TX, Direction, TransferRecord
from eida_statistics.ringserver.reader import read_events
from eida_statistics.ringserver.windows import Grid, LogName, parse_log_name
from eida_stats_aggregator.console import format_list
from eida_stats_aggregator.errors import BadServerName, NoLogFound
from eida_stats_aggregator.logs.sources import Log, find_logs, read_head
from eida_stats_aggregator.reader import get_standard_input

_ONE_SERVER_HINT = (
    "Name the logs of one server, as a pattern such as '/var/log/ringserver/txlog-*', or leave out --server."
)
_SERVER_HINT = f"The name of a server has {SOURCE_RULE}. Name the server of these logs: --server NAME."


class TransferLog(NamedTuple):
    """A transfer log, and its parsed name, if that states anything. `source` is the server that wrote it."""

    log: Log
    name: LogName | None
    source: str

    def overlaps_any(self, days: Collection[datetime.date]) -> bool:
        """Return whether its window shares time with one of some UTC days; without a window, it may with any."""
        if self.name is None or self.name.window is None:
            return bool(days)
        # A window is short, and there may be many days.
        return any(day in days for day in self.name.window.list_days())


def find_transfer_logs(
    files: Sequence[str], grid: Grid, server: str | None, *, takes_rx: bool, skipped: list[str]
) -> list[TransferLog]:
    """Return the named logs in the order of their windows.

    Args:
        files: names of files or directories, or patterns; none for standard input.
        grid: the windows of the servers.
        server: the source of all logs, None for that in the name of each file.
        takes_rx: whether logs of received data are read, too.
        skipped: receives the names of other files in directories.

    Raises:
        UnreadableLog: if a file does not exist or cannot be read.
        BadServerName: if the prefix of a name cannot be the name of a server, or the logs that `server`
            names have several.
        NoLogFound: if a directory has no transfer log.
    """

    def is_mine(log: Log) -> bool:
        name = parse_log_name(log.name, grid)
        if name is not None and name.direction is not TX and not (takes_rx and name.direction is RX):
            return False
        # An empty file is the log of a quiet window.
        return name is not None or is_transfer_log(log)

    try:
        logs = find_logs(files, get_standard_input(files), is_mine, skipped.append)
    except NoLogFound as error:
        if count_received(skipped, grid):
            error.hint = "It has logs of received data. To count them, too: --rx."
        raise
    found = []
    for log in logs:
        name = parse_log_name(log.name, grid)
        source = server if server is not None else (name.server if name else "")
        if not is_source(source):
            raise BadServerName(f"{log.name}: {source!r}", hint=_SERVER_HINT)
        found.append(TransferLog(log, name, source))
    prefixes = sorted({one.name.server for one in found if one.name is not None})
    if server is not None and len(prefixes) > 1:
        names = format_list([prefix or "no prefix" for prefix in prefixes])
        raise BadServerName(f"--server {server}: the names of these logs begin with {names}", hint=_ONE_SERVER_HINT)
    return sorted(found, key=_get_order)


def count_received(skipped: Iterable[str], grid: Grid) -> int:
    """Return how many of the files that were skipped are logs of received data, by their names."""
    names = (parse_log_name(name, grid) for name in skipped)
    return sum(name is not None and name.direction is RX for name in names)


def is_transfer_log(log: Log) -> bool:
    """Return whether a file in a directory begins as a transfer log does."""
    with contextlib.suppress(UnreadableLog, ForeignLog):
        events = read_events([read_head(log)], log.name)
        return any(isinstance(event, TransferRecord) for event in events)
    return False


def read_log(log: Log) -> Iterable[bytes]:
    """Yield the content of a log, unpacked.

    Raises:
        UnreadableLog: if it cannot be read or unpacked.
    """
    with log.open() as raw:
        yield from read_chunks(raw, log.name)


def list_directions(*, takes_rx: bool) -> frozenset[Direction]:
    """Return the directions that count."""
    return frozenset(chain([TX], [RX] if takes_rx else []))


def _get_order(found: TransferLog) -> tuple[int, str]:
    window = None if found.name is None else found.name.window
    return (0 if window is None else window.start, found.log.name)
