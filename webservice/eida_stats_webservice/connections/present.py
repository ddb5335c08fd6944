"""Find the present counts of spaces, and how far they can be relied on."""

import datetime
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.tables import parse_optional
from eida_stats_webservice.connections.view import View

SILENT_AFTER = datetime.timedelta(minutes=2)
"""A follower sends a message every 30 seconds. If none has arrived for so long, its ringserver is stale."""


class Present(msgspec.Struct, frozen=True):
    """The present state of a space.

    Attributes:
        space: the space.
        count: its count, which may be negative; None if there was no event and no ringserver was heard of.
        changed: the time of its last event or recount.
        as_of: the time to which the count belongs: when the ringserver was heard of that is silent for longest.
        stale: whether all ringservers below are silent.
        complete: whether none of them is.
        unconfirmed: the number of open sessions that may have ended, because nothing confirms them.
    """

    space: Space
    count: int | None
    changed: datetime.datetime | None
    as_of: datetime.datetime
    stale: bool
    complete: bool
    unconfirmed: int


class _Sensor(NamedTuple):
    is_ringserver: bool
    heard_at: datetime.datetime | None
    unconfirmed: int
    changed: datetime.datetime | None


def find_present(view: View, spaces: Sequence[Space], now: datetime.datetime) -> list[Present]:
    """Return the present states of spaces, with a few queries for all of them."""
    tree = view.counts.tree
    relevant = {below.id for space in spaces for below in tree.list_below(space)}
    sensors = _find_sensors(view, relevant)
    sums: dict[int, int] = {}
    recounts: dict[int, datetime.datetime] = {}
    # No space has the id 0; PostgreSQL has no empty lists.
    stored = view.to_list({0, *(part.id for space in spaces for part in tree.list_stored(space))})
    for number, net, recounted in view.select("present_sums", relevant, stored=stored):
        if net is not None:
            sums[number] = int(net)
        if (time := parse_optional(recounted)) is not None:
            recounts[number] = time
    counts = _find_counts(view, spaces, sums, recounts)
    found = []
    for space in spaces:
        below = tree.list_below(space)
        installed = [one for part in below for one in sensors[part.id]]
        changes = [*(one.changed for one in installed), *(recounts.get(part.id) for part in below)]
        heard = [one.heard_at for one in installed if one.is_ringserver and one.heard_at is not None]
        silent = [moment for moment in heard if now - moment > SILENT_AFTER]
        found.append(
            Present(
                space=space,
                count=counts.get(space.id, 0 if heard else None),
                changed=max(filter(None, changes), default=None),
                as_of=min(heard, default=now),
                stale=bool(silent) and len(silent) == len(heard),
                complete=not silent,
                unconfirmed=sum(one.unconfirmed for one in installed),
            )
        )
    return found


def show_unconfirmed(view: View, present: Present) -> int | None:
    """Return how many sessions are unconfirmed; None if this number or the count is too small to be shown."""
    is_hidden = present.count is not None and view.is_suppressed(present.space, present.count)
    return None if is_hidden else view.show(present.space, present.unconfirmed)


def _find_sensors(view: View, spaces: Iterable[int]) -> dict[int, list[_Sensor]]:
    """Return the sensors of some spaces, by space."""
    found: dict[int, list[_Sensor]] = defaultdict(list)
    for space_id, is_ringserver, heard_at, unconfirmed, changed in view.select("installed_sensors", spaces):
        found[space_id].append(
            _Sensor(bool(is_ringserver), parse_optional(heard_at), int(unconfirmed), parse_optional(changed))
        )
    return found


def _find_counts(
    view: View, spaces: Iterable[Space], sums: Mapping[int, int], recounted: Container[int]
) -> dict[int, int]:
    """Return the counts of the spaces that have had events, by space."""
    tree = view.counts.tree
    counts = {}
    for space in spaces:
        if any(below.id in recounted for below in tree.list_below(space)):
            counts[space.id] = view.counts.count(space)
        elif known := [sums[part.id] for part in tree.list_stored(space) if part.id in sums]:
            counts[space.id] = sum(known)
    return counts
