"""Find the count of a space at a moment in the past: as it is known now, as it was shown, or of one protocol."""

import datetime

import msgspec

from eida_stats_webservice.connections.models import FIRST_MOMENT, Space
from eida_stats_webservice.connections.sums import find_hour
from eida_stats_webservice.connections.tables import parse_optional
from eida_stats_webservice.connections.view import View
from eida_stats_webservice.database.base import format_moment

BY_EVENT, BY_HOUR = "event", "hour"


class PastCount(msgspec.Struct, frozen=True):
    """The count of a space at a moment.

    Attributes:
        count: the count, which may be negative; None before the first event.
        time: that of the event after which the space had this count. For archived events, the start of their hour.
        stale: whether the hour of this time is not reconciled since its last event.
        resolution: `hour` if the events are archived, so that the count is that at the start of the hour.
    """

    count: int | None
    time: datetime.datetime | None = None
    stale: bool = False
    resolution: str = BY_EVENT


def find_past(view: View, space: Space, moment: datetime.datetime, *, nearest: bool = False) -> PastCount:
    """Return the count after the last event up to a moment, or after the event nearest to it."""
    before = _find_before(view, space, moment)
    if not nearest or view.counts.is_archived(moment):
        return before
    following = view.counts.find_next(space, moment)
    if following is None or (before.time is not None and moment - before.time <= following - moment):
        return before
    return _find_before(view, space, following)


def _find_before(view: View, space: Space, moment: datetime.datetime) -> PastCount:
    counts = view.counts
    if counts.is_archived(moment):
        hour = find_hour(moment)
        is_known = _find_archived_hour(view, space, hour) is not None
        return PastCount(counts.count_before(space, hour) if is_known else None, hour, resolution=BY_HOUR)
    last = counts.find_last(space, moment)
    if last is None or counts.is_archived(last):
        # Of an archived month, only the events of long sessions are kept.
        archived = _find_archived_hour(view, space, counts.first_kept)
        if archived is not None:
            return PastCount(counts.count(space, moment), archived, resolution=BY_HOUR)
    if last is None:
        return PastCount(None)
    spaces = [one.id for one in counts.tree.list_stored(space)]
    stale = view.select_value("is_stale", spaces, hour=format_moment(find_hour(last)))
    return PastCount(counts.count(space, moment), last, stale=bool(stale))


def _find_archived_hour(view: View, space: Space, before: datetime.datetime) -> datetime.datetime | None:
    """Return the last hour with events before an hour."""
    spaces = [one.id for one in view.counts.tree.list_stored(space)]
    period = {"start": format_moment(FIRST_MOMENT), "stop": format_moment(before)}
    return parse_optional(view.select_value("last_hour", spaces, **period))


def find_shown(view: View, space: Space, moment: datetime.datetime) -> PastCount:
    """Return the count that was shown at a moment. Later events do not change it."""
    stored = [one.id for one in view.counts.tree.list_stored(space)]
    shown = view.select("shown_counts", stored, moment=format_moment(moment))
    times = [parse_optional(recorded) for _, recorded, _ in shown]
    total = sum(int(count) for _, _, count in shown) if shown else None
    return PastCount(total, max((time for time in times if time is not None), default=None))


def find_of_protocol(
    view: View, space: Space, moment: datetime.datetime, protocol: str, *, nearest: bool = False
) -> PastCount:
    """Return how many sessions with a protocol were open at a moment, or at the event nearest to it."""
    below = [one.id for one in view.counts.tree.list_below(space)]

    def find(moment: datetime.datetime) -> PastCount:
        [(count, time)] = view.select("sessions_at", below, protocol=protocol, moment=format_moment(moment))
        last = parse_optional(time)
        return PastCount(None if last is None else int(count), last)

    before = find(moment)
    if not nearest:
        return before
    text = view.select_value("sessions_after", below, protocol=protocol, moment=format_moment(moment))
    following = parse_optional(text)
    if following is None or (before.time is not None and moment - before.time <= following - moment):
        return before
    return find(following)
