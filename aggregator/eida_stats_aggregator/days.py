"""Find the logs of single days by name, and read them."""

import datetime
import glob
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eida_statistics.errors import RegistryUnavailable, UnreadableLog
from eida_stats_aggregator import notices
from eida_stats_aggregator.delivery.state import LogStamp
from eida_stats_aggregator.errors import NotReady
from eida_stats_aggregator.logs.sources import describe_log, walk
from eida_stats_aggregator.period import parse_day
from eida_stats_aggregator.reader import Reader
from eida_stats_aggregator.stamps import read_stamps

if TYPE_CHECKING:
    from eida_stats_aggregator.fdsnws.tally import Tally  # slow to import

_PACKED_SUFFIXES = (".bz2", ".gz", ".xz", ".zst")


class DatedLogs(NamedTuple):
    """Paths of logs by the day in their names, and of files whose names have none."""

    by_day: dict[datetime.date, list[Path]]
    undated: list[Path]


def find_dated_logs(files: Sequence[str]) -> DatedLogs:
    """Return logs by the day in their names, without opening any.

    Raises:
        UnreadableLog: if there is nothing of such a name, or a directory cannot be read.
    """
    found = DatedLogs(defaultdict(list), [])
    for path in dict.fromkeys(path for file in files for path in _find_paths(file)):
        day = parse_day(path.name)
        if day is None:
            found.undated.append(path)
        else:
            found.by_day[day].append(path)
    return found


def _find_paths(name: str) -> Iterator[Path]:
    matching = [Path(name)]
    if glob.has_magic(name) and not Path(name).exists():
        matching = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 - absolute, too
    if not matching or not all(path.exists() for path in matching):
        raise UnreadableLog(f"{name}: no such file or directory")
    for path in matching:
        if path.is_dir():
            # A pipe would block the run for ever.
            yield from (file for file, is_regular in walk(path) if is_regular)
        elif path.is_file():
            yield path
        else:
            raise UnreadableLog(f"{path}: not a file; --catch-up reads a log more than once")


class DayRead(NamedTuple):
    """The logs of a day that were read: `skipped` are those most of whose requests are of other days."""

    tally: "Tally"
    names: list[str]
    skipped: list[str]


def read_day(day: datetime.date, paths: Sequence[Path], reader: Reader) -> DayRead | None:
    """Read the logs of a day, None if most requests of each are of other days.

    With two log handlers, as SeisComP has them after it was reloaded, a log that is not packed stays under the name
    of a day and holds the next one. Otherwise a plain log beside its packed name is complete: it is being packed.

    Raises:
        NotReady: if they are still being written or packed, or the registry of networks is out of reach.
    """
    before = read_stamps(paths)
    try:
        found = _read_day(day, paths, reader)
    except (UnreadableLog, RegistryUnavailable) as error:
        raise NotReady(error.subject or error.title) from error
    if read_stamps(paths) != before:
        raise NotReady(f"{paths[0]}: it changed while it was read")
    return found


def _read_day(day: datetime.date, paths: Sequence[Path], reader: Reader) -> DayRead | None:
    packed = [path for path in paths if strip_packed_suffix(path) != path and strip_packed_suffix(path) in paths]
    tallies = _read_each([path for path in paths if path not in packed], reader)
    complete = [path for path, tally in tallies.items() if _is_log_of(day, tally) and _has_requests(tally)]
    tallies |= _read_each([path for path in packed if strip_packed_suffix(path) not in complete], reader)
    of_day = [path for path, tally in tallies.items() if _is_log_of(day, tally)]
    chosen = [path for path in of_day if _has_requests(tallies[path])] or of_day
    if not chosen:
        return None
    names = [str(path) for path in chosen]
    # Together, so that a request in two of them counts once.
    tally = tallies[chosen[0]] if len(chosen) == 1 else reader.read([describe_log(path) for path in chosen])[0]
    return DayRead(tally, names, [str(path) for path in tallies if path not in of_day])


def _read_each(paths: Sequence[Path], reader: Reader) -> dict[Path, "Tally"]:
    return {path: reader.read([describe_log(path)])[0] for path in paths}


def _is_log_of(day: datetime.date, tally: "Tally") -> bool:
    return not notices.is_mostly_elsewhere(tally, [day])


def _has_requests(tally: "Tally") -> bool:
    """Return whether it is a request log at all, of this service or of another."""
    return tally.lines > tally.rejected


def strip_packed_suffix(path: Path) -> Path:
    """Return the path that a log had before it was packed."""
    return path.with_suffix("") if path.suffix in _PACKED_SUFFIXES else path


def has_other_logs(known: Mapping[str, LogStamp], stamps: Mapping[str, LogStamp]) -> bool:
    """Return whether a log was added or changed. Packing a log is no change."""
    names = {strip_packed_suffix(Path(path)) for path in known}
    return any(
        known[path] != stamp if path in known else strip_packed_suffix(Path(path)) not in names
        for path, stamp in stamps.items()
    )
