"""Check that the file of a crawl is complete, by its first and its last line, without keeping it in memory."""

import datetime
from typing import IO, NamedTuple

from eida_statistics.archive.crawl_file import (
    CUT_OFF,
    SEND_AGAIN,
    merge_ends,
    parse_first_line,
    parse_last_line,
    unpack,
)
from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.archive.records import CrawlRecord

# The last line names all directories that could not be read.
_MAX_LINE_BYTES = 1 << 24
# gzip shrinks crawls to about a tenth. A much smaller file is a gzip bomb.
_FREE_BYTES = 1 << 24
_MAX_PACKING_RATIO = 200


class CrawlEnds(NamedTuple):
    """The first and the last line of a crawl.

    Attributes:
        root: the path that its paths begin with.
        started: when it began.
        finished: when it ended.
        record: both records as one.
    """

    root: str
    started: datetime.datetime
    finished: datetime.datetime
    record: CrawlRecord


def read_ends(file: IO[bytes]) -> CrawlEnds:
    """Unpack a file from its beginning to its end, and return its first and its last line.

    Raises:
        InvalidCrawl: if it is no gzip, is cut off or damaged, or does not begin and end as a crawl does.
    """
    first, last = _unpack_ends(file)
    root, beginning = parse_first_line(first)
    last_root, end = parse_last_line(last)
    if last_root != root:
        raise InvalidCrawl(f"its first line is about {root!r}, its last line about {last_root!r}")
    if beginning.started is None or end.finished is None:
        raise InvalidCrawl("it has no times")
    return CrawlEnds(root, beginning.started, end.finished, merge_ends(beginning, end))


def _unpack_ends(file: IO[bytes]) -> tuple[bytes, bytes]:
    """Return the first and the last line."""
    first, last = bytearray(), bytearray()
    unpacked = 0
    for chunk in unpack(file):
        unpacked += len(chunk)
        if unpacked > max(_FREE_BYTES, _MAX_PACKING_RATIO * file.tell()):
            raise InvalidCrawl(f"it unpacks to more than {_MAX_PACKING_RATIO} times its size")
        if not first.endswith(b"\n"):
            line, newline, _ = chunk.partition(b"\n")
            first += line + newline
        _keep_last_line(last, chunk)
        if max(len(first), len(last)) > _MAX_LINE_BYTES:
            raise InvalidCrawl(f"a line is longer than {_MAX_LINE_BYTES:,} bytes")
    if not last:
        raise InvalidCrawl("it is empty")
    if not last.endswith(b"\n"):
        raise InvalidCrawl(CUT_OFF, hint=SEND_AGAIN)
    return bytes(first), bytes(last)


def _keep_last_line(line: bytearray, chunk: bytes) -> None:
    """Append a chunk to the line that it continues, and drop all lines but the last one."""
    if line.endswith(b"\n"):
        line.clear()
    # The end of the last line does not begin another one.
    at = chunk.rfind(b"\n", 0, -1)
    if at >= 0:
        line.clear()
    line += chunk[at + 1 :]
