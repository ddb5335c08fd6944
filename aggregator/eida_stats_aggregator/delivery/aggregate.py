"""An aggregate file: its kind, and its content."""

import datetime
import gzip
import io
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from eida_statistics.encoding import encode_slices, frame_rows
from eida_statistics.errors import EidaStatisticsError
from eida_statistics.payload import ContentHasher, Payload
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
    """Statistics that become a file. `to_json` returns them in the wire format, in pieces."""

    identity: Identity
    content: str
    generated_at: str
    to_json: Callable[[], Iterable[bytes]]

    def pack(self) -> bytes:
        """Return the content of the file."""
        # The same statistics have the same bytes: the time in the gzip header is theirs.
        time = datetime.datetime.fromisoformat(f"{self.generated_at}+00:00").timestamp()
        packed = io.BytesIO()
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, packed, time) as file:
            file.writelines(self.to_json())
        return packed.getvalue()


def make_aggregate(payload: Payload) -> Aggregate:
    """Return the statistics of request logs, which have a period."""
    if payload.period is None:
        raise ValueError("a payload without a period")
    # Rows are encoded once: a large data centre has two hundred thousand. They take more memory than their JSON.
    pieces = list(encode_slices(payload.stats))
    hasher = ContentHasher(payload.days_coverage)
    for piece in pieces:
        hasher.add(piece)
    head, tail = frame_rows(payload)
    identity = Identity(payload.source, payload.period)
    return Aggregate(identity, hasher.hash(), payload.generated_at, lambda: [head, *pieces, tail])


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
