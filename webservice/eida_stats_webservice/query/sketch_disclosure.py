"""Decide which sketches an answer discloses, and in which form. See docs/PRIVACY.md for the reasons.

A sketch of few clients reveals who is among them. So does the difference between the sketch of a total and those of
its rows.
"""

import datetime
from collections.abc import Callable, Collection, Iterable

import msgspec

from eida_statistics import hll
from eida_statistics.months import find_last_day, format_month
from eida_stats_webservice.query import small_groups, suppression
from eida_stats_webservice.query.cube import ALL
from eida_stats_webservice.query.model import Key, Statistic, StatisticsQuery
from eida_stats_webservice.query.small_groups import Networks
from eida_stats_webservice.registry.models import OTHER


class Disclosure(msgspec.Struct, frozen=True, kw_only=True):
    """The rules for the sketches of one answer, for clients that are not authorized for all networks of a row.

    Attributes:
        min_clients: MIN_CLIENTS.
        min_sketch_clients: the smallest number of clients of a sketch, if MIN_CLIENTS is set.
        first_open_month: the month from which on no sketch is disclosed, if MIN_CLIENTS is set.
        start: the first day of the query; the first one of its month, unless it is daily.
        suppressed: the keys of rows in which a cell is suppressed.
        first_cell_day: the first day whose cells are kept, None if all are.
        is_public: whether everybody may get the answer, so that no client is authorized for more.
    """

    min_clients: int
    min_sketch_clients: int
    first_open_month: datetime.date
    start: datetime.date
    suppressed: Collection[Key] = frozenset()
    first_cell_day: datetime.date | None = None
    is_public: bool = False


def disclose(row: Statistic, disclosure: Disclosure) -> Statistic:
    """Return the row with the sketch that the client may have: as it is, dense, or empty.

    The exact form lists the hashes of up to 160 clients. Only clients that are authorized for all networks of the
    row get it. A sketch is never missing: programs made for the deployed service fail at a row without one.
    """
    if row.hll_clients is not None and (disclosure.is_public or not row.authorized):
        sketch = hll.EMPTY if _is_withheld(row, disclosure) else hll.to_dense(row.hll_clients)
        return msgspec.structs.replace(row, hll_clients=sketch)
    return row


def _is_withheld(row: Statistic, disclosure: Disclosure) -> bool:
    if not disclosure.min_clients:
        return not row.visible and row.node_and_network[1] != OTHER
    return (
        OTHER in row.keys
        or row.clients < max(disclosure.min_clients, disclosure.min_sketch_clients)
        or row.has_withheld
        or row.last_month >= format_month(disclosure.first_open_month)
        or row.keys in disclosure.suppressed
        or _lacks_cells(row, disclosure)
    )


def _lacks_cells(row: Statistic, disclosure: Disclosure) -> bool:
    """Return whether cells of the row are deleted. Nobody can say then whether one of them was suppressed."""
    if disclosure.first_cell_day is None:
        return False
    start = disclosure.start.isoformat()
    # A year, month, day or hour begins on this day.
    first_day = start if row.date == ALL else max(start, f"{row.date}-01-01"[: len(start)])
    return first_day < disclosure.first_cell_day.isoformat()


def make_finest(query: StatisticsQuery) -> StatisticsQuery:
    """Return the public query of networks about the same time that divides clients most.

    Its answer has the cells of the rows of the query.
    """
    cube = query.cube
    public = {dimension.name for dimension in cube.details if dimension.is_public}
    table = max(
        (table for table in cube.tables if "network" in table.dimensions),
        key=lambda table: (table.grain.characters, len(public & table.dimensions)),
    )
    return StatisticsQuery(
        cube=cube,
        # A query by month is about whole months.
        start=query.start if query.is_daily else query.start.replace(day=1),
        end=query.end if query.is_daily else find_last_day(query.end),
        choices=query.choices,
        level="network",
        details=frozenset({table.grain.name, *(public & table.dimensions)}),
    )


def find_suppressed_keys(
    cells: Iterable[Statistic], minimum: int, query: StatisticsQuery, restricted: Networks
) -> set[Key]:
    """Return the keys of the rows of an answer in which a cell is suppressed, as far as cells are kept.

    Args:
        cells: the rows of the finest query, in any order, with restricted networks one by one. Only those and small
            rows need sketches.
        minimum: the smallest number of clients of a row.
        query: the query of the answer.
        restricted: nodes and networks that are not public; none for the holders of tokens.
    """
    cells = list(cells)
    get_key = _make_answer_key_function(query, restricted)
    keys = [get_key(cell.keys) for cell in cells]
    obvious = {
        key
        for key, cell in zip(keys, cells, strict=True)
        if cell.clients < minimum or cell.node_and_network in restricted
    }
    # Most totals have a small cell. Then the costly search for complementary suppression is not needed.
    if obvious.issuperset(key for key in keys if key is not None):
        found = obvious
    else:
        suppressed = small_groups.find_suppressed(cells, minimum, make_finest(query), restricted)
        found = obvious.union(key for key, is_suppressed in zip(keys, suppressed, strict=True) if is_suppressed)
    return {key for key in found if key is not None}


def list_answer_keys(cells: Iterable[Key], query: StatisticsQuery, restricted: Networks) -> set[Key]:
    """Return the keys of the rows of an answer that contain some cells of the finest query, by their keys."""
    get_key = _make_answer_key_function(query, restricted)
    return {key for key in map(get_key, cells) if key is not None}


def _make_answer_key_function(query: StatisticsQuery, restricted: Networks) -> Callable[[Key], Key | None]:
    """Return a function that returns the key of the row of an answer that contains a cell of the finest query.

    It takes the key of the cell, and returns None if no row contains it.
    """
    is_counted = suppression.make_filter(query, restricted)
    get_cell_key = suppression.make_key_function(query, restricted)
    characters = 0 if query.grain is None else query.grain.characters

    def get_answer_key(cell: Key) -> Key | None:
        if not is_counted(cell):
            return None
        date, node, *others = get_cell_key(cell)
        return date[:characters] or ALL, ALL if query.merge_nodes else node, *others

    return get_answer_key
