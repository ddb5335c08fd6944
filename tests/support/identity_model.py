"""A small model of servers, logs and requests that knows which requests a node must have counted.

It states the rules of the protocol in another way than the service, so that both can be compared.
A `Sending` is the aggregate of some logs. The model knows its requests; the service sees only its statistics.
"""

from collections.abc import Iterator
from itertools import chain, product
from typing import NamedTuple

OLD = None


class Event(NamedTuple):
    """A request: the server and the day of its log, and the day on which it ended."""

    server: str
    log: int
    day: int
    number: int


class Log(NamedTuple):
    """A log of a server. It grows during its day, so there may be several versions of it."""

    server: str
    day: int
    events: frozenset[Event]


class Sending(NamedTuple):
    """The aggregate of some logs. An old aggregator sends neither source nor period (`OLD`)."""

    source: str
    period: tuple[int, int] | None
    events: frozenset[Event]
    logs: frozenset[tuple[str, int]]
    sizes: int

    @property
    def days(self) -> frozenset[int]:
        """The days of the requests."""
        return frozenset(event.day for event in self.events)

    @property
    def covered(self) -> frozenset[int]:
        """The days that it covers."""
        return self.days if self.period is None else frozenset(range(self.period[0], self.period[1] + 1))

    @property
    def content(self) -> tuple[frozenset[int], int, int]:
        """The statistics: all that the service sees of the requests."""
        return self.days, len(self.events), self.sizes

    @property
    def identity(self) -> tuple[object, ...]:
        """The fields that the service compares."""
        return self.source, self.period, self.content


class Answer(NamedTuple):
    """The service's answer, and the other payloads that it names.

    The outcome is stored, unchanged, duplicate, overlapping, ambiguous or unrelated.
    """

    outcome: str
    supersedes: frozenset[Sending] = frozenset()
    others: frozenset[Sending] = frozenset()


class Send(NamedTuple):
    """One request to the service; `named` are the payloads that a PUT names. The service knows all of them."""

    sending: Sending
    method: str
    overlap: str | None = None
    named: frozenset[Sending] | None = None


def grow(server: str, day: int, *, strays: tuple[int, ...] = (), first: int = 0) -> list[Log]:
    """Return two versions of a log, incomplete and complete. Its strays belong to other days."""
    base = [Event(server, day, other, first + number) for number, other in enumerate(strays)]
    early = [*base, Event(server, day, day, first + 10)]
    late = [*early, Event(server, day, day, first + 11), Event(server, day, day, first + 12)]
    return [Log(server, day, frozenset(early)), Log(server, day, frozenset(late))]


def aggregate(logs: list[Log], source: str, *, old: bool = False, period: tuple[int, int] | None = None) -> Sending:
    """Return the aggregate of some logs. Without a period, it covers their days."""
    events = frozenset(chain.from_iterable(log.events for log in logs))
    days = [log.day for log in logs]
    named = OLD if old else period or (min(days), max(days))
    # Two servers may have equal statistics, but two requests of a server have different sizes here.
    sizes = sum(2 ** (event.number % 20) for event in events)
    return Sending("" if old else source, named, events, frozenset((log.server, log.day) for log in logs), sizes)


def one_server() -> list[Sending]:
    """Return payloads that a server may send for two days; the second day begins with a stray of the first."""
    first = grow("a", 1, strays=(0,), first=0)
    second = grow("a", 2, strays=(1,), first=20)
    groups = [[log] for log in (*first, *second)] + [[first[1], second[1]], [first[0], second[0]]]
    made = [aggregate(logs, source) for logs in groups for source in ("", "a")]
    return made + [aggregate(logs, "", old=True) for logs in groups]


def two_servers() -> list[Sending]:
    """Return payloads of two servers: one for each server's logs, or one for both, which is the whole node."""
    logs = {
        (server, day): grow(server, day, strays=(day - 1,) if server == "a" else (), first=20 * day + 100 * number)
        for number, server in enumerate("ab")
        for day in (1, 2)
    }
    made = []
    for server in "ab":
        groups = [[logs[server, 1][0]], [logs[server, 1][1]], [logs[server, 2][1]]]
        groups.append([logs[server, 1][1], logs[server, 2][1]])
        made += [aggregate(group, server) for group in groups]
        made += [aggregate(group, "", old=True) for group in groups]
    both = [[logs["a", 1][1], logs["b", 1][1]], [logs[key][1] for key in logs]]
    made += [aggregate(group, "") for group in both]
    return made + [aggregate(group, "", old=True) for group in both]


def equal_servers() -> list[Sending]:
    """Return payloads of two servers with equal statistics each day, and of a day without requests."""
    made = []
    for server in "ab":
        days = [Log(server, day, frozenset([Event(server, day, day, 1)])) for day in (1, 2)]
        quiet = Log(server, 3, frozenset())
        made += [aggregate(logs, server) for logs in ([days[0]], [days[1]], days, [quiet], [days[1], quiet])]
    return made


# The table


def touches(new: Sending, other: Sending) -> bool:
    """Return whether two payloads concern each other."""
    is_apart = new.source and other.source and new.source != other.source
    same = new.content == other.content and (new.period is None or other.period is None)
    return same or (not is_apart and bool(new.covered & other.covered))


