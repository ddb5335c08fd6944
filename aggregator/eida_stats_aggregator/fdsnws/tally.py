"""Tally the lines of logs: the aggregates, and the numbers of records that count or do not."""

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from mmh3 import mmh3_x64_128_uintdigest

from eida_statistics.networks import NetworkRegistry
from eida_stats_aggregator.fdsnws import near_repeats, repeated_requests, request_log
from eida_stats_aggregator.fdsnws.aggregation import Aggregation
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.fdsnws.log_lines import Ignored, Reject, Rejected
from eida_stats_aggregator.fdsnws.plain_lines import PlainLines, Requests, join
from eida_stats_aggregator.fdsnws.repeated_requests import Choices, RecordKeys, Window, precedes
from eida_stats_aggregator.fdsnws.request_log import Request

SHOWN_REJECTS = 5
# Names contain versions, so a log has thousands. Random names must not fill the memory.
_KNOWN_AGENTS = 1 << 14
_KNOWN_CHARACTERS = 1024
# So many lines, and all that is made of them, fit into the cache. A whole block of bzip2 takes 1.5 times as long.
_PIECE_BYTES = 1 << 17
_LONGEST_PAUSE = 63
_FINGERPRINTS = 1 << 128

_OF_THIS_PROCESS = (
    "request_filter",
    "window",
    "_choices",
    "_due",
    "_noted",
    "_known",
    "_plain_lines",
    "_untried",
    "_pause",
)


