"""The file that holds a crawl: a gzip of lines, of which the first and the last describe the crawl.

A crawl is written to a temporary file beside its own, whose name ends in `.part`. A killed crawl leaves that file,
and the next crawl can continue it.
"""

import contextlib
import gzip
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from eida_statistics.archive.errors import InvalidCrawl, InvalidLine
from eida_statistics.archive.lines import CrawlLine, format_line, parse_line
from eida_statistics.archive.records import CRAWL, CrawlRecord, decode_crawl, encode_record
from eida_statistics.files import sync_directory

PART_SUFFIX = ".part"
CUT_OFF = "it is cut off"
SEND_AGAIN = "Copy or send it again."
# Measured with the lines of 20,000 day files, 570 bytes each, in pieces of 256 files: level 3 compresses 230 MB/s
# to 67 bytes a file; level 6, 82 MB/s to 59 bytes; level 1, 265 MB/s to 71 bytes.
_LEVEL = 3
_GZIP = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 1 << 18
# A line has all segments of a file. This is enough for some 200,000.
_MAX_LINE_BYTES = 1 << 26


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each line, without its end. Memory does not grow with the file.

    Raises:
        InvalidCrawl: if it cannot be read, is no gzip, or is damaged or cut off; possibly after many lines.
    """
    pending = b""
    number = 0
    if path.is_file() and path.stat().st_size == 0:
        raise InvalidCrawl(f"{path}: it is empty")
    for chunk in _read_chunks(path):
        first, *others = chunk.split(b"\n")
        pending += first
        if others:
            number += 1
            yield number, pending
            pending = others.pop()
            for line in others:
                number += 1
                yield number, line
        if len(pending) > _MAX_LINE_BYTES:
            raise InvalidCrawl(f"{path}: line {number + 1:,} is longer than {_MAX_LINE_BYTES:,} bytes")
    if pending:
        raise InvalidCrawl(f"{path}: {CUT_OFF} in line {number + 1:,}", hint=SEND_AGAIN)


def read_unfinished_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each complete line of a file that may be cut off or damaged.

    Raises:
        InvalidCrawl: if not even the first line is there.
    """
    number = 0
    try:
        for number, line in read_lines(path):
            yield number, line
    except InvalidCrawl:
        if number == 0:
            raise


def _read_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from unpack(file)
    except InvalidCrawl as error:
        raise InvalidCrawl(f"{path}: {error.subject}", hint=error.hint) from error
    except OSError as error:
        raise InvalidCrawl(f"{path}: {error.strerror}") from error


def unpack(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the content of a gzip, from the present position of a file, in pieces.

    Raises:
        InvalidCrawl: if it is no gzip, or is damaged or cut off; possibly after some pieces.
    """
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as packed:
            # `read1` returns all that was unpacked before a fault.
            while chunk := packed.read1(_CHUNK_BYTES):
                yield chunk
    except EOFError as error:
        raise InvalidCrawl(CUT_OFF, hint=SEND_AGAIN) from error
    except gzip.BadGzipFile as error:
        raise InvalidCrawl("not a gzip file, or damaged", hint=SEND_AGAIN) from error
    except zlib.error as error:
        raise InvalidCrawl("it is damaged", hint=SEND_AGAIN) from error


def parse_first_line(line: bytes) -> tuple[str, CrawlRecord]:
    """Return the path of the root of a crawl, and its first record.

    Raises:
        InvalidCrawl: if this is not the first line of a crawl.
    """
    path, record = _parse_crawl_line(line, "first")
    if record.started is None:
        raise InvalidCrawl("its first line has no `started`")
    return path, record


def parse_last_line(line: bytes) -> tuple[str, CrawlRecord]:
    """Return the path of the root of a crawl, and its last record.

    Raises:
        InvalidCrawl: if this is not the last line of a crawl, as of one that was cut off.
    """
    path, record = _parse_crawl_line(line, "last")
    if record.finished is None:
        raise InvalidCrawl("it was cut off: its last line has no `finished`")
    return path, record


def _parse_crawl_line(line: bytes, which: str) -> tuple[str, CrawlRecord]:
    try:
        path, md_type, json = parse_line(line)
        record = decode_crawl(json) if md_type == CRAWL else None
    except InvalidLine as error:
        raise InvalidCrawl(f"its {which} line is not valid: {error.subject}") from error
    if record is None:
        raise InvalidCrawl(f"its {which} line is of type {md_type!r} instead of {CRAWL!r}")
    return path, record


def merge_ends(first: CrawlRecord, last: CrawlRecord) -> CrawlRecord:
    """Return the first and the last record of a crawl as one."""
    return CrawlRecord(
        started=first.started,
        root=first.root,
        options=first.options,
        version=first.version,
        finished=last.finished,
        counts=last.counts,
        unreadable=last.unreadable,
        errors=last.errors,
    )


def compress_lines(lines: bytes) -> bytes:
    """Return lines as a gzip of their own. Such pieces, one after the other, are the gzip of all lines."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return compressor.compress(lines) + compressor.flush()


def find_parts(path: Path) -> list[Path]:
    """Return the temporary files of crawls to this path that were killed or still run."""
    prefix = f"{path.name}."
    with contextlib.suppress(OSError):
        return sorted(
            file
            for file in path.parent.iterdir()
            if file.name.startswith(prefix)
            and file.name.endswith(PART_SUFFIX)
            and file.name[len(prefix) : -len(PART_SUFFIX)].isdecimal()
        )
    return []


def _create_part(path: Path) -> tuple[Path, BinaryIO]:
    """Create a temporary file that no other crawl has: one may run, one may have been killed."""
    for number in itertools.count(1):
        part = path.with_name(f"{path.name}.{number}{PART_SUFFIX}")
        with contextlib.suppress(FileExistsError):
            return part, part.open("xb", buffering=0)
    raise AssertionError  # numbers do not end


class CrawlWriter:
    """Writes the file of a crawl, completely or not at all.

    Attributes:
        part: the temporary file, which stays if the crawl does not end. `--since` accepts it.
    """

    def __init__(self, path: Path, root: str, first: CrawlRecord) -> None:
        self._path = path
        self._root = root
        self.part, self._file = _create_part(path)
        self._write_record(first)

    def write(self, compressed: bytes) -> None:
        """Append lines that `compress_lines` has compressed. A kill does not lose them."""
        view = memoryview(compressed)
        while view:
            view = view[self._file.write(view) :]

    def finish(self, last: CrawlRecord) -> None:
        """Append the last line, and put the file in its place. A power cut leaves the old file or the new one.

        Raises:
            OSError: if it cannot be written.
        """
        self._write_record(last)
        os.fsync(self._file.fileno())
        self.close()
        self.part.replace(self._path)
        sync_directory(self._path.parent)

    def close(self) -> None:
        """Close the temporary file, which stays if the crawl has not ended."""
        self._file.close()

    def discard(self) -> None:
        """Remove the temporary file of a crawl that is not to be continued."""
        self.close()
        self.part.unlink(missing_ok=True)

    def _write_record(self, record: CrawlRecord) -> None:
        self.write(compress_lines(format_line(CrawlLine(self._root, CRAWL, encode_record(record)))))
