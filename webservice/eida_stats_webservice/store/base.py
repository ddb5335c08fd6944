"""The one interface to the database, whichever it is."""

import datetime
import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
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
from eida_statistics.errors import (
    DuplicatePayload,
    NodeExists,
    RefusedToken,
    UnknownNetwork,
    UnknownNode,
    UnknownToken,
)
from eida_statistics.payload import Payload, Row, hash_of
from eida_stats_webservice.store.records import (
    NetworkRecord,
    Node,
    NodeRecord,
    Question,
    Receipt,
    State,
    Statistic,
    TokenRecord,
    Viewer,
    digest,
    new_token,
)

# More does not fit into a parameter of SQLite's.
_ID_BITS = 63
# What the service takes is not older; see wire.py.
_FIRST_MONTH = datetime.date(1990, 1, 1)
_ALL_ROWS = 2**63 - 1
# A list that is empty is no SQL; no code, node or group is called so.
_NONE = ("*",)
_NOTHING_SENT = (
    "Its node has sent nothing of it so far; its policy can be set beforehand: networks set-policy --new"
)
_SQL = Path(__file__).parent / "sql"
_Record = TypeVar("_Record", bound=msgspec.Struct)


def load_queries(dialect: str, driver: str, translate: Callable[[str], str] = str) -> Any:
    """Load the named queries that all stores share, put into one dialect, and those of that dialect."""
    shared, own = ((_SQL / f"{name}.sql").read_text() for name in ("queries", dialect))
    return aiosql.from_str(f"{translate(shared)}\n\n{own}", driver)


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
    def listed(self, values: Iterable[str]) -> Any:
        """Give values in the form in which SQL's IN takes them as one parameter."""

    @abstractmethod
    def stream(self, connection: Any, sql: str, parameters: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Run a query and give its rows as they come, without holding all of them."""

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
            if self.queries.add_node(connection, name=name, contact=contact, now=_now()) is None:
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
            self.queries.touch_all_nodes(connection, now=_now())

    def remove_node(self, name: str) -> None:
        """Remove a node, its tokens, payloads and statistics.

        Raises:
            UnknownNode: if there is no such node.
        """
        with self.transaction(write=True) as connection:
            self._node_id(connection, name)
            self.queries.remove_node(connection, name=name)
            # Answers change, and what changed last is gone.
            self.queries.touch_all_nodes(connection, now=_now())

    def node_policies(self) -> list[tuple[str, bool]]:
        """List the names of all nodes, and whether their networks are restricted unless they invert that."""
        with self.transaction() as connection:
            return [(name, bool(restricted)) for name, restricted in self.queries.public_nodes(connection)]

    # Who sees what

    def list_networks(self) -> list[NetworkRecord]:
        """List all networks by name, once for each of their nodes."""
        with self.transaction() as connection:
            return _records(NetworkRecord, self.queries.list_networks(connection))

    def set_node_policy(self, name: str, *, restricted: bool) -> None:
        """Restrict the networks of a node, or open them, but for those that invert that.

        Raises:
            UnknownNode: if there is no such node.
        """
        with self.transaction(write=True) as connection:
            self._node_id(connection, name)
            self.queries.set_node_policy(connection, name=name, restricted=restricted)
            self.queries.touch_all_nodes(connection, now=_now())

    def set_node_group(self, name: str, group: str | None) -> None:
        """Say whose members see the restricted statistics of a node.

        Raises:
            UnknownNode: if there is no such node.
        """
        with self.transaction(write=True) as connection:
            self._node_id(connection, name)
            self.queries.set_node_group(connection, name=name, eas_group=group)
            self.queries.touch_all_nodes(connection, now=_now())

    def add_network(self, node: str, name: str) -> None:
        """Note a network of a node before statistics of it come in; it may be there.

        Raises:
            UnknownNode: if there is no such node.
        """
        with self.transaction(write=True) as connection:
            self.queries.add_network(connection, [{"node_id": self._node_id(connection, node), "name": name}])
            self.queries.touch_all_nodes(connection, now=_now())

    def set_network_policy(self, node: str, name: str, *, inverted: bool) -> None:
        """Have a network invert the policy of its node, or follow it.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        with self.transaction(write=True) as connection:
            number = self._node_id(connection, node)
            if not self.queries.set_network_policy(connection, node_id=number, name=name, inverted=inverted):
                raise UnknownNetwork(f"{name} at {node}", hint=_NOTHING_SENT)
            self.queries.touch_all_nodes(connection, now=_now())

    def set_network_group(self, node: str, name: str, group: str | None) -> None:
        """Say whose members see the restricted statistics of a network.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        with self.transaction(write=True) as connection:
            number = self._node_id(connection, node)
            if not self.queries.set_network_group(connection, node_id=number, name=name, eas_group=group):
                raise UnknownNetwork(f"{name} at {node}", hint=_NOTHING_SENT)
            self.queries.touch_all_nodes(connection, now=_now())

    # Tokens

    def add_token(
        self, node: str, valid_from: datetime.datetime, valid_until: datetime.datetime
    ) -> tuple[int, str]:
        """Make a token for a node, and give its id and, this once, its value.

        Raises:
            UnknownNode: if there is no such node.
        """
        return self._add_token(node, None, valid_from, valid_until)

    def add_network_token(
        self, network: str, valid_from: datetime.datetime, valid_until: datetime.datetime
    ) -> tuple[int, str]:
        """Make a token for the operator of a network, and give its id and, this once, its value."""
        return self._add_token(None, network, valid_from, valid_until)

    def _add_token(
        self,
        node: str | None,
        network: str | None,
        valid_from: datetime.datetime,
        valid_until: datetime.datetime,
    ) -> tuple[int, str]:
        token = new_token()
        with self.transaction(write=True) as connection:
            (number,) = self.queries.add_token(
                connection,
                node_id=None if node is None else self._node_id(connection, node),
                network=network,
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

    def network_of_token(self, token: str, now: datetime.datetime) -> str:
        """Give the network whose restricted statistics a token opens.

        Raises:
            RefusedToken: if it is unknown, expired, not yet valid, revoked, or that of a node.
        """
        with self.transaction() as connection:
            found = self.queries.network_of_token(connection, value=digest(token), now=_iso(now))
        if found is None:
            raise RefusedToken
        return str(found[0])

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
            # At the end, so that little time passes between this time and the commit.
            self.queries.touch_node(connection, node_id=node.id, now=_now())
        return Receipt(node.name, number, digested, len(payload.stats), len(days), _time(received_at))

    def state(self) -> State:
        """Tell what answers depend on."""
        with self.transaction() as connection:
            found = list(self.queries.revisions(connection))
        revision = ".".join(f"{number}-{revision}" for number, revision, _ in found)
        epoch = datetime.datetime.fromtimestamp(0, tz=datetime.UTC)
        return State(revision, max((_time(changed_at) for _, _, changed_at in found), default=epoch))

    def statistics(self, question: Question, viewer: Viewer, *, sketches: bool) -> Generator[Statistic]:
        """Sum up what a question asks for; the transaction lasts until the last row is taken, or it is closed.

        Args:
            question: what is asked.
            viewer: who asks. Networks that they do not see are one row Other of each date and country, or left
                out if the question names what it is about.
            sketches: give the sketches, too.
        """
        with self.transaction() as connection:
            for row in self.stream(
                connection, self.queries.statistics.sql, self._parameters(question, viewer, sketches=sketches)
            ):
                date, node, network, station, location, channel, country = row[:7]
                size, requests, successful, failed, clients, sketch = row[7:]
                yield Statistic(
                    *(date, node, network, station, location, channel, country),
                    *(int(size), int(requests), int(successful), int(failed), _rounded_up(clients)),
                    None if sketch is None else _sketch(sketch),
                )

    def _parameters(self, question: Question, viewer: Viewer, *, sketches: bool) -> dict[str, Any]:
        sort = question.sort or ""
        return {
            "source": _source(question),
            "months": self.listed(_months(question.start, question.end)),
            "some_nodes": bool(question.nodes),
            "nodes": self.listed(question.nodes or _NONE),
            "some_networks": bool(question.networks),
            "networks": self.listed(question.networks or _NONE),
            "some_countries": bool(question.countries),
            "countries": self.listed(question.countries or _NONE),
            "station": _pattern(question.stations),
            "location": _pattern(question.locations),
            "channel": _pattern(question.channels),
            "by_month": "month" in question.details,
            "by_year": "year" in question.details,
            "by_node": question.tells("node"),
            "by_network": question.tells("network"),
            "by_station": question.tells("station"),
            "by_location": question.tells("location"),
            "by_channel": question.tells("channel"),
            "by_country": "country" in question.details,
            "named": question.names_streams,
            "groups": self.listed(viewer.groups or _NONE),
            "granted": self.listed(viewer.networks or _NONE),
            "sketches": sketches,
            "sort": sort.removeprefix("-"),
            "direction": -1 if sort.startswith("-") else 1,
            "rows": _ALL_ROWS if question.limit is None else question.limit,
        }

    def _node_id(self, connection: Any, name: str) -> int:
        found = self.queries.find_node(connection, name=name)
        if found is None:
            raise UnknownNode(name)
        return int(found[0])


def _source(question: Question) -> str:
    """Name the smallest table that can answer."""
    if question.tells("station") or question.stations or question.locations or question.channels:
        return "streams"
    networks = question.tells("network") or question.names_streams
    countries = "country" in question.details or bool(question.countries)
    if networks and countries:
        return "networks and countries"
    # Without either, the sums by network are fewer than those by country.
    return "countries" if countries else "networks"


def _months(start: datetime.date, end: datetime.date) -> list[str]:
    """List the first days of the months; a list lets an index find them for one network among many."""
    first, last = (month.year * 12 + month.month - 1 for month in (max(start, _FIRST_MONTH), end))
    return [f"{month // 12}-{month % 12 + 1:02}-01" for month in range(first, last + 1)] or ["0001-01-01"]


def _pattern(patterns: Collection[str]) -> str:
    """Make one regular expression, as both databases understand it, of patterns with * and ?."""
    if not patterns:
        return ""
    wild = {"*": ".*", "?": "."}
    return f"^({'|'.join(re.sub(r'[*?]', lambda sign: wild[sign[0]], pattern) for pattern in patterns)})$"


def _sketch(found: str | bytes) -> bytes:
    # PostgreSQL gives it as text, in forms of its own.
    return hll.canonical(hll.from_hex(found) if isinstance(found, str) else found)


def _now() -> str:
    return _iso(datetime.datetime.now(tz=datetime.UTC))


def _records(record: type[_Record], rows: Iterator[tuple[Any, ...]]) -> list[_Record]:
    # SQLite gives times as text, PostgreSQL as datetime; both come out as what the record says.
    names = record.__struct_fields__
    # SQLite has numbers for truth.
    return [msgspec.convert(dict(zip(names, row, strict=True)), record, strict=False) for row in rows]


def _time(value: Any) -> datetime.datetime:
    return msgspec.convert(value, datetime.datetime).astimezone(datetime.UTC)


def _iso(time: datetime.datetime) -> str:
    # One width for all, so that SQLite, which compares text, compares times.
    return time.astimezone(datetime.UTC).isoformat(timespec="milliseconds")


def _rounded_up(estimate: float) -> int:
    # PostgreSQL has no number for a sketch in which every register is saturated.
    return math.ceil(estimate) if math.isfinite(estimate) else math.ceil(hll.MAX_ESTIMATE)
