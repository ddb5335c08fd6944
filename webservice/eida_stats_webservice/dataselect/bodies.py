"""The rows and properties in the bodies of stored payloads of dataselect."""

import datetime
from collections.abc import Collection, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from eida_statistics import hll
from eida_statistics.encoding import PayloadSummary, Reader
from eida_statistics.packed_rows import Packer, UnreadableRows, is_readable, unpack
from eida_statistics.payload import Row
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.payloads.bodies import PayloadBodies, name_damaged
from eida_stats_webservice.payloads.table import PayloadTable


class Packed(NamedTuple):
    """The packed rows of a payload, and the hash of its statistics."""

    rows: bytes | bytearray
    content: str


class DataselectBodies:
    """Reads rows from the bodies of payloads."""

    def __init__(self, database: Database, table: PayloadTable) -> None:
        self._bodies = PayloadBodies(database)
        self._table = table

    def open(self, connection: Any, number: int) -> Reader:
        """Return a reader of a payload. It does not use the connection."""
        return Reader(self._bodies.read_pieces(connection, number))

    def read_rows(self, connection: Any, number: int, months: Collection[datetime.date]) -> Iterator[Row]:
        """Return the rows of some months. The iterator does not use the connection.

        Raises:
            DamagedPayload: while the rows are read, if the payload is damaged.
        """
        reader = self.open(connection, number)
        return _name_if_damaged(number, (row for row in reader.rows() if row.month in months))

    def read_packed_rows(self, connection: Any, number: int) -> Packed:
        """Return the packed rows of a payload. They are made and stored first if it has none that can be read.

        Raises:
            DamagedPayload: if they have to be made, and the payload is damaged.
        """
        content = self._table.read_content(connection, number)
        rows = self._bodies.read_packed_rows(connection, number)
        if is_readable(rows, content):
            return Packed(rows, content)
        reader = self.open(connection, number)
        packer = Packer()
        with name_damaged(number):
            for row in reader.rows():
                packer.add([row])
            made = Packed(packer.finish(reader.summary.content), reader.summary.content)
        # Not those of a damaged body, which may be restored from a back-up.
        if made.content == content:
            self._table.set_packed_rows(connection, number, made.rows)
        return made

    def are_packed(self, connection: Any, number: int, packed: Packed) -> bool:
        """Return whether a payload has these packed rows or none, however they are compressed."""
        stored = self._bodies.read_packed_rows(connection, number)
        try:
            pairs = zip_longest(unpack(stored, packed.content), unpack(packed.rows, packed.content))
            return not stored or all(one == other for one, other in pairs)
        except UnreadableRows:
            return False

    def read_summary(self, connection: Any, number: int) -> PayloadSummary:
        """Return what a payload says about itself.

        Raises:
            DamagedPayload: if it cannot be read.
        """
        reader = self.open(connection, number)
        with name_damaged(number):
            for _ in reader.rows():
                pass
        return reader.summary


def _name_if_damaged(number: int, rows: Iterator[Row]) -> Iterator[Row]:
    with name_damaged(number):
        for row in rows:
            hll.check(hll.from_hex(row.clients))
            yield row
