"""Compute the rows of an answer from bytes held, bytes served and the numbers of streams."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from eida_stats_webservice.archive.holdings.models import (
    ALL_YEARS,
    Codes,
    Held,
    HoldingsRow,
    NodeState,
    StreamCounts,
)
from eida_stats_webservice.query.cube import ALL
from eida_stats_webservice.query.model import Statistic, StatisticsQuery
from eida_stats_webservice.registry.models import OTHER, NetworkRecord, Viewer

_NO_COUNTS = (None, None, None, None)
_Counts = tuple[int | None, int | None, int | None, int | None]


class RowKeys:
    """Finds the row of an answer to which figures of a network or stream belong.

    Networks that the client may not see are one row Other, or left out if the query names networks or streams.

    Args:
        query: the query.
        networks: the networks of all nodes.
        policies: the nodes whose networks are restricted by default.
        viewer: the client.
    """

    def __init__(
        self,
        query: StatisticsQuery,
        networks: Iterable[NetworkRecord],
        policies: Mapping[str, bool],
        viewer: Viewer,
    ) -> None:
        self._query = query
        self._policies = policies
        self._visible = {(one.node, one.name): one.is_visible_to(viewer) for one in networks}
        self._nodes = frozenset(query.filters.get("node", ()))
        self._networks = frozenset(query.filters.get("network", ()))
        self._divides = [query.divides_by(level.name) for level in query.cube.levels]

    def find(self, codes: Codes) -> Codes | None:
        """Return the codes of the row before nodes are merged, None if the figures are left out."""
        node, network, *_ = codes
        if (self._nodes and node not in self._nodes) or (self._networks and network not in self._networks):
            return None
        if network and not self._visible.get((node, network), not self._policies.get(node, False)):
            if self._query.selects_streams:
                return None
            if self._query.divides_by("network"):
                codes = (OTHER, OTHER, ALL, ALL, ALL)
        elif not network and self._query.divides_by("network"):
            # Requests that delivered nothing, and snapshots of nodes that held nothing.
            return None
        return tuple(code if divides else ALL for code, divides in zip(codes, self._divides, strict=True))

    def find_nodes(self, states: Iterable[str]) -> dict[Codes, set[str]]:
        """Return the nodes of each row, by the node and the network of the row.

        Args:
            states: nodes that count although they may have no network yet.
        """
        found: defaultdict[Codes, set[str]] = defaultdict(set)
        for node, network in (*self._visible, *((node, "") for node in states)):
            if (key := self.find((node, network, ALL, ALL, ALL))) is not None:
                found[key[:2]].add(node)
        return found


def make_rows(
    keys: RowKeys,
    states: Mapping[str, NodeState],
    held: Iterable[Held],
    served: Iterable[Statistic],
    counts: Iterable[StreamCounts],
    *,
    is_suppressed: bool,
) -> Iterator[HoldingsRow]:
    """Yield the rows of an answer, in no order, before nodes are merged.

    Args:
        keys: finds the row of each figure.
        states: the states of the nodes whose holdings are known.
        held: the bytes that the nodes hold.
        served: the answer of dataselect to the same query, with nodes apart.
        counts: the numbers of streams.
        is_suppressed: whether `served` lacks small groups. A row without figures there may have some, and its row
            Other has more networks than that of the bytes held.
    """
    nodes = keys.find_nodes(states)
    bytes_held = _add_up_held(keys, states, held)
    bytes_served = _add_up_served(served)
    streams = _add_up_counts(keys, states, counts)
    # Also a row without figures would show that there were some clients.
    shown = {codes for codes, counted in streams.items() if counted[0] or not is_suppressed}
    for codes in {*(codes for codes, _ in bytes_held), *bytes_served, *shown}:
        of_row = nodes.get(codes[:2], set())
        known = sorted({states[node].as_of for node in of_row if node in states})
        size = bytes_held.get((codes, ALL_YEARS), 0) if known else None
        delivered = bytes_served.get(codes, None if is_suppressed else 0)
        found = streams.get(codes, _NO_COUNTS)
        is_mixed = is_suppressed and OTHER in codes[:2]
        if is_mixed or delivered is None:
            found = (found[0], None, None, None)
        ratio = None if is_mixed or not of_row <= states.keys() else _divide(delivered, size)
        yield HoldingsRow((ALL, *codes, ALL), (delivered, size, ratio, *found), ",".join(known) or None)
    for (codes, year), size in bytes_held.items():
        if year != ALL_YEARS:
            known = sorted({states[node].as_of for node in nodes.get(codes[:2], set()) if node in states})
            yield HoldingsRow((ALL, *codes, year), (None, size, None, *_NO_COUNTS), ",".join(known) or None)


def make_growth(keys: RowKeys, held: Iterable[Held]) -> Iterator[HoldingsRow]:
    """Yield a row of the bytes held for each month, in no order, before nodes are merged."""
    sums: defaultdict[tuple[str, Codes, str], int] = defaultdict(int)
    for one in held:
        if (codes := keys.find(one.codes)) is not None:
            for year in _list_years(one):
                sums[one.month, codes, year] += one.bytes
    for (month, codes, year), size in sums.items():
        yield HoldingsRow((month, *codes, year or ALL), (None, size, None, *_NO_COUNTS), month)


def merge_nodes(rows: Iterable[HoldingsRow]) -> Iterator[HoldingsRow]:
    """Yield the sums of rows over all nodes.

    Bytes that are unknown or hidden at one node are left out. Then there is no ratio, and if they are hidden, no
    count that depends on them.
    """
    parts: defaultdict[tuple[str, ...], list[HoldingsRow]] = defaultdict(list)
    for row in rows:
        date, _node, *others = row.keys
        parts[(date, ALL, *others)].append(row)
    for key, found in parts.items():
        if len(found) == 1:
            yield msgspec.structs.replace(found[0], keys=key)
            continue
        served, held, ratios, streams_held, streams_served, *_ = zip(*(row.measures for row in found), strict=True)
        # Of a node without a shard nothing is known that its numbers of streams could be compared with.
        compared = [row.measures[-2:] for row in found if row.as_of is not None]
        never_served, not_held = zip(*compared, strict=True) if compared else ((None,), (None,))
        states = sorted({state for row in found for state in (row.as_of or "").split(",") if state})
        sums = _add(served), _add(held)
        # A node that holds nothing has no ratio of its own.
        is_complete = all(
            ratio is not None or (part == 0 and not hidden)
            for ratio, part, hidden in zip(ratios, held, (value is None for value in served), strict=True)
        )
        yield HoldingsRow(
            key,
            (
                *sums,
                _divide(*sums) if is_complete else None,
                _add(streams_held),
                *(None if None in column else _add(column) for column in (streams_served, never_served, not_held)),
            ),
            ",".join(states) or None,
        )


def _add_up_held(
    keys: RowKeys, states: Mapping[str, NodeState], held: Iterable[Held]
) -> dict[tuple[Codes, str], int]:
    """Return the bytes of each row: those of all years, and those of each year if they are divided by it."""
    sums: defaultdict[tuple[Codes, str], int] = defaultdict(int)
    for one in held:
        if one.codes[0] in states and (codes := keys.find(one.codes)) is not None:
            for year in _list_years(one):
                sums[codes, year] += one.bytes
    return sums


def _list_years(held: Held) -> set[str]:
    """Return the years of the rows that have these bytes. The year 0 is that of an empty snapshot."""
    return {ALL_YEARS, held.year} - {"0000"}


def _add_up_served(served: Iterable[Statistic]) -> dict[Codes, int]:
    sums: defaultdict[Codes, int] = defaultdict(int)
    for row in served:
        _, node, network, station, location, channel, *_ = row.keys
        if network:
            # Some request logs have -- for the empty location.
            codes = (node, network, station, "" if location == "--" else location, channel)
            sums[codes] += row.measures[0] or 0
    return sums


def _add_up_counts(
    keys: RowKeys, states: Mapping[str, NodeState], counts: Iterable[StreamCounts]
) -> dict[Codes, _Counts]:
    """Return the numbers of streams of each row. Nodes whose holdings are unknown only have streams served."""
    sums: dict[Codes, list[int | None]] = {}
    for one in counts:
        if (codes := keys.find(one.codes)) is None:
            continue
        row = sums.setdefault(codes, [None, 0, None, None])
        row[1] = (row[1] or 0) + one.served
        if one.codes[0] in states:
            for column, number in ((0, one.held), (2, one.never_served), (3, one.not_held)):
                row[column] = (row[column] or 0) + number
    return {codes: (row[0], row[1], row[2], row[3]) for codes, row in sums.items()}


def _add(values: Iterable[Any]) -> int | None:
    """Return the sum of the values that are known, None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _divide(served: int | None, held: int | None) -> float | None:
    """Return a ratio with six digits."""
    return None if served is None or not held else float(f"{served / held:.6g}")
