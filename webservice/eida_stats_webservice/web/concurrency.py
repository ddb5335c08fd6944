"""Limit how many slow requests run at once, so that quick ones always find a free thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from eida_stats_webservice.errors import Busy


class ConcurrencyLimit:
    """Runs a few requests at once and lets a few more wait for a limited time.

    The sum of both must be smaller than the number of threads of a process, so that other requests find a free one.
    """

    def __init__(self, *, at_once: int, waiting: int, wait_seconds: float = 60) -> None:
        self._places = threading.Semaphore(at_once + waiting)
        self._slots = threading.Semaphore(at_once)
        self._wait_seconds = wait_seconds

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a free slot, and hold it until the context ends.

        Raises:
            Busy: if too many requests wait already, or no slot becomes free in time.
        """
        if not self._places.acquire(blocking=False):
            raise Busy(hint="Try again later.")
        try:
            if not self._slots.acquire(timeout=self._wait_seconds):
                raise Busy(hint="Try again later.")
            try:
                yield
            finally:
                self._slots.release()
        finally:
            self._places.release()
