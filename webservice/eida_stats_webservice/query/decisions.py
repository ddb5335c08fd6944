"""Keep decisions about small groups of clients.

They depend on closed months, nodes and networks only, so they outlive payloads that have only open months.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from eida_stats_webservice.query.answer_cache import AnswerCache
from eida_stats_webservice.query.model import DataVersion

_Made = TypeVar("_Made")

# A page needs a few. To make one again takes up to a second of a core.
_MAX_REMEMBERED = 16


class FindDecision(Protocol):
    """Returns a decision about one version of the data: the one that was kept, or a new one."""

    def __call__(self, key: Hashable, kind: type[_Made], make: Callable[[Any], _Made], /) -> _Made:
        """Return a decision.

        Args:
            key: all on which the decision depends besides the data.
            kind: the type of the decision.
            make: returns the decision from a source of the data. It may be called later with another source.
        """


@dataclass(frozen=True)
class Used:
    """A decision that a query has used.

    Attributes:
        key: all on which it depends besides the data.
        kind: its type.
        make: returns it from a source of the data.
        version: the version of the data for which it was last made, or could not be.
        queried_at: the time of the last query, in seconds of the monotonic clock.
    """

    key: Hashable
    kind: type[Any]
    make: Callable[[Any], Any]
    version: DataVersion
    queried_at: float


class Decisions:
    """Keeps decisions until closed months, nodes or networks change. Threads can share it."""

    def __init__(self) -> None:
        self._kept = AnswerCache()
        self._lock = threading.Lock()
        self._used: OrderedDict[Hashable, Used] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of decisions."""
        return len(self._kept)

    def at(self, version: DataVersion, source: Any, *, by_query: bool = True) -> FindDecision:
        """Return a function that finds decisions about a version of the data, or makes them.

        Args:
            version: the version.
            source: passed to the functions that make decisions; it has the data of this version.
            by_query: whether a query uses the decisions.
        """
        find_or_make = self._kept.at(version)

        def find(key: Hashable, kind: type[_Made], make: Callable[[Any], _Made], /) -> _Made:
            self._note(Used(key, kind, make, version, time.monotonic()), by_query=by_query)
            return find_or_make(key, kind, lambda: make(source))

        return find

    def list_used(self, seconds: float) -> list[Used]:
        """Return the decisions that queries have used in the last seconds, the last one first."""
        since = time.monotonic() - seconds
        with self._lock:
            return [used for used in reversed(self._used.values()) if used.queried_at >= since]

    def _note(self, used: Used, *, by_query: bool) -> None:
        with self._lock:
            before = self._used.get(used.key)
            if by_query:
                self._used[used.key] = used
                self._used.move_to_end(used.key)
            elif before is not None:
                self._used[used.key] = replace(before, version=used.version)
            if len(self._used) > _MAX_REMEMBERED:
                self._used.popitem(last=False)
