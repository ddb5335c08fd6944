"""Limit how many slow requests run at once, so that quick ones always find a free thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eida_stats_webservice.errors import Busy


class Turns:
    """Runs a few requests at once and lets a few more wait for a limited time.

    Args:
        at_once: how many requests run.
        waiting: how many wait. Together these must be fewer than the threads of a process, so that other requests
            find one.
        wait_seconds: how long a request waits at most.
    """

    def __init__(self, *, at_once: int, waiting: int, wait_seconds: float = 60) -> None:
        self._places = threading.Semaphore(at_once + waiting)
        self._turns = threading.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and keep it until the context ends.

        Raises:
            Busy: if too many requests wait already, or the turn does not come in time.
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
