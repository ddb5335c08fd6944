"""Statistics: sums of the payloads in force, divided as a query says."""

import datetime
import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from eida_statistics import hll
from eida_statistics.months import list_months
from eida_statistics.payload import EARLIEST_DAY
from eida_stats_webservice.database.base import Database, parse_time
from eida_stats_webservice.query.cube import Cube
from eida_stats_webservice.query.model import DataVersion, Statistic, StatisticsQuery
from eida_stats_webservice.query.sql import Sketches, compose, find_table
from eida_stats_webservice.registry.models import PUBLIC, Viewer

# SQL has no empty lists.
_NO_MONTH = "0001-01-01"
# A proxy in front waits for somewhat longer.
_ANSWER_SECONDS = 120


class StatisticsRepository:
    """Runs queries of statistics.

    Args:
        database: the database.
        connection: the connection of a snapshot; by default, each query has its own.
    """

    def __init__(self, database: Database, connection: Any = None) -> None:
        self._database = database
        self.connection = connection
        self._queries = database.load_queries(Path(__file__).parent)

    @contextmanager
    def snapshot(self) -> Iterator["StatisticsRepository"]:
        """Yield a repository whose answers all are of the same state; this one, if it has a snapshot."""
        if self.connection is not None:
            yield self
            return
        with self._database.snapshot() as connection:
            self._database.limit_time(connection, _ANSWER_SECONDS)
            yield StatisticsRepository(self._database, connection)

    def savepoint(self) -> AbstractContextManager[None]:
        """Return a context in a snapshot. If a query fails in it, the snapshot can be used further."""
        return self._database.savepoint(self.connection)

    def _connect(self) -> AbstractContextManager[Any]:
        return self._database.transaction() if self.connection is None else nullcontext(self.connection)

    def data_version(self) -> DataVersion:
        """Return the version of the data, on which answers depend."""
        with self._connect() as connection:
            registry, statistics, *times = self._queries.data_version(connection)
        return _make_version(f"{registry}.{statistics}", times)

    def find_version_before(self, day: datetime.date) -> DataVersion:
        """Return the version of the data without payloads that begin on a day or later."""
        with self._connect() as connection:
            registry, statistics, payloads, *times = self._queries.version_before(connection, day=day.isoformat())
        # Versions before different days never compare as equal.
        return _make_version(f"{day} {registry}.{statistics}.{payloads}", times)

    def find_first_day(self, query: StatisticsQuery) -> datetime.date | None:
        """Return the first day that is kept of the sums that a query reads, None if none were deleted."""
        table = find_table(query, policies=False)
        if table is None or table.first_day is None:
            return None
        with self._connect() as connection:
            # A constant of the cube.
            sql = f"SELECT CAST({table.first_day} AS text)"
            ((day,),) = self._database.stream(connection, sql, {})
        first_day = datetime.date.fromisoformat(day)
        return first_day if first_day > EARLIEST_DAY else None

    def query(
        self, query: StatisticsQuery, viewer: Viewer, *, sketches: bool, policies: bool = False
    ) -> Generator[Statistic]:
        """Yield the sums of a query. Its transaction ends with the last row, unless it is that of a snapshot.

        Args:
            query: the query.
            viewer: the client. Networks that it may not see are one row Other of each date and detail, or left out
                if the query has a filter for networks or streams.
            sketches: yield the sketches, too.
            policies: find the rights of the client, and withheld networks, also in rows of several networks.

        Raises:
            DatabaseTooSlow: if the first rows, or further ones, take too long.
        """
        sql, parameters = self.prepare(query, viewer, sketches=sketches, policies=policies)
        yield from self._stream(query.cube, sql, parameters, len(query.cube.measures))

    def query_cells(
        self, query: StatisticsQuery, *, policies: bool = False, sketches_below: int | None = None
    ) -> Generator[Statistic]:
        """Yield, in any order, the cells of which public answers consist: withheld networks are rows of their own.

        Suppression decides which cells an answer shows.

        Args:
            query: the query; its limit does not count.
            policies: find withheld networks, also in rows of several networks.
            sketches_below: yield no other sketches than those of rows with fewer clients than this, and of withheld
                networks, and no measures. A decision about groups with fewer clients needs only these.

        Raises:
            DatabaseTooSlow: as `query` does.
        """
        sketches = Sketches.ALL if sketches_below is None else Sketches.OF_SMALL
        sql = compose(query, PUBLIC, sketches=sketches, policies=policies, cells=True)
        parameters = {**self.make_parameters(query, PUBLIC), "minimum": sketches_below}
        measures = len(query.cube.measures) if sketches_below is None else 0
        yield from self._stream(query.cube, self._database.prepare(sql), parameters, measures)

    def _stream(self, cube: Cube, sql: str, parameters: dict[str, Any], measures: int) -> Iterator[Statistic]:
        with self._connect() as connection:
            if self.connection is None:
                self._database.limit_time(connection, _ANSWER_SECONDS)
            for row in self._database.stream(connection, sql, parameters):
                yield _make_statistic(row, len(cube.keys), measures)

    def prepare(
        self, query: StatisticsQuery, viewer: Viewer, *, sketches: bool, policies: bool = False
    ) -> tuple[str, dict[str, Any]]:
        """Return the SQL of a query and its parameters, as `query` runs them."""
        sql = compose(query, viewer, sketches=Sketches.ALL if sketches else Sketches.NONE, policies=policies)
        return self._database.prepare(sql), self.make_parameters(query, viewer)

    def make_parameters(self, query: StatisticsQuery, viewer: Viewer) -> dict[str, Any]:
        """Return the values of the parameters in the SQL of a query."""
        to_list = self._database.to_list
        patterns = {dimension.name for dimension in query.cube.dimensions if dimension.has_patterns}
        start = max(query.start, EARLIEST_DAY)
        return {
            "months": to_list([month.isoformat() for month in list_months(start, query.end)] or [_NO_MONTH]),
            "start": start.isoformat(),
            "stop": (query.end + datetime.timedelta(days=1)).isoformat(),
            **query.choices,
            **{
                name: self._database.to_regex(values) if name in patterns else to_list(values)
                for name, values in query.filters.items()
                if values
            },
            "groups": to_list(viewer.groups),
            "granted": to_list(viewer.networks),
            "limit": query.limit,
        }


def _make_version(revision: str, times: Iterable[Any]) -> DataVersion:
    return DataVersion(revision, max(parse_time(time) for time in times if time is not None))


def _make_statistic(row: tuple[Any, ...], keys: int, measures: int) -> Statistic:
    """Return a row from its columns: so many keys and measures, then the others. Large sums are text or decimal."""
    end_of_measures = keys + measures
    clients, sketch, visible, authorized, has_withheld, last_month = row[end_of_measures:]
    return Statistic(
        keys=tuple(row[:keys]),
        measures=tuple(None if size is None else int(size) for size in row[keys:end_of_measures]),
        clients=_round_up(clients),
        hll_clients=None if sketch is None else _decode_sketch(sketch),
        visible=bool(visible),
        authorized=bool(authorized),
        has_withheld=bool(has_withheld),
        last_month=last_month,
    )


def _decode_sketch(found: str | bytes) -> bytes:
    # PostgreSQL returns it as text, in forms of its own. Sketches are checked before they are stored.
    return hll.to_canonical(hll.from_hex(found) if isinstance(found, str) else found)


def _round_up(estimate: float) -> int:
    # PostgreSQL has no number for a sketch in which every register is saturated.
    return math.ceil(estimate) if math.isfinite(estimate) else math.ceil(hll.MAX_ESTIMATE)
