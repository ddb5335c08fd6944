"""The bodies of stored payloads: compressed, and read in pieces."""

import datetime
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from eida_statistics.encoding import PayloadSummary, Reader, UnreadablePayload, decompress
from eida_statistics.payload import Row
from eida_stats_webservice.errors import DamagedPayload

_RESTORE = "Restore it from a back-up, or retract it."
# The driver holds several copies of a value that it reads.
_BYTES_AT_ONCE = 8 << 20


class PayloadBodies:
    """Reads the bodies of payloads."""

    def __init__(self, queries: Any) -> None:
        self._queries = queries

    def read(self, connection: Any, number: int) -> bytes:
        """Return a payload as its node sent it, in the wire format.

        Raises:
            DamagedPayload: if it cannot be read.
        """
        with name_damaged(number):
            return b"".join(decompress(self.read_pieces(connection, number)))

    def read_pieces(self, connection: Any, number: int) -> list[bytes]:
        """Return a payload as it is stored, compressed and in pieces."""
        pieces: list[bytes] = []
        first = 1
        while True:
            piece = self._queries.part_of_body(connection, payload_id=number, first=first, count=_BYTES_AT_ONCE)
            pieces.append(bytes(piece))
            first += len(pieces[-1])
            if len(pieces[-1]) < _BYTES_AT_ONCE:
                return pieces

    def open(self, connection: Any, number: int) -> Reader:
        """Return a reader of a payload. It does not use the connection."""
        return Reader(self.read_pieces(connection, number))

    def read_rows(self, connection: Any, number: int, months: Collection[datetime.date]) -> Iterator[Row]:
        """Return the rows of some months. The iterator does not use the connection.

        Raises:
            DamagedPayload: while the rows are read, if the payload is damaged.
        """
        reader = self.open(connection, number)

        def rows() -> Iterator[Row]:
            with name_damaged(number):
                yield from (row for row in reader.rows() if row.month in months)

        return rows()

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


@contextmanager
def name_damaged(number: int) -> Iterator[None]:
    """Raise an error with the number of the payload if it turns out to be unreadable."""
    try:
        yield
    except UnreadablePayload as error:
        raise DamagedPayload(str(number), hint=_RESTORE) from error
