"""Lines of logs to one sum of all: what was counted, and what was not."""

import datetime
from collections import Counter
from collections.abc import Iterable
from typing import Any

import mmh3
import msgspec

from eida_statistics.networks import Registry
from eida_stats_aggregator import requestlog
from eida_stats_aggregator.aggregate import Aggregation
from eida_stats_aggregator.requestlog import Ignored, Rejected, Request
from eida_stats_aggregator.selection import Selection

SHOWN_REJECTS = 5
# Programs name their versions, so a log has thousands of names; whoever sends random ones fills no memory.
_KNOWN_AGENTS = 1 << 14
_KNOWN_CHARACTERS = 1024
# After how many requests large sets of clients are folded into registers.
_FOLD_EVERY = 100_000


class Reject(msgspec.Struct, frozen=True):
    """A line that was no request; the reason never quotes the line, which is about a person."""

    file: str
    line: int
    reason: str


class Tally:
    """What lines of logs come to: aggregates, and counts of lines.

    `rejects` has the first few of the rejected lines; `classes` has requests and bytes by class of clients,
    those of excluded clients included.
    """

    def __init__(self, selection: Selection, registry: Registry) -> None:
        self.selection = selection
        self.aggregation = Aggregation(registry)
        self.counted = 0
        self.ignored = 0
        self.rejected = 0
        self.on_other_days = 0
        self.excluded = 0
        self.repeated = 0
        self.fingerprint = 0
        self.requests_by_day: Counter[datetime.date] = Counter()
        self.rejects: list[Reject] = []
        self.classes: dict[str, list[int]] = {}
        self._known: dict[str | None, tuple[bool, list[int]]] = {}
        self._folded_at = 0

    @property
    def lines(self) -> int:
        """The number of lines read."""
        return self.counted + self.ignored + self.rejected + self.on_other_days + self.excluded

    def add(self, lines: Iterable[bytes], first: int = 1) -> list[tuple[int, str]]:
        """Add lines; give the number and the reason of the first few that are rejected.

        Args:
            lines: without their line breaks.
            first: the number of the first one.

        Raises:
            RegistryUnavailable: if a network needs a registry and there is none.
        """
        selection = self.selection
        latest, since, until, known = selection.latest, selection.since, selection.until, self._known
        parse, add = requestlog.parse, self.aggregation.add
        rejections: list[tuple[int, str]] = []
        lines = list(lines)
        if selection.fingerprinted:
            self.fingerprint += sum(mmh3.mmh3_x64_128_uintdigest(line) for line in lines if line)
        for number, line in enumerate(lines, first):
            outcome = parse(line, latest)
            if type(outcome) is Request:
                if not since <= outcome.day <= until:
                    self.on_other_days += 1
                    continue
                taken, figures = known.get(outcome.agent) or self._get_to_know(outcome.agent)
                if taken:
                    self.counted += 1
                    self.requests_by_day[outcome.day] += 1
                    requests, size = add(outcome)
                else:
                    self.excluded += 1
                    requests, size = _weight(outcome)
                figures[0] += requests
                figures[1] += size
            elif type(outcome) is Ignored:
                self.ignored += 1
            elif type(outcome) is Rejected:
                self.rejected += 1
                if len(rejections) < SHOWN_REJECTS:
                    rejections.append((number, outcome.reason))
        if self.counted - self._folded_at > _FOLD_EVERY:
            self._folded_at = self.counted
            self.aggregation.fold()
        return rejections

    def reject(self, file: str, rejections: Iterable[tuple[int, str]]) -> None:
        """Note which lines of a file were rejected; to be called in the order of files and lines."""
        self.rejects += [Reject(file, number, reason) for number, reason in rejections]
        del self.rejects[SHOWN_REJECTS:]

    def merge(self, other: "Tally") -> None:
        """Take over another tally, of later lines, which must not be used any more."""
        self.aggregation.merge(other.aggregation)
        self.counted += other.counted
        self.ignored += other.ignored
        self.rejected += other.rejected
        self.on_other_days += other.on_other_days
        self.excluded += other.excluded
        self.fingerprint += other.fingerprint
        self.requests_by_day += other.requests_by_day
        self.rejects = [*self.rejects, *other.rejects][:SHOWN_REJECTS]
        for name, (requests, size) in other.classes.items():
            figures = self.classes.setdefault(name, [0, 0])
            figures[0] += requests
            figures[1] += size
        # Each of them may have had few clients, and all of them many.
        self.aggregation.fold()

    def _get_to_know(self, agent: str | None) -> tuple[bool, list[int]]:
        """Tell of a client whether it is taken, and where its class is counted."""
        name, taken = self.selection.of(agent)
        known = taken, self.classes.setdefault(name, [0, 0])
        if agent is None or len(agent) <= _KNOWN_CHARACTERS:
            if len(self._known) >= _KNOWN_AGENTS:
                self._known.clear()
            self._known[agent] = known
        return known

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("selection", "_known")}


def _weight(request: Request) -> tuple[int, int]:
    """How much a request would have added: requests and bytes."""
    if request.deliveries is None:
        return 1, 0
    return len(request.deliveries), sum(size for _, _, size in request.deliveries)
