"""Aggregate requests by month and stream."""

import datetime
from array import array
from collections import Counter
from itertools import chain
from typing import Any

from eida_statistics import __version__, hll
from eida_statistics.networks import NetworkRegistry, is_temporary
from eida_statistics.payload import Exclusions, Key, Payload, Row
from eida_statistics.sketch_builder import SketchBuilder
from eida_stats_aggregator.fdsnws.log_lines import Stream
from eida_stats_aggregator.fdsnws.request_log import Request

# A request that failed delivered nothing to any stream; the federation counts it here.
_OF_NO_STREAM = Stream("", "", "--", "")


class _Sums(SketchBuilder):
    """The sums of one aggregate, and the sketch of its clients."""

    __slots__ = ("bytes", "successful", "unsuccessful")

    def __init__(self, size: int = 0, successful: int = 0, unsuccessful: int = 0) -> None:
        super().__init__()
        self.bytes = size
        self.successful = successful
        self.unsuccessful = unsuccessful

    def add_all(self, other: "_Sums") -> None:
        self.merge(other)
        self.bytes += other.bytes
        self.successful += other.successful
        self.unsuccessful += other.unsuccessful


# By month and country, then by stream, whose network is extended.
_Codes = tuple[str, str, str, str]
_Groups = dict[tuple[datetime.date, str], dict[_Codes, _Sums]]


class Aggregation:
    """Monthly sums over requests, by extended network, station, location, channel and country.

    The order in which requests are added does not matter, nor whether they are added here or merged;
    `requests` counts them.
    """

    def __init__(self, registry: NetworkRegistry) -> None:
        self.requests = 0
        self._registry = registry
        self._days: set[datetime.date] = set()
        self._groups: _Groups = {}
        self._extended: dict[tuple[str, datetime.date], str] = {}
        self._by_day: dict[tuple[datetime.date, str], dict[_Codes, _Sums]] = {}

    def add(self, request: Request) -> tuple[int, int]:
        """Add one request, and return the numbers of requests and bytes that were added to the aggregates.

        Each stream that got data counts one request and its bytes; a request that failed as a whole counts
        once, under no stream. A request without data of any stream makes no row and no day.

        Raises:
            RegistryUnavailable: if its network needs the registry, which cannot be loaded.
        """
        self.requests += 1
        deliveries = request.deliveries
        if not deliveries and deliveries is not None:
            return 0, 0
        key = request.day, request.country
        group = self._by_day.get(key)
        if group is None:
            group = self._find_group(*key)
        client = request.client
        if deliveries is None:
            failed = _get_sums(group, _OF_NO_STREAM)
            failed.unsuccessful += 1
            failed.hashes.add(client)
            return 1, 0
        total = 0
        extended = self._extended
        for stream, start, size in deliveries:
            codes: _Codes = stream
            if start is not None:
                code, station, location, channel = stream
                network = extended.get((code, start)) or self._extend(code, start)
                codes = (network, station, location, channel)
            sums = group.get(codes)
            if sums is None:
                sums = _get_sums(group, codes)
            sums.bytes += size
            sums.successful += 1
            sums.hashes.add(client)
            total += size
        return len(deliveries), total

    def merge(self, other: "Aggregation") -> None:
        """Add another aggregation, which must not be used afterwards."""
        self.requests += other.requests
        self._days |= other._days
        for key, more in other._groups.items():
            group = self._groups.setdefault(key, {})
            for codes, sums in more.items():
                known = group.get(codes)
                if known is None:
                    group[codes] = sums
                else:
                    known.add_all(sums)

    def fold(self) -> None:
        """Bound the memory that sets of clients take."""
        for group in self._groups.values():
            for sums in group.values():
                sums.fold()

    def __getstate__(self) -> tuple[Any, ...]:
        # In columns, a hundred thousand objects are sent to another process in a third of the time.
        groups = [(key, list(group), _pack_columns(list(group.values()))) for key, group in self._groups.items()]
        return self.requests, self._days, groups

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # A tally that is only merged needs no registry.
        self.__init__(NetworkRegistry(tuple))  # type: ignore[misc]
        self.requests, self._days, groups = state
        for key, codes, columns in groups:
            self._groups[key] = dict(zip(codes, _unpack_columns(columns), strict=True))

    @property
    def unregistered(self) -> dict[str, int]:
        """The temporary networks that the registry does not know, with their deliveries."""
        found: Counter[str] = Counter()
        for group in self._groups.values():
            for (network, *_), sums in group.items():
                if is_temporary(network):
                    found[network] += sums.successful
        return dict(found)

    @property
    def clients(self) -> int:
        """The number of distinct clients, estimated."""
        everyone = SketchBuilder()
        for group in self._groups.values():
            everyone.merge(*group.values())
        return hll.cardinality(everyone.to_bytes())

    def make_payload(self, generated_at: datetime.datetime, excluded: Exclusions | None = None) -> Payload:
        """Return the aggregates, sorted by key."""
        sums_by_key: dict[Key, _Sums] = {
            (month, *codes, country): sums
            for (month, country), group in self._groups.items()
            for codes, sums in group.items()
        }
        rows = [_make_row(key, sums_by_key[key]) for key in sorted(sums_by_key)]
        return Payload(
            generated_at=f"{generated_at:%Y-%m-%d %H:%M:%S}",
            version=__version__,
            days_coverage=sorted(self._days),
            aggregation_score=round(self.requests / len(rows)) if rows else 0,
            stats=rows,
            excluded=excluded,
        )

    def _find_group(self, day: datetime.date, country: str) -> dict[_Codes, _Sums]:
        self._days.add(day)
        group = self._by_day[day, country] = self._groups.setdefault((day.replace(day=1), country), {})
        return group

    def _extend(self, code: str, start: datetime.date) -> str:
        network = self._extended[code, start] = self._registry.extend(code, start)
        return network


def _get_sums(group: dict[_Codes, _Sums], codes: _Codes) -> _Sums:
    sums = group.get(codes)
    if sums is None:
        sums = group[codes] = _Sums()
    return sums


def _pack_columns(sums: list[_Sums]) -> tuple[Any, ...]:
    """Sums as one list for each of their attributes; clients are the sketch's parts, one after another."""
    return (
        [one.bytes for one in sums],
        [one.successful for one in sums],
        [one.unsuccessful for one in sums],
        [len(one.hashes) for one in sums],
        array("q", chain.from_iterable(one.hashes for one in sums)),
        {number: one.registers for number, one in enumerate(sums) if one.registers is not None},
    )


def _unpack_columns(columns: tuple[Any, ...]) -> list[_Sums]:
    """Return the rows from which `_pack_columns` was made."""
    *counts, lengths, hashes, registers = columns
    sums = [_Sums(*figures) for figures in zip(*counts, strict=True)]
    start = 0
    for one, length in zip(sums, lengths, strict=True):
        one.hashes.update(hashes[start : start + length])
        start += length
    for number, values in registers.items():
        sums[number].registers = values
    return sums


def _make_row(key: Key, sums: _Sums) -> Row:
    requests = sums.successful + sums.unsuccessful
    return Row(*key, sums.bytes, requests, sums.successful, sums.unsuccessful, hll.to_hex(sums.to_bytes()))
