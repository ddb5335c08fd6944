"""An aggregate file: its kind, and its content."""

import datetime
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.payload import Payload, hash_content
from eida_stats_aggregator.delivery.state import Identity

# A higher level gains little and takes four times as long.
_GZIP_LEVEL = 6


class Kind(NamedTuple):
    """A kind of aggregate files.

    Attributes:
        prefix: the beginning of their names.
        hash_content: returns the hash of the statistics in a file, which was unpacked.
    """

    prefix: str
    hash_content: Callable[[bytes], str]


class Aggregate(NamedTuple):
    """Statistics that become a file. `to_json` returns them in the wire format."""

    identity: Identity
    content: str
    generated_at: str
    to_json: Callable[[], bytes]

    def pack(self) -> bytes:
        """Return the content of the file."""
        # The same statistics have the same bytes: the time in the gzip header is theirs.
        time = datetime.datetime.fromisoformat(f"{self.generated_at}+00:00").timestamp()
        return gzip.compress(self.to_json(), _GZIP_LEVEL, mtime=time)


def make_aggregate(payload: Payload) -> Aggregate:
    """Return the statistics of request logs, which have a period."""
    if payload.period is None:
        raise ValueError("a payload without a period")
    # Rows are encoded once: a large data centre has two hundred thousand.
    rows_json = payload.encode_rows()
    content = hash_content(payload.days_coverage, rows_json)
    identity = Identity(payload.source, payload.period)
    return Aggregate(identity, content, payload.generated_at, lambda: payload.to_json(rows_json))


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
