"""An aggregate file: its kind, and its content."""

import datetime
import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.payload import ContentHasher, Payload, Row
from eida_stats_aggregator.delivery.state import Identity

# Level 6 takes two and a half times as long, for a sixth less.
_LEVEL = 3
# Method, flags, time, extra flags, operating system; and the checksum and size of the content.
_GZIP_HEADER, _GZIP_TRAILER = struct.Struct("<3sBLBB"), struct.Struct("<LL")
_UNKNOWN_SYSTEM = 255
# An empty one, behind pieces of which none is the last.
_LAST_BLOCK = b"\x03\0"


class Kind(NamedTuple):
    """A kind of aggregate files.

    Attributes:
        prefix: the beginning of their names.
        hash_content: returns the hash of the statistics in a file, which was unpacked.
    """

    prefix: str
    hash_content: Callable[[bytes], str]


class Packed(NamedTuple):
    """A piece of the JSON of a file, and the same deflated.

    It was deflated by itself, so several processes can make the pieces of a file.
    """

    text: bytes
    deflated: bytes


class Aggregate(NamedTuple):
    """Statistics that become a file: `content` is their hash, `packed` the bytes of the file."""

    identity: Identity
    content: str
    packed: bytes


def make_aggregate(payload: Payload, rows: Iterable[Packed] = ()) -> Aggregate:
    """Return the statistics of request logs, which have a period.

    Args:
        payload: a payload, whose own rows come first.
        rows: the other rows in pieces, none of which is empty. A large data centre has two hundred thousand, which
            take far more memory than the file. So each piece should be made when it is taken.
    """
    from eida_statistics.encoding import frame_rows  # noqa: PLC0415 - slow to import

    if payload.period is None:
        raise ValueError("a payload without a period")
    hasher = ContentHasher(payload.days_coverage)

    def list_pieces() -> Iterator[Packed]:
        head, tail = frame_rows(payload)
        yield deflate(head)
        own = [pack_rows(payload.stats)] if payload.stats else []
        for number, piece in enumerate(chain(own, rows)):
            for one in [_COMMA, piece] if number else [piece]:
                hasher.add(one.text)
                yield one
        yield deflate(tail)

    packed = pack(list_pieces(), payload.generated_at)
    return Aggregate(Identity(payload.source, payload.period), hasher.hash(), packed)


def pack_rows(rows: Sequence[Row]) -> Packed:
    """Return some rows of a payload, packed."""
    return deflate(msgspec.json.encode(rows)[1:-1])


def deflate(text: bytes) -> Packed:
    """Return a piece of the JSON of a file, packed."""
    deflater = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
    # Unlike Z_FINISH, it lets another piece follow.
    return Packed(text, deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH))


_COMMA = deflate(b",")


def pack(pieces: Iterable[Packed], generated_at: str) -> bytes:
    """Return the bytes of a file: a gzip of one member (RFC 1952), since not every server unpacks several."""
    # The same statistics have the same bytes: the time in the header is theirs.
    time = datetime.datetime.fromisoformat(f"{generated_at}+00:00").timestamp()
    file = io.BytesIO()
    file.write(_GZIP_HEADER.pack(b"\x1f\x8b\x08", 0, int(time), 0, _UNKNOWN_SYSTEM))
    checksum = size = 0
    for text, deflated in pieces:
        file.write(deflated)
        checksum, size = zlib.crc32(text, checksum), size + len(text)
    file.write(_LAST_BLOCK + _GZIP_TRAILER.pack(checksum, size & 0xFFFFFFFF))
    return file.getvalue()


def _hash_requests(body: bytes) -> str:
    from eida_statistics import wire  # noqa: PLC0415 - slow to import

    return wire.decode(body, today=datetime.date.max - datetime.timedelta(days=1)).content()


REQUESTS = Kind("", _hash_requests)


def read_content_hash(path: Path, kind: Kind = REQUESTS) -> str | None:
    """Return the hash of the statistics in an aggregate file, None if it holds none."""
    try:
        return kind.hash_content(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, EidaStatisticsError):
        return None