def judge_pair(new: Sending, other: Sending, in_force: frozenset[Sending]) -> tuple[str, str]:
    """Return how POST and PUT of a payload with a period treat another one that it touches."""
    assert new.period is not None
    if other.period is None:
        if other.content == new.content:
            return "duplicate", "superseded"
        alone = not any(third.covered & other.days for third in in_force - {other})
        if new.source == "" and other.days <= new.covered and alone:
            return "overlapping", "superseded"
        return "overlapping", "ambiguous"
    if other.source == new.source:
        if other.period == new.period and other.content == new.content:
            return "duplicate", "stays"
        if other.covered <= new.covered:
            return "overlapping", "superseded"
    return "overlapping", "ambiguous"


def answer(send: Send, in_force: frozenset[Sending]) -> Answer:
    """Return the answer that the service must send."""
    new = send.sending
    known = {other.identity: other for other in in_force}
    touched = frozenset(other for other in in_force if touches(new, other) and other.identity != new.identity)
    named = (send.named or frozenset()) - {known.get(new.identity, new)}
    if unrelated := (named & in_force) - touched:
        return Answer("unrelated", others=unrelated)
    if new.period is None:
        return _answer_old(send, in_force, touched)
    own = frozenset(other for other in in_force if other.identity == new.identity)
    rows = {other: judge_pair(new, other, in_force) for other in touched}
    if send.method == "POST":
        return _answer_post(send, own, rows)
    return _answer_put(send, own, rows, named)


def _answer_post(send: Send, own: frozenset[Sending], rows: dict[Sending, tuple[str, str]]) -> Answer:
    duplicates = own | {other for other, (outcome, _) in rows.items() if outcome == "duplicate"}
    if duplicates:
        return Answer("duplicate", others=duplicates)
    touched = frozenset(rows)
    return Answer("overlapping" if touched and send.overlap != "accept" else "stored", others=touched)


def _answer_put(
    send: Send, own: frozenset[Sending], rows: dict[Sending, tuple[str, str]], named: frozenset[Sending]
) -> Answer:
    ambiguous = frozenset(other for other, (_, outcome) in rows.items() if outcome == "ambiguous") - named
    if ambiguous and not is_accepted(send):
        return Answer("ambiguous", others=ambiguous)
    superseded = frozenset(rows) - ambiguous
    return Answer("unchanged" if own and not superseded else "stored", superseded, ambiguous)


def is_accepted(send: Send) -> bool:
    """Return whether ambiguous payloads may count side by side."""
    return send.overlap == "accept" or (send.overlap is None and send.named is not None)


def _answer_old(send: Send, in_force: frozenset[Sending], touched: frozenset[Sending]) -> Answer:
    """Return the answer to a payload without a period: as before periods existed, but for duplicates."""
    new = send.sending
    own = frozenset(other for other in in_force if other.identity == new.identity)
    equal = frozenset(other for other in touched if other.period is not None and other.content == new.content)
    named = send.named or frozenset()
    duplicates = own | equal if send.method == "POST" else equal - named
    if duplicates:
        return Answer("duplicate", others=duplicates)
    if send.method == "POST":
        return Answer("overlapping" if touched and send.overlap == "refuse" else "stored", others=touched)
    if own or send.named is not None:
        replaced = named & touched
        if touched - replaced and send.overlap == "refuse":
            return Answer("ambiguous", others=touched - replaced)
        return Answer("unchanged" if own and not replaced else "stored", replaced, touched - replaced)
    clear = {
        other
        for other in touched
        if other.period is None
        and other.days <= new.days
        and not any(third.covered & other.days for third in touched - {other})
    }
    if touched - clear and send.overlap != "accept":
        return Answer("ambiguous", others=touched - clear)
    return Answer("stored", frozenset(clear), touched - clear)


def apply(send: Send, answered: Answer, in_force: frozenset[Sending]) -> frozenset[Sending]:
    """Return the payloads in force after an answer."""
    if answered.outcome in {"stored", "unchanged"}:
        kept = {other for other in in_force if other.identity != send.sending.identity}
        return frozenset(kept - answered.supersedes | {send.sending})
    return in_force


# Laws


def find_faults(
    send: Send, answered: Answer, before: frozenset[Sending], after: frozenset[Sending]
) -> Iterator[str]:
    """Yield the faults of an answer: requests that it silently counted twice or lost."""
    new = send.sending
    if answered.outcome == "duplicate":
        # The sender assumes that it is delivered.
        if not new.events <= _events(before):
            yield "taken for delivered, but not counted"
        return
    if answered.outcome not in {"stored", "unchanged"}:
        if before != after:
            yield "refused, but changed"
        return
    for other in after - {new}:
        if other.events & new.events:
            is_said = other in answered.others
            is_asked_for = send.overlap == "accept" or (new.period is None and send.overlap is None)
            if not (is_said and is_asked_for):
                yield "doubled"
    lost = _events(answered.supersedes) - _events(after)
    # Among payloads without periods, a correction replaces another server's, as it always did.
    is_as_before = all(sending.period is None for sending in (new, *answered.supersedes))
    if any((event.server, event.log) not in new.logs for event in lost) and not is_as_before:
        yield "lost"


def _events(sendings: frozenset[Sending]) -> frozenset[Event]:
    return frozenset(chain.from_iterable(sending.events for sending in sendings))


def list_sends(sendings: list[Sending], *, accepting: bool = False) -> list[Send]:
    """Return all ways to send some payloads."""
    overlaps = (None, "accept", "refuse") if accepting else (None,)
    return [Send(*made) for made in product(sendings, ("POST", "PUT"), overlaps)]
