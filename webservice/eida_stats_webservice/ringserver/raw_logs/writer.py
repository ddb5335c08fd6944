"""Write the records of raw logs that count: an event for each stream of a record, and sums by client."""

import datetime
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from typing import Any

from eida_statistics.ringserver.collection import Settings, SourceDay
from eida_statistics.ringserver.events import TransferRecord
from eida_statistics.ringserver.places import Place
from eida_statistics.ringserver.stream_id import OTHER, parse
from eida_statistics.ringserver.windows import Stay
from eida_statistics.user_agents import load_classes
from eida_stats_webservice.database.base import format_time
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.ringserver.raw_logs.tables import ClientKey, EventRow, RawLogTables

# They bound the memory.
_ROWS_AT_ONCE = 1 << 15
_STREAMS_KNOWN = 1 << 16
_CLIENTS_KNOWN = 1 << 12
# JSON Lines could hold any text.
_PROTOCOL = re.compile("[A-Za-z]{1,20}")
_NO_STREAM = "\t".join(OTHER)


class RecordWriter:
    """Writes records, in one transaction that has locked the node.

    Attributes:
        other_bytes: the bytes of ids that name no stream.

    Args:
        tables: where they go.
        connection: the connection.
        node: the node of the ringservers.
        settings: how records are read.
    """

    def __init__(self, tables: RawLogTables, connection: Any, node: Node, settings: Settings) -> None:
        self.other_bytes = 0
        self._tables = tables
        self._connection = connection
        self._node = node
        self._settings = settings
        self._rows: list[EventRow] = []
        self._months: set[datetime.date] = set()
        self._partitions: set[datetime.date] = set()
        self._clients: dict[ClientKey, tuple[int, int, int]] = {}
        # The codes of streams on this day, which decides about temporary networks.
        self._streams: dict[str, str] = {}
        self._day: datetime.date | None = None
        self._classify = lru_cache(_CLIENTS_KNOWN)(load_classes().classify)

    def add(self, key: SourceDay, record: TransferRecord, stay: Stay, place: Place) -> None:
        """Write a record that counts."""
        host = self._settings.key.hash_host(record.address)
        time = datetime.datetime.fromtimestamp(stay.middle, datetime.UTC)
        common = "\t".join(
            (
                *(format_time(time), str(self._node.id), key.source, record.direction),
                *(place.city, place.country, place.geohash, host),
                record.protocol if _PROTOCOL.fullmatch(record.protocol) else "",
                self._classify(record.client_id),
            )
        )
        streams = self._list_codes(record.ids, key.day)
        if _NO_STREAM in streams:
            sizes = zip(streams, record.sizes, strict=True)
            self.other_bytes += sum(size for codes, size in sizes if codes == _NO_STREAM)
        self._rows += zip(repeat(common), streams, record.sizes, record.packets, strict=False)
        self._months.add(key.day.replace(day=1))
        total = record.total
        # As in the sums, a host that got nothing is no client.
        if total:
            of_client = ClientKey(key.day, key.source, record.direction, host)
            size, packets, lines = self._clients.get(of_client, (0, 0, 0))
            self._clients[of_client] = size + total, packets + sum(record.packets), lines + len(record.ids)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._write_events()
        # There are far fewer. Each would be updated with every batch of events.
        if len(self._clients) >= _ROWS_AT_ONCE:
            self._write_clients()

    def flush(self) -> None:
        """Write the rows that wait."""
        self._write_events()
        self._write_clients()

    def _write_events(self) -> None:
        for month in sorted(self._months - self._partitions):
            self._tables.create_partition(self._connection, month)
        self._partitions |= self._months
        self._tables.add_events(self._connection, self._rows)
        self._rows, self._months = [], set()

    def _write_clients(self) -> None:
        self._tables.add_clients(self._connection, self._node, self._clients)
        self._clients = {}

    def _list_codes(self, ids: Sequence[str], day: datetime.date) -> list[str]:
        """Return the network, station, location and channel of each stream, joined by tabs."""
        if len(self._streams) >= _STREAMS_KNOWN:
            self._streams.clear()
        if day != self._day:
            # Days alternate only around midnight.
            self._day = day
            self._streams.clear()
        known = self._streams
        try:
            return list(map(known.__getitem__, ids))
        except KeyError:
            for stream_id in ids:
                if stream_id not in known:
                    network, *codes = parse(stream_id) or OTHER
                    known[stream_id] = "\t".join(
                        (self._settings.extend(network, day) if network else network, *codes)
                    )
            return list(map(known.__getitem__, ids))
