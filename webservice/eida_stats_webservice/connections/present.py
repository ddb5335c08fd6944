"""Find the present counts of spaces, and how far they can be relied on."""

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.tables import parse_optional
from eida_stats_webservice.connections.view import View, check_name, find_space

SILENT_AFTER = datetime.timedelta(minutes=2)
"""A follower sends a message every 30 seconds. If none has arrived for so long, its ringserver is stale."""

# No space has this id; PostgreSQL has no empty lists.
_NO_SPACE = 0


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


class _State(NamedTuple):
    """A row of the query `present_states`."""

    number: int
    name: str
    parent_id: int | None
    node_id: int | None
    capacity: int | None
    restricted: bool | int
    net: Any
    recounted: Any
    first_heard: Any
    last_heard: Any
    unconfirmed: Any
    changed: Any

    @property
    def space(self) -> Space:
        """The space."""
        return Space(self.number, self.name, self.parent_id, self.node_id, self.capacity, bool(self.restricted))


def find_present(view: View, spaces: Sequence[Space], now: datetime.datetime) -> list[Present]:
    """Return the present states of spaces, with one query for all of them."""
    wanted = [_NO_SPACE, *(space.id for space in spaces)]
    states = map(_State._make, view.select("present_states", wanted, name=""))
    found = {state.number: _make_present(view, state, now) for state in states}
    return [found[space.id] for space in spaces]


def find_present_by_name(view: View, name: str, now: datetime.datetime) -> Present:
    """Return the present state of a space, without reading all spaces.

    Raises:
        BadParameter: if no space can have this name.
        UnknownSpace: if there is none that the client may see.
    """
    check_name(name)
    for row in view.read("present_states", [_NO_SPACE], name=name):
        state = _State(*row)
        # A recount has to be read from the same state.
        if view.can_see(state.space) and state.recounted is None:
            return _make_present(view, state, now)
    # Or the name has another case: the database may ignore that of ASCII letters only.
    return find_present(view, [find_space(view, name)], now)[0]


def show_unconfirmed(view: View, present: Present) -> int | None:
    """Return how many sessions are unconfirmed; None if this number or the count is too small to be shown."""
    is_hidden = present.count is not None and view.is_suppressed(present.space, present.count)
    return None if is_hidden else view.show(present.space, present.unconfirmed)


def _make_present(view: View, state: _State, now: datetime.datetime) -> Present:
    recounted, first_heard, last_heard = map(parse_optional, (state.recounted, state.first_heard, state.last_heard))
    if recounted is not None:
        count: int | None = view.counts.count(state.space)
    elif state.net is not None:
        count = int(state.net)
    else:
        count = None if first_heard is None else 0
    changes = (parse_optional(state.changed), recounted)
    return Present(
        space=state.space,
        count=count,
        changed=max((moment for moment in changes if moment is not None), default=None),
        as_of=first_heard or now,
        stale=_is_silent(last_heard, now),
        complete=not _is_silent(first_heard, now),
        unconfirmed=int(state.unconfirmed or 0),
    )


def _is_silent(heard: datetime.datetime | None, now: datetime.datetime) -> bool:
    """Return whether a ringserver that was heard of is stale. A space without ringservers is not."""
    return heard is not None and now - heard > SILENT_AFTER
