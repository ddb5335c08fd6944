"""Check that the lists of a day's payload add up to each other."""

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from eida_statistics import hll
from eida_statistics.ringserver.payload import DayPayload
from eida_statistics.rows import SumRow
from eida_statistics.validation import Fault

_NO_CLIENTS = hll.to_hex(hll.EMPTY)

# The fields of which rows must have the same values to be added up.
_BY_NETWORK = ("direction", "network", "country")
_BY_COUNTRY = ("direction", "country")


class _Law(NamedTuple):
    """Two lists with the same sums over the rows of equal fields."""

    checked: str
    other: str
    fields: tuple[str, ...]
    counts: tuple[str, ...]


_LAWS = (
    _Law("days", "stats", _BY_NETWORK, ("bytes", "packets", "records")),
    _Law("days", "hours", _BY_NETWORK, ("bytes", "packets")),
    _Law("places", "days", _BY_COUNTRY, ("bytes", "packets")),
)


class _Sums(NamedTuple):
    """The sums of some rows, the union of their clients, and the number of the first of them."""

    counts: list[int]
    clients: str
    first: int | None


def find_wrong_sums(payload: DayPayload) -> Iterator[Fault]:
    """Yield a fault for each sum and each union of clients that differs from that of another list.

    The sketches must be in canonical form. Hours and places without bytes and packets have no rows, so no row is
    the same as one that counts nothing.
    """
    for law in _LAWS:
        checked = _sum_up(payload.lists[law.checked], law)
        other = _sum_up(payload.lists[law.other], law)
        nothing = _Sums([0] * len(law.counts), _NO_CLIENTS, None)
        for key in checked | other:
            yield from _compare(key, checked.get(key, nothing), other.get(key, nothing), law)


def _compare(key: tuple[str, ...], checked: _Sums, other: _Sums, law: _Law) -> Iterator[Fault]:
    name = ", ".join(f"{field} {value or '(none)'}" for field, value in zip(law.fields, key, strict=True))
    if (checked.counts, checked.clients) == (other.counts, other.clients):
        return
    if checked.first is None:
        yield law.checked, f"no row of {name}, which {law.other} has"
        return
    path = f"{law.checked}[{checked.first}]"
    if other.first is None:
        yield path, f"{law.other} has no row of {name}"
        return
    for field, mine, others in zip(law.counts, checked.counts, other.counts, strict=True):
        if mine != others:
            yield f"{path}.{field}", f"rows of {name} add up to {mine}, those of {law.other} to {others}"
    if checked.clients != other.clients:
        yield f"{path}.clients", f"rows of {name} have other clients than those of {law.other}"


def _sum_up(rows: Sequence[SumRow], law: _Law) -> dict[tuple[str, ...], _Sums]:
    get_key, get_counts = attrgetter(*law.fields), attrgetter(*law.counts)
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(get_key(row), []).append(number)
    return {
        key: _Sums(
            [sum(column) for column in zip(*(get_counts(rows[number]) for number in numbers), strict=True)],
            _unite([rows[number].clients for number in numbers]),
            numbers[0],
        )
        for key, numbers in groups.items()
    }


def _unite(sketches: Sequence[str]) -> str:
    distinct = set(sketches)
    return sketches[0] if len(distinct) == 1 else hll.to_hex(hll.unite(map(hll.from_hex, distinct)))
