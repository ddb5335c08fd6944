"""Compose the SQL of queries by station, location or channel, and of numbers of streams. Values are only bound."""

from eida_stats_webservice.query.cube import ALL
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.query.sql import list_filters

_CODES = ("network", "station", "location", "channel")
_JOIN = "JOIN nodes ON nodes.id = stats.node_id"


def compose_held(query: StatisticsQuery, *, by_year: bool) -> str:
    """Return the SQL of the bytes that are held at present, by the level of a query, but at least by network."""
    where = " AND ".join(list_filters(query)) or "true"
    # All parts are constants of the cubes and of this module.
    return f"""\
SELECT nodes.name, {_list_codes(query)}, {"year" if by_year else "NULL"}, sum(bytes)
FROM holdings AS stats {_JOIN}
WHERE {where}
GROUP BY 1, 2, 3, 4, 5, 6"""  # noqa: S608


def compose_stream_counts(query: StatisticsQuery) -> str:
    """Return the SQL of the numbers of streams that are held, served, only held and only served.

    Both tables are added up in one pass: each stream has one row, with whether it is held and whether it is served.
    """
    # Names are joined to the streams, which are fewer than the rows, unless they select rows.
    join = _JOIN if "node" in query.filtered else ""
    held, served = (
        " AND ".join(conditions)
        for conditions in (
            list_filters(query) or ["true"],
            ["stats.date IN :months", "bytes > 0", "network <> ''", *list_filters(query)],
        )
    )
    return f"""\
SELECT nodes.name, {_list_codes(query)},
    sum(held), sum(served), sum(held * (1 - served)), sum(served * (1 - held))
FROM (
    SELECT node_id, network, station, location, channel, max(held) AS held, max(served) AS served
    FROM (
        SELECT node_id, network, station, location, channel, 1 AS held, 0 AS served
        FROM holdings AS stats {join}
        WHERE {held}
        UNION ALL
        SELECT node_id, network, station, CASE location WHEN '--' THEN '' ELSE location END, channel, 0, 1
        FROM dataselect_stats AS stats {join}
        WHERE {served}
    ) AS both_tables
    GROUP BY node_id, network, station, location, channel
) AS streams JOIN nodes ON nodes.id = streams.node_id
GROUP BY 1, 2, 3, 4, 5"""  # noqa: S608


def _list_codes(query: StatisticsQuery) -> str:
    return ", ".join(name if name == "network" or query.divides_by(name) else f"'{ALL}'" for name in _CODES)
