"""Split the content of logs into lines."""

from collections.abc import Generator
from typing import BinaryIO

from eida_statistics import compression
from eida_stats_aggregator.logs import records

# A request for thousands of streams makes a line of megabytes; anything longer than this is no line.
MAX_LINE_BYTES = 1 << 26


class LineSplitter:
    """Splits chunks into lines without their line breaks.

    A line that is longer than MAX_LINE_BYTES comes as its first MAX_LINE_BYTES + 1 bytes, so that memory does
    not grow with it. Of a run of NUL bytes, as is left by a truncated file, only one need be kept.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk, and return the lines that end in it."""
        return self.cut(chunk).split(b"\n")[:-1]

    def cut(self, chunk: bytes) -> bytes:
        """Add a chunk, and return the lines that end in it as one text, each with its line break."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            self._keep(chunk)
            return b""
        first = chunk.index(b"\n")
        self._keep(chunk[:first])
        # Slicing the chunk itself would copy it once more.
        text = b"".join((self.rest, memoryview(chunk)[first:end]))
        self._pieces, self._size = [], 0
        self._keep(chunk[end:])
        return text

    def _keep(self, piece: bytes) -> None:
        if b"\0" in piece:
            piece = records.squeeze(piece)
            if self._pieces and self._pieces[-1].endswith(b"\0"):
                piece = piece.removeprefix(b"\0")
        # An endless line is kept only until it is known to be too long.
        if piece and self._size <= MAX_LINE_BYTES:
            self._pieces.append(piece)
            self._size += len(piece)

    @property
    def rest(self) -> bytes:
        """Return the bytes after the last line break."""
        return b"".join(self._pieces)[: MAX_LINE_BYTES + 1]


def read_lines(raw: BinaryIO, name: str) -> Generator[bytes]:
    """Yield the lines of a log; see `read_chunks` and `LineSplitter`."""
    cutter = LineSplitter()
    for chunk in compression.read_chunks(raw, name):
        yield from cutter.feed(chunk)
    if rest := cutter.rest:
        yield rest
