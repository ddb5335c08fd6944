"""Read logs with the settings of the command line, in processes or on a cluster."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from eida_statistics import networks
from eida_statistics.networks import Epoch
from eida_stats_aggregator import progress
from eida_stats_aggregator.console import complain
from eida_stats_aggregator.errors import DaskUnusable
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.logs import bzip2, head_start, splits
from eida_stats_aggregator.logs.sources import STDIN, Log

if TYPE_CHECKING:
    from eida_stats_aggregator.fdsnws.tally import Tally
    from eida_stats_aggregator.logs.duplicates import Duplicate

# About half a second of reading.
_BYTES_WORTH_A_PROCESS = 1 << 20


@dataclass(frozen=True)
class Reader:
    """Reads logs.

    `registry` loads the registry of networks; it is called when a log first needs one. `jobs` is the number of
    processes, None for as many as are worth it; `dask` the address of a scheduler, None for this machine.
    """

    request_filter: RequestFilter
    registry: Callable[[], list[Epoch]]
    jobs: int | None = None
    dask: str | None = None
    shown: bool = False

    @property
    def max_processes(self) -> int:
        """The largest number of processes that may work at once."""
        return self.jobs or count_cores()

    def read(self, logs: Sequence[Log]) -> tuple["Tally", list[Log], list["Duplicate"]]:
        """Read logs as one, and return also which were read, and which had the same content as another one.

        Raises:
            UnreadableLog: if one cannot be read.
            RegistryUnavailable: if a network needs the registry, which cannot be loaded.
            WorkerLost: if a process that reads is killed.
            ClusterUnavailable: if the cluster cannot be used.
            DaskUnusable: if Dask is not installed, or a log is not a file.
        """
        if self.dask is not None and not all(log.on_disk for log in logs):
            raise DaskUnusable("it reads files, not a pipe or a log on standard input")
        # Slow to import, as are the processes, and not needed by runs without anything to read.
        from eida_stats_aggregator.logs import duplicates  # noqa: PLC0415

        if self.dask is None:
            bzip2.keep_freed_memory()
            with head_start.begin(logs[0]) as begun:
                from eida_stats_aggregator.parallel import processes  # noqa: PLC0415

                splits.prepare(sum(log.size for log in logs if log.magic == bzip2.MAGIC))
            logs = [begun, *logs[1:]]
        with progress.show_progress("comparing", 2 * sum(log.size for log in logs), shown=self.shown) as advance:
            distinct, repeated = duplicates.separate_duplicates(logs, progress=advance)
        with progress.show_progress("reading", sum(log.size for log in distinct), shown=self.shown) as advance:
            if self.dask is None:
                jobs = self.jobs or _choose_jobs(distinct)
                tally = processes.read(distinct, self.request_filter, self.registry, jobs=jobs, progress=advance)
            else:
                tally = _import_dask_cluster().read(
                    distinct, self.request_filter, self.registry, address=self.dask, progress=advance
                )
        return tally, distinct, repeated


def make_registry_loader(file: Path | None) -> Callable[[], list[Epoch]]:
    """Return a function that loads the registry of networks, once: from a file, or from FDSN through a cache."""
    if file is not None:
        return _load_once(lambda: networks.read_registry(file))
    url = os.environ.get("FDSN_NETWORKS_URL", networks.REGISTRY_URL)
    return _load_once(lambda: networks.read_cached_registry(networks.get_cache_path(), url, warn=complain))


def _load_once(load: Callable[[], list[Epoch]]) -> Callable[[], list[Epoch]]:
    """Return a function that loads at most once; a failure is not tried again for each day of a run."""
    load_once = cache(lambda: networks.try_to_load(load))
    return lambda: networks.get_epochs(load_once())


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_standard_input(files: Sequence[str]) -> BinaryIO | None:
    """Return standard input unless it is a terminal or missing."""
    # Some schedulers start programs without standard input; a terminal is not a pipe.
    piped = sys.stdin is not None and (STDIN in files or not sys.stdin.isatty())
    return sys.stdin.buffer if piped else None


def _import_dask_cluster() -> ModuleType:
    try:
        # It is heavy, and an extra.
        from eida_stats_aggregator.parallel import dask_cluster  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DaskUnusable("it needs more", hint="In a checkout of the project: pip install '.[dask]'") from error
    return dask_cluster


def _choose_jobs(logs: Sequence[Log]) -> int:
    """Return the number of usable cores, or less if there is less to do."""
    return min(count_cores(), 1 + sum(log.size for log in logs) // _BYTES_WORTH_A_PROCESS)
