"""The rows and properties in the bodies of stored payloads of dataselect."""

import datetime
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from eida_statistics.encoding import PayloadSummary, Reader, encode_key
from eida_statistics.payload import Key, Row
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.payloads.bodies import PayloadBodies, name_damaged


class DataselectBodies:
    """Reads rows from the bodies of payloads."""

    def __init__(self, database: Database) -> None:
        self._bodies = PayloadBodies(database)

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

    def select_rows(
        self, connection: Any, numbers: Iterable[int], keys: Collection[Key]
    ) -> Iterator[Iterator[Row]]:
        """Yield the rows of each payload that have some keys. Others are not decoded, nor checked.

        The iterator of a payload does not use the connection. It must be read before the next one.

        Raises:
            DamagedPayload: while the rows are read, if a payload is damaged.
        """
        encoded = {encode_key(key) for key in keys}
        for number in numbers:
            yield _name_if_damaged(number, self.open(connection, number).rows(encoded))

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
