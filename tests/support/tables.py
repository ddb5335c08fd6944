"""All tables of a store in a form that can be compared."""

from typing import Any

from eida_statistics import hll
from support.stores import Store

ROLL_UPS = {
    "dataselect_stats_by_network_country": ("date", "network", "country"),
    "dataselect_stats_by_network": ("date", "network"),
    "dataselect_stats_by_country": ("date", "country"),
    "dataselect_stats_by_station": ("date", "network", "station"),
}
SUMS = ("bytes", "nb_reqs", "nb_successful_reqs", "nb_failedrequests")


def select(store: Store, query: str, **parameters: object) -> list[tuple[Any, ...]]:
    """Return the rows of a query. Its parameters are written as :name, for both databases."""
    with store.database.transaction() as connection:
        return [tuple(row) for row in _run(store, connection, query, parameters).fetchall()]


def execute(store: Store, *statements: str, **parameters: object) -> None:
    """Run statements in one transaction. Parameters are written as :name, for both databases."""
    with store.database.transaction(write=True) as connection:
        for statement in statements:
            _run(store, connection, statement, parameters)


def count(store: Store, table: str) -> int:
    return int(select(store, f"SELECT count(*) FROM {table}")[0][0])


def read_sums(store: Store, table: str, keys: tuple[str, ...]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Return the sums of a table by node and keys; clients as registers, which do not depend on the encoding."""
    columns = ", ".join(["nodes.name", *keys, *SUMS, "clients"])
    found = {}
    for values in select(store, f"SELECT {columns} FROM {table} JOIN nodes ON nodes.id = {table}.node_id"):
        key = tuple(str(value) for value in values[: len(keys) + 1])
        clients = values[-1]
        sketch = hll.from_hex(clients) if isinstance(clients, str) else bytes(clients)
        found[key] = (*(int(value) for value in values[len(keys) + 1 : -1]), hll.canonicalize(sketch))
    return found


def compute_roll_up(store: Store, keys: tuple[str, ...]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Return the roll-up by these keys, computed from the base table."""
    base = ("date", "network", "station", "location", "channel", "country")
    found: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for key, values in read_sums(store, "dataselect_stats", base).items():
        named = dict(zip(base, key[1:], strict=True))
        coarse = (key[0], *(named[name] for name in keys))
        if coarse in found:
            *numbers, clients = found[coarse]
            added = [one + other for one, other in zip(numbers, values[:-1], strict=True)]
            found[coarse] = (*added, hll.merge([clients, values[-1]]))
        else:
            found[coarse] = values
    return found


def _run(store: Store, connection: Any, statement: str, parameters: dict[str, object]) -> Any:
    cursor = connection.cursor()
    if parameters:
        cursor.execute(store.database.prepare(statement), parameters)
    else:
        cursor.execute(statement)
    return cursor
