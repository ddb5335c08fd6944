"""Find the cells of an answer that must not be shown. See docs/PRIVACY.md for the reasons."""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import chain, combinations, cycle, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll
from eida_stats_webservice.query.model import Key, Statistic, StatisticsQuery
from eida_stats_webservice.query.unions import count_clients

# Nodes and networks.
Networks = Collection[tuple[str, str]]
# If more pairs are possible for each cell, sorting those that occur is faster than marking them.
_MOST_POSSIBLE = 16


class _Groups(NamedTuple):
    """Cells in groups: the number of the group of each cell, and how many groups there are."""

    of_cell: NDArray[np.int64]
    number: int


def find_suppressed(
    cells: list[Statistic], minimum: int, query: StatisticsQuery, restricted: Networks
) -> NDArray[np.bool_]:
    """Return which cells of a query without filters are suppressed: small ones, and those that reveal them.

    Cells may be in any order. Only small ones and those of restricted networks need sketches.
    """
    if not cells:
        return np.zeros(0, dtype=bool)
    table = _Cells(cells, minimum, restricted)
    totals = list(_list_totals(cells, query))
    # Until a whole round has suppressed nothing.
    unchanged = 0
    for total in cycle(totals):
        unchanged = 0 if table.suppress_more(*total) else unchanged + 1
        if unchanged == len(totals):
            break
    return table.suppressed


