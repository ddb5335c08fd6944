"""Unpack ranges of a bzip2 file independently of each other.

A bzip2 stream is a row of blocks, each with a checksum of its own, that begin at any bit behind a marker of 48
bits. The bits between two markers, put between a header and a trailer, are a whole stream of one block.
Format: https://en.wikipedia.org/wiki/Bzip2#File_format, and the specification by Joe Tsai (2016).
"""

import bz2
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from eida_stats_aggregator.logs.seven_zip import Decoder, NotDecoded

MAGIC = b"BZh"
_BLOCK = 0x314159265359
_END = 0x177245385090
_MARKER_BITS = 48
_CRC_BITS = 32
_TRAILER_BITS = _MARKER_BITS + _CRC_BITS
# The size of blocks, in 100 kB, is part of it.
_HEADERS = frozenset(MAGIC + b"%d" % size for size in range(1, 10))
_HEADER_BITS = 32
_LARGEST_HEADER = MAGIC + b"9"
# A block of 900 kB that cannot be compressed at all takes not much more.
_MAX_BLOCK_BYTES = 1_100_000
_READ_AHEAD_BYTES = 1 << 16
# A decoder of whole streams gets so many blocks at once. More gain nothing, and all their content is in memory:
# 3 MB of a log; of runs of 255 equal bytes, 46 MB a block.
_BLOCKS_AT_ONCE = 4
# Most such blocks are far smaller: a run of one byte becomes one of 40 bytes. libbz2 unpacks them in chunks.
_MIN_BITS_AT_ONCE = 1 << 16
# Unpacking a block takes some megabytes.
_KEPT_BYTES = 1 << 25


class NotSplittable(Exception):
    """This file is not a plain row of blocks, or a part of it is damaged; `log` is its number among the logs."""

    log = 0


class _Block(NamedTuple):
    """The first bit of a block's marker and the last of its data, counted from the first bit that was read."""

    start: int
    end: int


