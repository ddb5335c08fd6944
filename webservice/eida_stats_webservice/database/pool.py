"""A few connections to the database, which the threads of a process share."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from eida_stats_webservice.errors import DatabaseUnavailable

# More than the slow requests that run at once, so that quick ones find some.
CONNECTIONS = 12
_LENT_WITHIN_SECONDS = 5

_Connection = TypeVar("_Connection", bound=Any)


class Pool(Generic[_Connection]):
    """Lends connections, and opens more when there are too few. A thread borrows one at a time.

    Args:
        connect: makes a connection.
        is_usable: returns whether one that was used before still is, and closes it if not. It may prepare it for
            the next use, if `connect` does so, too.
    """

    def __init__(self, connect: Callable[[], _Connection], is_usable: Callable[[_Connection], bool]) -> None:
        self._connect = connect
        self._is_usable = is_usable
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        # The last one first, so that spare connections are not kept warm.
        self._idle: list[_Connection] = []

    @contextmanager
    def lent(self) -> Iterator[_Connection]:
        """Yield a connection for as long as the context lasts.

        Raises:
            DatabaseUnavailable: if all are in use for too long.
        """
        if not self._free.acquire(timeout=_LENT_WITHIN_SECONDS):
            raise DatabaseUnavailable(f"all {CONNECTIONS} connections of this process are in use")
        try:
            connection = self._usable() or self._connect()
            try:
                yield connection
            finally:
                self._idle.append(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the connections that are not in use."""
        while (connection := self._last()) is not None:
            connection.close()

    def _usable(self) -> _Connection | None:
        while (connection := self._last()) is not None:
            if self._is_usable(connection):
                return connection
        return None

    def _last(self) -> _Connection | None:
        # Another thread may take it between a look and the hand.
        try:
            return self._idle.pop()
        except IndexError:
            return None
