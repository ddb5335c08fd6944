"""Find how the count of a space has changed, in intervals of equal length."""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.sums import find_hour
from eida_stats_webservice.connections.view import View
from eida_stats_webservice.database.base import format_moment, parse_time

HOUR = datetime.timedelta(hours=1)
_MICROSECOND = datetime.timedelta(microseconds=1)
# Reconciliation runs each minute. If it does not, the bounds of older hours are wide, but not wrong.
_EXACT_HOURS = 48


class Period(NamedTuple):
    """The intervals of a series: from `start` on, each of the same length, which is 1 minute to 1 day."""

    start: datetime.datetime
    end: datetime.datetime
    interval: datetime.timedelta


class Interval(msgspec.Struct, frozen=True):
    """The counts and changes of one interval.

    Attributes:
        start: the first moment.
        end: the first moment after it.
        begun: the count before the events at the start.
        count: the count at the end.
        lowest: the lowest count, that before the first event included.
        highest: the highest count, likewise.
        entries: the number of entries.
        exits: the number of exits.
    """

    start: datetime.datetime
    end: datetime.datetime
    begun: int
    count: int
    lowest: int
    highest: int
    entries: int
    exits: int


class _Part(NamedTuple):
    """An event, a recount, or the sums of an hour; `lowest` and `highest` are relative to the count before it."""

    time: datetime.datetime
    entries: int
    exits: int
    net: int
    lowest: int
    highest: int


def find_series(view: View, space: Space, period: Period) -> Iterator[Interval]:
    """Yield the intervals of a period. Recounts change counts, but are neither entries nor exits."""
    recounts = view.counts.list_recounts(space)
    recounts = [one for one in recounts if one.recorded < period.end]
    jumps = [
        _jump(one.recorded, difference) for one, difference in view.counts.find_differences(recounts, period.start)
    ]
    if period.interval < HOUR:
        parts = _list_events(view, space, period.start, period.end)
    else:
        parts = _list_hours(view, space, period, {find_hour(jump.time) for jump in jumps})
    # A recount includes the events of its moment. The order of the others stays.
    parts = sorted([*parts, *jumps], key=lambda part: part.time)
    return _fold(parts, period, view.counts.count_before(space, period.start))


def find_series_of_protocol(view: View, space: Space, period: Period, protocol: str) -> Iterator[Interval]:
    """Yield the intervals of a period, of the sessions with a protocol."""
    below = [one.id for one in view.counts.tree.list_below(space)]
    [(count, _)] = view.select(
        "sessions_at", below, protocol=protocol, moment=format_moment(period.start - _MICROSECOND)
    )
    bounds = {"start": format_moment(period.start), "stop": format_moment(period.end)}
    changes = view.select("sessions_between", below, protocol=protocol, **bounds)
    return _fold([_change(parse_time(time), int(change)) for time, change in changes], period, int(count))


def _fold(parts: Iterable[_Part], period: Period, count: int) -> Iterator[Interval]:
    """Yield the intervals of a period from its parts, which are ordered by time."""
    remaining = iter(parts)
    part = next(remaining, None)
    start = period.start
    while start < period.end:
        end = start + period.interval
        begun = lowest = highest = count
        entries = exits = 0
        while part is not None and part.time < end:
            lowest = min(lowest, count + part.lowest)
            highest = max(highest, count + part.highest)
            count += part.net
            entries += part.entries
            exits += part.exits
            part = next(remaining, None)
        yield Interval(start, end, begun, count, lowest, highest, entries, exits)
        start = end


def _change(time: datetime.datetime, change: int) -> _Part:
    return _Part(time, max(change, 0), max(-change, 0), change, min(change, 0), max(change, 0))


def _jump(time: datetime.datetime, difference: int) -> _Part:
    return _Part(time, 0, 0, difference, min(difference, 0), max(difference, 0))


def _list_events(view: View, space: Space, start: datetime.datetime, end: datetime.datetime) -> list[_Part]:
    below = [one.id for one in view.counts.tree.list_below(space)]
    bounds = {"start": format_moment(start), "stop": format_moment(end)}
    return [
        _change(parse_time(time), int(change)) for time, change in view.select("events_between", below, **bounds)
    ]


def _list_hours(view: View, space: Space, period: Period, recounted: set[datetime.datetime]) -> list[_Part]:
    """Return the sums of the hours of a period, but the events of hours whose lowest and highest are not known."""
    hours = dict(_read_hours(view, space, period))
    unsure = sorted(hour for hour, (_, is_sure) in hours.items() if not is_sure)
    exact = {*unsure[-_EXACT_HOURS:], *recounted}
    exact = {hour for hour in exact if not view.counts.is_archived(hour)}
    events = [event for start, end in _join_hours(sorted(exact)) for event in _list_events(view, space, start, end)]
    return [*(part for hour, (part, _) in hours.items() if hour not in exact), *events]


def _read_hours(view: View, space: Space, period: Period) -> Iterator[tuple[datetime.datetime, tuple[_Part, bool]]]:
    """Yield the sums of each hour, and whether its lowest and highest counts are known."""
    stored = [one.id for one in view.counts.tree.list_stored(space)] or [space.id]
    bounds = {"start": format_moment(period.start), "stop": format_moment(period.end)}
    for row in view.select("sums_of_hours", stored, space_id=space.id, **bounds):
        time, *sums = row
        hour = parse_time(time)
        part, is_sure = _make_part(hour, sums)
        yield hour, (part, is_sure)


def _make_part(hour: datetime.datetime, sums: Sequence[Any]) -> tuple[_Part, bool]:
    entries, exits, stale, own_entries, own_exits, lowest, highest = sums
    if not stale and lowest is not None:
        entries, exits = int(own_entries), int(own_exits)
        return _Part(hour, entries, exits, entries - exits, int(lowest), int(highest)), True
    net = int(entries) - int(exits)
    # They contain the counts at both ends, and those found before the last event.
    known = (0, net, int(lowest or 0), int(highest or 0))
    return _Part(hour, int(entries), int(exits), net, min(known), max(known)), False


def _join_hours(hours: Iterable[datetime.datetime]) -> Iterator[tuple[datetime.datetime, datetime.datetime]]:
    """Yield the start and end of each run of hours."""
    for _, run in groupby(enumerate(hours), key=lambda numbered: numbered[1] - numbered[0] * HOUR):
        members = [hour for _, hour in run]
        yield members[0], members[-1] + HOUR
