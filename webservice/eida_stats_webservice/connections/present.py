"""Find the present counts of spaces, and how far they can be relied on."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.tables import parse_optional
from eida_stats_webservice.connections.view import View, check_name, find_space

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


def find_present(view: View, spaces: Sequence[Space], now: datetime.datetime) -> list[Present]:
    """Return the present states of spaces, with one query for all of them."""
    found = {one.space.id: one for one in _find(view, "", spaces, now)}
    return [found[space.id] for space in spaces]


def find_present_by_name(view: View, name: str, now: datetime.datetime) -> Present:
    """Return the present state of a space, without reading all spaces.

    Raises:
        BadParameter: if no space can have this name.
        UnknownSpace: if there is none that the client may see.
    """
    check_name(name)
    found = _find(view, name, [], now)
    if not found or not view.can_see(found[0].space):
        # The database may ignore the case of ASCII letters only.
        found = find_present(view, [find_space(view, name)], now)
    return found[0]


def show_unconfirmed(view: View, present: Present) -> int | None:
    """Return how many sessions are unconfirmed; None if this number or the count is too small to be shown."""
    is_hidden = present.count is not None and view.is_suppressed(present.space, present.count)
    return None if is_hidden else view.show(present.space, present.unconfirmed)


def _find(view: View, name: str, spaces: Iterable[Space], now: datetime.datetime) -> list[Present]:
    """Return the present states of the space with a name, and of some others."""
    # No space has the id 0; PostgreSQL has no empty lists.
    wanted = [0, *(space.id for space in spaces)]
    return [_make_present(view, row, now) for row in view.select("present_states", wanted, name=name)]


def _make_present(view: View, row: Sequence[Any], now: datetime.datetime) -> Present:
    number, name, parent_id, node_id, capacity, restricted, net, recounted, *heard, unconfirmed, changed = row
    space = Space(number, name, parent_id, node_id, capacity, bool(restricted))
    recounted_at, first_heard, last_heard = map(parse_optional, (recounted, *heard))
    if recounted_at is not None:
        count: int | None = view.counts.count(space)
    elif net is not None:
        count = int(net)
    else:
        count = None if first_heard is None else 0
    changes = (parse_optional(changed), recounted_at)
    return Present(
        space=space,
        count=count,
        changed=max((moment for moment in changes if moment is not None), default=None),
        as_of=first_heard or now,
        stale=_is_silent(last_heard, now),
        complete=not _is_silent(first_heard, now),
        unconfirmed=int(unconfirmed or 0),
    )


def _is_silent(heard: datetime.datetime | None, now: datetime.datetime) -> bool:
    """Return whether a ringserver that was heard of is stale. A space without ringservers is not."""
    return heard is not None and now - heard > SILENT_AFTER
