"""Add up the rows of stored payloads that have some keys."""

from collections.abc import Collection, Iterator
from typing import Any

from eida_statistics.packed_rows import RowColumns, unpack
from eida_statistics.payload import Key, Row
from eida_stats_webservice.dataselect.bodies import DataselectBodies, Packed
from eida_stats_webservice.dataselect.key_sums import KeySums

# Bound the memory. All payloads are read again for each group of this many keys, which is smaller if it has more
# clients than these.
_KEYS_AT_ONCE = 1 << 17
_CLIENTS_AT_ONCE = 1 << 23
# So much is kept from the first pass for the next ones.
_KEPT_BYTES = 32 << 20


class PayloadSums:
    """The sums of rows over some payloads. The first pass reads them from the database, and keeps the first ones.

    Its methods raise DamagedPayload if a payload without packed rows is damaged.
    """

    def __init__(self, connection: Any, bodies: DataselectBodies, numbers: Collection[int]) -> None:
        self._connection = connection
        self._bodies = bodies
        self._numbers = numbers
        self._kept: dict[int, Packed] = {}
        self._kept_bytes = 0

    def add_by_stream(self, keys: Collection[Key]) -> Iterator[list[Row]]:
        """Yield the sums of rows with some keys, some keys at a time, in order."""
        return self._add(keys, by_network=False)

    def add_by_network(self, keys: Collection[Key]) -> Iterator[list[Row]]:
        """Yield the sums of the networks and countries of some keys. Station, location and channel are empty."""
        networks = {(month, network, "", "", "", country) for month, network, *_, country in keys}
        return self._add(networks, by_network=True)

    def _add(self, keys: Collection[Key], *, by_network: bool) -> Iterator[list[Row]]:
        ordered = sorted(keys)
        start, size = 0, _KEYS_AT_ONCE
        while start < len(ordered):
            sums = KeySums(ordered[start : start + size], _CLIENTS_AT_ONCE, by_network=by_network)
            for number in self._numbers:
                for rows in self._read(number):
                    sums.add(rows)
            start += len(sums.keys)
            # The next keys may have fewer clients.
            size = min(2 * len(sums.keys), _KEYS_AT_ONCE)
            yield sums.make_rows()

    def _read(self, number: int) -> Iterator[RowColumns]:
        packed = self._kept.get(number)
        if packed is None:
            packed = self._bodies.read_packed_rows(self._connection, number)
            if self._kept_bytes + len(packed.rows) <= _KEPT_BYTES:
                self._kept[number] = packed
                self._kept_bytes += len(packed.rows)
        return unpack(*packed)
