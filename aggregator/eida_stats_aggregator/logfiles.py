"""Log files to lines, whatever their compression."""

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from eida_statistics.errors import UnreadableLog

CHUNK_BYTES = 1 << 20
# A request for thousands of streams makes a line of megabytes; what is longer than this is no line.
MAX_LINE_BYTES = 1 << 26

MAGIC: dict[bytes, Callable[..., Any]] = {
    b"BZh": bz2.open,
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": zstd.open,
}
_DECOMPRESSION_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error, zstd.ZstdError)


def lines(raw: BinaryIO, name: str) -> Iterator[bytes]:
    """Give the lines of a log; its content, not its name, tells what compression it has.

    Lines come without their line break. One that is longer than MAX_LINE_BYTES comes as its first
    MAX_LINE_BYTES + 1 bytes. Memory does not grow with the log.

    Args:
        raw: the log as it lies on disk or comes in; closed by the caller.
        name: how to call it in errors.

    Raises:
        UnreadableLog: also when compressed data is damaged or cut off: half a day would be taken for a whole.
    """
    try:
        yield from _split(_decompressed(raw))
    except _DECOMPRESSION_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableLog(
            f"{name}: {reason}", hint="Copy the file again, or unpack what can be rescued of it by hand."
        ) from error


def _decompressed(raw: BinaryIO) -> IO[bytes]:
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
    start = buffered.peek(8)
    for magic, opener in MAGIC.items():
        if start.startswith(magic):
            return cast("IO[bytes]", opener(buffered, "rb"))
    return buffered


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    # The pieces of the last line, whose end has not come yet.
    pieces: list[bytes] = []
    size = 0
    while chunk := stream.read(CHUNK_BYTES):
        first, *others = chunk.split(b"\n")
        # Of an endless line only so much is kept that it is seen to be too long.
        if size <= MAX_LINE_BYTES:
            pieces.append(first)
            size += len(first)
        if others:
            yield b"".join(pieces)[: MAX_LINE_BYTES + 1]
            last = others.pop()
            yield from others
            pieces, size = [last], len(last)
    if size:
        yield b"".join(pieces)[: MAX_LINE_BYTES + 1]
