"""Read logs into a tally, in several processes. Their number does not change the result."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.networks import Epoch, NetworkRegistry
from eida_stats_aggregator.fdsnws import repeated_requests
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.fdsnws.repeated_requests import Choices, Window
from eida_stats_aggregator.fdsnws.tally import Tally
from eida_stats_aggregator.logs import splits
from eida_stats_aggregator.logs.bzip2 import NotSplittable
from eida_stats_aggregator.logs.sources import Log
from eida_stats_aggregator.logs.splits import Part
from eida_stats_aggregator.parallel import tallying
from eida_stats_aggregator.parallel.helpers import receive, start_helpers
from eida_stats_aggregator.parallel.shared_registry import Load, NamelessFile, SharedRegistry
from eida_stats_aggregator.parallel.tallying import Joiner, PartRead
from eida_stats_aggregator.progress import Advance


class _Outcome(NamedTuple):
    """The result of a part, by its number."""

    number: int
    read: PartRead | EidaStatisticsError | NotSplittable


def read(logs: Sequence[Log], request_filter: RequestFilter, load: Load, *, jobs: int, progress: Advance) -> Tally:
    """Read logs, in their order, and count each request once.

    Up to `jobs` processes work at once; only one does if a log is a pipe. `load` is called once at most, if a
    network needs the registry. `progress` gets negative numbers if the logs are read again.

    Raises:
        UnreadableLog: if a log cannot be read, or changes between two readings.
        RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        WorkerLost: if one of the processes was killed.
    """
    with _SharedState(load) as state:
        if not all(log.on_disk for log in logs):
            return _read_once(logs, request_filter, state, progress)
        whole: Collection[int] = ()
        while True:
            try:
                return _read_until_settled(logs, request_filter, state, whole, jobs, progress)
            except NotSplittable as problem:
                # A fault in the file, if there is one, shows when it is read from its beginning.
                whole = range(len(logs)) if whole else {problem.log}
                state.restart()


def _read_once(
    logs: Sequence[Log], request_filter: RequestFilter, state: "_SharedState", progress: Advance
) -> Tally:
    """Read logs in one process, and recognise repeated requests at once: a pipe can be read but once."""
    tally = Tally(request_filter, NetworkRegistry(state.load_registry))
    tally.window = Window()
    tally = _Run(logs, splits.split(logs, whole=range(len(logs))), tally, state).read_all(1, progress)
    tally.finish()
    return tally


def _read_until_settled(
    logs: Sequence[Log],
    request_filter: RequestFilter,
    state: "_SharedState",
    whole: Collection[int],
    jobs: int,
    progress: Advance,
) -> Tally:
    """Read logs, and again as long as it is not known which records of repeated requests count."""
    planned = splits.split(logs, whole=whole)
    choices: Choices | None = None
    while True:
        tally = Tally(request_filter, NetworkRegistry(state.load_registry), choices)
        run = _Run(logs, planned, tally, state)
        try:
            tally = run.read_all(jobs, progress)
        except NotSplittable:
            run.undo_progress(progress)
            raise
        choices = repeated_requests.choose_next(tally.noted, tally.near, tally.chosen, choices)
        if choices is None:
            return tally
        state.restart()
        run.undo_progress(progress)


class _Run:
    """One attempt. Forked processes have a copy each, and share the state."""

    def __init__(self, logs: Sequence[Log], planned: Sequence[Part], tally: Tally, state: "_SharedState") -> None:
        self._logs = logs
        self._parts = planned
        self._tally = tally
        self._state = state
        self._reported = [0, 0]

    def undo_progress(self, progress: Advance) -> None:
        """Set the reported progress back to zero."""
        progress(*(-figure for figure in self._reported))

    def read_all(self, jobs: int, progress: Advance) -> Tally:
        """Read all parts, with the help of other processes."""
        joiner = Joiner(self._logs, self._parts, self._tally)
        failures: dict[int, Exception] = {}

        def take(outcome: _Outcome) -> None:
            number, read = outcome
            if isinstance(read, Exception):
                failures[number] = read
            else:
                done = self._parts[number].end - self._parts[number].start, read.line_breaks
                self._reported = [before + more for before, more in zip(self._reported, done, strict=True)]
                progress(*done)
                joiner.take(number, read)

        with start_helpers(min(jobs, len(self._parts)) - 1, self._read_in_helper) as helpers:
            for outcome in self._read_parts(len(self._parts)):
                take(outcome)
                while ready := wait(helpers, timeout=0):
                    self._receive(ready, helpers, take)
            while helpers:
                self._receive(wait(helpers), helpers, take)
        if failures:
            # Parts are handed out in order, so all before the first that failed were read: it is always the same.
            raise failures[min(failures)]
        return self._tally

    def _read_parts(self, end: int) -> Iterator[_Outcome]:
        """Read one part after another, as long as the next one is before `end`."""
        while (number := self._state.take_next_part(end)) is not None:
            part = self._parts[number]
            self._tally.set_place(number)
            try:
                yield _Outcome(number, tallying.read_part(self._logs[part.log], part, self._tally))
            except (EidaStatisticsError, NotSplittable) as error:
                self._state.stop()
                yield _Outcome(number, error)

    def _read_in_helper(self, connection: Connection) -> None:
        """Read parts in another process, and send their results and the tally."""
        # While the first process reads the last part, the tallies of the others come in; not if it is a whole log.
        for outcome in self._read_parts(len(self._parts) - (not self._parts[-1].whole)):
            connection.send(outcome)
        connection.send(self._tally)

    def _receive(
        self, ready: Sequence[object], helpers: list[Connection], take: Callable[[_Outcome], None]
    ) -> None:
        for connection in [helper for helper in helpers if helper in ready]:
            message = receive(connection)
            if isinstance(message, Tally):
                self._tally.merge(message)
                helpers.remove(connection)
            else:
                take(message)


class _SharedState:
    """The next part, and the registry."""

    def __init__(self, load: Load) -> None:
        self._next_part = NamelessFile()
        self._registry = SharedRegistry(load)

    def __enter__(self) -> "_SharedState":
        self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        self._next_part.close()
        self._registry.close()

    def load_registry(self) -> Iterable[Epoch]:
        """Return the registry, or raise the error of its loading."""
        return self._registry.load()

    def restart(self) -> None:
        """Begin with the first part again."""
        self._next_part.write(bytes(8))

    def take_next_part(self, end: int) -> int | None:
        """Return the number of a part that no other process gets; None if it is not before `end`."""
        with self._next_part.locked():
            number = int.from_bytes(self._next_part.read(), "big")
            if number >= end:
                return None
            self._next_part.write((number + 1).to_bytes(8, "big"))
        return number

    def stop(self) -> None:
        """Let no process take another part."""
        with self._next_part.locked():
            self._next_part.write((1 << 62).to_bytes(8, "big"))
