"""The figures of the page of live connections: how many clients are connected to each node."""

import datetime
from collections.abc import Iterator

import msgspec
from markupsafe import Markup

from eida_stats_webservice.connections.models import FEDERATION, Space
from eida_stats_webservice.connections.present import Present, find_present, show_unconfirmed
from eida_stats_webservice.connections.series import HOUR, Period, find_series
from eida_stats_webservice.connections.view import View
from eida_stats_webservice.dashboard.sparkline import draw_sparkline
from eida_stats_webservice.reports.numbers import NO_BREAK, format_count

STALE = "Stale: nothing received since {time}"
INCOMPLETE = "Incomplete: nothing received from at least one server since {time}"
UNCONFIRMED = "{count} unconfirmed"
NO_COUNT = "–"
_JOINER = "\u2060"
_DAY = datetime.timedelta(days=1)
_MINUTE = datetime.timedelta(minutes=1)


class LiveRow(msgspec.Struct, frozen=True):
    """A node, or all nodes together.

    Attributes:
        name: the name of its space.
        count: the present count, as text.
        highest: the highest count of this UTC day, as text.
        sparkline: the last hour.
        scale: the highest count of the last hour, as text; empty if none is shown.
        state: why the count may be wrong; empty if all servers are heard of.
        unconfirmed: how many sessions may have ended; empty if this is 0, or too small to be shown.
    """

    name: str
    count: str
    highest: str
    sparkline: Markup
    scale: str
    state: str
    unconfirmed: str


class LivePage(msgspec.Struct, frozen=True):
    """The figures of the page.

    Attributes:
        now: the time to which they belong.
        few: the text for a count that is too small to be shown.
        total: all nodes together.
        nodes: each node, by name.
    """

    now: str
    few: str
    total: LiveRow | None
    nodes: list[LiveRow]

    @property
    def has_unconfirmed(self) -> bool:
        """Whether any row shows unconfirmed sessions."""
        return any(row.unconfirmed for row in [*self.nodes, *([self.total] if self.total else [])])


def make_live_page(view: View, now: datetime.datetime) -> LivePage:
    """Return the figures of all nodes whose spaces the client may see."""
    nodes = list(_list_nodes(view))
    total = view.find(FEDERATION)
    rows = [_make_row(view, one, now) for one in find_present(view, [*([total] if total else []), *nodes], now)]
    return LivePage(
        now=_write_time(now, "%Y-%m-%d %H:%M:%S"),
        few=_write_few(view),
        total=rows[0] if total and nodes else None,
        nodes=rows[1:] if total else rows,
    )


def _list_nodes(view: View) -> Iterator[Space]:
    """Yield the spaces of nodes with ringservers that no other space of the node contains."""
    for space in view.list_spaces():
        parent = None if space.parent_id is None else view.counts.tree.get(space.parent_id)
        is_top = parent is None or parent.node_id != space.node_id
        if space.node_id is not None and is_top and view.has_ringservers(space):
            yield space


def _make_row(view: View, present: Present, now: datetime.datetime) -> LiveRow:
    space = present.space
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    [today] = find_series(view, space, Period(midnight, midnight + _DAY, _DAY))
    end = now.replace(second=0, microsecond=0) + _MINUTE
    counts = [view.show(space, one.count) for one in find_series(view, space, Period(end - HOUR, end, _MINUTE))]
    largest = max((count for count in counts if count is not None), default=None)
    unconfirmed = show_unconfirmed(view, present)
    state = "" if present.complete else (STALE if present.stale else INCOMPLETE)
    return LiveRow(
        name=space.name,
        count=_write_count(view, space, present.count),
        highest=_write_count(view, space, today.highest),
        sparkline=draw_sparkline(counts),
        scale="" if largest is None else f"0 to{NO_BREAK}{format_count(largest)}",
        state=state.format(time=_write_time(present.as_of)),
        unconfirmed=UNCONFIRMED.format(count=format_count(unconfirmed)) if unconfirmed else "",
    )


def _write_count(view: View, space: Space, count: int | None) -> str:
    if count is None:
        return NO_COUNT
    shown = view.show(space, count)
    return _write_few(view) if shown is None else format_count(shown)


def _write_few(view: View) -> str:
    """Return the text for a count that is too small to be shown."""
    return f"fewer than {view.min_clients}"


def _write_time(moment: datetime.datetime, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a time in UTC. A line may break between the date and the time only."""
    return f"{moment:{form}}{NO_BREAK}UTC".replace("-", f"-{_JOINER}")
