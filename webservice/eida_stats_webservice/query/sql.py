"""Compose the SQL of a query from the declaration of its cube. Values are only bound, never part of the SQL."""

from enum import Enum, auto

from eida_stats_webservice.query.cube import ALL, MONTH, Dimension, Table
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.registry.models import OTHER, Viewer

_IS_RESTRICTED = """\
stats.network <> ''
            AND nodes.restriction_policy <> COALESCE(networks.inverted_policy, false)"""
_JOIN_NETWORKS = "LEFT JOIN networks ON networks.node_id = stats.node_id AND networks.name = stats.network"


class Sketches(Enum):
    """Which rows of an answer have their sketch."""

    NONE = auto()
    ALL = auto()
    OF_SMALL = auto()
    """Rows with fewer clients than the parameter `minimum`, and those of networks that are withheld.

    Decisions about small groups need these. They need no measures, so none are selected.
    """


def find_table(query: StatisticsQuery, *, policies: bool) -> Table | None:
    """Return the smallest table that has all that a query needs, or None if there is none.

    Args:
        query: the query.
        policies: whether the policies of networks are needed, although the query may not divide by networks.
    """
    divided = {dimension.name for dimension in query.cube.dimensions if query.divides_by(dimension.name)}
    needed = (divided | query.filtered | ({"network"} if policies else set())) - {"node"}
    return query.cube.find_table(needed, query.grain)


def compose(
    query: StatisticsQuery, viewer: Viewer, *, sketches: Sketches, policies: bool, cells: bool = False
) -> str:
    """Return the SQL of a query. It depends on the names that the query uses, never on its values.

    The inner SELECT finds the rows, and withholds networks that the client may not see. The outer one adds them up.
    Withheld rows are one row Other of each date and detail. A query for networks or streams leaves them out, since
    the row Other would be about these alone.

    Args:
        query: the query.
        viewer: the client.
        sketches: the rows whose sketches are selected.
        policies: apply the policies of networks, although the query may not divide by networks.
        cells: select all rows, in any order, and withheld ones like all others.
    """
    policies = policies or query.divides_by("network") or query.selects_streams
    table = find_table(query, policies=policies)
    if table is None:
        raise LookupError(f"{query.cube.name} has no table for {query}")
    # To add up rows that are alone in their key takes longer than to read them.
    sums = not (cells and _is_divided_like(query, table))
    columns = ",\n    ".join(
        _list_columns(query, table, policies=policies, cells=cells, sums=sums, sketches=sketches)
    )
    permitted = ",\n        ".join(["stats.*", "nodes.name AS node", *(_list_rights(viewer) if policies else [])])
    networks = f"\n    {_JOIN_NETWORKS}" if policies else ""
    conditions = "\n        AND ".join(_list_conditions(query, table))
    visible = "\nWHERE NOT withheld" if query.selects_streams and not cells else ""
    numbers = ", ".join(str(number + 1) for number, _ in enumerate(query.cube.keys))
    groups = f"\nGROUP BY {numbers}" if sums else ""
    order = "" if cells else f"\nORDER BY {', '.join(_list_order(query))}"
    limit = "\nLIMIT :limit" if query.limit is not None and not cells else ""
    # All parts are constants of the cube and of this module.
    return f"""\
SELECT
    {columns}
FROM (
    SELECT
        {permitted}
    FROM {table.name} AS stats
    JOIN nodes ON nodes.id = stats.node_id{networks}
    WHERE {conditions}
) AS permitted{visible}{groups}{order}{limit}"""  # noqa: S608


def _is_divided_like(query: StatisticsQuery, table: Table) -> bool:
    """Return whether each row of a table is a row of the answer."""
    names = {"node", *table.dimensions}
    return query.grain == table.grain and not query.merge_nodes and all(map(query.divides_by, names))


def _list_rights(viewer: Viewer) -> list[str]:
    """Return the columns that say whether a row is withheld, and whether the client has a right to it."""
    rights = []
    if viewer.groups:
        rights += ["COALESCE(networks.eas_group, '') IN :groups", "COALESCE(nodes.eas_group, '') IN :groups"]
    if viewer.networks:
        rights.append("stats.network IN :granted")
    authorized = "\n            OR ".join(rights) or "false"
    return [
        f"{_IS_RESTRICTED}\n            AND NOT ({authorized}) AS withheld",
        f"({authorized}) AS authorized",
    ]


