"""Split the content of logs into lines."""

from collections.abc import Callable, Generator
from typing import BinaryIO

from eida_statistics import compression
from eida_stats_aggregator.logs import records

# A request for thousands of streams makes a line of megabytes; anything longer than this is no line.
MAX_LINE_BYTES = 1 << 26
# To keep lines together costs more than it saves if they are long, or many.
_LONGEST_IN_RUN = 1 << 16
_MOST_IN_RUN = 64

BelongTogether = Callable[[bytes, bytes], bool]


class LineSplitter:
    """Splits chunks into lines without their line breaks.

    A line that is longer than MAX_LINE_BYTES comes as its first MAX_LINE_BYTES + 1 bytes, so that memory does
    not grow with it. Of a run of NUL bytes, as is left by a truncated file, only one need be kept.

    With `belong_together`, a function of two lines, such lines stay together if they follow each other: the last
    ones are in `held` until another line ends. See `find_last_run` for the limits.
    """

    def __init__(self, belong_together: BelongTogether | None = None) -> None:
        self.held = b""
        self._belong_together = belong_together
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
        together = self._belong_together
        run = find_last_run(chunk, first + 1, end, together) if together is not None else end
        # Slicing the chunk itself would copy it once more.
        text = b"".join((self.held, self.rest, memoryview(chunk)[first:run]))
        self.held = chunk[run:end]
        if together is not None and run == first + 1:
            text += self.held
            run = find_last_run(text, 0, len(text), together)
            text, self.held = text[:run], text[run:]
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


def find_last_run(text: bytes, start: int, end: int, belong_together: BelongTogether) -> int:
    """Return where the last lines between two places begin that belong together.

    They are at most 64, each of them of at most 64 kB. After a longer line, this is `end`.
    """
    run, following = end, b""
    for count in range(_MOST_IN_RUN):
        begin = max(start, text.rfind(b"\n", start, run - 1) + 1)
        if begin >= run or run - begin > _LONGEST_IN_RUN:
            break
        line = text[begin:run]
        if count and not belong_together(line, following):
            break
        run, following = begin, line
    return run


def find_end_of_run(text: bytes, start: int, belong_together: BelongTogether) -> int:
    """Return where the lines from a place on end that belong together; see `find_last_run` for the limits."""
    end, before = start, b""
    for count in range(_MOST_IN_RUN):
        after = text.find(b"\n", end, end + _LONGEST_IN_RUN) + 1
        line = text[end:after]
        if not line or (count and not belong_together(before, line)):
            break
        end, before = after, line
    return end


def read_lines(raw: BinaryIO, name: str) -> Generator[bytes]:
    """Yield the lines of a log; see `read_chunks` and `LineSplitter`."""
    cutter = LineSplitter()
    for chunk in compression.read_chunks(raw, name):
        yield from cutter.feed(chunk)
    if rest := cutter.rest:
        yield rest
