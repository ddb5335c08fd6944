"""Process batches in several processes, and return the results in the order of the batches."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar, cast

from eida_statistics.errors import EidaStatisticsError
from eida_stats_aggregator.parallel.helpers import receive, send, start_helpers

_Batch = TypeVar("_Batch")
_Result = TypeVar("_Result")


def process(
    batches: Iterator[_Batch],
    make_work: Callable[[], Callable[[_Batch], _Result]],
    jobs: int,
    max_waiting: int = 100,
) -> Generator[_Result]:
    """Yield the result of each batch.

    Args:
        batches: they are pickled, and so are the results.
        make_work: called in each process; it returns the function that processes a batch.
        jobs: the number of processes. With one, everything is done in this process.
        max_waiting: the most results that wait for an earlier one, per process.

    Raises:
        WorkerLost: if one of the processes is killed.
        EidaStatisticsError: if the work raises one.
    """
    if jobs > 1:
        with start_helpers(jobs, lambda connection: _serve(connection, make_work()), duplex=True) as helpers:
            if helpers:
                yield from _Dispatcher[_Batch, _Result](helpers, max_waiting).process(batches)
                return
    yield from map(make_work(), batches)


def _serve(connection: Connection, work: Callable[[_Batch], _Result]) -> None:
    """Process batches until there are no more."""
    with contextlib.suppress(EOFError):
        while True:
            batch = connection.recv()
            try:
                result: _Result | EidaStatisticsError = work(batch)
            except EidaStatisticsError as error:
                result = error
            connection.send(result)


class _Dispatcher(Generic[_Batch, _Result]):
    """Has each process work on one batch. Two at once could fill both directions of a connection, and block."""

    def __init__(self, helpers: list[Connection], max_waiting: int) -> None:
        self._idle = list(helpers)
        self._busy: dict[Connection, int] = {}
        self._done: dict[int, _Result] = {}
        self._max_ahead = max_waiting * len(helpers)

    def process(self, batches: Iterator[_Batch]) -> Iterator[_Result]:
        """Yield the results, in order."""
        following = 0
        for number, batch in enumerate(batches):
            while not self._idle or number - following > self._max_ahead:
                self._receive()
                while following in self._done:
                    yield self._done.pop(following)
                    following += 1
            self._send(number, batch)
        while self._busy:
            self._receive()
        for number in sorted(self._done):
            yield self._done.pop(number)

    def _send(self, number: int, batch: _Batch) -> None:
        helper = self._idle.pop()
        send(helper, batch)
        self._busy[helper] = number

    def _receive(self) -> None:
        """Receive at least one result."""
        ready = wait(list(self._busy))
        for helper in [one for one in self._busy if one in ready]:
            result = receive(helper)
            if isinstance(result, EidaStatisticsError):
                raise result
            self._done[self._busy.pop(helper)] = cast("_Result", result)
            self._idle.append(helper)
