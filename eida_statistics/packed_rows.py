"""The rows of a payload column by column, which are added up many times as fast as from JSON.

They are derived from the canonical form of a payload, and can be made again from it at any time. They are written
in pieces of some thousand rows. Each is MessagePack, compressed with zstd as a frame of its own with a checksum.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll
from eida_statistics.payload import COUNTS, Row
from eida_statistics.zstandard import zstd

ROWS_AT_ONCE = 4096
# A piece takes less than 2 kB for each row, so a longer one is damaged.
_MOST_BYTES = ROWS_AT_ONCE << 11

# Network, station, location and channel.
Stream = tuple[str, str, str, str]

_GET_COUNTS = tuple(map(attrgetter, COUNTS))
_GET_STREAM = attrgetter("network", "station", "location", "channel")
_EXPLICIT = hll.to_hex(hll.EXPLICIT_HEADER)
_HEX_DIGITS = 16
_WITH_CHECKSUM = {int(zstd.CompressionParameter.checksum_flag): 1}
_TYPES = ("<u1", "<u2", "<u4", "<i4", "<i8")
_Value = TypeVar("_Value")


class UnreadableRows(ValueError):
    """The bytes are not packed rows."""


class Numbers(msgspec.Struct, array_like=True, gc=False):
    """Integers, in the narrowest type that holds all of them.

    Attributes:
        dtype: the type, as numpy writes it: little-endian, with 1, 2, 4 or 8 bytes.
    """

    dtype: str
    values: bytes

    @classmethod
    def from_array(cls, numbers: NDArray[np.int64]) -> "Numbers":
        """Return the numbers of an array."""
        low, high = (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, 0)
        dtype = next(one for one in _TYPES if np.iinfo(one).min <= low and high <= np.iinfo(one).max)
        return cls(dtype, numbers.astype(dtype).tobytes())

    def to_array(self) -> NDArray[np.int64]:
        """Return them as signed integers of 64 bits."""
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
    network_of_stream: Numbers
    month_of_row: Numbers
    stream_of_row: Numbers
    country_of_row: Numbers
    counts: list[Numbers]
    sizes: Numbers
    hashes: Numbers
    sketches: dict[int, bytes]


_DECODER = msgspec.msgpack.Decoder(RowColumns)


class Packer:
    """Packs rows that are added some at a time. The result depends on the rows alone."""

    def __init__(self) -> None:
        self._waiting: list[Row] = []
        self._packed = bytearray()

    def add(self, rows: Sequence[Row]) -> None:
        """Add the next rows."""
        self._waiting += rows
        while len(self._waiting) >= ROWS_AT_ONCE:
            self._packed += _pack(self._waiting[:ROWS_AT_ONCE])
            del self._waiting[:ROWS_AT_ONCE]

    def finish(self) -> bytearray:
        """Return all rows that were added."""
        if self._waiting:
            self._packed += _pack(self._waiting)
            self._waiting = []
        return self._packed


def pack(rows: Iterable[Row]) -> bytearray:
    """Return rows, packed."""
    packer = Packer()
    remaining = iter(rows)
    while some := list(islice(remaining, ROWS_AT_ONCE)):
        packer.add(some)
    return packer.finish()


def unpack(packed: bytes | bytearray) -> Iterator[RowColumns]:
    """Yield packed rows, a piece at a time.

    Raises:
        UnreadableRows: if the bytes turn out to be invalid; some pieces may have been yielded before.
    """
    rest = memoryview(packed)
    try:
        while rest:
            size = zstd.get_frame_size(rest)
            yield _decode(rest[:size])
            rest = rest[size:]
    except (zstd.ZstdError, msgspec.DecodeError, TypeError, ValueError) as error:
        raise UnreadableRows(str(error)) from error


def is_readable(packed: bytes | bytearray) -> bool:
    """Return whether the bytes are packed rows."""
    try:
        for _ in unpack(packed):
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
        if row.clients.startswith(_EXPLICIT):
            digits = row.clients[len(_EXPLICIT) :]
            hashes.append(digits)
            sizes[place] = len(digits) // _HEX_DIGITS
        else:
            sketches[place] = hll.from_hex(row.clients)
    return RowColumns(
        months,
        networks,
        streams,
        countries,
        network_of_stream,
        month_of_row,
        stream_of_row,
        country_of_row,
        [Numbers.from_array(np.fromiter(map(get, rows), np.int64, len(rows))) for get in _GET_COUNTS],
        Numbers.from_array(sizes),
        Numbers.from_array(np.frombuffer(bytes.fromhex("".join(hashes)), dtype=">i8").astype(np.int64)),
        sketches,
    )


def _number(values: Sequence[_Value]) -> tuple[list[_Value], Numbers]:
    """Return the distinct values, and for each value its place among them."""
    places: dict[_Value, int] = {}
    found = [places.setdefault(value, len(places)) for value in values]
    return list(places), Numbers.from_array(np.array(found, dtype=np.int64))
