"""The rows and properties in the bodies of stored payloads of dataselect."""

import datetime
from collections.abc import Collection, Iterator
from typing import Any

from eida_statistics.encoding import PayloadSummary, Reader
from eida_statistics.packed_rows import UnreadableRows, is_readable, pack, unpack
from eida_statistics.payload import Row
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.payloads.bodies import PayloadBodies, name_damaged
from eida_stats_webservice.payloads.table import PayloadTable


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

    def read_packed_rows(self, connection: Any, number: int) -> bytes | bytearray:
        """Return the packed rows of a payload. They are made and stored first if it has none that can be read.

        Raises:
            DamagedPayload: if they have to be made, and the payload is damaged.
        """
        packed = self._bodies.read_packed_rows(connection, number)
        if packed is not None and is_readable(packed):
            return packed
        reader = self.open(connection, number)
        with name_damaged(number):
            made = pack(reader.rows())
        self._table.set_packed_rows(connection, number, made)
        return made

    def are_packed(self, connection: Any, number: int, packed: bytes | bytearray) -> bool:
        """Return whether a payload has these packed rows or none, however they are compressed."""
        stored = self._bodies.read_packed_rows(connection, number)
        try:
            return stored is None or list(unpack(stored)) == list(unpack(packed))
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
        yield from rows
