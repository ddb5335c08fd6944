"""The tables of the records of raw logs: which ones count, events, and sums by client."""

import datetime
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from eida_statistics.ringserver.collection import Digests, SourceDay
from eida_stats_webservice.database.base import Database, format_time
from eida_stats_webservice.registry.models import Node

_DAY = datetime.timedelta(days=1)
_EVENT_COLUMNS = (
    *("time", "node_id", "server", "direction", "city", "countrycode", "geohash", "hosthash", "protocol"),
    *("client_class", "network", "station", "location", "channel"),
)
_CLIENT_COLUMNS = ("date", "server", "direction", "hosthash", "bytes", "packets", "records")


# A plain tuple is made in a third of the time of a named one.
EventRow = tuple[str, str, int, int]
"""A row of the events: the columns that the rows of a record have in common, the stream, bytes and packets.

Columns of text are joined by tabs; no text can hold one.
"""


class ClientKey(NamedTuple):
    """The key of a sum by client."""

    day: datetime.date
    server: str
    direction: str
    hosthash: str


ClientSums = Mapping[ClientKey, tuple[int, int, int]]
"""Bytes, packets and stream lines."""


class DayInForce(NamedTuple):
    """A payload in force that was made from raw logs.

    Attributes:
        revision: the node's revision that put it in force.
    """

    payload: int
    hash: str
    day: datetime.date
    revision: int


class RawLogTables:
    """Reads and changes the tables. All methods take a connection in a transaction that has locked the node."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(Path(__file__).parent)

    def read_first_day(self, connection: Any) -> datetime.date:
        """Return the first day of which records are kept."""
        return datetime.date.fromisoformat(self._queries.kept_from(connection))

    def has_submissions(self, connection: Any, node: Node, source: str) -> bool:
        """Return whether payloads in force of a source came as payloads."""
        return bool(self._queries.has_submissions(connection, node_id=node.id, source=source))

    def has_raw_logs(self, connection: Any, node: Node, source: str) -> bool:
        """Return whether payloads in force of a source were made from raw logs."""
        return bool(self._queries.has_raw_logs(connection, node_id=node.id, source=source))

    def is_raw(self, connection: Any, node: Node, digest: str) -> bool:
        """Return whether a payload, named by its hash, was made from raw logs."""
        return bool(self._queries.is_raw(connection, node_id=node.id, hash=digest))

    def list_in_force(self, connection: Any, node: Node, source: str) -> list[DayInForce]:
        """Return the payloads in force that were made from raw logs of a source."""
        found = self._queries.days_in_force(connection, node_id=node.id, source=source)
        return [DayInForce(number, digest, _to_date(day), revision) for number, digest, day, revision in found]

    def find_withdrawn_since(self, connection: Any, node: Node, key: SourceDay, revision: int) -> dict[int, int]:
        """Return the payloads of a day that were retracted or replaced after a revision, and when."""
        return dict(self._queries.withdrawn_since(connection, **_select(node, key), revision=revision))

    def read_digests(self, connection: Any, node: Node, key: SourceDay) -> tuple[dict[bytes, int], set[str]]:
        """Return the records of a day that count, and the fingerprints of the keys of their digests."""
        digests, fingerprints = {}, set()
        for digest, count, fingerprint in self._queries.records_of_day(connection, **_select(node, key)):
            digests[bytes(digest)] = count
            fingerprints.add(fingerprint)
        return digests, fingerprints

    def add_digests(self, connection: Any, node: Node, key: SourceDay, digests: Digests, fingerprint: str) -> None:
        """Let records of a day count as often as `digests` says."""
        self._empty(connection, "records")
        self._database.load_rows(
            connection,
            self._queries.load_staging_records,
            digests.items(),
            to_line=lambda row: f"\\\\x{row[0].hex()}\t{row[1]}\n",
            to_parameters=lambda row: {"digest": row[0], "count": row[1]},
        )
        self._queries.merge_records(connection, **_select(node, key), key_fingerprint=fingerprint)

    def create_partition(self, connection: Any, month: datetime.date) -> None:
        """Create the partition of the events of a month if it is missing."""
        self._queries.create_partition(connection, month=month.isoformat())

    def add_events(self, connection: Any, rows: Iterable[EventRow]) -> None:
        """Begin to add rows to the events, whose partitions exist. The database writes them in the background."""
        self._database.load_rows_in_background(
            connection, self._queries.load_events, rows, to_line=_write_event, to_parameters=_list_event
        )

    def add_clients(self, connection: Any, node: Node, sums: ClientSums) -> None:
        """Add to the sums by client."""
        self._empty(connection, "clients")
        rows = ((*key, *values) for key, values in sums.items())
        self._database.load_rows(
            connection,
            self._queries.load_staging_clients,
            rows,
            to_line=lambda row: "\t".join(map(str, row)) + "\n",
            to_parameters=lambda row: dict(zip(_CLIENT_COLUMNS, (str(row[0]), *row[1:]), strict=True)),
        )
        self._queries.merge_clients(connection, node_id=node.id)

    def delete_day(self, connection: Any, node: Node, key: SourceDay) -> None:
        """Delete the events and the sums by client of a day, and let its records count again."""
        self._queries.remove_records(connection, **_select(node, key))
        self._queries.remove_clients(connection, **_select(node, key))
        midnight = datetime.datetime.combine(key.day, datetime.time(), datetime.UTC)
        span = {"start": format_time(midnight), "stop": format_time(midnight + _DAY)}
        self._queries.remove_events(connection, node_id=node.id, source=key.source, **span)

    def _empty(self, connection: Any, name: str) -> None:
        getattr(self._queries, f"create_staging_{name}")(connection)
        # One transaction may load several times.
        getattr(self._queries, f"empty_staging_{name}")(connection)


def _select(node: Node, key: SourceDay) -> dict[str, Any]:
    return {"node_id": node.id, "source": key.source, "day": key.day.isoformat()}


def _write_event(row: EventRow) -> str:
    record, stream, size, packets = row
    # Names of cities may hold backslashes.
    return f"{record}\t{stream}\t{size}\t{packets}\n".replace("\\", "\\\\")


def _list_event(row: EventRow) -> dict[str, Any]:
    record, stream, size, packets = row
    texts = dict(zip(_EVENT_COLUMNS, f"{record}\t{stream}".split("\t"), strict=True))
    return texts | {"bytes": size, "packets": packets}


def _to_date(day: Any) -> datetime.date:
    return datetime.date.fromisoformat(str(day))
