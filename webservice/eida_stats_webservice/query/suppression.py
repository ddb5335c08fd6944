"""Suppress small groups of clients in public answers. See docs/PRIVACY.md for the reasons.

This is the cell suppression of statistical offices. Primary suppression hides small cells. Complementary
suppression hides more cells, so that no small group is the difference of visible rows.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain, compress

import msgspec

from eida_stats_webservice.query.cube import ALL
from eida_stats_webservice.query.model import Key, Statistic, StatisticsQuery
from eida_stats_webservice.query.small_groups import Networks, find_suppressed
from eida_stats_webservice.query.unions import unite
from eida_stats_webservice.registry.models import OTHER


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


class SuppressedKeys(msgspec.Struct, frozen=True):
    """The keys of cells that are suppressed, and of all cells of restricted networks.

    Each is a list for each network, encoded. Most queries need few of them.
    """

    suppressed: dict[str, msgspec.Raw]
    restricted: dict[str, msgspec.Raw]

    def select_suppressed(self, networks: Collection[str]) -> set[Key]:
        """Return the keys of the suppressed cells of some networks; of all, if none are named."""
        return _decode_keys(self.suppressed, networks)

    def select_withheld(self, networks: Collection[str]) -> set[Key]:
        """Return the keys of suppressed cells and of restricted networks: both withhold the sketch of a row."""
        return self.select_suppressed(networks) | _decode_keys(self.restricted, networks)


def _encode_keys(cells: Iterable[Statistic]) -> dict[str, msgspec.Raw]:
    keys: defaultdict[str, list[Key]] = defaultdict(list)
    for cell in cells:
        _, network = cell.node_and_network
        keys[network].append(cell.keys)
    return {network: msgspec.Raw(msgspec.msgpack.encode(some)) for network, some in keys.items()}


def _decode_keys(by_network: dict[str, msgspec.Raw], networks: Collection[str]) -> set[Key]:
    chosen = by_network.keys() & networks if networks else by_network
    lists = (msgspec.msgpack.decode(by_network[network], type=list[Key]) for network in chosen)
    return set(chain.from_iterable(lists))


class Cells(msgspec.Struct, frozen=True):
    """The rows of a query without filters, and which of them are suppressed.

    Attributes:
        rows: the rows, with restricted networks one by one. Those and small ones have sketches, others perhaps.
        suppressed: whether each row is suppressed: it is small, or reveals a small one.
        restricted: the networks that make up one row Other of each date and country.
    """

    rows: list[Statistic]
    suppressed: list[bool]
    restricted: frozenset[tuple[str, str]]

    def list_suppressed(self) -> SuppressedKeys:
        """Return the keys of the rows that are suppressed, and of the rows of restricted networks."""
        suppressed = compress(self.rows, self.suppressed)
        restricted = (row for row in self.rows if row.node_and_network in self.restricted)
        return SuppressedKeys(_encode_keys(suppressed), _encode_keys(restricted))


def find_cells(rows: Iterable[Statistic], minimum: int, query: StatisticsQuery, restricted: Networks) -> Cells:
    """Return the cells of a query without filters.

    Args:
        rows: the complete answer, in any order, with restricted networks one by one. Only those and small rows need
            sketches.
        minimum: the smallest number of clients of a row.
        query: the query.
        restricted: the networks that make up one row Other of each date and country.
    """
    found = list(rows)
    return Cells(found, find_suppressed(found, minimum, query, restricted).tolist(), frozenset(restricted))


def select_cells(rows: Iterable[Statistic], suppressed: Collection[Key], restricted: Networks) -> Cells:
    """Return some cells of a query without filters; `suppressed` has at least the keys of the suppressed ones."""
    found = list(rows)
    return Cells(found, [row.keys in suppressed for row in found], frozenset(restricted))


def make_total(query: StatisticsQuery) -> StatisticsQuery | None:
    """Return the query for the totals by date of a query with filters of networks or countries.

    `merge_small` needs its cells. There is none if the query has no such filters, or has no other rows.
    """
    total = msgspec.structs.replace(query, level=None, details=query.date_details)
    return total if _has_filters(query) and total != query else None


def merge_small(
    cells: Cells, query: StatisticsQuery, open_totals: Iterable[Statistic] = (), total_cells: Cells | None = None
) -> Iterator[Statistic]:
    """Merge, for each date, the rows with fewer than a minimum of clients into one row Other.

    Complementary suppression moves larger rows there, too, the smallest first. Afterwards, any total of the same
    query by fewer levels or details, minus its visible rows, is nothing, or has the minimum of clients, or none of
    its rows is visible. If `Other` is all of its date, it may be smaller, since that total is public. If the query
    filters networks or countries, the suppressed rows are `Other` only if their total is visible, too. Otherwise
    they are left out.

    Args:
        cells: the cells of the query without filters.
        query: the query.
        open_totals: the totals of open months by date. They are suppressed as a whole, and left out if the query
            filters networks or countries.
        total_cells: the cells of the totals of `make_total` without filters, if there is such a query.
    """
    shown, other = _split_shown(cells, query)
    if not _has_filters(query):
        _add_open_months(open_totals, query, shown, other)
    yield from (unite(key, parts) for key, parts in shown.items())
    if _has_filters(query):
        total = make_total(query)
        totals = {} if total is None or total_cells is None else _split_shown(total_cells, total)[0]
        # All or none of them: the others would reveal the missing one.
        if any(_make_key(query, date) not in totals for date in other):
            return
    yield from (unite(_make_other_key(date, query), parts) for date, parts in other.items())


def unite_nodes(rows: Iterable[Statistic]) -> Iterator[Statistic]:
    """Unite the rows of each date, network and detail over all nodes, after suppression."""
    united: defaultdict[Key, list[Statistic]] = defaultdict(list)
    for row in rows:
        date, _, *others = row.keys
        united[date, ALL, *others].append(row)
    for key, parts in united.items():
        yield unite(key, parts)


def _has_filters(query: StatisticsQuery) -> bool:
    return bool(query.filtered - {"node"})


def _split_shown(
    cells: Cells, query: StatisticsQuery
) -> tuple[dict[Key, list[Statistic]], dict[str, list[Statistic]]]:
    """Split the cells of a query into the visible ones by key, and the suppressed ones by date."""
    get_cell_key, is_counted = make_key_function(query, cells.restricted), make_filter(query, cells.restricted)
    has_node = "node" in query.filtered
    numbers_by_key: defaultdict[Key, list[int]] = defaultdict(list)
    for number, cell in enumerate(cells.rows):
        if is_counted(cell.keys):
            numbers_by_key[get_cell_key(cell.keys)].append(number)
    shown: dict[Key, list[Statistic]] = {}
    other: defaultdict[str, list[Statistic]] = defaultdict(list)
    for key, numbers in numbers_by_key.items():
        parts = [cells.rows[number] for number in numbers]
        # For one node, a row Other of restricted networks would reveal more than the node's total.
        is_of_one_node = has_node and any(part.node_and_network in cells.restricted for part in parts)
        if is_of_one_node or any(cells.suppressed[number] for number in numbers):
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


def make_filter(query: StatisticsQuery, restricted: Networks) -> Callable[[Key], bool]:
    """Return a function that returns whether the cell of a key is part of the answer to a query.

    If the query names networks, a row Other would consist of restricted ones alone. They are left out.
    """
    # There are many cells, and few filters.
    filtered = [(query.cube.keys.index(name), frozenset(query.filters[name])) for name in query.filtered]
    left_out = restricted if query.selects_streams else ()

    def is_counted(key: Key) -> bool:
        # A generator would take several times as long.
        for number, values in filtered:
            if key[number] not in values:
                return False
        return key[1:3] not in left_out

    return is_counted


def make_key_function(query: StatisticsQuery, restricted: Networks) -> Callable[[Key], Key]:
    """Return a function that returns the key of the row of an answer to which the cell of a key belongs."""
    divides_networks = query.divides_by("network")
    merged = [number + 1 for number, one in enumerate(query.cube.dimensions) if not query.divides_by(one.name)]

    def get_cell_key(cell: Key) -> Key:
        key = list(cell)
        if divides_networks and cell[1:3] in restricted:
            key[1:3] = OTHER, OTHER
        for number in merged:
            key[number] = ALL
        return tuple(key)

    return get_cell_key
