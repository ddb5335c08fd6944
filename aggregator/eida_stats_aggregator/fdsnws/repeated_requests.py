"""Count requests once that are logged more than once in a run.

A request is known by its key: see `request_log.Request`. Of several records, that of a failed request counts,
since SeisComP before February 2021 wrote an OK record and an ERROR record of a request that was cut off. Of
several that are alike in that and differ in their content, the one with the smallest hash counts. So the order of
the logs, their compression and the number of processes do not matter.

Each reading chooses among records that are in one chunk of a log, as most of those of a request are. The first one
notes the keys of the others, and counts them all. If no key is there twice, this is the only reading. Else a second
one counts each request where its first record is. A third one is needed only if such records differ.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np
from mmh3 import hash64
from numpy.typing import NDArray

from eida_statistics.errors import UnreadableLog

# About 50 MB of requests.
_HELD_REQUESTS = 1 << 16
_Keys = NDArray[np.int64]


class _Keyed(Protocol):
    """A record of a request; `request_log.Request` explains its key."""

    @property
    def key(self) -> int: ...


_Request = TypeVar("_Request", bound=_Keyed)


@dataclass
class RecordKeys:
    """The keys of the records at one place; `ranks` are hashes of their content, if needed."""

    keys: "array[int]" = field(default_factory=lambda: array("q"))
    ranks: "array[int]" = field(default_factory=lambda: array("q"))


@dataclass
class Choices:
    """The repeated requests, and the records of them that count.

    `repeated` has their keys without the last bit; `due` has, by place, the keys of which a record is to be counted
    once there, each with the rank of that record, or None if any does. A tally removes what it has counted.
    `near` is the number of records that each reading drops, because of others nearby.
    """

    repeated: frozenset[int]
    due: dict[int, dict[int, int | None]]
    near: int = 0
    by_rank: bool = False


def rank(request: object) -> int:
    """Return a hash of all that a request adds to the statistics."""
    # Unlike an encoder, it can write lone surrogates.
    return hash64(ascii(request))[0]


def precedes(request: _Keyed, other: _Keyed) -> bool:
    """Return whether a record counts, and not another one of the same request."""
    return (request.key, rank(request)) < (other.key, rank(other))


def choose_next(noted: Mapping[int, RecordKeys], near: int, chosen: int, choices: Choices | None) -> Choices | None:
    """Return the choices for another reading, or None if none is needed.

    Args:
        noted: the keys that a reading noted, by place.
        near: how many records it dropped because of others nearby.
        chosen: how many of the records that were due it counted.
        choices: those of this reading, None for the first one.

    Raises:
        UnreadableLog: if a log is not the same as at the first reading.
    """
    if choices is None:
        return find_repeated(noted, near)
    if (near, chosen) != (choices.near, len(choices.repeated)):
        raise UnreadableLog("a log was changed while it was read", hint="Run again when nothing writes to it.")
    return settle(noted, choices) if not choices.by_rank else None


def find_repeated(noted: Mapping[int, RecordKeys], near: int) -> Choices | None:
    """Return the choices for a second reading, or None if no request is repeated; as `choose_next`."""
    keys = _concatenate(one.keys for one in noted.values())
    np.bitwise_and(keys, ~1, out=keys)
    keys.sort()
    repeated = keys[1:][keys[1:] == keys[:-1]]
    if not len(repeated):
        return None
    of_repeated = {}
    for place, one in noted.items():
        here = np.frombuffer(one.keys, dtype=np.int64)
        of_repeated[place] = here[np.isin(here & ~1, repeated)]
    keys, places = _concatenate(of_repeated.values()), _repeat_places(of_repeated)
    first = _find_first_records(keys, np.lexsort((places, keys)))
    due: dict[int, dict[int, int | None]] = {}
    for key, place in zip(keys[first].tolist(), places[first].tolist(), strict=True):
        due.setdefault(place, {})[key] = None
    return Choices(frozenset(repeated.tolist()), due, near)


def settle(noted: Mapping[int, RecordKeys], choices: Choices) -> Choices | None:
    """Return the choices for a third reading, or None if all records that could have counted are alike."""
    keys, ranks = (
        _concatenate(one.keys for one in noted.values()),
        _concatenate(one.ranks for one in noted.values()),
    )
    places = _repeat_places({place: one.keys for place, one in noted.items()})
    order = np.lexsort((places, ranks, keys))
    first = _find_first_records(keys, order)
    keys_in_order, ranks_in_order = keys[order], ranks[order]
    chosen = np.isin(keys_in_order, keys[first])
    alike = (keys_in_order[1:] != keys_in_order[:-1]) | (ranks_in_order[1:] == ranks_in_order[:-1]) | ~chosen[1:]
    if alike.all():
        return None
    due: dict[int, dict[int, int | None]] = {}
    columns = (keys[first].tolist(), ranks[first].tolist(), places[first].tolist())
    for key, its_rank, place in zip(*columns, strict=True):
        due.setdefault(place, {})[key] = its_rank
    return Choices(choices.repeated, due, choices.near, by_rank=True)


def _concatenate(columns: Iterable["array[int] | _Keys"]) -> _Keys:
    return np.concatenate([np.zeros(0, np.int64), *(np.frombuffer(one, dtype=np.int64) for one in columns)])


def _repeat_places(columns: "Mapping[int, array[int] | _Keys]") -> _Keys:
    return np.repeat(np.array([*columns], np.int64), [len(one) for one in columns.values()])


def _find_first_records(keys: _Keys, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where the first record of each request is; failed ones come first, since their last bit is 0."""
    requests = keys[order] & ~1
    is_first = np.concatenate([[True], requests[1:] != requests[:-1]])
    first: NDArray[np.intp] = order[is_first]
    return first


@dataclass
class Window(Generic[_Request]):
    """Recognises repeated requests while a log is read that cannot be read again.

    The last requests are held back. Among their records it chooses as for other logs. Of a request that is not held
    back any more, no other record counts.
    """

    repeated: int = 0
    _known: set[int] = field(default_factory=set)
    _held: dict[int, _Request] = field(default_factory=dict)

    def pass_on(self, requests: Iterable[_Request]) -> Iterator[_Request]:
        """Add requests, and yield those that leave the window."""
        known, held = self._known, self._held
        for request in requests:
            key = request.key & ~1
            if key not in known:
                known.add(key)
                held[key] = request
                continue
            self.repeated += 1
            other = held.get(key)
            if other is not None and precedes(request, other):
                held[key] = request
        if len(held) > 2 * _HELD_REQUESTS:
            yield from self._release(_HELD_REQUESTS)

    def release(self) -> Iterator[_Request]:
        """Yield all requests that are held back."""
        return self._release(len(self._held))

    def _release(self, number: int) -> Iterator[_Request]:
        held = iter(self._held.items())
        released = [request for _, request in islice(held, number)]
        self._held = dict(held)
        yield from released