class _Cells:
    """The cells of an answer, in the groups that are shown or suppressed together.

    The restricted networks of one date and detail are a group. Every other cell is a group of its own. The cell
    with the first key stands for a group, so that the order of the cells does not matter. A restricted network that
    is alone in its group is suppressed as if it had no clients: a row Other that consists of it alone would have
    its figures.
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
        for numbers in together.values():
            numbers.sort(key=lambda number: cells[number].keys)
        self._members = {numbers[0]: numbers for numbers in together.values()}
        self._alone = np.zeros(len(cells), dtype=bool)
        for numbers in together.values():
            self._alone[numbers] = len({cells[number].node_and_network[1] for number in numbers}) == 1
        self._group = np.arange(len(cells))
        sizes = self._clients.copy()
        for numbers in self._members.values():
            self._group[numbers] = numbers[0]
            sizes[numbers] = count_clients([cells[number] for number in numbers])
        self._sizes = sizes.tolist()
        self.suppressed: NDArray[np.bool_] = (sizes < minimum) | self._alone
        self._listed = _ListedClients(cells, np.flatnonzero((self._clients < minimum) & ~self._alone), minimum)

    def suppress_more(self, level: tuple[str, ...], groups: _Groups) -> bool:
        """Suppress more cells where a total would reveal a small group, and return whether any was.

        Args:
            level: whether these totals are of nodes or networks.
            groups: the cells of each total.
        """
        totals, count = groups
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
        # If the clients are not listed, all of these counts are 0, and `_suppress_more_of_total` checks each total.
        suspect &= self._listed.count_by_total(groups, counted & suspect[totals]) < self._minimum
        if not suspect.any():
            return False
        rows = np.flatnonzero(suspect[totals] & included)
        rows = rows[np.argsort(totals[rows], kind="stable")]
        ends = np.flatnonzero(np.diff(totals[rows])) + 1
        return sum(self._suppress_more_of_total(total, missing) for total in np.split(rows, ends)) > 0

    def _suppress_more_of_total(self, rows: NDArray[np.intp], missing: NDArray[np.bool_]) -> bool:
        """Suppress the smallest groups of one total until its missing cells have enough clients.

        Return whether any was suppressed.
        """
        gone = rows[missing[rows]].tolist()
        if not self._listed.is_complete and self._have_enough_clients(gone):
            return False
        groups = dict.fromkeys(self._group[rows[~missing[rows]]].tolist())
        left = [(self._sizes[group], self._cells[group].keys, group) for group in groups]
        # Few are needed, so they are not sorted.
        heapq.heapify(left)
        while left:
            _, _, group = heapq.heappop(left)
            members = self._members.get(group, [group])
            self.suppressed[members] = True
            gone += members
            if self._have_enough_clients(gone):
                break
        return True

    def _have_enough_clients(self, numbers: list[int]) -> bool:
        counted = [self._cells[number] for number in numbers if not self._alone[number]]
        return bool(counted) and _has_clients(counted, self._minimum)


class _ListedClients:
    """The clients of small cells, to count those of many totals at once.

    Args:
        cells: all cells.
        small: the numbers of cells with fewer clients than the minimum.
        minimum: the smallest number of clients of a row.

    Attributes:
        is_complete: whether the sketches of all small cells list their clients. Otherwise none are counted, since
            the clients of united sketches can only be estimated.
    """

    def __init__(self, cells: list[Statistic], small: NDArray[np.intp], minimum: int) -> None:
        # A small cell always has a sketch. Without one, it would count as a cell without clients.
        sketches = [cells[number].hll_clients or hll.EMPTY for number in small.tolist()]
        self.is_complete = minimum <= hll.EXPLICIT_MAX and all(map(hll.is_exact, sketches))
        hashes, of_sketch = hll.list_hashes(sketches if self.is_complete else [])
        self._cells = small[of_sketch]
        distinct, self._clients = np.unique(hashes, return_inverse=True)
        self._distinct = max(len(distinct), 1)

    def count_by_total(self, groups: _Groups, counted: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the number of distinct clients of some cells for each total; 0 for all unless `is_complete`.

        Args:
            groups: the cells of each total.
            counted: whether each cell counts.
        """
        chosen = counted[self._cells]
        pairs = groups.of_cell[self._cells[chosen]] * self._distinct + self._clients[chosen]
        return np.bincount(hll.sort_unique(pairs) // self._distinct, minlength=groups.number)


def _list_totals(cells: list[Statistic], query: StatisticsQuery) -> Iterator[tuple[tuple[str, ...], _Groups]]:
    """Yield the totals that clients can ask for: their level, and the cells of each total."""
    grains = [grain.characters for grain in query.cube.grains]
    characters = 0 if query.grain is None else query.grain.characters
    dates = [*(length for length in sorted(grains) if length <= characters), 0]
    levels: list[tuple[str, ...]] = [()]
    if query.divides_by("node"):
        levels.append(("node",))
    if query.divides_by("network"):
        levels += [("node", "network"), ("network",)]
    details = sorted(query.details - query.date_details)
    subsets = list(chain.from_iterable(combinations(details, count) for count in range(len(details), -1, -1)))
    keys = [cell.keys for cell in cells]
    by_name = {name: _group_by(keys, query.cube.keys.index(name)) for name in {"node", "network", *details}}
    by_date = {length: _group_by(keys, query.cube.keys.index("date"), length) for length in dates}
    for level, subset, date in product(levels, subsets, dates):
        # All totals by node and date are public, so nothing can be suppressed in longer times.
        if date < characters and "network" not in level and not subset:
            continue
        groups = by_date[date]
        for name in (*level, *subset):
            groups = _divide(groups, by_name[name])
        yield level, groups


def _group_by(keys: list[Key], number: int, characters: int | None = None) -> _Groups:
    """Return the groups of cells with the same value of one key, or the same first characters of it."""
    values = [key[number] for key in keys]
    # numpy would sort all of the texts.
    beginnings = {value: value[:characters] for value in dict.fromkeys(values)}
    numbers = {beginning: number for number, beginning in enumerate(dict.fromkeys(beginnings.values()))}
    of_value = {value: numbers[beginning] for value, beginning in beginnings.items()}
    return _Groups(np.fromiter(map(of_value.__getitem__, values), np.int64, len(values)), len(numbers))


def _divide(groups: _Groups, others: _Groups) -> _Groups:
    """Return the groups of cells that are together in both."""
    pairs = groups.of_cell * others.number + others.of_cell
    possible = groups.number * others.number
    if possible > _MOST_POSSIBLE * len(pairs):
        found, numbers = np.unique(pairs, return_inverse=True)
        return _Groups(numbers, len(found))
    occurs = np.zeros(possible, dtype=bool)
    occurs[pairs] = True
    numbers = np.cumsum(occurs) - 1
    return _Groups(numbers[pairs], int(numbers[-1]) + 1)


def _has_clients(parts: list[Statistic], minimum: int) -> bool:
    """Return whether rows together have a number of clients."""
    counts = [row.clients for row in parts]
    # Unions cost more than everything else, and most are not needed.
    if max(counts) >= minimum or sum(counts) < minimum:
        return max(counts) >= minimum
    return hll.reaches((part.hll_clients for part in parts if part.hll_clients is not None), minimum)
