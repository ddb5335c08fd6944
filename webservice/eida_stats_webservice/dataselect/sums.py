"""The tables of sums: monthly statistics by stream and country, and their roll-ups."""

import datetime
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from eida_statistics import hll
from eida_statistics.months import find_last_day
from eida_statistics.payload import Key, Row
from eida_stats_webservice.database.base import Database, format_now
from eida_stats_webservice.dataselect.payload_sums import PayloadSums
from eida_stats_webservice.payloads.days import find_months
from eida_stats_webservice.registry.models import Node


class Sums:
    """Adds rows to the tables of sums, and rebuilds them.

    All methods take a connection in a transaction that has locked the node.
    """

    def __init__(self, database: Database, queries: Any) -> None:
        self._database = database
        self._queries = queries

    def merge(self, connection: Any, node: Node, rows: Iterable[Row]) -> None:
        """Add rows to the sums of a node, in all tables."""
        self._create_staging(connection)
        self._load(connection, rows)
        self._queries.merge_stats(connection, node_id=node.id)
        self._merge_roll_ups(connection, node)

    def rebuild(self, connection: Any, node: Node, keys: Collection[Key], payloads: PayloadSums) -> None:
        """Replace the sums of some keys by those over all payloads in force, and the roll-ups with these keys."""
        self._create_staging(connection)
        gone = self._load_sums(connection, keys, payloads)
        self._load_keys(connection, gone)
        self._queries.prepare_rebuild(connection)
        # Meanwhile, the sums by network are added up.
        self._database.run_in_background(
            connection, lambda: self._replace_rows(connection, node, len(keys) - len(gone))
        )
        for rows in payloads.add_by_network(keys):
            self._load_by_network(connection, rows)
        for change in (
            self._queries.remove_keys_by_network_country,
            self._queries.restore_keys_by_network_country,
            self._queries.remove_keys_by_network,
            self._queries.restore_keys_by_network,
            self._queries.remove_keys_by_country,
            self._queries.restore_keys_by_country,
        ):
            change(connection, node_id=node.id)

    def _replace_rows(self, connection: Any, node: Node, count: int) -> None:
        """Replace the sums by stream and by station. `count` is the number of staging rows."""
        self._queries.remove_keys_of_stats(connection, node_id=node.id)
        if self._queries.replace_stats(connection, node_id=node.id, now=format_now()) < count:
            # Someone has deleted rows.
            self._queries.restore_stats(connection, node_id=node.id)
        # The roll-ups depend on all keys.
        self._queries.add_staging_keys(connection)
        self._queries.remove_keys_by_station(connection, node_id=node.id)
        self._queries.restore_keys_by_station(connection, node_id=node.id)

    def delete(self, connection: Any, node: Node, months: Collection[datetime.date]) -> None:
        """Delete the sums of a node in some months."""
        # All days of them: only the first one has rows, if nothing went wrong.
        days = self._database.to_list(
            (month + datetime.timedelta(days=day)).isoformat()
            for month in months
            for day in range(find_last_day(month).day)
        )
        for remove in (
            self._queries.remove_stats,
            self._queries.remove_by_network_country,
            self._queries.remove_by_network,
            self._queries.remove_by_country,
            self._queries.remove_by_station,
        ):
            remove(connection, node_id=node.id, days=days)

    def insert(self, connection: Any, node: Node, payloads: Iterable[Iterable[Row]]) -> None:
        """Insert the sums of several payloads into months that have none.

        Each payload is loaded before the next one is read, so `payloads` may use the connection.
        """
        self._create_staging(connection)
        for rows in payloads:
            self._load(connection, rows)
        # All at once: one after the other, each would unite the sketches of the month again.
        self._queries.insert_stats(connection, node_id=node.id)
        self._merge_roll_ups(connection, node)

    def list_months(self, connection: Any, node: Node) -> set[datetime.date]:
        """Return the months in which a node has sums, or payloads in force."""
        found = [columns[0] for columns in self._queries.months_of_node(connection, node_id=node.id)]
        return find_months(msgspec.convert(found, list[datetime.date]))

    def read_table(
        self, connection: Any, node: Node, month: datetime.date, table: str
    ) -> Iterator[tuple[datetime.date, list[Any], bytes]]:
        """Yield the sums of a node in a month, also those that are wrongly of another day than its first.

        Yields:
            The date, the other columns, and the sketch.
        """
        query = getattr(self._queries, f"read_{table}")
        parameters = {
            "node_id": node.id,
            "first_day": month.isoformat(),
            "last_day": find_last_day(month).isoformat(),
        }
        for date, *columns, sketch in self._database.stream(connection, query.sql, parameters):
            decoded = hll.from_hex(sketch) if isinstance(sketch, str) else bytes(sketch)
            yield msgspec.convert(date, datetime.date), columns, decoded

    def _create_staging(self, connection: Any) -> None:
        """Create the staging tables, empty: for the rows, and for the same aggregated by network."""
        self._queries.create_staging(connection)
        self._queries.create_staging_by_network(connection)
        self._queries.empty_staging(connection)
        self._queries.empty_staging_by_network(connection)

    def _load(self, connection: Any, rows: Iterable[Row]) -> None:
        self._database.load_rows(
            connection, self._queries.load_staging, rows, to_line=write_line, to_parameters=_list_parameters
        )

    def _load_by_network(self, connection: Any, rows: Iterable[Row]) -> None:
        self._database.load_rows(
            connection,
            self._queries.load_staging_by_network,
            rows,
            to_line=_write_line_by_network,
            to_parameters=_list_parameters,
        )

    def _load_sums(self, connection: Any, keys: Collection[Key], payloads: PayloadSums) -> Collection[Key]:
        """Load the sums of some keys, and return the keys that have none."""
        gone = dict.fromkeys(keys)
        for rows in payloads.add_by_stream(keys):
            self._load(connection, rows)
            for row in rows:
                del gone[row.key]
            # Before the next ones are made: they take much memory.
            del rows
        return gone

    def _load_keys(self, connection: Any, keys: Iterable[Key]) -> None:
        self._queries.create_staging_keys(connection)
        self._queries.empty_staging_keys(connection)
        self._database.load_rows(
            connection,
            self._queries.load_staging_keys,
            keys,
            to_line=_write_key,
            to_parameters=_list_key_parameters,
        )

    def _merge_roll_ups(self, connection: Any, node: Node) -> None:
        self._queries.aggregate_by_network(connection)
        self._queries.add_networks(connection, node_id=node.id)
        self._queries.merge_by_network_country(connection, node_id=node.id)
        self._queries.merge_by_network(connection, node_id=node.id)
        self._queries.merge_by_country(connection, node_id=node.id)
        self._queries.merge_by_station(connection, node_id=node.id)


