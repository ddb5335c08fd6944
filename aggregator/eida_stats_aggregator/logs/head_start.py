"""Unpack the beginning of a log while this process imports the modules that read it."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from eida_stats_aggregator.logs import splits
from eida_stats_aggregator.logs.sources import Log
from eida_stats_aggregator.logs.splits import Part

# If imports take long, as from a cold disk, the content of a log must not fill the memory.
_MAX_CHUNKS = 4


@contextmanager
def begin(log: Log) -> Iterator[Log]:
    """Unpack the beginning of a log in a thread, and yield the log with it.

    The thread ends with the context, so that processes can be forked. A log that cannot be divided is yielded as it
    is: forked processes share the place in its file, so only one of them could go on with it.
    """
    part = splits.split([log], whole=())[0]
    head_start = None if part.whole else HeadStart(log, part)
    if head_start is None or not head_start.start():
        yield log
        return
    try:
        yield replace(log, head_start=head_start)
    finally:
        head_start.stop()


class HeadStart:
    """The beginning of a part of a log, as far as it was unpacked."""

    def __init__(self, log: Log, part: Part) -> None:
        self._part = part
        self._rest = splits.read(log, part, beside_threads=True)
        self._chunks: deque[bytes] = deque()
        self._is_stopped = self._is_faulty = self._is_taken = False
        self._thread = threading.Thread(target=self._unpack, daemon=True)

    def start(self) -> bool:
        """Begin to unpack, and return whether this machine allows another thread."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def stop(self) -> None:
        """Wait until the present chunk is unpacked."""
        self._is_stopped = True
        self._thread.join()

    def take(self, part: Part) -> Iterator[bytes] | None:
        """Return the content of a part, if this is its beginning and was not taken yet, otherwise None."""
        if part != self._part or self._is_faulty or self._is_taken:
            return None
        self._is_taken = True
        return self._continue()

    def _unpack(self) -> None:
        try:
            while not self._is_stopped and len(self._chunks) < _MAX_CHUNKS:
                self._chunks.append(next(self._rest))
        except StopIteration:
            pass
        except Exception:  # noqa: BLE001 - the fault shows when the part is read again; the rest would seem empty
            self._is_faulty = True

    def _continue(self) -> Iterator[bytes]:
        while self._chunks:
            yield self._chunks.popleft()
        yield from self._rest