def _list_conditions(query: StatisticsQuery, table: Table) -> list[str]:
    time = f"stats.{table.time}"
    return [
        # With a list of months, an index finds them for one network among many.
        f"{time} IN :months" if table.grain == MONTH else f"{time} >= :start AND {time} < :stop",
        *(f"stats.{choice.name} = :{choice.name}" for choice in query.cube.choices),
        *list_filters(query),
    ]


def list_filters(query: StatisticsQuery) -> list[str]:
    """Return the conditions that select the values of dimensions, for a table `stats` and the table `nodes`."""
    conditions = []
    for dimension in query.cube.dimensions:
        if query.filters.get(dimension.name):
            column = "nodes.name" if dimension.name == "node" else f"stats.{dimension.name}"
            bound = f":{dimension.name}"
            conditions.append(
                f"regexp_like({column}, {bound})" if dimension.has_patterns else f"{column} IN {bound}"
            )
    return conditions


def _list_columns(
    query: StatisticsQuery, table: Table, *, policies: bool, cells: bool, sums: bool, sketches: Sketches
) -> list[str]:
    """Return the columns of the outer SELECT.

    Args:
        query: the query.
        table: its table.
        policies: whether the inner SELECT has the columns of `_list_rights`.
        cells: whether withheld rows are rows like all others.
        sums: whether rows are added up.
        sketches: the rows whose sketches are selected.
    """

    def aggregate(function: str, column: str) -> str:
        return f"{function}({column})" if sums else column

    has_other = policies and not cells and query.divides_by("network") and not query.selects_streams
    clients = aggregate("hll_union_agg", "clients")
    has_withheld = aggregate("max", "CASE WHEN withheld THEN 1 ELSE 0 END") if policies else "0"
    needs_sketch = f"hll_cardinality({clients}) < :minimum OR {has_withheld} = 1"
    sketch = {
        Sketches.NONE: "NULL",
        Sketches.ALL: clients,
        Sketches.OF_SMALL: f"CASE WHEN {needs_sketch} THEN {clients} END",
    }
    return [
        f"{_select_date(query, table)} AS date",
        *(_select_key(query, dimension, has_other=has_other) for dimension in query.cube.dimensions),
        *(
            f"CAST(NULL AS bigint) AS {measure.name}"
            if measure.name in table.lacks
            else f"{aggregate('sum', measure.column)} AS {measure.name}"
            for measure in (() if sketches is Sketches.OF_SMALL else query.cube.measures)
        ),
        f"hll_cardinality({clients}) AS clients",
        f"{sketch[sketches]} AS hll_clients",
        *(
            [
                f"{aggregate('max', 'CASE WHEN withheld THEN 0 ELSE 1 END')} AS visible",
                f"{aggregate('min', 'CASE WHEN authorized THEN 1 ELSE 0 END')} AS authorized",
            ]
            if policies
            else ["1 AS visible", "0 AS authorized"]
        ),
        f"{has_withheld} AS has_withheld",
        f"substr(CAST({aggregate('max', table.time)} AS text), 1, {MONTH.characters}) AS last_month",
    ]


def _select_date(query: StatisticsQuery, table: Table) -> str:
    if query.grain is None:
        return f"'{ALL}'"
    # PostgreSQL has a space between date and time, SQLite has a T.
    return f"""replace(substr(CAST({table.time} AS text), 1, {query.grain.characters}), ' ', 'T') COLLATE "C\""""


def _select_key(query: StatisticsQuery, dimension: Dimension, *, has_other: bool) -> str:
    name = dimension.name
    if not query.divides_by(name) or (name == "node" and query.merge_nodes):
        return f"'{ALL}' AS {name}"
    if has_other and dimension in query.cube.levels:
        other = OTHER if name in ("node", "network") else ALL
        return f"""CASE WHEN withheld THEN '{other}' ELSE {name} END COLLATE "C" AS {name}"""
    return f"""{name} COLLATE "C" AS {name}"""


def _list_order(query: StatisticsQuery) -> list[str]:
    """Return the columns that order the rows: the one of the query, and the keys."""
    if query.sort is None:
        return list(query.cube.keys)
    column = query.sort.removeprefix("-")
    return [f"{column} DESC" if query.sort.startswith("-") else column, *query.cube.keys]
