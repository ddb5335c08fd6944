"""Counters of all processes together, in files of a directory that a cleaner may remove at any time.

prometheus_client alone does not survive that: a worker that starts without the directory raises FileNotFoundError
at its first count, and a worker that counts on a full disk is killed (SIGBUS).
"""

import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import prometheus_client.values
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, multiprocess

from eida_stats_webservice.web.metrics_directory import METRICS_VARIABLE, is_directory_ours

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
# One file for each type of metric.
_TYPES = ("counter", "histogram")
# More than all names and labels take.
_FILE_BYTES = 1 << 17

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counters:
    """The counters of one process."""

    rows: Counter
    requests: Counter
    seconds: Histogram
    submissions: Counter


class _Files:
    """The files in which this process counts.

    prometheus_client puts an identifier into their names, and opens new files when the identifier changes. So the
    identifier has two parts: the process, and how often its files were lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._losses = 0
        # The process that has created its files. A worker starts as a copy of its master.
        self._owner: int | None = None

    def identifier(self) -> str:
        """Return the identifier of the present files."""
        return f"{os.getpid()}-{self._losses}"

    def prepare(self, directory: Path) -> None:
        """Create the files and their directory where they are missing.

        Raises:
            OSError: if that is not possible.
        """
        with self._lock:
            is_owner = self._owner == os.getpid()
            if is_owner and all(path.exists() for path in self._paths(directory, self._losses)):
                return
            is_directory_lost = not directory.exists()
            losses = self._losses + is_owner
            _make_directory(directory)
            for path in self._paths(directory, losses):
                _make_file(path)
            # Last: other threads use the new identifier at once.
            self._losses = losses
            self._owner = os.getpid()
        if is_owner or is_directory_lost:
            log.warning("the metrics files were removed; this process counts from zero in new ones")

    def give_up(self) -> None:
        """Use new files from now on, because prometheus_client may have closed some of the old ones."""
        with self._lock:
            self._losses += 1

    @staticmethod
    def _paths(directory: Path, losses: int) -> list[Path]:
        return [directory / f"{kind}_{os.getpid()}-{losses}.db" for kind in _TYPES]


def _make_directory(directory: Path) -> None:
    """Create a directory that only this user can write, unless it exists and no other user has made it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if is_directory_ours() and not (stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()):
        raise PermissionError(f"{directory} belongs to another user")


def _make_file(path: Path) -> None:
    """Create a file of zeros with its blocks reserved.

    prometheus_client maps it into memory, and a process that writes to a hole in it on a full disk is killed.
    """
    with open(path, "ab", opener=_open_own) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
        except OSError:
            path.unlink()
            raise


def _open_own(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, mode=0o600)


_files = _Files()
_lock = threading.Lock()


@contextmanager
def counting() -> Iterator[Counters]:
    """Yield the counters of this process, with their files in place.

    Raises:
        OSError: if the files are missing and cannot be created.
    """
    counters = _prepare()
    try:
        yield counters
    except Exception:
        _files.give_up()
        raise


def collect_counters() -> CollectorRegistry:
    """Return the counters of all processes, or of this one where they do not count together.

    Raises:
        OSError: if the files are missing and cannot be created.
    """
    _prepare()
    if not os.environ.get(METRICS_VARIABLE):
        return REGISTRY
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _prepare() -> Counters:
    if directory := os.environ.get(METRICS_VARIABLE):
        _files.prepare(Path(directory))
    with _lock:
        return _make_counters()


@cache
def _make_counters() -> Counters:
    if os.environ.get(METRICS_VARIABLE):
        prometheus_client.values.ValueClass = prometheus_client.values.MultiProcessValue(_files.identifier)  # type: ignore[no-untyped-call]
    return Counters(
        rows=Counter("eida_statistics_rows", "Rows of the payloads that were stored"),
        requests=Counter("eida_statistics_requests", "Requests by endpoint and status", ["endpoint", "status"]),
        seconds=Histogram(
            "eida_statistics_request_seconds", "Seconds until an answer begins", ["endpoint"], buckets=_SECONDS
        ),
        submissions=Counter("eida_statistics_submissions", "Payloads received, by outcome", ["outcome"]),
    )
