"""The one interface to the database, whichever it is."""

import datetime
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import aiosql
import msgspec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from eida_statistics import hll
from eida_statistics.errors import DuplicatePayload, NodeExists, RefusedToken, UnknownNode, UnknownToken
from eida_statistics.payload import Payload, Row, hash_of
from eida_stats_webservice.store.records import (
    Node,
    NodeRecord,
    Receipt,
    Statistic,
    TokenRecord,
    digest,
    new_token,
)

# More does not fit into a parameter of SQLite's.
_ID_BITS = 63
_SQL = Path(__file__).parent / "sql"
_Record = TypeVar("_Record", bound=msgspec.Struct)


def load_queries(dialect: str, driver: str) -> Any:
    """Load the named queries that all stores share, and those of one dialect."""
    texts = [(_SQL / f"{name}.sql").read_text() for name in ("queries", dialect)]
    return aiosql.from_str("\n\n".join(texts), driver)


class Store(ABC):
    """A database with the schema of `migrations/`.

    Every method is one transaction. All of them raise StoreUnavailable if the database cannot be reached, and
    StoreNotReady if it has no such tables.
    """

    queries: Any
    """The named queries; aiosql makes methods of them."""

    @abstractmethod
    def transaction(self, *, write: bool = False) -> AbstractContextManager[Any]:
        """Give a connection; what is done with it is committed at the end, or not at all."""

    @abstractmethod
    def load_incoming(self, connection: Any, rows: Iterable[Row]) -> None:
        """Make the temporary tables: `incoming` of these rows, and an empty `rolled`."""

    @abstractmethod
    def close(self) -> None:
        """Close the calling thread's connection."""

    def ping(self) -> None:
        """Ask the database for nothing in particular."""
        with self.transaction() as connection:
            self.queries.ping(connection)

    # Nodes

    def add_node(self, name: str, contact: str) -> None:
        """Register a node.

        Raises:
            NodeExists: if there is one of that name.
        """
        with self.transaction(write=True) as connection:
            if self.queries.add_node(connection, name=name, contact=contact) is None:
                raise NodeExists(name)

    def list_nodes(self) -> list[NodeRecord]:
        """List all nodes by name."""
        with self.transaction() as connection:
            return _records(NodeRecord, self.queries.list_nodes(connection))

    def update_node(self, name: str, *, new_name: str | None, contact: str | None) -> None:
        """Change a node's name or contact; what is None stays.

        Raises:
            UnknownNode: if there is no such node.
            NodeExists: if another has the new name.
        """
        with self.transaction(write=True) as connection:
            self._node_id(connection, name)
            if new_name not in (None, name) and self.queries.find_node(connection, name=new_name) is not None:
                raise NodeExists(str(new_name))
            self.queries.update_node(connection, name=name, new_name=new_name or name, contact=contact)

    def remove_node(self, name: str) -> None:
        """Remove a node, its tokens, payloads and statistics.

        Raises:
            UnknownNode: if there is no such node.
        """
        with self.transaction(write=True) as connection:
            self._node_id(connection, name)
            self.queries.remove_node(connection, name=name)

    # Tokens

    def add_token(
        self, node: str, valid_from: datetime.datetime, valid_until: datetime.datetime
    ) -> tuple[int, str]:
        """Make a token for a node, and give its id and, this once, its value.

        Raises:
            UnknownNode: if there is no such node.
        """
        token = new_token()
        with self.transaction(write=True) as connection:
            (number,) = self.queries.add_token(
                connection,
                node_id=self._node_id(connection, node),
                value=digest(token),
                valid_from=_iso(valid_from),
                valid_until=_iso(valid_until),
            )
        return number, token

    def list_tokens(self) -> list[TokenRecord]:
        """List all tokens by node."""
        with self.transaction() as connection:
            return _records(TokenRecord, self.queries.list_tokens(connection))

    def revoke_token(self, number: int, now: datetime.datetime) -> None:
        """Make a token invalid.

        Raises:
            UnknownToken: if there is none with this id.
        """
        if number.bit_length() > _ID_BITS:
            raise UnknownToken(str(number))
        with self.transaction(write=True) as connection:
            if not self.queries.revoke_token(connection, id=number, now=_iso(now)):
                raise UnknownToken(str(number))

    def node_of_token(self, token: str, now: datetime.datetime) -> Node:
        """Give the node to which a token belongs.

        Raises:
            RefusedToken: if it is unknown, expired, not yet valid or revoked.
        """
        with self.transaction() as connection:
            found = self.queries.node_of_token(connection, value=digest(token), now=_iso(now))
        if found is None:
            raise RefusedToken
        return Node(*found)

    # Statistics

    def ingest(self, node: Node, payload: Payload) -> Receipt:
        """Take in a payload: claim its hash, keep it, merge its rows, update the roll-ups. All of it or nothing.

        Raises:
            DuplicatePayload: if the node has sent the same statistics before.
            RefusedByStore: if a sum does not fit.
        """
        days = payload.days_coverage
        rows_json = payload.rows_json()
        digested = hash_of(days, rows_json)
        with self.transaction(write=True) as connection:
            if self.queries.lock_node(connection, node_id=node.id) is None:
                raise UnknownNode(node.name)
            claimed = self.queries.claim_payload(
                connection,
                node_id=node.id,
                hash=digested,
                starts_at=days[0].isoformat(),
                ends_at=days[-1].isoformat(),
                generated_at=payload.generated_at,
                version=payload.version,
                nb_rows=len(payload.stats),
                body=zstd.compress(payload.to_json(rows_json)),
            )
            if claimed is None:
                earlier, received_at = self.queries.find_payload(connection, node_id=node.id, hash=digested)
                raise DuplicatePayload(earlier, _time(received_at).isoformat(timespec="seconds"))
            number, received_at = claimed
            self.queries.add_payload_days(
                connection, [{"payload_id": number, "day": day.isoformat()} for day in days]
            )
            self.load_incoming(connection, payload.stats)
            networks = sorted({row.network for row in payload.stats} - {""})
            self.queries.add_network(connection, [{"node_id": node.id, "name": name} for name in networks])
            self.queries.merge_stats(connection, node_id=node.id)
            self.queries.roll_up(connection)
            self.queries.merge_by_network_country(connection, node_id=node.id)
            self.queries.merge_by_network(connection, node_id=node.id)
            self.queries.merge_by_country(connection, node_id=node.id)
        return Receipt(node.name, number, digested, len(payload.stats), len(days), _time(received_at))

    def statistics(
        self, start: datetime.date, end: datetime.date, *, by_node: bool, by_network: bool
    ) -> list[Statistic]:
        """Sum up the months from start to end, both included."""
        with self.transaction() as connection:
            found = list(
                self.queries.statistics(
                    connection,
                    start=start.isoformat(),
                    end=end.isoformat(),
                    by_node=by_node,
                    by_network=by_network,
                )
            )
        return [
            Statistic(node, network, int(size), int(requests), int(successful), _rounded_up(clients))
            for node, network, size, requests, successful, clients in found
        ]

    def _node_id(self, connection: Any, name: str) -> int:
        found = self.queries.find_node(connection, name=name)
        if found is None:
            raise UnknownNode(name)
        return int(found[0])


def _records(record: type[_Record], rows: Iterator[tuple[Any, ...]]) -> list[_Record]:
    # SQLite gives times as text, PostgreSQL as datetime; both come out as what the record says.
    names = record.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), record) for row in rows]


def _time(value: Any) -> datetime.datetime:
    return msgspec.convert(value, datetime.datetime).astimezone(datetime.UTC)


def _iso(time: datetime.datetime) -> str:
    # One width for all, so that SQLite, which compares text, compares times.
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def _rounded_up(estimate: float) -> int:
    # PostgreSQL has no number for a sketch in which every register is saturated.
    return math.ceil(estimate) if math.isfinite(estimate) else math.ceil(hll.MAX_ESTIMATE)