def keep_freed_memory() -> None:
    """Let glibc's malloc keep memory that is freed, since the next block needs it again.

    Otherwise the system has to clear it for each block. See M_TRIM_THRESHOLD in mallopt(3).
    """
    # malloc keeps twice as much as the largest piece that was ever freed. This one is never touched.
    _freed = bytes(_KEPT_BYTES // 2)


def unpack(
    file: int, start: int, end: int, size: int, *, chunk_bytes: int, decoder: Decoder | None = None
) -> Iterator[bytes]:
    """Yield the content of all blocks whose marker begins in a range of bytes, from `start` to before `end`.

    The ranges of a file, which has `size` bytes, must cover it without gap or overlap. A `decoder` unpacks all but
    very small blocks, instead of libbz2.

    Raises:
        NotSplittable: if a block is damaged, or the file has something else between its blocks. The content
            yielded until then must not be used. Reading the file from its beginning shows the fault.
    """
    ahead = _READ_AHEAD_BYTES
    while True:
        data = os.pread(file, end - start + ahead, start)
        blocks = _find_blocks(data, end - start, at_start=start == 0, at_end=start + len(data) >= size)
        if blocks is not None:
            break
        if ahead > _MAX_BLOCK_BYTES:
            raise NotSplittable("a block without end")
        ahead *= 4
    for some in _join_neighbours(blocks, 1 if decoder is None else _BLOCKS_AT_ONCE):
        stream = _make_stream(data, some)
        if decoder is None or _may_be_bomb(some[0]):
            yield from _unpack_stream(stream, chunk_bytes)
        else:
            yield from _decode_stream(stream, chunk_bytes, decoder)


def _find_blocks(data: bytes, length: int, *, at_start: bool, at_end: bool) -> list[_Block] | None:
    """Return the blocks that begin in the first bytes of some data; None if more of it is needed for the last."""
    starts = _find_markers(data, _BLOCK)
    if at_start and (starts[:1] != [_HEADER_BITS] or data[: _HEADER_BITS // 8] not in _HEADERS):
        raise NotSplittable("no block at its beginning")
    mine = [start for start in starts if start // 8 < length]
    following = starts[len(mine) : len(mine) + 1]
    if mine and not following:
        if not at_end:
            return None
        following = [8 * len(data) + _HEADER_BITS]
    return [_Block(start, _find_end(data, start, then)) for start, then in pairwise([*mine, *following])]


def _find_end(data: bytes, start: int, then: int) -> int:
    """Return the bit at which a block ends: at the next block (`then`), or at the trailer of its stream."""
    end = then
    # Between two streams there may be some that are empty: a header and a trailer each.
    while (trailer := _find_trailer(data, start, end)) is not None:
        end = trailer
    if end > 8 * len(data):
        raise NotSplittable("no trailer at its end")
    return end


def _find_trailer(data: bytes, start: int, then: int) -> int | None:
    """Return the bit at which the trailer of a stream begins, or None within a stream.

    `then` is the bit behind the header of the next stream; the end of the file counts as one.
    """
    header = then - _HEADER_BITS
    if header % 8 or not (then > 8 * len(data) or data[header // 8 : then // 8] in _HEADERS):
        return None
    for padding in range(8):
        trailer = header - padding - _TRAILER_BITS
        if trailer > start and _read_bits(data, trailer, trailer + _MARKER_BITS) == _END:
            return trailer
    return None


def _find_markers(data: bytes, marker: int) -> list[int]:
    """Return all bits at which a marker begins, in order."""
    found = []
    for shift in range(8):
        # The bytes of the marker that are whole at this shift, which are quick to find.
        inner = (marker << 8 - shift).to_bytes(7, "big")[1:6]
        at = data.find(inner)
        while at != -1:
            first = 8 * (at - 1) + shift
            if first >= 0 and _read_bits(data, first, first + _MARKER_BITS) == marker:
                found.append(first)
            at = data.find(inner, at + 1)
    return sorted(found)


def _read_bits(data: bytes, first: int, last: int) -> int:
    """Return the bits from one position to before another as an integer."""
    padding = -last % 8
    value = int.from_bytes(data[first // 8 : (last + padding) // 8], "big")
    return (value >> padding) & ((1 << last - first) - 1)


def _join_neighbours(blocks: Iterable[_Block], most: int) -> Iterator[list[_Block]]:
    """Yield blocks that can be unpacked at once, at most so many. One that may be a bomb is yielded alone."""
    some: list[_Block] = []
    for block in blocks:
        if some and (
            len(some) == most or block.start != some[-1].end or _may_be_bomb(block) or _may_be_bomb(some[-1])
        ):
            yield some
            some = []
        some.append(block)
    if some:
        yield some


def _may_be_bomb(block: _Block) -> bool:
    return block.end - block.start < _MIN_BITS_AT_ONCE


def _make_stream(data: bytes, blocks: Sequence[_Block]) -> bytes:
    """Return a stream of blocks that follow each other without anything between them."""
    crc = 0
    for block in blocks:
        crc_of_block = _read_bits(data, block.start + _MARKER_BITS, block.start + _TRAILER_BITS)
        crc = (crc << 1 | crc >> _CRC_BITS - 1) & (1 << _CRC_BITS) - 1 ^ crc_of_block
    start, end = blocks[0].start, blocks[-1].end
    stream = (_read_bits(data, start, end) << _MARKER_BITS | _END) << _CRC_BITS | crc
    bits = end - start + _TRAILER_BITS
    padding = -bits % 8
    # The largest size of blocks does for smaller ones, too.
    return _LARGEST_HEADER + (stream << padding).to_bytes((bits + padding) // 8, "big")


def _decode_stream(stream: bytes, chunk_bytes: int, decoder: Decoder) -> Iterator[bytes]:
    try:
        content = decoder(stream)
    except NotDecoded as error:
        raise NotSplittable("a damaged block") from error
    for start in range(0, len(content), chunk_bytes):
        yield content[start : start + chunk_bytes]


def _unpack_stream(packed: bytes, chunk_bytes: int) -> Iterator[bytes]:
    decompressor = bz2.BZ2Decompressor()
    while not decompressor.eof:
        try:
            chunk = decompressor.decompress(packed, chunk_bytes)
        except OSError as error:
            raise NotSplittable("a damaged block") from error
        if not chunk and decompressor.needs_input:
            raise NotSplittable("a block that is cut off")
        packed = b""
        yield chunk
    if decompressor.unused_data:
        # Its stream ended before the next block, whose header or marker is damaged, or has something before it.
        raise NotSplittable("something else between two blocks")
