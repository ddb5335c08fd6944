"""Which payloads in force a new one concerns, and whether it is refused, replaces them, or counts beside them.

A payload stands for the logs of one source of a node for one period. `decide` is the whole rule.
"""

import datetime
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from eida_statistics.payload import Period
from eida_stats_webservice.dataselect.models import PayloadReference

_DAYS_SHOWN = 3
_NUMBERS_SHOWN = 20


class Method(StrEnum):
    """How a payload was sent."""

    POST = "POST"
    PUT = "PUT"


class Overlap(StrEnum):
    """The choice of the sender where payloads in force cover the same days."""

    ACCEPT = "accept"
    REFUSE = "refuse"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The properties that distinguish payloads of a node; `days` are those of its requests."""

    hash: str
    content: str
    source: str
    period: Period | None
    days: frozenset[datetime.date]

    def covers(self, day: datetime.date) -> bool:
        """Return whether a day is in its period or, without one, among the days of its requests."""
        return day in self.days if self.period is None else self.period.start <= day <= self.period.end

    def first_and_last_day(self) -> tuple[datetime.date, datetime.date]:
        """Return the bounds of the days that it covers."""
        return (min(self.days), max(self.days)) if self.period is None else (self.period.start, self.period.end)

    def shared_days(self, other: "Identity") -> Collection[datetime.date]:
        """Return the days that both cover."""
        if self.period is None:
            return {day for day in self.days if other.covers(day)}
        if other.period is None:
            return other.shared_days(self)
        return Period(max(self.period.start, other.period.start), min(self.period.end, other.period.end)).days()

    def is_apart(self, other: "Identity") -> bool:
        """Return whether it is of another server of the node; an empty source is the whole node."""
        return bool(self.source and other.source) and self.source != other.source

    def has_content_of(self, other: "Identity") -> bool:
        """Return whether both are the same statistics, and one of them does not say of which source and period."""
        return self.content == other.content and None in (self.period, other.period)


class InForce(Identity, frozen=True, kw_only=True):
    """A payload that is in force.

    Attributes:
        revision: the node's revision that put it in force.
    """

    payload: int
    revision: int
    received_at: datetime.datetime


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The request of the sender of a payload.

    Attributes:
        overlap: what to do about payloads that would count beside it; the default depends on the payload.
        named: the numbers of payloads in force that a PUT replaces; None if its sender names no payload. Those that
            are not in force are not among them.
    """

    method: Method
    overlap: Overlap | None = None
    named: frozenset[int] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The payload counts. Those that it supersedes do not count any more; those beside it do."""

    supersedes: list[InForce]
    beside: list[InForce]


class Duplicate(msgspec.Struct, frozen=True):
    """These statistics are in force already."""

    of: InForce


class Conflict(msgspec.Struct, frozen=True):
    """The payload is refused because of others; with PUT it is not clear which of them it replaces."""

    payloads: list[InForce]
    choices: list[str]


Decision = Accepted | Duplicate | Conflict


def touches(new: Identity, other: Identity) -> bool:
    """Return whether two payloads of a node concern each other.

    Their sources are not apart and they share a day. Or they are the same statistics: all requests of a log may be
    of other days than its own.
    """
    if new.has_content_of(other):
        return True
    return not new.is_apart(other) and bool(new.shared_days(other))


def decide(new: Identity, request: Request, others: Sequence[InForce]) -> Decision:
    """Decide whether a new payload is accepted, a duplicate or in conflict with others.

    A duplicate comes before a conflict: if these very statistics count, they have arrived, whatever else counts for
    these days. `overlap` makes no difference to that.

    Args:
        new: the payload.
        request: the request of its sender.
        others: the payloads in force that it touches; also the payload itself, if it is in force.
    """
    is_in_force = any(other.hash == new.hash for other in others)
    if duplicate := _duplicate(new, request, others):
        return Duplicate(duplicate)
    superseded = set(_superseded(new, request, others, is_in_force=is_in_force))
    beside = [other for other in others if other.payload not in superseded and other.hash != new.hash]
    if beside and not _accepts(new, request, is_in_force=is_in_force):
        return Conflict(beside, _choices(new, request, beside))
    return Accepted([other for other in others if other.payload in superseded], beside)


def _duplicate(new: Identity, request: Request, others: Iterable[InForce]) -> InForce | None:
    """Return the payload in force that has these statistics, unless this one may stay or take its place."""
    for other in others:
        if request.method is Method.POST:
            found = other.hash == new.hash or other.has_content_of(new)
        else:
            # A payload with a period knows more, and takes the place of the one without.
            is_less = new.period is None and other.period is not None and other.has_content_of(new)
            found = is_less and other.payload not in (request.named or ())
        if found:
            return other
    return None


def _superseded(new: Identity, request: Request, others: Sequence[InForce], *, is_in_force: bool) -> Iterator[int]:
    """Yield the numbers of the payloads that a PUT replaces."""
    if request.method is Method.POST:
        return
    yield from request.named or ()
    if new.period is None and (request.named is not None or is_in_force):
        return
    counts = Counter(day for other in others for day in new.shared_days(other))
    crowded = {day for day, count in counts.items() if count > 1}
    for other in others:
        if other.hash != new.hash and _is_replaced(new, other, crowded):
            yield other.payload


def _is_replaced(new: Identity, other: InForce, crowded: Collection[datetime.date]) -> bool:
    """Return whether a PUT replaces another payload without naming it.

    Args:
        new: the payload that is sent.
        other: a payload in force that it touches.
        crowded: days that several payloads in force cover, which may be those of several servers.
    """
    if other.period is not None:
        return new.period is not None and new.source == other.source and new.period.contains(other.period)
    if new.has_content_of(other):
        return True
    return not new.source and all(map(new.covers, other.days)) and other.days.isdisjoint(crowded)


def _accepts(new: Identity, request: Request, *, is_in_force: bool) -> bool:
    """Return whether payloads may count beside the new one."""
    if request.overlap is not None:
        return request.overlap is Overlap.ACCEPT
    if request.method is Method.PUT:
        return request.named is not None or (new.period is None and is_in_force)
    # Older aggregators know nothing of this.
    return new.period is None


# Messages


def describe(other: Identity) -> str:
    """Return the source and the period of a payload in words."""
    source = f"source {other.source}, " if other.source else ""
    if other.period is not None:
        return f"{source}{other.period}"
    days = sorted(other.days)
    shown = ", ".join(map(str, days)) if len(days) <= _DAYS_SHOWN else f"{len(days)} days, {days[0]} to {days[-1]}"
    return f"no period, {shown}"


def _choices(new: Identity, request: Request, conflicting: Sequence[InForce]) -> list[str]:
    """Return what the sender can do about a conflict: in the terms of the aggregator, and in those of HTTP."""
    within: list[InForce] = []
    beyond: list[InForce] = []
    for other in conflicting:
        (within if all(map(new.covers, other.first_and_last_day())) else beyond).append(other)
    choices = []
    if longer := _longer_period(new, conflicting):
        choices.append(f"To correct a part of a longer period, run all logs of {longer} with --replace (PUT).")
    elif request.method is Method.POST:
        choices.append("If this is a correction, send it as one: --replace (PUT).")
    if any(other.period is not None and other.source != new.source for other in conflicting):
        choices.append("An empty source is the whole node: all servers have a source, or none has.")
    if within:
        choices.append(
            "If it takes the place of {0}, say so: --replaces {0} (PUT with replaces={0}).".format(_numbers(within))
        )
    if beyond:
        choices.append(f"To replace {_numbers(beyond)} withdraws days that are not among these.")
    choices.append("If all are to count: --beside (overlap=accept).")
    return choices


def _numbers(payloads: Sequence[InForce]) -> str:
    return ",".join(str(one.payload) for one in payloads) if len(payloads) <= _NUMBERS_SHOWN else "NUMBER,…"


def _longer_period(new: Identity, conflicting: Iterable[InForce]) -> Period | None:
    """Return the period that a correction needs, if payloads of the same source reach beyond this one's."""
    if new.period is None:
        return None
    same = [other.period for other in conflicting if other.period is not None and other.source == new.source]
    periods = [new.period, *same]
    joined = Period(min(period.start for period in periods), max(period.end for period in periods))
    return joined if joined != new.period else None


def reference(other: InForce, days: Iterable[datetime.date]) -> PayloadReference:
    """Return how a payload is listed in an answer, with some of its days."""
    return PayloadReference(other.payload, other.hash, other.source, other.period, sorted(days))


def list_overlaps(new: Identity, others: Iterable[InForce]) -> list[PayloadReference]:
    """List payloads with the days that they share with another one."""
    return [reference(other, new.shared_days(other)) for other in others]


# Days and months


def group_by_payload(rows: Iterable[tuple[int, Any]]) -> dict[int, list[datetime.date]]:
    """Gather the days of payloads by their numbers; SQLite returns days as text."""
    days: defaultdict[int, list[datetime.date]] = defaultdict(list)
    for number, day in rows:
        days[number].append(msgspec.convert(day, datetime.date))
    return days


def months_of(days: Iterable[datetime.date]) -> set[datetime.date]:
    """Return the first days of the months of some days."""
    return {day.replace(day=1) for day in days}


def last_day_of(month: datetime.date) -> datetime.date:
    """Return the last day of a month, by its first one."""
    return (month + datetime.timedelta(days=31)).replace(day=1) - datetime.timedelta(days=1)
