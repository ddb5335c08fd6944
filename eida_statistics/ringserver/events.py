"""The pieces of a transfer log: records, and pieces that do not count."""

from enum import StrEnum
from typing import Literal

import msgspec

Direction = Literal["TX", "RX"]

TX: Direction = "TX"
"""Sent to clients."""

RX: Direction = "RX"
"""Received from data sources."""


class RecordState(StrEnum):
    """Whether a record is as ringserver writes it."""

    COMPLETE = "complete"
    CUT = "cut"
    """Its end is missing. The complete stream lines count."""
    DIFFERING = "differing"
    """Its total is not the sum of its streams. The streams count."""


class TransferRecord(msgspec.Struct, frozen=True, gc=False):
    """The data that a server sent to a client, or received from a data source, in a part of a connection.

    Times are in seconds since 1970. `ids`, `sizes` and `packets` have an entry for each stream.

    Attributes:
        address: the address of the client, as the log has it. It must not leave the node.
        client_id: the text by which the client introduces itself. It must not leave the node, either.
        written_at: the end of the time that the record covers.
        starts_at: the beginning of that time, None if the log does not state it.
        ids: the ids of the streams, as the log has them.
        sizes: bytes.
        content: the text that identifies the record; equal records have equal texts.
        line: the number of its first line, from 1.
        length: its bytes in the log.
        holds_forgery: whether the client id contains parts of records.
    """

    direction: Direction
    address: str
    protocol: str
    client_id: str
    written_at: int
    connected_at: int
    starts_at: int | None
    ids: list[str]
    sizes: list[int]
    packets: list[int]
    content: bytes
    line: int
    length: int
    state: RecordState = RecordState.COMPLETE
    holds_forgery: bool = False

    @property
    def total(self) -> int:
        """The bytes of all streams."""
        return sum(self.sizes)


class Rejection(msgspec.Struct, frozen=True):
    """A piece of a log that does not count, and the reason. It never quotes the log.

    Attributes:
        line: the number of its first line, from 1.
        length: its bytes in the log.
    """

    line: int
    length: int
    reason: str


class Unfinished(msgspec.Struct, frozen=True):
    """The last piece of a log that ends within a record: it counts once the log has grown.

    Attributes:
        line: the number of its first line, from 1.
        length: its bytes in the log.
    """

    line: int
    length: int


class Skipped(msgspec.Struct, frozen=True):
    """Bytes without meaning, such as NULs and empty lines.

    Attributes:
        line: the number of the line, from 1.
        length: its bytes in the log.
    """

    line: int
    length: int


Event = TransferRecord | Rejection | Unfinished | Skipped
