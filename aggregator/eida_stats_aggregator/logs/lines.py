"""Split the content of logs into lines."""

from collections.abc import Generator
from typing import BinaryIO

from eida_statistics import compression
from eida_stats_aggregator.logs import records

# A request for thousands of streams makes a line of megabytes; anything longer than this is no line.
MAX_LINE_BYTES = 1 << 26
_MAX_RUN_BYTES = 1 << 20
_LINE_BREAK = ord("\n")


class LineSplitter:
    """Splits chunks into lines without their line breaks.

    A line that is longer than MAX_LINE_BYTES comes as its first MAX_LINE_BYTES + 1 bytes, so that memory does
    not grow with it. Of a run of NUL bytes, as is left by a truncated file, only one need be kept.

    With `keeps_runs`, equal lines that follow each other stay together, as long as they are not too many: the last
    ones are in `held` until another line ends.
    """

    def __init__(self, *, keeps_runs: bool = False) -> None:
        self.held = b""
        self._keeps_runs = keeps_runs
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
        run = find_last_run(chunk, first + 1, end) if self._keeps_runs else end
        # Slicing the chunk itself would copy it once more.
        text = b"".join((self.held, self.rest, memoryview(chunk)[first:run]))
        self.held = chunk[run:end]
        if self._keeps_runs and run == first + 1:
            text += self.held
            run = find_last_run(text, 0, len(text))
            text, self.held = (text[:run], text[run:]) if len(text) - run <= _MAX_RUN_BYTES else (text, b"")
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


def find_last_run(text: bytes, start: int, end: int) -> int:
    """Return where the last line between two places begins, or the first of those before it that equal it."""
    run = max(start, text.rfind(b"\n", start, end - 1) + 1)
    line = text[run:end]
    while line and start <= run - len(line) and text.startswith(line, run - len(line)):
        if run - len(line) > start and text[run - len(line) - 1] != _LINE_BREAK:
            break
        run -= len(line)
    return run


def find_end_of_run(text: bytes, start: int) -> int:
    """Return where the line at a place ends, or the last of those after it that equal it."""
    end = text.find(b"\n", start) + 1 or len(text)
    line = text[start:end]
    while line and text.startswith(line, end):
        end += len(line)
    return end


def read_lines(raw: BinaryIO, name: str) -> Generator[bytes]:
    """Yield the lines of a log; see `read_chunks` and `LineSplitter`."""
    cutter = LineSplitter()
    for chunk in compression.read_chunks(raw, name):
        yield from cutter.feed(chunk)
    if rest := cutter.rest:
        yield rest
