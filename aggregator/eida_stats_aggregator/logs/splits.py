"""Split logs into parts that are read independently of each other."""

import os
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from eida_statistics import compression
from eida_statistics.errors import UnreadableLog
from eida_stats_aggregator.logs import bzip2, seven_zip
from eida_stats_aggregator.logs.seven_zip import Decoder
from eida_stats_aggregator.logs.sources import Log

# Small, so that processes end at the same time: either takes about 0.1 s.
_BZIP2_BYTES = 1 << 17
_PLAIN_BYTES = 1 << 22
# A stream without a block, of an empty log.
_EMPTY_BZIP2_BYTES = 14
# With less to unpack, the decoder of 7-Zip saves less time than loading it takes.
_WORTH_7ZIP_BYTES = 1 << 22


class Part(NamedTuple):
    """A range of bytes of a log, by its number among the logs; `whole` means that the log cannot be divided."""

    log: int
    start: int
    end: int
    whole: bool


def split(logs: Sequence[Log], *, whole: Collection[int]) -> list[Part]:
    """Split logs into parts, in order."""
    return [part for number, log in enumerate(logs) for part in _split(number, log, whole=number in whole)]


def _split(number: int, log: Log, *, whole: bool) -> list[Part]:
    if whole or log.size <= _EMPTY_BZIP2_BYTES:
        step = 0
    elif log.magic == bzip2.MAGIC:
        step = _BZIP2_BYTES
    else:
        step = _PLAIN_BYTES if log.magic is None else 0
    if not step:
        return [Part(number, 0, log.size, whole=True)]
    return [Part(number, start, min(start + step, log.size), whole=False) for start in range(0, log.size, step)]


def prepare(size: int) -> None:
    """Load the fastest decoder if it is worth it for logs of so many bytes on disk.

    This process can use it, and those that are forked later.
    """
    if size >= _WORTH_7ZIP_BYTES:
        seven_zip.load()


def read(log: Log, part: Part, *, beside_threads: bool = False) -> Iterator[bytes]:
    """Yield the content of a part of a log, unpacked.

    With `beside_threads`, libbz2 unpacks it, so that other threads run meanwhile.

    Raises:
        UnreadableLog: if it cannot be read.
        NotSplittable: if the log must be read as a whole. The content yielded until then must not be used.
    """
    begun = log.head_start.take(part) if log.head_start is not None else None
    yield from begun or _read(log, part, None if beside_threads else seven_zip.get_decoder())


def _read(log: Log, part: Part, decoder: Decoder | None) -> Iterator[bytes]:
    with log.open() as raw:
        if part.whole:
            yield from compression.read_chunks(raw, log.name)
            return
        if log.magic == bzip2.MAGIC:
            chunks = bzip2.unpack(
                raw.fileno(),
                part.start,
                part.end,
                log.size,
                chunk_bytes=compression.CHUNK_BYTES,
                decoder=decoder,
            )
        else:
            chunks = _read_plain(raw.fileno(), part, log.name)
        try:
            for number, chunk in enumerate(chunks):
                if number == part.start == 0:
                    compression.refuse_archive(chunk, log.name)
                yield chunk
        except OSError as error:
            raise UnreadableLog(f"{log.name}: {error.strerror}") from error


def _read_plain(file: int, part: Part, name: str) -> Iterator[bytes]:
    for start in range(part.start, part.end, compression.CHUNK_BYTES):
        end = min(start + compression.CHUNK_BYTES, part.end)
        chunk = os.pread(file, end - start, start)
        if len(chunk) < end - start:
            raise UnreadableLog(f"{name}: became shorter while it was read")
        yield chunk
