"""The rows of answers about connections, as the client of the request may see them."""

import datetime
from collections.abc import Iterable, Iterator

from eida_statistics.times import format_utc
from eida_stats_webservice.connections.history import PastCount
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.present import Present, show_unconfirmed
from eida_stats_webservice.connections.series import Interval
from eida_stats_webservice.connections.view import View
from eida_stats_webservice.query.formats import Column, Row

NEGATIVE = "negative"
"""The anomaly of a count below zero, which is shown as zero."""


def _make_columns(names: str, texts: str) -> tuple[Column, ...]:
    return tuple(Column(name, is_text=name in texts.split()) for name in names.split())


PRESENT_COLUMNS = _make_columns(
    "space count capacity utilisation changed as_of stale complete unconfirmed anomaly suppressed",
    "space changed as_of anomaly",
)
COUNT_COLUMNS = _make_columns(
    "space count time stale resolution anomaly suppressed", "space time resolution anomaly"
)
SERIES_COLUMNS = _make_columns("start end count lowest highest entries exits utilisation suppressed", "start end")
SESSION_COLUMNS = _make_columns(
    "instance connected closed closed_by protocol session", "instance connected closed closed_by protocol session"
)


def write_time(moment: datetime.datetime | None) -> str | None:
    """Return a time as answers have it."""
    return None if moment is None else format_utc(moment)


def make_present_row(view: View, present: Present) -> Row:
    """Return the row of the present state of a space."""
    count, space = present.count, present.space
    is_hidden = count is not None and view.is_suppressed(space, count)
    shown = None if count is None else view.show(space, count)
    unconfirmed = show_unconfirmed(view, present)
    return [
        *(space.name, shown, space.capacity, _divide(shown, space.capacity)),
        # With a small count, it would be the time of one client.
        None if is_hidden else write_time(present.changed),
        *(write_time(present.as_of), present.stale, present.complete),
        unconfirmed,
        *(_find_anomaly(count), unconfirmed is None),
    ]


def make_count_row(view: View, space: Space, past: PastCount) -> Row:
    """Return the row of a count in the past."""
    is_hidden = past.count is not None and view.is_suppressed(space, past.count)
    return [
        space.name,
        None if past.count is None else view.show(space, past.count),
        None if is_hidden else write_time(past.time),
        *(past.stale, past.resolution, _find_anomaly(past.count), is_hidden),
    ]


def make_series_rows(view: View, space: Space, intervals: Iterable[Interval]) -> Iterator[Row]:
    """Yield the rows of a series.

    Where a small count is not shown, entries and exits are not, either: together with the other counts they would
    show it. For the same reason both are shown, or neither.
    """
    is_protected = view.is_protected(space)
    for one in intervals:
        counts = (one.count, one.lowest, one.highest)
        changes: list[int | None] = [one.entries, one.exits]
        if is_protected:
            levels = [view.show(space, count) for count in counts]
            if any(view.is_suppressed(space, number) for number in (one.begun, one.count, one.entries, one.exits)):
                changes = [None, None]
        else:
            levels = [max(count, 0) for count in counts]
        yield [
            *(write_time(one.start), write_time(one.end), *levels, *changes),
            *(_divide(levels[0], space.capacity), None in (*levels, *changes)),
        ]


def write_values(rows: Iterable[Row], written_format: str) -> Iterator[Row]:
    """Yield rows with truth values as JSON has them, also for formats of text."""
    if written_format == "json":
        yield from rows
        return
    for row in rows:
        yield [str(value).lower() if isinstance(value, bool) else value for value in row]


def _divide(count: int | None, capacity: int | None) -> float | None:
    return None if count is None or capacity is None else round(count / capacity, 4)


def _find_anomaly(count: int | None) -> str | None:
    return NEGATIVE if count is not None and count < 0 else None
