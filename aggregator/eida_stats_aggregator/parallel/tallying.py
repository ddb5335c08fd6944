"""Read parts of logs into tallies, and join the lines that were cut."""

from collections.abc import Sequence
from typing import NamedTuple

from eida_stats_aggregator.fdsnws.request_log import are_of_one_request
from eida_stats_aggregator.fdsnws.tally import Tally
from eida_stats_aggregator.logs import splits
from eida_stats_aggregator.logs.bzip2 import NotSplittable
from eida_stats_aggregator.logs.lines import LineSplitter, find_end_of_run
from eida_stats_aggregator.logs.sources import Log
from eida_stats_aggregator.logs.splits import Part

# The place of the lines that were put together, beside the parts.
JOINED = -1


class PartRead(NamedTuple):
    """The result of a part, apart from its tally.

    `head` begins with the end of a line that began in another part, and `tail` ends with the beginning of one that
    goes on in another. Both also have the whole lines beside it, which may be of the same request. Between them
    were `lines` lines; `rejections` are numbered from the first of these. Without a line break, all is in the head,
    and the tail is None. The head of a whole log is empty.
    """

    head: bytes
    tail: bytes | None
    lines: int
    rejections: list[tuple[int, str]]

    @property
    def line_breaks(self) -> int:
        """The number of line breaks in the part."""
        return self.lines + self.head.count(b"\n") + (self.tail or b"").count(b"\n")


def read_part(log: Log, part: Part, tally: Tally) -> PartRead:
    """Read a part of a log; the lines that are whole go into a tally.

    Raises:
        UnreadableLog: if it cannot be read.
        NotSplittable: if the log must be read as a whole; the tally is of no use then.
        RegistryUnavailable: if a network needs the registry, which cannot be loaded.
    """
    cutter = LineSplitter(are_of_one_request)
    head: bytes | None = b"" if part.whole else None
    begun = b""
    lines = 0
    rejections: list[tuple[int, str]] = []
    try:
        for chunk in splits.read(log, part):
            text = cutter.cut(chunk)
            if text and head is None:
                text = begun + text
                end = text.index(b"\n") + 1
                if end == len(text):
                    begun = text  # the next line belongs to the head, too
                    continue
                end = find_end_of_run(text, end, are_of_one_request)
                head, text = text[:end], text[end:]
            count, rejected = tally.add_text(text, lines + 1)
            rejections += rejected
            lines += count
    except NotSplittable as problem:
        problem.log = part.log
        raise
    if head is not None:
        return PartRead(head, cutter.held + cutter.rest, lines, rejections)
    if begun or cutter.held:
        return PartRead(begun + cutter.held, cutter.rest, 0, [])
    return PartRead(cutter.rest, None, 0, [])


class Joiner:
    """Joins lines that were cut between parts, and numbers the rejected ones."""

    def __init__(self, logs: Sequence[Log], planned: Sequence[Part], tally: Tally, place: int = JOINED) -> None:
        self._logs = logs
        self._parts = planned
        self._tally = tally
        self._place = place
        self._waiting: dict[int, PartRead] = {}
        self._next = 0
        self._lines = 0
        self._cut = LineSplitter()
        self._joined: list[bytes] = []

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
        self._joined += self._cut.feed(read.head)
        if read.tail is None:
            return
        self._add_joined(log)
        before = self._lines
        self._tally.reject(self._logs[log].name, [(before + at, reason) for at, reason in read.rejections])
        self._lines += read.lines
        self._joined = self._cut.feed(read.tail)

    def _end(self, log: int) -> None:
        if rest := self._cut.rest:
            self._joined.append(rest)
        self._add_joined(log)
        self._cut = LineSplitter()
        self._lines = 0

    def _add_joined(self, log: int) -> None:
        lines, self._joined = self._joined, []
        self._tally.set_place(self._place)
        self._tally.reject(self._logs[log].name, self._tally.add(lines, self._lines + 1))
        self._lines += len(lines)
