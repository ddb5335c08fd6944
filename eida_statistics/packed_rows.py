"""The rows of a payload column by column, which are added up several times as fast as from JSON.

They are derived from the canonical form of a payload, and can be made again from it at any time. A header names the
payload by its content. Then follow pieces of some thousand rows: each is MessagePack, compressed with zstd as a
frame of its own with a checksum.
"""

import datetime
import struct
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll
from eida_statistics.errors import InvalidSketch
from eida_statistics.payload import COUNTS, Row
from eida_statistics.zstandard import zstd

ROWS_AT_ONCE = 4096
# A piece takes less than 2 kB for each row, so a longer one is damaged.
_MOST_BYTES = ROWS_AT_ONCE << 11

# Network, station, location and channel.
Stream = tuple[str, str, str, str]

_GET_COUNTS = tuple(map(attrgetter, COUNTS))
_GET_STREAM = attrgetter("network", "station", "location", "channel")
# Version of the format, hash of the content, and number of rows.
_HEADER = struct.Struct("<B16sI")
_VERSION = 1
_WITH_CHECKSUM = {int(zstd.CompressionParameter.checksum_flag): 1}
_TYPES = ("<u1", "<u2", "<u4", "<i4", "<i8")
_Value = TypeVar("_Value")


class UnreadableRows(ValueError):
    """The bytes are not packed rows."""


class PackedNumbers(msgspec.Struct, array_like=True, gc=False):
    """Integers, in the narrowest type that holds all of them.

    Attributes:
        dtype: the type, as numpy writes it: little-endian, with 1, 2, 4 or 8 bytes.
    """

    dtype: str
    values: bytes

    @classmethod
    def from_array(cls, numbers: NDArray[np.int64]) -> "PackedNumbers":
        """Return the numbers of an array."""
        low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
        dtype = next(one for one in _TYPES if np.iinfo(one).min <= low and high <= np.iinfo(one).max)
        return cls(dtype, numbers.astype(dtype).tobytes())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.values) // np.dtype(self.dtype).itemsize

    def to_array(self) -> NDArray[np.int64]:
        """Return them as signed integers of 64 bits."""
        if self.dtype not in _TYPES:
            raise UnreadableRows("an unknown type of numbers")
        return np.frombuffer(self.values, dtype=self.dtype).astype(np.int64)


class RowColumns(msgspec.Struct, array_like=True, gc=False):
    """Some rows of a payload, column by column.

    Attributes:
        months, networks, streams, countries: the distinct ones.
        network_of_stream: for each of the streams, the place of its network.
        month_of_row, stream_of_row, country_of_row: for each row, its place among these.
        counts: one column for each field of `COUNTS`.
        sizes: for each row, how many hashes its sketch lists.
        hashes: these hashes, row by row.
        sketches: all sketches that do not list hashes, by the place of their row.
    """

    months: list[datetime.date]
    networks: list[str]
    streams: list[Stream]
    countries: list[str]
    network_of_stream: PackedNumbers
    month_of_row: PackedNumbers
    stream_of_row: PackedNumbers
    country_of_row: PackedNumbers
    counts: list[PackedNumbers]
    sizes: PackedNumbers
    hashes: PackedNumbers
    sketches: dict[int, bytes]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.sizes)


_DECODER = msgspec.msgpack.Decoder(RowColumns)


class Packer:
    """Packs rows that are added some at a time. The result depends on the rows alone."""

    def __init__(self) -> None:
        self._waiting: list[Row] = []
        self._packed = bytearray(_HEADER.size)
        self._count = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Add the next rows.

        Raises:
            InvalidSketch: if a sketch is not valid.
        """
        self._waiting += rows
        self._count += len(rows)
        while len(self._waiting) >= ROWS_AT_ONCE:
            self._packed += _pack(self._waiting[:ROWS_AT_ONCE])
            del self._waiting[:ROWS_AT_ONCE]

    def finish(self, content: str) -> bytearray:
        """Return all rows that were added. `content` is the hash of the statistics of the payload.

        Raises:
            InvalidSketch: if a sketch is not valid.
        """
        if self._waiting:
            self._packed += _pack(self._waiting)
            self._waiting = []
        _HEADER.pack_into(self._packed, 0, _VERSION, bytes.fromhex(content), self._count)
        return self._packed


def unpack(packed: bytes | bytearray, content: str) -> Iterator[RowColumns]:
    """Yield the packed rows of a payload, a piece at a time.

    Args:
        packed: the bytes.
        content: the hash of the statistics of the payload.

    Raises:
        UnreadableRows: if the bytes turn out to be invalid, or to be of another payload; some pieces may have been
            yielded before.
    """
    try:
        version, found, count = _HEADER.unpack_from(packed)
        if version != _VERSION or found != bytes.fromhex(content):
            raise UnreadableRows("another version or payload")
        rest = memoryview(packed)[_HEADER.size :]
        while rest:
            size = zstd.get_frame_size(rest)
            piece = _decode(rest[:size])
            count -= len(piece)
            yield piece
            rest = rest[size:]
        if count:
            raise UnreadableRows("another number of rows")
    except (struct.error, zstd.ZstdError, msgspec.DecodeError, TypeError, ValueError) as error:
        raise UnreadableRows(str(error)) from error


def is_readable(packed: bytes | bytearray, content: str) -> bool:
    """Return whether the bytes are the packed rows of a payload with this hash of its statistics."""
    try:
        for _ in unpack(packed, content):
            pass
    except UnreadableRows:
        return False
    return True


def _decode(frame: memoryview) -> RowColumns:
    stream = zstd.ZstdDecompressor()
    piece = _DECODER.decode(stream.decompress(frame, _MOST_BYTES))
    if not stream.eof:
        raise ValueError("a piece is too long")
    return piece


def _pack(rows: list[Row]) -> bytes:
    return zstd.compress(msgspec.msgpack.encode(_make_columns(rows)), options=_WITH_CHECKSUM)


def _make_columns(rows: list[Row]) -> RowColumns:
    months, month_of_row = _number([row.month for row in rows])
    streams, stream_of_row = _number(list(map(_GET_STREAM, rows)))
    networks, network_of_stream = _number([network for network, *_ in streams])
    countries, country_of_row = _number([row.country for row in rows])
    hashes = []
    sizes = np.zeros(len(rows), dtype=np.int64)
    sketches = {}
    for place, row in enumerate(rows):
        if row.clients.startswith(hll.EXPLICIT_HEX):
            digits = row.clients[len(hll.EXPLICIT_HEX) :]
            hashes.append(digits)
            sizes[place], rest = divmod(len(digits), hll.HASH_DIGITS)
            if rest:
                raise InvalidSketch("a hash that is cut off")
        else:
            sketches[place] = hll.from_hex(row.clients)
            hll.check(sketches[place])
    return RowColumns(
        months,
        networks,
        streams,
        countries,
        network_of_stream,
        month_of_row,
        stream_of_row,
        country_of_row,
        [PackedNumbers.from_array(np.fromiter(map(get, rows), np.int64, len(rows))) for get in _GET_COUNTS],
        PackedNumbers.from_array(sizes),
        PackedNumbers.from_array(
            np.frombuffer(hll.from_hex("\\x" + "".join(hashes)), dtype=">i8").astype(np.int64)
        ),
        sketches,
    )


def _number(values: Sequence[_Value]) -> tuple[list[_Value], PackedNumbers]:
    """Return the distinct values, and for each value its place among them."""
    places: dict[_Value, int] = {}
    found = [places.setdefault(value, len(places)) for value in values]
    return list(places), PackedNumbers.from_array(np.array(found, dtype=np.int64))
