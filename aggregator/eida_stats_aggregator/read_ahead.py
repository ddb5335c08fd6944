"""Read the small logs of several days at the same time, ahead of their turn.

To divide a small log between processes costs more than it gains. Here each process reads the logs of a whole day,
while the first one sends the days before.
"""

import datetime
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from eida_statistics.errors import EidaStatisticsError
from eida_stats_aggregator.days import DayRead, read_day
from eida_stats_aggregator.errors import WorkerLost
from eida_stats_aggregator.logs import splits
from eida_stats_aggregator.memory import Stamps
from eida_stats_aggregator.progress import Advance, show_progress
from eida_stats_aggregator.reader import Reader, count_cores
from eida_stats_aggregator.stamps import read_stamps

# About ten seconds of reading. Larger logs are divided between all processes, which takes less memory.
_MAX_BYTES = 1 << 24
# The first process has enough to do with the days of so many others. `--jobs` may say more.
_MAX_PROCESSES = 8
# Days that wait for an earlier one, per process. Each takes some megabytes.
_MAX_WAITING = 2


class Task(NamedTuple):
    """The logs of a day, and their size in bytes."""

    day: datetime.date
    paths: Sequence[Path]
    size: int

    @property
    def is_small(self) -> bool:
        """Whether one process reads them."""
        return self.size <= _MAX_BYTES


class DayAhead(NamedTuple):
    """The logs of a day as they were read, when they had some stamps; `read` is as `read_day` returns it."""

    stamps: Stamps
    read: DayRead | None


class ReadAhead:
    """Days that are read ahead, in their order. `reader` is for those that are left to their turn."""

    def __init__(
        self, tasks: Sequence[Task], results: Iterator[DayAhead | None], reader: Reader, advance: Advance
    ) -> None:
        self.reader = reader
        self._tasks = iter(tasks)
        self._results = results
        self._advance = advance
        self._next = next(self._tasks, None)
        # The size of a day that is left to its turn. It counts as read when the next day is taken.
        self._left = 0

    def take(self, day: datetime.date, stamps: Stamps) -> DayAhead | None:
        """Return the logs of a day; None if they were not read ahead, have changed since, or could not be read.

        The caller then reads them in their turn, which finds the fault, if there is one. After a process was lost,
        all days are left to their turn.
        """
        self._advance(self._left, 0)
        self._left = 0
        while self._next is not None and self._next.day <= day:
            task, self._next = self._next, next(self._tasks, None)
            found = self._receive() if task.is_small else None
            if task.day == day and found is not None and found.stamps == stamps:
                if found.read is not None:
                    # Processes do not send it with a tally.
                    found.read.tally.request_filter = self.reader.request_filter
                self._advance(task.size, 0 if found.read is None else found.read.tally.lines)
                return found
            self._left += task.size
        return None

    def _receive(self) -> DayAhead | None:
        try:
            return next(self._results, None)
        except WorkerLost:
            # The memory may have been short. Read in their turn, the logs take less of it.
            return None


@contextmanager
def read_ahead(tasks: Sequence[Task], reader: Reader) -> Iterator[ReadAhead]:
    """Read the small ones of some days ahead, if there are several of them and several processes.

    The processes start with the first day that is taken.
    """
    small = [task for task in tasks if task.is_small]
    jobs = min(reader.jobs or min(count_cores(), _MAX_PROCESSES), len(small))
    if jobs < 2 or reader.dask is not None:
        yield ReadAhead([], iter(()), reader, lambda _bytes, _lines: None)
        return
    quiet = replace(reader, shown=False)
    size = sum(task.size for task in tasks)
    with (
        closing(_read(small, quiet, jobs)) as results,
        show_progress("reading", size, shown=reader.shown) as advance,
    ):
        yield ReadAhead(tasks, results, quiet, advance)


def _read(tasks: Sequence[Task], reader: Reader, jobs: int) -> Generator[DayAhead | None]:
    # Slow to import, and not needed by runs without anything to read. Forked processes have `processes` then.
    from eida_stats_aggregator.parallel import pool, processes  # noqa: F401, PLC0415
    from eida_stats_aggregator.parallel.shared_registry import SharedRegistry  # noqa: PLC0415

    splits.prepare(sum(task.size for task in tasks))
    with closing(SharedRegistry(reader.registry)) as registry:
        alone = replace(reader, jobs=1, registry=lambda: list(registry.load()))
        yield from pool.process(iter(tasks), lambda: partial(_read_task, reader=alone), jobs, _MAX_WAITING)


def _read_task(task: Task, reader: Reader) -> DayAhead | None:
    stamps = read_stamps(task.paths)
    try:
        return DayAhead(stamps, read_day(task.day, task.paths, reader))
    except EidaStatisticsError:
        return None