def write_line(row: Row) -> str:
    """Return a row in the text format of COPY."""
    # No code can hold a tab, a line break or a backslash, and the sketch's own backslash is doubled.
    return (
        f"{_write_date(row.month)}\t{row.network}\t{row.station}\t{row.location}\t{row.channel}\t{row.country}"
        f"\t{row.bytes}\t{row.nb_requests}\t{row.nb_successful_requests}\t{row.nb_unsuccessful_requests}"
        f"\t\\{row.clients}\n"
    )


def _write_line_by_network(row: Row) -> str:
    return (
        f"{_write_date(row.month)}\t{row.network}\t{row.country}"
        f"\t{row.bytes}\t{row.nb_requests}\t{row.nb_successful_requests}\t{row.nb_unsuccessful_requests}"
        f"\t\\{row.clients}\n"
    )


@lru_cache(maxsize=1024)
def _write_date(month: datetime.date) -> str:
    # A date is slow to format, and there are few months among many rows.
    return month.isoformat()


def _write_key(key: Key) -> str:
    month, *codes = key
    return "\t".join([_write_date(month), *codes]) + "\n"


def _list_key_parameters(key: Key) -> dict[str, Any]:
    names = ("date", "network", "station", "location", "channel", "country")
    return dict(zip(names, (_write_date(key[0]), *key[1:]), strict=True))


def _list_parameters(row: Row) -> dict[str, str | int | bytes]:
    return {
        "date": row.month.isoformat(),
        "network": row.network,
        "station": row.station,
        "location": row.location,
        "channel": row.channel,
        "country": row.country,
        "bytes": row.bytes,
        "nb_reqs": row.nb_requests,
        "nb_successful_reqs": row.nb_successful_requests,
        "nb_failedrequests": row.nb_unsuccessful_requests,
        "clients": hll.from_hex(row.clients),
    }
