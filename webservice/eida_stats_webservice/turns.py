"""What takes long waits for its turn, so that it cannot be in the way of what does not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eida_statistics.errors import Busy


class Turns:
    """Lets a few at once do what takes long; others wait, but not too many of them, and not for too long.

    Args:
        at_once: how many have their turn.
        waiting: how many wait. With those who have their turn they are fewer than the threads of a process, so that
            there are always some for other requests.
        wait_seconds: how long one waits at most.
    """

    def __init__(self, *, at_once: int, waiting: int, wait_seconds: float = 60) -> None:
        self._places = threading.Semaphore(at_once + waiting)
        self._turns = threading.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and have it as long as the context lasts.

        Raises:
            Busy: if too many wait, or it does not come in time.
        """
        if not self._places.acquire(blocking=False):
            raise Busy(hint="Try again later.")
        try:
            if not self._turns.acquire(timeout=self._wait_seconds):
                raise Busy(hint="Try again later.")
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()
