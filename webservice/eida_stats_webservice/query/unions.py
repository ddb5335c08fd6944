"""Unite rows of answers that have sketches."""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from eida_statistics import hll
from eida_stats_webservice.query.cube import ALL
from eida_stats_webservice.query.model import Key, Statistic, StatisticsQuery


def roll_up(rows: Iterable[Statistic], query: StatisticsQuery) -> list[Statistic]:
    """Return the complete answer to a query from that to one with the same filters that divides more.

    It is the same as the one of the database.
    """
    characters = 0 if query.grain is None else query.grain.characters
    is_divided = [query.divides_by(dimension.name) for dimension in query.cube.dimensions]
    parts: defaultdict[Key, list[Statistic]] = defaultdict(list)
    for row in rows:
        date, *values = row.keys
        kept = (value if divided else ALL for value, divided in zip(values, is_divided, strict=True))
        parts[date[:characters] or ALL, *kept].append(row)
    return [unite(key, parts[key]) for key in sorted(parts)]


def unite(key: Key, parts: list[Statistic]) -> Statistic:
    """Return the row with a key that unites some rows: their clients count once, all else is added up."""
    if len(parts) == 1:
        # An answer of many rows over all nodes has few networks that are at several nodes.
        return parts[0] if parts[0].keys == key else msgspec.structs.replace(parts[0], keys=key, authorized=False)
    sketch = unite_sketches(parts)
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


def count_clients(parts: list[Statistic]) -> int:
    """Return the number of distinct clients of some rows."""
    return parts[0].clients if len(parts) == 1 else hll.cardinality(unite_sketches(parts))


def unite_sketches(parts: list[Statistic]) -> bytes:
    """Return the sketch of the clients of some rows."""
    return hll.unite(row.hll_clients for row in parts if row.hll_clients is not None)
