"""Compute the holdings of a shard, and the snapshot of its node, from the segments of its files."""

import datetime
from collections.abc import Collection, Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from eida_stats_webservice.archive.holdings.sums import Segment, YearSum, add_up
from eida_stats_webservice.archive.models import Shard, Stream
from eida_stats_webservice.archive.times import from_microseconds
from eida_stats_webservice.database.base import Database, format_moment
from eida_stats_webservice.registry.repository import RegistryRepository

_ROWS_AT_ONCE = 20_000
_Row = dict[str, str | int | float]


class HoldingsRefresh:
    """Computes `holdings` and `holdings_history`. All methods take a connection that may write these tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._registry = RegistryRepository(database)
        self._queries = database.load_queries(Path(__file__).parent)

    def refresh(
        self,
        connection: Any,
        shard: Shard,
        streams: Collection[Stream] | None = None,
        years: Collection[int] | None = None,
    ) -> None:
        """Compute the holdings of a shard again, and the snapshot of this month of its node.

        The names `spans` and `metadata` must stand for the views over all shards.

        Args:
            connection: the connection. Other changes of the shard must wait for the end of its transaction.
            shard: the shard.
            streams: the streams whose segments have changed, or whose files have another device or inode; by
                default, all.
            years: the years of data of all segments that have changed; by default, all.
        """
        first_year, last_year = (min(years), max(years)) if years else (datetime.MINYEAR, datetime.MAXYEAR)
        selected = {"code": shard.code, "first_year": first_year, "last_year": last_year}
        self._queries.prefer_hashing(connection, hash="on")
        self._queries.create_refreshed(connection)
        self._queries.empty_refreshed(connection)
        if streams is None:
            self._queries.delete_holdings(connection, **selected)
            self._queries.find_streams(connection, code=shard.code)
        else:
            self._load_streams(connection, streams)
            self._queries.delete_refreshed_holdings(connection, **selected)
        self._queries.analyze_refreshed(connection)
        rows = self._add_up_streams(connection, shard, first_year, last_year)
        # Rows are read and written in turn: the driver cannot do both at once.
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            self._database.load_rows(
                connection, self._queries.load_holdings, some, to_line=_write_line, to_parameters=dict
            )
        self._finish(connection, shard)
        self._queries.prefer_hashing(connection, hash="off")

    def copy(self, connection: Any, shard: Shard) -> None:
        """Copy the holdings of a shard from its own server, which computed them, and the time of its crawl.

        The schema of the shard must be first in the search_path.
        """
        self._queries.delete_holdings(
            connection, code=shard.code, first_year=datetime.MINYEAR, last_year=datetime.MAXYEAR
        )
        foreign_code = self._queries.find_foreign_code(connection)
        self._queries.copy_holdings(connection, code=shard.code, node_id=shard.node_id, foreign_code=foreign_code)
        self._queries.copy_crawled_at(connection, code=shard.code, foreign_code=foreign_code)
        self._finish(connection, shard)

    def refresh_history(self, connection: Any, node_id: int) -> None:
        """Compute the snapshot of this month of a node again, from the holdings of its shards."""
        month = datetime.datetime.now(tz=datetime.UTC).date().replace(day=1).isoformat()
        self._queries.lock_history(connection, node_id=node_id)
        self._queries.delete_snapshot(connection, node_id=node_id, month=month)
        self._queries.add_snapshot(connection, node_id=node_id, month=month)
        self._queries.add_empty_snapshot(connection, node_id=node_id, month=month)
        self._queries.add_held_networks(connection, node_id=node_id, month=month)
        # Answers are compared by this revision.
        self._registry.bump_registry_revision(connection)

    def _finish(self, connection: Any, shard: Shard) -> None:
        now = datetime.datetime.now(tz=datetime.UTC)
        self._queries.mark_as_refreshed(connection, code=shard.code, now=format_moment(now))
        self.refresh_history(connection, shard.node_id)

    def _load_streams(self, connection: Any, streams: Collection[Stream]) -> None:
        self._database.load_rows(
            connection,
            self._queries.load_refreshed,
            enumerate(sorted(set(streams))),
            to_line=lambda row: f"{row[0]}\t" + "\t".join(row[1]) + "\n",
            to_parameters=lambda row: dict(
                zip(("id", "network", "station", "location", "channel"), (row[0], *row[1]), strict=True)
            ),
        )

    def _add_up_streams(self, connection: Any, shard: Shard, first_year: int, last_year: int) -> Iterator[_Row]:
        """Yield the rows of the streams to refresh."""
        names = {number: Stream(*codes) for number, *codes in self._queries.list_refreshed(connection)}
        period = {
            "code": shard.code,
            "start": f"{first_year:04}-01-01T00:00:00.000000+00:00",
            "end": f"{last_year:04}-12-31T23:59:59.999999+00:00",
        }
        segments = self._database.stream(connection, self._queries.read_segments.sql, period)
        for number, found in groupby(segments, itemgetter(0)):
            for held in add_up(Segment._make(columns[1:]) for columns in found):
                if first_year <= held.year <= last_year:
                    yield _make_row(shard, names[number], held)


def _make_row(shard: Shard, stream: Stream, held: YearSum) -> _Row:
    network, station, location, channel = stream
    return {
        "code": shard.code,
        "node_id": shard.node_id,
        "network": network,
        "station": station,
        "location": location,
        "channel": channel,
        "year": held.year,
        "bytes": held.bytes,
        "files": held.files,
        "seconds": held.seconds,
        "first": format_moment(from_microseconds(held.first)),
        "last": format_moment(from_microseconds(held.last)),
    }


def _write_line(row: _Row) -> str:
    """Return a row in the text format of COPY. Codes have no characters that need an escape."""
    return "\t".join(map(str, row.values())) + "\n"
