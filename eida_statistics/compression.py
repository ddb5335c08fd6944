"""Unpack log files: bzip2, gzip, xz or Zstandard, recognised by their first bytes."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Generator
from typing import IO, Any, BinaryIO, cast

from eida_statistics.errors import UnreadableLog
from eida_statistics.zstandard import zstd

# A block of bzip2 is unpacked in one piece: between two, a parser would displace libbz2's table from the cache.
CHUNK_BYTES = 1 << 20
_PACKED_BYTES = 1 << 16

MAGIC: dict[bytes, Callable[..., Any]] = {
    b"BZh": lambda raw, _: io.BufferedReader(_Streams(raw, bz2.BZ2Decompressor)),
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lambda raw, _: io.BufferedReader(_Streams(raw, lzma.LZMADecompressor)),
    b"\x28\xb5\x2f\xfd": zstd.open,
    # Frames without content, with which pzstd begins.
    **{bytes([number]) + b"\x2a\x4d\x18": zstd.open for number in range(0x50, 0x60)},
}
_TAR, _TAR_AT = b"ustar", 257
_DECOMPRESSION_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error, zstd.ZstdError)


def read_chunks(raw: BinaryIO, name: str) -> Generator[bytes]:
    """Yield the unpacked content of a log. Its first bytes, not its name, decide how it is compressed.

    Raises:
        UnreadableLog: also if it is a tar archive, or if compressed data is damaged or cut off. Otherwise half a
            day would count as a whole one.
    """
    try:
        stream = _decompress(raw)
        chunk = stream.read(max(CHUNK_BYTES, _TAR_AT + len(_TAR)))
        refuse_archive(chunk, name)
        while chunk:
            yield chunk
            chunk = stream.read(CHUNK_BYTES)
    except _DECOMPRESSION_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableLog(
            f"{name}: {reason}", hint="Copy the file again, or unpack as much of it as possible by hand."
        ) from error


def refuse_archive(beginning: bytes, name: str) -> None:
    """Check that a log does not begin as a tar archive does.

    Raises:
        UnreadableLog: if it does. Lines that end one member of it and begin the next would be lost.
    """
    if beginning.startswith(_TAR, _TAR_AT):
        raise UnreadableLog(f"{name}: a tar archive", hint="Unpack it with tar, and name the logs that were in it.")


def _decompress(raw: BinaryIO) -> IO[bytes]:
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw))
    start = buffered.peek(8)
    for magic, opener in MAGIC.items():
        if start.startswith(magic):
            return cast("IO[bytes]", opener(buffered, "rb"))
    return buffered


class _Streams(io.RawIOBase):
    """The unpacked content of streams that follow each other; zeros may follow the last.

    Python's own files for bzip2 and xz take a damaged stream for garbage behind the last one, and say nothing.
    """

    def __init__(
        self, packed: BinaryIO, decompressor: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
    ) -> None:
        self._packed = packed
        self._decompressor = decompressor
        self._stream = decompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        chunk = b""
        while not chunk:
            more = b""
            if self._stream.eof:
                more = self._stream.unused_data or self._packed.read(_PACKED_BYTES)
                while more and not more.strip(b"\0"):
                    more = self._packed.read(_PACKED_BYTES)
                if not more:
                    return 0
                more = more.lstrip(b"\0")
                self._stream = self._decompressor()
            elif self._stream.needs_input:
                more = self._packed.read(_PACKED_BYTES)
                if not more:
                    raise EOFError("it is cut off")
            chunk = self._stream.decompress(more, len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)
