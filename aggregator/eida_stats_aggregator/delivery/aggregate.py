"""An aggregate file: its kind, and its content."""

import datetime
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from eida_statistics.encoding import encode_pieces, frame_rows
from eida_statistics.errors import EidaStatisticsError
from eida_statistics.payload import ContentHasher, Payload, Row
from eida_stats_aggregator.delivery.state import Identity

# Level 6 takes two and a half times as long, for a sixth less.
_GZIP_LEVEL = 3


class Kind(NamedTuple):
    """A kind of aggregate files.

    Attributes:
        prefix: the beginning of their names.
        hash_content: returns the hash of the statistics in a file, which was unpacked.
    """

    prefix: str
    hash_content: Callable[[bytes], str]


class Aggregate(NamedTuple):
    """Statistics that become a file: `content` is their hash, `packed` the bytes of the file."""

    identity: Identity
    content: str
    packed: bytes


def make_aggregate(payload: Payload, rows: Iterable[Sequence[Row]] = ()) -> Aggregate:
    """Return the statistics of request logs, which have a period.

    Args:
        payload: a payload, whose own rows come first.
        rows: the other rows in pieces, in their order. A large data centre has two hundred thousand, which take far
            more memory than the file. So each piece is packed before the next one is made.
    """
    if payload.period is None:
        raise ValueError("a payload without a period")
    hasher = ContentHasher(payload.days_coverage)

    def encode() -> Iterator[bytes]:
        head, tail = frame_rows(payload)
        yield head
        for piece in encode_pieces(chain([payload.stats], rows)):
            hasher.add(piece)
            yield piece
        yield tail

    packed = pack(encode(), payload.generated_at)
    return Aggregate(Identity(payload.source, payload.period), hasher.hash(), packed)


def pack(pieces: Iterable[bytes], generated_at: str) -> bytes:
    """Return the bytes of a file, from its JSON in pieces."""
    # The same statistics have the same bytes: the time in the gzip header is theirs.
    time = datetime.datetime.fromisoformat(f"{generated_at}+00:00").timestamp()
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, packed, time) as file:
        file.writelines(pieces)
    return packed.getvalue()


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
