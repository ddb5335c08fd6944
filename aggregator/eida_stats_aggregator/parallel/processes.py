"""Read logs into a tally, in several processes. Their number does not change the result."""

import fcntl
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from typing import BinaryIO, NamedTuple

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.networks import Epoch, LoadedRegistry, NetworkRegistry, get_epochs, try_to_load
from eida_stats_aggregator.errors import WorkerLost
from eida_stats_aggregator.fdsnws import repeated_requests
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.fdsnws.repeated_requests import Choices, Window
from eida_stats_aggregator.fdsnws.tally import Tally
from eida_stats_aggregator.logs.bzip2 import NotSplittable
from eida_stats_aggregator.logs.sources import Log
from eida_stats_aggregator.parallel import splits
from eida_stats_aggregator.parallel.splits import Joiner, Part, PartRead
from eida_stats_aggregator.progress import Advance

Load = Callable[[], Iterable[Epoch]]
# A process that is forked has all that is loaded already.
_FORK = multiprocessing.get_context("fork")


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
        choices = repeated_requests.choose_next(tally.noted, tally.chosen, choices)
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
                done = self._parts[number].end - self._parts[number].start, read.lines + 1
                self._reported = [before + more for before, more in zip(self._reported, done, strict=True)]
                progress(*done)
                joiner.take(number, read)

        with _start_helpers(min(jobs, len(self._parts)) - 1, self._read_in_helper) as helpers:
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
                yield _Outcome(number, splits.read(self._logs[part.log], part, self._tally))
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
            try:
                message = connection.recv()
            except (EOFError, OSError):  # the latter in the middle of a message
                raise WorkerLost(hint="The memory may have been short. Use fewer --jobs.") from None
            if isinstance(message, WorkerLost):
                raise message
            if isinstance(message, Tally):
                self._tally.merge(message)
                helpers.remove(connection)
            else:
                take(_Outcome(*message))


class _SharedState:
    """The next part, and the registry, which the first process that needs it loads.

    It is a file without a name: its locks end with the process that holds them, even if that is killed. With a lock
    of `multiprocessing`, the others would wait forever.
    """

    _NEXT_PART, _REGISTRY = 0, 8  # where they begin

    def __init__(self, load: Load) -> None:
        self._load = load

    def __enter__(self) -> "_SharedState":
        self._file = _open_nameless_file()
        self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def restart(self) -> None:
        """Begin with the first part again."""
        os.pwrite(self._file.fileno(), bytes(8), self._NEXT_PART)

    def take_next_part(self, end: int) -> int | None:
        """Return the number of a part that no other process gets; None if it is not before `end`."""
        with self._locked(self._NEXT_PART):
            number = int.from_bytes(os.pread(self._file.fileno(), 8, self._NEXT_PART), "big")
            if number >= end:
                return None
            os.pwrite(self._file.fileno(), (number + 1).to_bytes(8, "big"), self._NEXT_PART)
        return number

    def stop(self) -> None:
        """Let no process take another part."""
        with self._locked(self._NEXT_PART):
            os.pwrite(self._file.fileno(), (1 << 62).to_bytes(8, "big"), self._NEXT_PART)

    def load_registry(self) -> Iterable[Epoch]:
        """Return the registry, or raise the error of its loading."""
        with self._locked(self._REGISTRY):
            size = os.fstat(self._file.fileno()).st_size - self._REGISTRY
            if size:
                loaded: LoadedRegistry = pickle.loads(os.pread(self._file.fileno(), size, self._REGISTRY))  # noqa: S301 - our own
            else:
                loaded = try_to_load(self._load)
                os.pwrite(self._file.fileno(), pickle.dumps(loaded), self._REGISTRY)
        return get_epochs(loaded)

    @contextmanager
    def _locked(self, start: int) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, start)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, start)


def _open_nameless_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):  # it works in a container where nothing can be written
        return os.fdopen(os.memfd_create("parts"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


@contextmanager
def _start_helpers(number: int, work: Callable[[Connection], None]) -> Iterator[list[Connection]]:
    """Start processes, each with a connection, and end them all at the end.

    Not with `concurrent.futures`: its processes outlive a first process that is killed (2 of 2 after 3 s).
    """
    with ExitStack() as stack:
        connections = []
        for _ in range(number):
            try:
                here, there = _FORK.Pipe(duplex=False)
            except OSError:
                break  # with as many as this machine allows
            process = _FORK.Process(target=_run_helper, args=(work, there), daemon=True)
            with _block_interrupts():
                try:
                    process.start()
                except OSError:
                    here.close()
                    there.close()
                    break
                stack.callback(process.join)
                stack.callback(process.terminate)
            there.close()
            stack.enter_context(here)
            connections.append(here)
        yield connections


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Fork processes that ignore Ctrl-C from their first instruction on."""
    # Ctrl-C reaches all processes; the first one ends the others.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _run_helper(work: Callable[[Connection], None], connection: Connection) -> None:
    threading.Thread(target=_end_with_first_process, daemon=True).start()
    try:
        work(connection)
    except Exception as error:  # noqa: BLE001 - its text may quote a log, and is not for a terminal
        connection.send(WorkerLost(f"{type(error).__name__} in it"))


def _end_with_first_process() -> None:
    """End this process with the first one, even while it sends: nobody receives its results."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
    os.kill(os.getpid(), signal.SIGTERM)
