"""Sums of transfers by numbered groups, and transfers spread over hours."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eida_statistics.client_sets import ClientSets

Numbers = NDArray[np.int64]

HOURS_A_DAY = 24
_SECONDS_AN_HOUR = 3600
_SECONDS_A_DAY = HOURS_A_DAY * _SECONDS_AN_HOUR
# Bounds the memory: each may take all hours of the day.
_SPREAD_AT_ONCE = 4096


class Transfers(NamedTuple):
    """Transfers as columns: the number of the group, the hash of the client, bytes and packets."""

    groups: Numbers
    clients: Numbers
    sizes: Numbers
    packets: Numbers


class Sums(NamedTuple):
    """The sums of a group: bytes, packets, the number of transfers, and the sketch of the clients."""

    bytes: int
    packets: int
    transfers: int
    clients: str


class GroupSums:
    """Sums of transfers by group. A client of transfers without bytes does not count."""

    def __init__(self) -> None:
        # Bytes, packets, and numbers of transfers, by group.
        self._counts = np.zeros((3, 0), dtype=np.int64)
        self._clients = ClientSets()

    def add(self, added: Transfers, count: int) -> None:
        """Add transfers; `count` is the number of groups."""
        if more := count - self._counts.shape[1]:
            self._counts = np.concatenate((self._counts, np.zeros((3, more), dtype=np.int64)), axis=1)
        sizes, packets, transfers = self._counts
        np.add.at(sizes, added.groups, added.sizes)
        np.add.at(packets, added.groups, added.packets)
        transfers += np.bincount(added.groups, minlength=count)
        is_client = added.sizes > 0
        self._clients.add(added.groups[is_client], added.clients[is_client])

    def list_sums(self) -> list[Sums]:
        """Return the sums of all groups, in their order."""
        clients = self._clients.encode(np.arange(self._counts.shape[1]))
        return list(map(Sums, *self._counts.tolist(), clients))


def merge_parts(parts: Transfers, wholes: Numbers) -> tuple[Transfers, Numbers]:
    """Return the sums of the parts of the same whole and group, and the numbers of their wholes, from 0."""
    groups = int(parts.groups.max(initial=0)) + 1
    keys = wholes * groups + parts.groups
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    sizes, packets = np.add.reduceat(parts.sizes[order], firsts), np.add.reduceat(parts.packets[order], firsts)
    return Transfers(keys[firsts] % groups, parts.clients[order[firsts]], sizes, packets), keys[firsts] // groups


def spread_over_hours(transfers: Transfers, starts: Numbers, ends: Numbers) -> Iterator[Transfers]:
    """Yield transfers split by hours, in groups that are numbered by group and hour: 24 for each group.

    Bytes and packets are spread evenly over the time from `starts` to `ends`, in seconds of the day, without the
    time outside of the day. The sums up to the end of each hour are rounded down, so hours add up exactly. A
    transfer that takes no time is in one hour.
    """
    starts = np.clip(starts, 0, _SECONDS_A_DAY - 1)
    ends = np.clip(ends, starts + 1, _SECONDS_A_DAY)
    for first in range(0, len(starts), _SPREAD_AT_ONCE):
        part = slice(first, first + _SPREAD_AT_ONCE)
        yield _spread(Transfers(*(column[part] for column in transfers)), starts[part], ends[part])


def _spread(transfers: Transfers, starts: Numbers, ends: Numbers) -> Transfers:
    first_hours = starts // _SECONDS_AN_HOUR
    counts = (ends - 1) // _SECONDS_AN_HOUR - first_hours + 1
    # One entry for each transfer and hour: the number of the transfer, the hour, and the seconds up to its end.
    numbers = np.repeat(np.arange(len(starts)), counts)
    firsts = np.cumsum(counts) - counts
    hours = np.arange(len(numbers)) - (firsts - first_hours)[numbers]
    lengths = ends - starts
    elapsed = np.minimum((hours + 1) * _SECONDS_AN_HOUR, ends[numbers]) - starts[numbers]

    def divide(amounts: Numbers) -> Numbers:
        # The product of an amount and a time may exceed 64 bits.
        whole, rest = np.divmod(amounts, lengths)
        due = whole[numbers] * elapsed + rest[numbers] * elapsed // lengths[numbers]
        parts: Numbers = np.diff(due, prepend=0)
        parts[firsts] = due[firsts]
        return parts

    sizes, packets = divide(transfers.sizes), divide(transfers.packets)
    is_any = (sizes > 0) | (packets > 0)
    groups = transfers.groups[numbers] * HOURS_A_DAY + hours
    return Transfers(groups[is_any], transfers.clients[numbers[is_any]], sizes[is_any], packets[is_any])