class Tally:
    """The sum of lines of logs: aggregates, and counts of records.

    A record is counted, ignored, rejected, on another day, excluded or repeated. Each piece of a damaged line that
    is no record is rejected, and so is an empty line. `requests_by_day` and `other_days` have the numbers of
    requests that are counted and that are on other days.

    Of the repeated records, `near` were dropped because of others nearby. `chosen` is the number of records that
    were due according to the choices, and were counted.

    `rejects` has the first few of the rejected records and pieces; `classes` has requests and bytes by class of
    clients, also of excluded ones. `fingerprint` is a sum over the hashes of all lines that are not empty, if the
    request filter asks for it: the same for the same lines in any order.
    """

    def __init__(
        self, request_filter: RequestFilter, registry: NetworkRegistry, choices: Choices | None = None
    ) -> None:
        self.request_filter = request_filter
        self.aggregation = Aggregation(registry)
        self.counted = 0
        self.ignored = 0
        self.rejected = 0
        self.on_other_days = 0
        self.excluded = 0
        self.repeated = 0
        self.requests_by_day: Counter[datetime.date] = Counter()
        self.other_days: Counter[datetime.date] = Counter()
        self.fingerprint = 0
        self.rejects: list[Reject] = []
        self.classes: dict[str, list[int]] = {}
        self.noted: dict[int, RecordKeys] = {}
        self.near = self.chosen = 0
        self.window: Window[Request] | None = None
        self._choices = choices
        self._due: dict[int, int | None] = {}
        self._noted = RecordKeys()
        self._known: dict[str | None, tuple[bool, list[int]]] = {}
        self._plain_lines = PlainLines()
        # So many of the next pieces are not tried as plain lines. `_pause` is their number after the last failure.
        self._untried = self._pause = 0
        self.set_place(0)

    @property
    def lines(self) -> int:
        """The number of records, of pieces between them, and of empty lines."""
        return self.counted + self.ignored + self.rejected + self.on_other_days + self.excluded + self.repeated

    @property
    def requests(self) -> int:
        """The number of records of this service, whether they count or not."""
        return self.counted + self.on_other_days + self.excluded + self.repeated

    def set_place(self, place: int) -> None:
        """Set the place at which the next lines are, by a number: repeated requests are noted by place."""
        self._noted = self.noted.setdefault(place, RecordKeys())
        self._due = self._choices.due.setdefault(place, {}) if self._choices is not None else {}

    def add_text(self, text: bytes, first: int = 1) -> tuple[int, list[tuple[int, str]]]:
        """Add whole lines, each with its line break. Return their number, and the first few that are rejected.

        Raises:
            RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        """
        count = 0
        plain: list[tuple[Requests, slice]] = []
        others: list[tuple[int, bytes]] = []
        for span in _cut(text):
            piece = text[span]
            requests = self._parse_plain(piece) if self.window is None else None
            if requests is not None:
                # Not with the piece: few are needed again, and keeping all would push others out of the cache.
                plain.append((requests, span))
                count += requests.lines
            else:
                lines = piece.split(b"\n")[:-1]
                others += enumerate(lines, first + count)
                count += len(lines)
        if self.request_filter.fingerprinted:
            self._add_fingerprint(text.split(b"\n"))
        rejections: list[tuple[int, str]] = []
        singles = list(self._parse_requests(others, rejections))
        singles += self._add_plain(plain, text, singles)
        self._count(self._drop_repeated(singles))
        return count, rejections

    def add(self, lines: Sequence[bytes], first: int = 1) -> list[tuple[int, str]]:
        """Add lines, and return the number and the reason of the first few that are rejected.

        Raises:
            RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        """
        if self.request_filter.fingerprinted:
            self._add_fingerprint(lines)
        rejections: list[tuple[int, str]] = []
        self._count(self._drop_repeated(self._parse_requests(enumerate(lines, first), rejections)))
        return rejections

    def _parse_requests(
        self, numbered: Iterable[tuple[int, bytes]], rejections: list[tuple[int, str]]
    ) -> Iterator[Request]:
        latest, parse = self.request_filter.latest, request_log.parse
        for number, line in numbered:
            outcome = parse(line, latest)
            if type(outcome) is Request:
                yield outcome
            elif type(outcome) is Ignored:
                self.ignored += 1
            elif type(outcome) is Rejected:
                recovered = request_log.recover(line, outcome, latest)
                self.ignored += sum(type(one) is Ignored for one in recovered)
                reasons = [one.reason for one in recovered if type(one) is Rejected]
                self.rejected += len(reasons)
                rejections += [(number, reason) for reason in reasons[: SHOWN_REJECTS - len(rejections)]]
                yield from [one for one in recovered if type(one) is Request]

    def _parse_plain(self, text: bytes) -> Requests | None:
        """Return the requests of lines; None if the lines must be added one by one."""
        if self._untried:
            self._untried -= 1
            return None
        requests = self._plain_lines.parse(text, self.request_filter.latest)
        if requests is None or self._has_repeated(requests):
            # To try and fail takes half as long again, so ever more pieces are not tried if this goes on.
            self._untried = self._pause = min(2 * self._pause + 1, _LONGEST_PAUSE)
            return None
        self._pause = 0
        return requests

    def _has_repeated(self, requests: Requests) -> bool:
        """Return whether any of some requests is known as repeated."""
        choices = self._choices
        return choices is not None and not choices.repeated.isdisjoint([one & ~1 for one in requests.hashes])

    def _add_plain(
        self, pieces: Sequence[tuple[Requests, slice]], text: bytes, others: Sequence[Request]
    ) -> Iterable[Request]:
        """Add requests of a text. Return those that must be compared, with each other or with `others`."""
        once, dropped, unclear = near_repeats.separate(pieces, text, {request.key & ~1 for request in others})
        self.near += dropped
        self.repeated += dropped
        for _, alike in groupby(once, key=lambda requests: id(requests.known)):
            self._add_requests(list(alike))
        return self._parse_requests(enumerate(unclear), [])

    def _add_requests(self, pieces: Sequence[Requests]) -> None:
        """Add requests, each of which is there once."""
        # Operations of numpy take as long for a few numbers as for thousands.
        requests = join(pieces)
        if self._choices is None:
            self._noted.keys.frombytes(requests.make_keys().tobytes())
        self.ignored += requests.ignored
        requests = self._drop_excluded(self._drop_other_days(requests))
        self.aggregation.add_all(requests)
        self.requests_by_day += Counter(requests.days)
        self.counted = self.requests_by_day.total()

    def _drop_other_days(self, requests: Requests) -> Requests:
        since, until = self.request_filter.since, self.request_filter.until
        others = {day for day in set(requests.days) if not since <= day <= until}
        if not others:
            return requests
        dropped = [place for place, day in enumerate(requests.days) if day in others]
        self.other_days.update(requests.days[place] for place in dropped)
        self.on_other_days += len(dropped)
        return requests.drop(dropped)

    def _drop_excluded(self, requests: Requests) -> Requests:
        """Add to the figures of classes, and drop the requests of excluded clients."""
        known = self._known
        dropped = []
        for place, (agent, count, size) in enumerate(zip(requests.agents, *requests.weigh(), strict=True)):
            taken, figures = known.get(agent) or self._classify_agent(agent)
            figures[0] += count
            figures[1] += size
            if not taken:
                dropped.append(place)
        self.excluded += len(dropped)
        return requests.drop(dropped) if dropped else requests

    def finish(self) -> None:
        """Count the requests that were held back, after the last line."""
        if self.window is not None:
            self._count(self.window.release())
            self.repeated, self.window = self.repeated + self.window.repeated, None

    def _add_fingerprint(self, lines: Iterable[bytes]) -> None:
        self.fingerprint = (self.fingerprint + _compute_fingerprint(lines)) % _FINGERPRINTS

    def _drop_repeated(self, requests: Iterable[Request]) -> Iterable[Request]:
        if self.window is not None:
            return self.window.pass_on(requests)
        requests = self._drop_near_repeats(requests)
        if self._choices is not None:
            return self._choose_records(requests, self._choices.repeated)
        self._noted.keys.extend([request.key for request in requests])
        return requests

    def _drop_near_repeats(self, requests: Iterable[Request]) -> Collection[Request]:
        chosen: dict[int, Request] = {}
        for request in requests:
            other = chosen.setdefault(request.key & ~1, request)
            if other is not request:
                self.near += 1
                self.repeated += 1
                if precedes(request, other):
                    chosen[request.key & ~1] = request
        return chosen.values()

    def _choose_records(self, requests: Iterable[Request], known_as_repeated: frozenset[int]) -> Iterator[Request]:
        due = self._due
        for request in requests:
            key = request.key
            if key & ~1 in known_as_repeated:
                rank = repeated_requests.rank(request)
                self._noted.keys.append(key)
                self._noted.ranks.append(rank)
                if key not in due or due[key] not in (None, rank):
                    self.repeated += 1
                    continue
                del due[key]
                self.chosen += 1
            yield request

    def _count(self, requests: Iterable[Request]) -> None:
        request_filter = self.request_filter
        since, until, known = request_filter.since, request_filter.until, self._known
        add = self.aggregation.add
        day, on_day, wanted = datetime.date.min, 0, True
        for request in requests:
            # Most requests are of the same day as the one before.
            if request.day != day:
                self.requests_by_day[day] += on_day
                day, on_day = request.day, 0
                wanted = since <= day <= until
            if not wanted:
                self.other_days[day] += 1
                self.on_other_days += 1
                continue
            taken, figures = known.get(request.agent) or self._classify_agent(request.agent)
            if taken:
                on_day += 1
                requests_in_it, size = add(request)
            else:
                self.excluded += 1
                requests_in_it, size = _weigh(request)
            figures[0] += requests_in_it
            figures[1] += size
        self.requests_by_day[day] += on_day
        self.requests_by_day = +self.requests_by_day
        self.counted = self.requests_by_day.total()

    def reject(self, file: str, rejections: Iterable[tuple[int, str]]) -> None:
        """Note which lines of a file were rejected; to be called in the order of files and lines."""
        self.rejects += [Reject(file, number, reason) for number, reason in rejections]
        del self.rejects[SHOWN_REJECTS:]

    def merge(self, other: "Tally") -> None:
        """Add another tally, of later lines, which must not be used afterwards."""
        self.aggregation.merge(other.aggregation)
        self.counted += other.counted
        self.ignored += other.ignored
        self.rejected += other.rejected
        self.on_other_days += other.on_other_days
        self.excluded += other.excluded
        self.repeated += other.repeated
        self.requests_by_day += other.requests_by_day
        self.other_days += other.other_days
        self.fingerprint = (self.fingerprint + other.fingerprint) % _FINGERPRINTS
        self.near += other.near
        self.chosen += other.chosen
        for place, noted in other.noted.items():
            mine = self.noted.setdefault(place, RecordKeys())
            mine.keys += noted.keys
            mine.ranks += noted.ranks
        self.rejects = [*self.rejects, *other.rejects][:SHOWN_REJECTS]
        for name, (requests, size) in other.classes.items():
            figures = self.classes.setdefault(name, [0, 0])
            figures[0] += requests
            figures[1] += size

    def _classify_agent(self, agent: str | None) -> tuple[bool, list[int]]:
        """Return whether a client is taken, and the figures of its class."""
        name, taken = self.request_filter.classify(agent)
        known = taken, self.classes.setdefault(name, [0, 0])
        if agent is None or len(agent) <= _KNOWN_CHARACTERS:
            if len(self._known) >= _KNOWN_AGENTS:
                self._known.clear()
            self._known[agent] = known
        return known

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}


def _cut(text: bytes) -> Iterator[slice]:
    """Yield where the pieces of a text are that have some lines each."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + _PIECE_BYTES) + 1 or text.index(b"\n", start) + 1
        yield slice(start, end)
        start = end


def _weigh(request: Request) -> tuple[int, int]:
    """Return the requests and bytes that a request would have added."""
    if request.deliveries is None:
        return 1, 0
    return len(request.deliveries), sum(size for _, _, size in request.deliveries)


def _compute_fingerprint(lines: Iterable[bytes]) -> int:
    # How many NUL bytes a line has may be lost when it is cut.
    texts = (line.replace(b"\0", b"") for line in lines)
    return sum(mmh3_x64_128_uintdigest(text) for text in texts if text)
