"""Keep public answers in memory, so that a page need not query and merge thousands of sketches again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import msgspec

from eida_stats_webservice.query.model import DataVersion

_Answer = TypeVar("_Answer")

# A page needs about ten answers. The largest ones, of all networks and countries, take some megabytes.
_MAX_ANSWERS = 64
_MAX_BYTES = 32 << 20


class FindAnswer(Protocol):
    """Returns an answer of one version of the data: the one that was kept, or a new one."""

    def __call__(self, key: Hashable, kind: type[_Answer], make: Callable[[], _Answer], /) -> _Answer:
        """Return an answer.

        Args:
            key: all on which the answer depends besides the data.
            kind: the type of the answer.
            make: returns the answer.
        """


def make_answer(_key: Hashable, _kind: type[_Answer], make: Callable[[], _Answer], /) -> _Answer:
    """Make an answer, and keep none."""
    return make()


class AnswerCache:
    """Keeps the answers that were used last, all of one version of the data. Threads can share it.

    Answers are kept in encoded form. So their size is exact, and nobody can change them. Answers that a token opens
    must not be kept.

    Args:
        max_answers: the largest number of answers.
        max_bytes: the largest size of all answers together. A larger answer is not kept.
    """

    def __init__(self, max_answers: int = _MAX_ANSWERS, max_bytes: int = _MAX_BYTES) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._version: DataVersion | None = None
        self._answers: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Return the number of answers."""
        with self._lock:
            return len(self._answers)

    @property
    def size(self) -> int:
        """The size of all answers in bytes."""
        with self._lock:
            return self._bytes

    def at(self, version: DataVersion) -> FindAnswer:
        """Return a function that finds or makes answers of a version, which all come from one snapshot.

        It decodes each answer once, so it should not live longer than a request. Answers of another version are
        dropped, also those that are still being made.
        """
        with self._lock:
            if version != self._version:
                self._version = version
                self._answers.clear()
                self._bytes = 0
        decoded: dict[Hashable, Any] = {}

        def find_or_make(key: Hashable, kind: type[_Answer], make: Callable[[], _Answer], /) -> _Answer:
            if key not in decoded:
                kept = self._find(version, key)
                if kept is not None:
                    decoded[key] = msgspec.msgpack.decode(kept, type=kind)
                else:
                    decoded[key] = make()
                    self._encode(version, key, decoded[key])
            found: _Answer = decoded[key]
            return found

        return find_or_make

    def _encode(self, version: DataVersion, key: Hashable, answer: object) -> None:
        # Sums of more than 64 bits have no encoded form.
        with suppress(OverflowError):
            # The encoder's result occupies more memory than its size. A copy does not.
            self._keep(version, key, bytes(memoryview(msgspec.msgpack.encode(answer))))

    def _find(self, version: DataVersion, key: Hashable) -> bytes | None:
        with self._lock:
            if version != self._version or key not in self._answers:
                return None
            self._answers.move_to_end(key)
            return self._answers[key]

    def _keep(self, version: DataVersion, key: Hashable, answer: bytes) -> None:
        if len(answer) > self._max_bytes:
            return
        with self._lock:
            if version != self._version:
                return
            self._bytes += len(answer) - len(self._answers.pop(key, b""))
            self._answers[key] = answer
            while len(self._answers) > self._max_answers or self._bytes > self._max_bytes:
                _, dropped = self._answers.popitem(last=False)
                self._bytes -= len(dropped)
