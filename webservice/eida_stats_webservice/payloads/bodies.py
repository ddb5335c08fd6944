"""The bodies of stored payloads: compressed, and read in pieces."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from eida_statistics.encoding import UnreadablePayload, decompress
from eida_statistics.errors import InvalidSketch
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
        pieces = list(_read_parts(partial(self._queries.part_of_body, connection, payload_id=number)))
        if pieces == [b""] and (container := self._queries.superseded_by(connection, payload_id=number)):
            raise ContainedPayload(f"payload {number}", hint=f"Read payload {container}, which superseded it.")
        return pieces

    def read_packed_rows(self, connection: Any, number: int) -> bytes:
        """Return the packed rows of a payload; empty if it has none."""
        return b"".join(_read_parts(partial(self._queries.part_of_packed_rows, connection, payload_id=number)))


def _read_parts(read: Callable[..., Any]) -> Iterator[bytes]:
    """Yield a value in pieces, the last of which is smaller than the others; `read` returns the part of it."""
    first = 1
    while True:
        # SQLite has NULL for no bytes.
        piece = bytes(read(first=first, count=_BYTES_AT_ONCE) or b"")
        yield piece
        if len(piece) < _BYTES_AT_ONCE:
            break
        first += len(piece)


@contextmanager
def name_damaged(number: int) -> Iterator[None]:
    """Raise an error with the number of the payload if it turns out to be unreadable."""
    try:
        yield
    except (UnreadablePayload, InvalidSketch) as error:
        raise DamagedPayload(str(number), hint=_RESTORE) from error
