"""Suppress small groups of clients in public answers. See docs/PRIVACY.md for the reasons.

This is the cell suppression of statistical offices. Primary suppression hides small cells. Complementary
suppression hides more cells, so that no small group is the difference of visible rows.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, combinations, product

import msgspec
import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll
from eida_stats_webservice.query.cube import ALL
from eida_stats_webservice.query.model import Key, Statistic, StatisticsQuery
from eida_stats_webservice.registry.models import OTHER

# Nodes and networks.
Networks = Collection[tuple[str, str]]


def divides_clients(query: StatisticsQuery) -> bool:
    """Return whether an answer divides clients by more than node and time."""
    return query.divides_by("network") or query.details > query.date_details or _has_filters(query)


def without_filters(query: StatisticsQuery) -> StatisticsQuery:
    """Return the query without filters. Its rows are the cells of which each filtered answer consists.

    Suppression is decided on these cells. Otherwise clients could ask for a suppressed row by name.
    """
    levels = [level.name for level in query.cube.levels]
    used = [name for name in levels if query.divides_by(name) or name in query.filtered]
    return msgspec.structs.replace(
        query,
        level=used[-1] if used else None,
        details=query.details | query.filtered.difference(levels),
        filters={},
        merge_nodes=False,
        sort=None,
        limit=None,
    )


def merge_small(
    rows: Iterable[Statistic],
    minimum: int,
    query: StatisticsQuery,
    restricted: Networks = (),
    open_totals: Iterable[Statistic] = (),
) -> Iterator[Statistic]:
    """Merge, for each date, the rows with fewer than a minimum of clients into one row Other.

    Complementary suppression moves larger rows there, too, the smallest first. Afterwards, any total of the same
    query by fewer levels or details, minus its visible rows, is nothing, or has the minimum of clients, or none of
    its rows is visible. If `Other` is all of its date, it may be smaller, since that total is public. If the query
    filters networks or countries, the suppressed rows are `Other` only if their total is visible, too. Otherwise
    they are left out.

    Args:
        rows: the complete answer to the query without filters, with sketches, and restricted networks one by one.
        minimum: the smallest number of clients of a row.
        query: the query.
        restricted: the networks that make up one row Other of each date and country.
        open_totals: the totals of open months by date. They are suppressed as a whole, and left out if the query
            filters networks or countries.
    """
    cells = list(rows)
    shown, other = _split_shown(cells, minimum, query, restricted)
    if not _has_filters(query):
        _add_open_months(open_totals, query, shown, other)
    yield from (_unite(key, parts) for key, parts in shown.items())
    if _has_filters(query):
        total = msgspec.structs.replace(query, level=None, details=query.date_details)
        totals, _ = _split_shown(_sum_cells(cells, without_filters(total)), minimum, total, restricted)
        # All or none of them: the others would reveal the missing one.
        if total == query or any(_make_key(query, date) not in totals for date in other):
            return
    yield from (_unite(_make_other_key(date, query), parts) for date, parts in other.items())


def unite_nodes(rows: Iterable[Statistic]) -> Iterator[Statistic]:
    """Unite the rows of each date, network and detail over all nodes, after suppression."""
    united: defaultdict[Key, list[Statistic]] = defaultdict(list)
    for row in rows:
        date, _, *others = row.keys
        united[date, ALL, *others].append(row)
    for key, parts in united.items():
        yield _unite(key, parts)


def _has_filters(query: StatisticsQuery) -> bool:
    return bool(query.filtered - {"node"})


def _split_shown(
    cells: list[Statistic], minimum: int, query: StatisticsQuery, restricted: Networks
) -> tuple[dict[Key, list[Statistic]], dict[str, list[Statistic]]]:
    """Split the cells of a query into the visible ones by key, and the suppressed ones by date."""
    suppressed = find_suppressed(cells, minimum, without_filters(query), restricted)
    get_cell_key, is_counted = make_key_function(query, restricted), make_filter(query, restricted)
    numbers_by_key: defaultdict[Key, list[int]] = defaultdict(list)
    for number, cell in enumerate(cells):
        if is_counted(cell):
            numbers_by_key[get_cell_key(cell)].append(number)
    shown: dict[Key, list[Statistic]] = {}
    other: defaultdict[str, list[Statistic]] = defaultdict(list)
    for key, numbers in numbers_by_key.items():
        parts = [cells[number] for number in numbers]
        # For one node, a row Other of restricted networks would reveal more than the node's total.
        is_of_one_node = "node" in query.filtered and any(part.node_and_network in restricted for part in parts)
        if suppressed[numbers].any() or is_of_one_node:
            other[key[0]] += parts
        else:
            shown[key] = parts
    for date in other:
        # Without countries, the restricted networks have the same key.
        other[date] += shown.pop(_make_other_key(date, query), [])
    return shown, dict(other)


def _add_open_months(
    totals: Iterable[Statistic],
    query: StatisticsQuery,
    shown: dict[Key, list[Statistic]],
    other: dict[str, list[Statistic]],
) -> None:
    """Add the totals of open months to the suppressed cells of each date."""
    for total in totals:
        restricted = shown.pop(_make_other_key(total.date, query), [])
        other.setdefault(total.date, []).extend([total, *restricted])


def _make_key(query: StatisticsQuery, date: str, other: Callable[[str], bool] = lambda _: False) -> Key:
    """Return the key of a total of a date: Other for the dimensions of `other`, all for the remaining ones."""
    return date, *(OTHER if other(dimension.name) else ALL for dimension in query.cube.dimensions)


def _make_other_key(date: str, query: StatisticsQuery) -> Key:
    """Return the key of the row Other of a date."""
    return _make_key(query, date, query.divides_by)


def make_filter(query: StatisticsQuery, restricted: Networks) -> Callable[[Statistic], bool]:
    """Return a function that returns whether a cell is part of the answer to a query.

    If the query names networks, a row Other would consist of restricted ones alone. They are left out.
    """
    # There are many cells, and few filters.
    filtered = [(query.cube.keys.index(name), frozenset(query.filters[name])) for name in query.filtered]
    left_out = restricted if query.selects_streams else ()

    def is_counted(cell: Statistic) -> bool:
        return cell.node_and_network not in left_out and all(
            cell.keys[number] in values for number, values in filtered
        )

    return is_counted


def make_key_function(query: StatisticsQuery, restricted: Networks) -> Callable[[Statistic], Key]:
    """Return a function that returns the key of the row of an answer to which a cell belongs."""
    divides_networks = query.divides_by("network")
    merged = [number + 1 for number, one in enumerate(query.cube.dimensions) if not query.divides_by(one.name)]

    def get_cell_key(cell: Statistic) -> Key:
        key = list(cell.keys)
        if divides_networks and cell.node_and_network in restricted:
            key[1:3] = OTHER, OTHER
        for number in merged:
            key[number] = ALL
        return tuple(key)

    return get_cell_key


def _sum_cells(cells: list[Statistic], query: StatisticsQuery) -> list[Statistic]:
    """Return the rows of a query that divides less."""
    get_cell_key = make_key_function(query, ())
    parts: defaultdict[Key, list[Statistic]] = defaultdict(list)
    for cell in cells:
        parts[get_cell_key(cell)].append(cell)
    return [_unite(key, rows) for key, rows in parts.items()]


def find_suppressed(
    cells: list[Statistic], minimum: int, query: StatisticsQuery, restricted: Networks
) -> NDArray[np.bool_]:
    """Return which cells of a query without filters are suppressed: small ones, and those that reveal them."""
    table = _Cells(cells, minimum, restricted)
    totals = list(_list_totals(cells, query))
    # All totals in each round, not only up to the first one that suppresses a cell.
    while sum(table.suppress_more(*total) for total in totals):
        pass
    return table.suppressed


class _Cells:
    """The cells of an answer, in the groups that are shown or suppressed together.

    The restricted networks of one date and detail are a group. Every other cell is a group of its own. The first
    cell of a group stands for it. A restricted network that is alone in its group is suppressed as if it had no
    clients: a row Other that consists of it alone would have its figures.
    """

    def __init__(self, cells: list[Statistic], minimum: int, restricted: Networks) -> None:
        self._cells = cells
        self._minimum = minimum
        self._clients = np.array([cell.clients for cell in cells], dtype=np.int64)
        self._restricted = np.array([cell.node_and_network in restricted for cell in cells], dtype=bool)
        together: defaultdict[Key, list[int]] = defaultdict(list)
        for number in np.flatnonzero(self._restricted):
            date, _node, _network, *others = cells[number].keys
            together[date, *others].append(int(number))
        self._members = {numbers[0]: numbers for numbers in together.values()}
        self._alone = np.zeros(len(cells), dtype=bool)
        for numbers in together.values():
            self._alone[numbers] = len({cells[number].node_and_network[1] for number in numbers}) == 1
        self._group = np.arange(len(cells))
        self._size = self._clients.copy()
        for numbers in self._members.values():
            self._group[numbers] = numbers[0]
            self._size[numbers] = _count_clients([cells[number] for number in numbers])
        self.suppressed: NDArray[np.bool_] = (self._size < minimum) | self._alone

    def suppress_more(self, level: tuple[str, ...], totals: NDArray[np.intp], count: int) -> bool:
        """Suppress more cells where a total would reveal a small group, and return whether any was.

        Args:
            level: whether these totals are of nodes or networks.
            totals: the number of the total to which each cell belongs.
            count: the number of totals.
        """
        # The row Other of restricted networks has no node. Totals of a network at all nodes do not include it.
        included = ~self._restricted if level == ("network",) else np.ones_like(self._restricted)
        missing = (self.suppressed | self._restricted if "node" in level else self.suppressed) & included
        most = np.zeros(count, dtype=np.int64)
        counted = missing & ~self._alone
        np.maximum.at(most, totals[counted], self._clients[counted])
        # Nothing is revealed where no cell is missing, nor where one of the missing cells is large enough.
        some_missing, some_left = (
            np.bincount(totals[rows], minlength=count) > 0 for rows in (missing, ~missing & included)
        )
        suspect = some_missing & some_left & (most < self._minimum)
        rows = np.flatnonzero(suspect[totals] & included)
        rows = rows[np.argsort(totals[rows], kind="stable")]
        ends = np.flatnonzero(np.diff(totals[rows])) + 1
        return sum(self._suppress_more_of_total(total, missing) for total in np.split(rows, ends)) > 0

    def _suppress_more_of_total(self, rows: NDArray[np.intp], missing: NDArray[np.bool_]) -> bool:
        """Suppress the smallest groups of one total until its missing cells have enough clients."""
        gone = rows[missing[rows]].tolist()
        left = list(dict.fromkeys(self._group[rows[~missing[rows]]].tolist()))
        left.sort(key=lambda group: (self._size[group], self._cells[group].keys), reverse=True)
        changed = False
        while left and gone and not self._have_enough_clients(gone):
            smallest = left.pop()
            members = self._members.get(smallest, [smallest])
            self.suppressed[members] = True
            gone += members
            changed = True
        return changed

    def _have_enough_clients(self, numbers: list[int]) -> bool:
        counted = [self._cells[number] for number in numbers if not self._alone[number]]
        return bool(counted) and _has_clients(counted, self._minimum)


def _list_totals(
    cells: list[Statistic], query: StatisticsQuery
) -> Iterator[tuple[tuple[str, ...], NDArray[np.intp], int]]:
    """Yield the totals that clients can ask for: their level, the total of each cell, and the number of totals."""
    grains = [grain.characters for grain in query.cube.grains]
    characters = 0 if query.grain is None else query.grain.characters
    dates = [*(count for count in sorted(grains) if count <= characters), 0]
    levels: list[tuple[str, ...]] = [()]
    if query.divides_by("node"):
        levels.append(("node",))
    if query.divides_by("network"):
        levels += [("node", "network"), ("network",)]
    details = sorted(query.details - query.date_details)
    subsets = list(chain.from_iterable(combinations(details, count) for count in range(len(details), -1, -1)))
    names = query.cube.keys
    codes = {
        name: np.unique([cell.keys[names.index(name)] for cell in cells], return_inverse=True)[1]
        for name in {"node", "network", *details}
    }
    of_date = {count: np.unique([cell.date[:count] for cell in cells], return_inverse=True)[1] for count in dates}
    for level, subset, date in product(levels, subsets, dates):
        # All totals by node and date are public, so nothing can be suppressed in longer times.
        if date < characters and "network" not in level and not subset:
            continue
        combined = of_date[date].astype(np.int64)
        for name in (*level, *subset):
            combined = combined * (int(codes[name].max(initial=0)) + 1) + codes[name]
        found, totals = np.unique(combined, return_inverse=True)
        yield level, totals, len(found)


def _count_clients(parts: list[Statistic]) -> int:
    return parts[0].clients if len(parts) == 1 else hll.cardinality(_unite_sketches(parts))


def _has_clients(parts: list[Statistic], minimum: int) -> bool:
    """Return whether rows together have a number of clients."""
    counts = [row.clients for row in parts]
    # Unions cost more than everything else, and most are not needed.
    if max(counts) >= minimum or sum(counts) < minimum:
        return max(counts) >= minimum
    return hll.reaches((part.hll_clients for part in parts if part.hll_clients is not None), minimum)


def _unite(key: Key, parts: list[Statistic]) -> Statistic:
    if len(parts) == 1 and parts[0].keys == key:
        return parts[0]
    sketch = _unite_sketches(parts)
    return Statistic(
        keys=key,
        measures=tuple(map(_add_up, zip(*(row.measures for row in parts), strict=True))),
        clients=hll.cardinality(sketch),
        hll_clients=sketch,
        visible=any(row.visible for row in parts),
        has_withheld=any(row.has_withheld for row in parts),
        last_month=max(row.last_month for row in parts),
    )


def _add_up(values: tuple[int | None, ...]) -> int | None:
    """Return the sum, or None if the table lacks the measure."""
    return sum(value for value in values if value is not None) if values[0] is not None else None


def _unite_sketches(parts: list[Statistic]) -> bytes:
    return hll.merge(row.hll_clients for row in parts if row.hll_clients is not None)
