"""Statistics: sums of the payloads in force, divided as a query says."""

import datetime
import math
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

from eida_statistics import hll
from eida_stats_webservice.database.base import Database, parse_time
from eida_stats_webservice.query.model import DataVersion, Statistic, StatisticsQuery
from eida_stats_webservice.registry.models import Viewer

# The service refuses older days; see wire.py.
_FIRST_MONTH = datetime.date(1990, 1, 1)
_ALL_ROWS = 2**63 - 1
# A proxy in front waits for somewhat longer.
_ANSWER_SECONDS = 120
# SQL has no empty lists. No code, node or group has this name.
_NONE = ("*",)


class StatisticsRepository:
    """Runs queries of statistics.

    Args:
        database: the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(Path(__file__).parent)

    def data_version(self) -> DataVersion:
        """Return the version of the data, on which answers depend."""
        with self._database.transaction() as connection:
            registry, statistics, *times = self._queries.data_version(connection)
        return DataVersion(f"{registry}.{statistics}", max(parse_time(time) for time in times if time is not None))

    def query(self, query: StatisticsQuery, viewer: Viewer, *, sketches: bool) -> Generator[Statistic]:
        """Yield the sums of a query, in one transaction that ends with the last row.

        Args:
            query: the query.
            viewer: the client. Networks that it may not see are one row Other of each date and country, or left out
                if the query has a filter for networks or streams.
            sketches: yield the sketches, too.

        Raises:
            DatabaseTooSlow: if the first rows, or further ones, take too long.
        """
        with self._database.transaction() as connection:
            self._database.limit_time(connection, _ANSWER_SECONDS)
            parameters = self._make_parameters(query, viewer, sketches=sketches)
            for row in self._database.stream(connection, self._queries.statistics.sql, parameters):
                yield _make_statistic(*row)

    def _make_parameters(self, query: StatisticsQuery, viewer: Viewer, *, sketches: bool) -> dict[str, Any]:
        sort = query.sort or ""
        return {
            "source": _choose_table(query, sketches=sketches),
            "months": self._database.to_list(_list_months(query.start, query.end)),
            "some_nodes": bool(query.nodes),
            "nodes": self._database.to_list(query.nodes or _NONE),
            "some_networks": bool(query.networks),
            "networks": self._database.to_list(query.networks or _NONE),
            "some_countries": bool(query.countries),
            "countries": self._database.to_list(query.countries or _NONE),
            "station": self._make_pattern(query.stations),
            "location": self._make_pattern(query.locations),
            "channel": self._make_pattern(query.channels),
            "by_month": "month" in query.details,
            "by_year": "year" in query.details,
            "by_node": query.divides_by("node") and not query.merge_nodes,
            "by_network": query.divides_by("network"),
            "by_station": query.divides_by("station"),
            "by_location": query.divides_by("location"),
            "by_channel": query.divides_by("channel"),
            "by_country": "country" in query.details,
            "named": query.selects_streams,
            "groups": self._database.to_list(viewer.groups or _NONE),
            "granted": self._database.to_list(viewer.networks or _NONE),
            "sketches": sketches,
            "sort": sort.removeprefix("-"),
            "direction": -1 if sort.startswith("-") else 1,
            "rows": _ALL_ROWS if query.limit is None else query.limit,
        }

    def _make_pattern(self, patterns: Collection[str]) -> str:
        return self._database.to_regex(patterns) if patterns else ""


def _choose_table(query: StatisticsQuery, *, sketches: bool) -> str:
    """Return the smallest table with the dimensions of a query. Sketches need networks: policies apply to these."""
    if query.divides_by("station") or query.stations or query.locations or query.channels:
        return "streams"
    networks = query.divides_by("network") or query.selects_streams or sketches
    countries = "country" in query.details or bool(query.countries)
    if networks and countries:
        return "networks and countries"
    # Without either, the sums by network are fewer than those by country.
    return "countries" if countries else "networks"


def _list_months(start: datetime.date, end: datetime.date) -> list[str]:
    """Return the first days of the months. With a list, an index finds them for one network among many."""
    first, last = (month.year * 12 + month.month - 1 for month in (max(start, _FIRST_MONTH), end))
    return [f"{month // 12}-{month % 12 + 1:02}-01" for month in range(first, last + 1)] or ["0001-01-01"]


def _make_statistic(
    date: str,
    node: str,
    network: str,
    station: str,
    location: str,
    channel: str,
    country: str,
    size: Any,
    requests: Any,
    successful: Any,
    unsuccessful: Any,
    clients: float,
    sketch: str | bytes | None,
    visible: int,
    authorized: int,
    has_withheld: int,
    last_month: str,
) -> Statistic:
    """Return a row from its columns, in the order of the query. Large sums are text or decimal numbers."""
    return Statistic(
        date=date,
        node=node,
        network=network,
        station=station,
        location=location,
        channel=channel,
        country=country,
        bytes=int(size),
        nb_reqs=int(requests),
        nb_successful_reqs=int(successful),
        nb_unsuccessful_reqs=int(unsuccessful),
        clients=_round_up(clients),
        hll_clients=None if sketch is None else _decode_sketch(sketch),
        visible=bool(visible),
        authorized=bool(authorized),
        has_withheld=bool(has_withheld),
        last_month=last_month,
    )


def _decode_sketch(found: str | bytes) -> bytes:
    # PostgreSQL returns it as text, in forms of its own.
    return hll.canonicalize(hll.from_hex(found) if isinstance(found, str) else found)


def _round_up(estimate: float) -> int:
    # PostgreSQL has no number for a sketch in which every register is saturated.
    return math.ceil(estimate) if math.isfinite(estimate) else math.ceil(hll.MAX_ESTIMATE)
