"""The bodies of stored payloads: compressed, and read in pieces."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eida_statistics.encoding import UnreadablePayload, decompress
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import ContainedPayload, DamagedPayload

_RESTORE = "Restore it from a back-up, or retract it."
# The driver holds several copies of a value that it reads.
_BYTES_AT_ONCE = 8 << 20


class PayloadBodies:
    """Reads the bodies of payloads of any kind."""

    def __init__(self, database: Database) -> None:
        self._queries = database.load_queries(Path(__file__).parent)

    def read(self, connection: Any, number: int) -> bytes:
        """Return a payload as its node sent it, in the wire format.

        Raises:
            DamagedPayload: if it cannot be read.
            ContainedPayload: if its body was deleted, because another payload contains it.
        """
        with name_damaged(number):
            return b"".join(decompress(self.read_pieces(connection, number)))

    def read_pieces(self, connection: Any, number: int) -> list[bytes]:
        """Return a payload as it is stored, compressed and in pieces."""
        pieces: list[bytes] = []
        first = 1
        while True:
            piece = self._queries.part_of_body(connection, payload_id=number, first=first, count=_BYTES_AT_ONCE)
            # SQLite has NULL for no bytes.
            pieces.append(bytes(piece or b""))
            first += len(pieces[-1])
            if len(pieces[-1]) < _BYTES_AT_ONCE:
                break
        if pieces == [b""] and (container := self._queries.superseded_by(connection, payload_id=number)):
            raise ContainedPayload(f"payload {number}", hint=f"Read payload {container}, which superseded it.")
        return pieces

    def read_packed_rows(self, connection: Any, number: int) -> bytes | None:
        """Return the packed rows of a payload, if it has any."""
        packed = self._queries.read_packed_rows(connection, payload_id=number)
        return None if packed is None else bytes(packed)


@contextmanager
def name_damaged(number: int) -> Iterator[None]:
    """Raise an error with the number of the payload if it turns out to be unreadable."""
    try:
        yield
    except UnreadablePayload as error:
        raise DamagedPayload(str(number), hint=_RESTORE) from error
