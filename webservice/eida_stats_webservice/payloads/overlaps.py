"""Decide whether a new payload is refused, replaces payloads in force, or is in force in addition to them.

A payload stands for the logs of one source of a node in one period. `decide` is the complete rule.
"""

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from eida_statistics.payload import Period
from eida_stats_webservice.errors import AmbiguousReplacement, DuplicatePayload, OverlappingPayload, Overtaken
from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.payloads.models import PayloadReference
from eida_stats_webservice.registry.models import Arrival

_DAYS_SHOWN = 3
_NUMBERS_SHOWN = 20
_CONFLICTS_SHOWN = 5
_SEND_AGAIN = "Send it again. It is then compared with the payloads that are in force now."


class Method(StrEnum):
    """How a payload was sent."""

    POST = "POST"
    PUT = "PUT"


class Overlap(StrEnum):
    """The choice of the sender if payloads in force cover the same days."""

    ACCEPT = "accept"
    REFUSE = "refuse"


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
        overlap: whether other payloads may be in force in addition; the default depends on the payload.
        named: the numbers of payloads in force that a PUT replaces; None if its sender names no payload.
    """

    method: Method
    overlap: Overlap | None = None
    named: frozenset[int] | None = None


class Accepted(msgspec.Struct, frozen=True):
    """The payload is in force: it supersedes some payloads, and shares days with others that stay in force."""

    supersedes: list[InForce]
    beside: list[InForce]


class Duplicate(msgspec.Struct, frozen=True):
    """These statistics are in force already."""

    of: InForce


class Conflict(msgspec.Struct, frozen=True):
    """The payload is refused because of others. With PUT it is not clear which of them it replaces."""

    payloads: list[InForce]
    choices: list[str]


Decision = Accepted | Duplicate | Conflict


def decide(new: Identity, request: Request, others: Sequence[InForce]) -> Decision:
    """Decide whether a new payload is accepted, a duplicate or in conflict with `others`.

    These are the payloads in force that it touches, including the payload itself if it is in force. A duplicate
    takes precedence over a conflict: the same statistics in force have arrived, whatever else covers these days.
    `overlap` makes no difference to that.
    """
    is_in_force = any(other.hash == new.hash for other in others)
    if duplicate := _find_duplicate(new, request, others):
        return Duplicate(duplicate)
    superseded = set(_find_superseded(new, request, others, is_in_force=is_in_force))
    beside = [other for other in others if other.payload not in superseded and other.hash != new.hash]
    if beside and not _accepts(new, request, is_in_force=is_in_force):
        return Conflict(beside, _list_choices(new, request, beside))
    return Accepted([other for other in others if other.payload in superseded], beside)


def _find_duplicate(new: Identity, request: Request, others: Iterable[InForce]) -> InForce | None:
    """Return the payload in force that has these statistics, unless this one may replace it."""
    for other in others:
        if request.method is Method.POST:
            found = other.hash == new.hash or other.has_content_of(new)
        else:
            # A payload with a period says more, and replaces the one without.
            is_less = new.period is None and other.period is not None and other.has_content_of(new)
            found = is_less and other.payload not in (request.named or ())
        if found:
            return other
    return None


def _find_superseded(
    new: Identity, request: Request, others: Sequence[InForce], *, is_in_force: bool
) -> Iterator[int]:
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
    """Return whether a PUT replaces another payload in force without naming it.

    `crowded` are days that several payloads in force cover, perhaps of several servers.
    """
    if other.period is not None:
        return new.period is not None and new.source == other.source and new.period.contains(other.period)
    if new.has_content_of(other):
        return True
    return not new.source and all(map(new.covers, other.days)) and other.days.isdisjoint(crowded)


def _accepts(new: Identity, request: Request, *, is_in_force: bool) -> bool:
    """Return whether other payloads may be in force in addition to the new one."""
    if request.overlap is not None:
        return request.overlap is Overlap.ACCEPT
    if request.method is Method.PUT:
        return request.named is not None or (new.period is None and is_in_force)
    # Aggregators that send no period do not know this rule.
    return new.period is None


# Messages


def _describe(other: Identity) -> str:
    source = f"source {other.source}, " if other.source else ""
    if other.period is not None:
        return f"{source}{other.period}"
    days = sorted(other.days)
    shown = ", ".join(map(str, days)) if len(days) <= _DAYS_SHOWN else f"{len(days)} days, {days[0]} to {days[-1]}"
    return f"no period, {shown}"


def _list_choices(new: Identity, request: Request, conflicting: Sequence[InForce]) -> list[str]:
    """Return the choices of the sender: options of the aggregator, and parameters of HTTP."""
    within: list[InForce] = []
    beyond: list[InForce] = []
    for other in conflicting:
        (within if all(map(new.covers, other.first_and_last_day())) else beyond).append(other)
    choices = []
    if longer := _find_longer_period(new, conflicting):
        choices.append(f"To correct part of a longer period, run all logs of {longer} with --replace (PUT).")
    elif request.method is Method.POST:
        choices.append("To correct these days: --replace (PUT).")
    if any(other.period is not None and other.source != new.source for other in conflicting):
        choices.append("An empty source is the whole node: name a source for every server, or for none.")
    if within:
        choices.append("To replace {0}: --replaces {0} (PUT with replaces={0}).".format(_list_numbers(within)))
    if beyond:
        choices.append(f"Replacing {_list_numbers(beyond)} also withdraws days that this payload does not cover.")
    choices.append("To keep all in force: --beside (overlap=accept).")
    return choices


def _list_numbers(payloads: Sequence[InForce]) -> str:
    return ",".join(str(one.payload) for one in payloads) if len(payloads) <= _NUMBERS_SHOWN else "NUMBER,…"


def _find_longer_period(new: Identity, conflicting: Iterable[InForce]) -> Period | None:
    """Return the period of a correction that covers payloads of the same source which reach beyond this one."""
    if new.period is None:
        return None
    same = [other.period for other in conflicting if other.period is not None and other.source == new.source]
    periods = [new.period, *same]
    joined = Period(min(period.start for period in periods), max(period.end for period in periods))
    return joined if joined != new.period else None


def _make_reference(other: InForce, days: Iterable[datetime.date]) -> PayloadReference:
    return PayloadReference(other.payload, other.hash, other.source, other.period, sorted(days))


def list_overlaps(new: Identity, others: Iterable[InForce]) -> list[PayloadReference]:
    """List payloads with the days that they share with another one."""
    return [_make_reference(other, new.shared_days(other)) for other in others]


def require_accepted(new: Identity, request: Request, others: Sequence[InForce]) -> Accepted:
    """Decide about a payload, and raise an error if it must not be stored."""
    decision = decide(new, request, others)
    if isinstance(decision, Duplicate):
        known = decision.of
        received_at = known.received_at.isoformat(timespec="seconds")
        raise DuplicatePayload(
            f"payload {known.payload} has the same statistics and was received at {received_at}",
            members={"payload": known.payload, "hash": known.hash, "received_at": received_at},
        )
    if isinstance(decision, Conflict):
        problem = OverlappingPayload if request.method is Method.POST else AmbiguousReplacement
        shown = [f"payload {other.payload} ({_describe(other)})" for other in decision.payloads[:_CONFLICTS_SHOWN]]
        more = len(decision.payloads) - len(shown)
        raise problem(
            ", ".join(shown) + (f" and {more} more" if more else ""),
            [_make_reference(other, other.days) for other in decision.payloads],
            choices=decision.choices,
        )
    return decision


def check_not_overtaken(undone: Mapping[int, int], arrival: Arrival | None) -> None:
    """Raise an error if a request would undo changes that were made after it arrived.

    `undone` has the revisions that last changed the payloads that the request would withdraw, restore or replace.
    """
    later = [number for number, revision in undone.items() if arrival is not None and revision > arrival.revision]
    if later:
        named = ", ".join(f"payload {number}" for number in later[:_CONFLICTS_SHOWN])
        raise Overtaken(f"{named} was put in force or withdrawn after this request arrived", hint=_SEND_AGAIN)
