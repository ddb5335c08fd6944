"""Read holdings, and count streams that are held or served."""

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eida_statistics.months import format_month
from eida_stats_webservice.archive.holdings.models import (
    ALL_YEARS,
    PRESENT,
    Held,
    HoldingsQuery,
    NodeState,
    StreamCounts,
)
from eida_stats_webservice.archive.holdings.sql import compose_held, compose_stream_counts
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.query.cube import ALL
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.query.repository import StatisticsRepository
from eida_stats_webservice.registry.models import PUBLIC


class HoldingsRepository:
    """Reads holdings. All methods take a connection of a snapshot.

    Networks are not yet withheld, and nodes and networks not yet selected, except by station, location or channel.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statistics = StatisticsRepository(database)
        self._queries = database.load_queries(Path(__file__).parent)

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service on holdings."""
        return bool(self._queries.has_rights(connection))

    def list_states(self, connection: Any, query: HoldingsQuery, today: datetime.date) -> dict[str, NodeState]:
        """Return what is known of each node. A node of whose holdings nothing is known is left out."""
        last = query.selection.end.replace(day=1)
        is_past = last < today.replace(day=1) and not query.is_of_streams
        states = {}
        for node_id, node, past, newest, has_shard in self._queries.list_states(connection, last=last.isoformat()):
            if is_past and past is not None:
                states[node] = NodeState(node_id, str(past)[:7], str(past))
            elif has_shard and newest is not None:
                states[node] = NodeState(node_id, PRESENT, str(newest))
        return states

    def read_held(self, connection: Any, query: HoldingsQuery, states: Mapping[str, NodeState]) -> Iterator[Held]:
        """Yield the bytes that are held in some states of the nodes."""
        if query.is_of_streams:
            sql = compose_held(query.selection, by_year=query.divides_years)
            for *codes, year, size in self._run(connection, sql, query.selection):
                yield Held(tuple(codes), int(size), _format_year(year))
            return
        by_year = int(query.divides_years)
        for node, state in states.items():
            for network, year, size in self._queries.read_snapshot(
                connection, node_id=state.node_id, month=state.snapshot, by_year=by_year
            ):
                yield Held((node, network, ALL, ALL, ALL), int(size), _format_year(year))

    def read_growth(self, connection: Any, query: HoldingsQuery) -> Iterator[Held]:
        """Yield the bytes that were held at the end of each month that has a snapshot."""
        for month, node, network, year, size in self._queries.read_growth(
            connection,
            start=query.selection.start.replace(day=1).isoformat(),
            last=query.selection.end.replace(day=1).isoformat(),
            by_year=int(query.divides_years),
        ):
            codes = (node, network, ALL, ALL, ALL)
            yield Held(codes, int(size), _format_year(year), format_month(_parse_day(month)))

    def count_streams(self, connection: Any, selection: StatisticsQuery) -> Iterator[StreamCounts]:
        """Yield the numbers of streams. The period is that of requests, and the holdings are the present ones."""
        self._queries.prefer_hashing(connection, hash="on")
        for row in self._run(connection, compose_stream_counts(selection), selection):
            yield StreamCounts(tuple(row[:5]), *map(int, row[5:]))
        self._queries.prefer_hashing(connection, hash="off")

    def _run(self, connection: Any, sql: str, selection: StatisticsQuery) -> Iterator[tuple[Any, ...]]:
        parameters = self._statistics.make_parameters(selection, PUBLIC)
        return self._database.stream(connection, self._database.prepare(sql), parameters)


def _format_year(year: int | None) -> str:
    return ALL_YEARS if year is None else f"{year:04}"


def _parse_day(day: datetime.date | str) -> datetime.date:
    return datetime.date.fromisoformat(day) if isinstance(day, str) else day
