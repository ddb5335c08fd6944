"""Split logs into parts that are read independently, and join the lines that were cut."""

import os
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from eida_statistics import compression
from eida_statistics.errors import UnreadableLog
from eida_stats_aggregator.fdsnws.tally import Tally
from eida_stats_aggregator.logs import bzip2
from eida_stats_aggregator.logs.bzip2 import NotSplittable
from eida_stats_aggregator.logs.lines import LineSplitter
from eida_stats_aggregator.logs.sources import Log

# Small, so that processes end at the same time: either takes about 0.1 s.
_BZIP2_BYTES = 1 << 17
_PLAIN_BYTES = 1 << 22
# The place of the lines that were put together, beside the parts.
JOINED = -1
# A stream without a block, of an empty log.
_EMPTY_BZIP2_BYTES = 14


class Part(NamedTuple):
    """A range of bytes of a log, by its number among the logs; `whole` means that the log cannot be divided."""

    log: int
    start: int
    end: int
    whole: bool


class PartRead(NamedTuple):
    """The result of a part, apart from its tally.

    `head` came before its first line break; `tail` came after its last, and is None if there was none. Each is
    a piece of a line whose other pieces are in other parts. Between them were `lines` lines; `rejections` are
    numbered from the first of these.
    """

    head: bytes
    tail: bytes | None
    lines: int
    rejections: list[tuple[int, str]]


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


def read(log: Log, part: Part, tally: Tally) -> PartRead:
    """Read a part of a log; the lines that are whole go into a tally.

    Raises:
        UnreadableLog: if it cannot be read.
        NotSplittable: if the log must be read as a whole; the tally is of no use then.
        RegistryUnavailable: if a network needs the registry, which cannot be loaded.
    """
    cutter = LineSplitter()
    head: bytes | None = None
    lines = 0
    rejections: list[tuple[int, str]] = []
    try:
        for chunk in _read_chunks(log, part):
            text = cutter.cut(chunk)
            if text and head is None:
                head, _, text = text.partition(b"\n")
            count, rejected = tally.add_text(text, lines + 1)
            rejections += rejected
            lines += count
    except NotSplittable as problem:
        problem.log = part.log
        raise
    if head is None:
        return PartRead(cutter.rest, None, 0, [])
    return PartRead(head, cutter.rest, lines, rejections)


def _read_chunks(log: Log, part: Part) -> Iterator[bytes]:
    with log.open() as raw:
        if part.whole:
            yield from compression.read_chunks(raw, log.name)
            return
        if log.magic == bzip2.MAGIC:
            chunks = bzip2.unpack(raw.fileno(), part.start, part.end, log.size, chunk_bytes=compression.CHUNK_BYTES)
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


class Joiner:
    """Joins lines that were cut between parts, and numbers the rejected ones."""

    def __init__(self, logs: Sequence[Log], parts: Sequence[Part], tally: Tally, place: int = JOINED) -> None:
        self._logs = logs
        self._parts = parts
        self._tally = tally
        self._place = place
        self._waiting: dict[int, PartRead] = {}
        self._next = 0
        self._lines = 0
        self._cut = LineSplitter()

    def take(self, number: int, read: PartRead) -> None:
        """Take a part, in any order.

        Raises:
            RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        """
        self._waiting[number] = read
        while (following := self._waiting.pop(self._next, None)) is not None:
            self._join(following)
            log = self._parts[self._next].log
            self._next += 1
            if self._next == len(self._parts) or self._parts[self._next].log != log:
                self._end(log)

    def _join(self, read: PartRead) -> None:
        log = self._parts[self._next].log
        self._cut.feed(read.head)
        if read.tail is None:
            return
        self._add(log, self._cut.feed(b"\n" + read.tail))
        before = self._lines
        self._tally.reject(self._logs[log].name, [(before + at, reason) for at, reason in read.rejections])
        self._lines += read.lines

    def _end(self, log: int) -> None:
        if rest := self._cut.rest:
            self._add(log, [rest])
        self._cut = LineSplitter()
        self._lines = 0

    def _add(self, log: int, lines: list[bytes]) -> None:
        self._tally.set_place(self._place)
        self._tally.reject(self._logs[log].name, self._tally.add(lines, self._lines + 1))
        self._lines += len(lines)
