"""Sizes and times of logs, to notice changes without reading."""

import os
from collections.abc import Iterable
from pathlib import Path

from eida_statistics.files import format_name
from eida_stats_aggregator.delivery.state import LogStamp


def read_stamps(paths: Iterable[Path]) -> dict[str, LogStamp]:
    """Return the stamps of files by absolute path, escaped so that JSON can hold any name."""
    return {format_name(os.fsencode(path.absolute())): _read_stamp(path) for path in paths}


def _read_stamp(path: Path) -> LogStamp:
    """Return the size and time of a file; both are 0 if it has gone."""
    try:
        status = path.stat()
    except OSError:
        return LogStamp(0, 0)
    return LogStamp(status.st_size, status.st_mtime_ns)
