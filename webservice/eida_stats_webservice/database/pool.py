"""A pool of database connections for the threads of a process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from eida_stats_webservice.errors import DatabaseUnavailable

# More than the limit of slow requests, so that quick ones always find a connection.
CONNECTIONS = 12
_TIMEOUT_SECONDS = 5

_Connection = TypeVar("_Connection", bound=Any)


class Pool(Generic[_Connection]):
    """Lends connections, and opens new ones on demand. A thread borrows one at a time.

    Args:
        connect: opens a connection.
        is_usable: returns whether an idle connection still works, and closes it if not. It may also prepare the
            connection for its next use, if `connect` does the same.
    """

    def __init__(self, connect: Callable[[], _Connection], is_usable: Callable[[_Connection], bool]) -> None:
        self._connect = connect
        self._is_usable = is_usable
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        # A stack, so that spare connections stay idle and can time out.
        self._idle: list[_Connection] = []

    @contextmanager
    def borrow(self, is_usable: Callable[[_Connection], bool] | None = None) -> Iterator[_Connection]:
        """Yield a connection, and take it back at the end of the context.

        Args:
            is_usable: checks and prepares idle connections instead of the function of the pool.

        Raises:
            DatabaseUnavailable: if all connections are in use for too long.
        """
        if not self._free.acquire(timeout=_TIMEOUT_SECONDS):
            raise DatabaseUnavailable(f"all {CONNECTIONS} connections of this process are in use")
        try:
            connection = self._pop_usable(is_usable or self._is_usable) or self._connect()
            try:
                yield connection
            finally:
                self._idle.append(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the connections that are not in use."""
        while (connection := self._pop()) is not None:
            connection.close()

    def _pop_usable(self, is_usable: Callable[[_Connection], bool]) -> _Connection | None:
        while (connection := self._pop()) is not None:
            if is_usable(connection):
                return connection
        return None

    def _pop(self) -> _Connection | None:
        # Not after a check, since another thread may take the last connection in between.
        try:
            return self._idle.pop()
        except IndexError:
            return None
