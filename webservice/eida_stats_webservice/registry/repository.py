"""Nodes, networks and tokens: the rights to send and to see statistics."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eida_stats_webservice.database.base import ID_BITS, Database, format_time, parse_time, to_records
from eida_stats_webservice.errors import (
    ExpiredToken,
    NodeExists,
    RefusedToken,
    UnknownNetwork,
    UnknownNode,
    UnknownToken,
)
from eida_stats_webservice.registry.models import (
    Arrival,
    NetworkRecord,
    Node,
    NodeRecord,
    Sender,
    TokenRecord,
    digest,
    new_token,
)

_NOTHING_SENT = (
    "Its node has sent nothing of it so far; its policy can be set beforehand: networks set-policy --new"
)


class RegistryRepository:
    """Changes and lists nodes, networks and tokens. Each method is one transaction, unless it takes a connection.

    Args:
        database: the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = database.load_queries(Path(__file__).parent)

    # Nodes

    def add_node(self, name: str, contact: str) -> None:
        """Register a node.

        Raises:
            NodeExists: if there is one of that name.
        """

        def add(connection: Any) -> None:
            if self._queries.add_node(connection, name=name, contact=contact) is None:
                raise NodeExists(name)
            self._queries.bump_registry_revision(connection)

        self._database.administer(add)

    def check_node(self, name: str) -> None:
        """Check that there is a node.

        Raises:
            UnknownNode: if there is none of that name.
        """
        with self._database.transaction() as connection:
            self.find_id(connection, name)

    def list_nodes(self) -> list[NodeRecord]:
        """List all nodes by name."""
        with self._database.transaction() as connection:
            return to_records(NodeRecord, self._queries.list_nodes(connection))

    def update_node(self, name: str, *, new_name: str | None, contact: str | None) -> None:
        """Change a node's name or contact; None keeps it.

        Raises:
            UnknownNode: if there is no such node.
            NodeExists: if another has the new name.
        """

        def update(connection: Any, number: int) -> None:
            if new_name not in (None, name) and self._queries.find_node(connection, name=new_name) is not None:
                raise NodeExists(str(new_name))
            self._queries.update_node(connection, node_id=number, new_name=new_name, contact=contact)

        self._change_node(name, update)

    def remove_node(self, name: str) -> None:
        """Remove a node, its tokens, payloads and statistics.

        Raises:
            UnknownNode: if there is no such node.
        """

        def remove(connection: Any) -> None:
            number = self.lock_by_name(connection, name).id
            # First: then the time of the node's last change is still there, after which this change must be.
            self._queries.bump_registry_revision(connection)
            self._queries.remove_node(connection, node_id=number)

        self._database.administer(remove)

    def node_policies(self) -> list[tuple[str, bool]]:
        """List the names of all nodes, and whether their networks are restricted unless they invert that."""
        with self._database.transaction() as connection:
            return [(name, bool(restricted)) for name, restricted in self._queries.list_policies(connection)]

    # Access to statistics

    def list_networks(self) -> list[NetworkRecord]:
        """List all networks by name, once for each of their nodes."""
        with self._database.transaction() as connection:
            return to_records(NetworkRecord, self._queries.list_networks(connection))

    def set_node_policy(self, name: str, *, restricted: bool) -> None:
        """Restrict the networks of a node, or open them, but for those that invert that.

        Raises:
            UnknownNode: if there is no such node.
        """
        self._change_node(
            name,
            lambda connection, number: self._queries.set_node_policy(
                connection, node_id=number, restricted=restricted
            ),
        )

    def set_node_group(self, name: str, group: str | None) -> None:
        """Set the group whose members see the restricted statistics of a node.

        Raises:
            UnknownNode: if there is no such node.
        """
        self._change_node(
            name,
            lambda connection, number: self._queries.set_node_group(connection, node_id=number, eas_group=group),
        )

    def add_network(self, node: str, name: str) -> None:
        """Add a network of a node before it has sent statistics of it; do nothing if there is one of that name.

        Raises:
            UnknownNode: if there is no such node.
        """
        self._change_node(
            node,
            lambda connection, number: self._queries.add_network(connection, [{"node_id": number, "name": name}]),
        )

    def set_network_policy(self, node: str, name: str, *, inverted: bool) -> None:
        """Let a network invert the policy of its node, or follow it.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        self._change_network(self._queries.set_network_policy, node, name, inverted=inverted)

    def set_network_group(self, node: str, name: str, group: str | None) -> None:
        """Set the group whose members see the restricted statistics of a network.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        self._change_network(self._queries.set_network_group, node, name, eas_group=group)

    def _change_network(self, query: Callable[..., int], node: str, name: str, **value: object) -> None:
        def change(connection: Any, number: int) -> None:
            if not query(connection, node_id=number, name=name, **value):
                raise UnknownNetwork(f"{name} at {node}", hint=_NOTHING_SENT)

        self._change_node(node, change)

    def _change_node(self, name: str, change: Callable[[Any, int], object]) -> None:
        """Change a node, or what belongs to it, and note that answers may have changed.

        Args:
            name: the node's.
            change: takes a connection that has locked the node, and the node's id.
        """

        def change_locked(connection: Any) -> None:
            change(connection, self.lock_by_name(connection, name).id)
            # Last, since all such changes meet in this one row.
            self._queries.bump_registry_revision(connection)

        self._database.administer(change_locked)

    # Tokens

    def add_token(
        self, node: str, valid_from: datetime.datetime, valid_until: datetime.datetime
    ) -> tuple[int, str]:
        """Create a token for a node, and return its id and its value, which is not kept.

        Raises:
            UnknownNode: if there is no such node.
        """
        return self._add_token(node, None, valid_from, valid_until)

    def add_network_token(
        self, network: str, valid_from: datetime.datetime, valid_until: datetime.datetime
    ) -> tuple[int, str]:
        """Create a token for the operator of a network, and return its id and its value, which is not kept."""
        return self._add_token(None, network, valid_from, valid_until)

    def _add_token(
        self,
        node: str | None,
        network: str | None,
        valid_from: datetime.datetime,
        valid_until: datetime.datetime,
    ) -> tuple[int, str]:
        token = new_token()

        def add(connection: Any) -> int:
            (number,) = self._queries.add_token(
                connection,
                node_id=None if node is None else self.lock_by_name(connection, node).id,
                network=network,
                value=digest(token),
                valid_from=format_time(valid_from),
                valid_until=format_time(valid_until),
            )
            return int(number)

        return self._database.administer(add), token

    def list_tokens(self) -> list[TokenRecord]:
        """List all tokens by node."""
        with self._database.transaction() as connection:
            return to_records(TokenRecord, self._queries.list_tokens(connection))

    def revoke_token(self, number: int, now: datetime.datetime) -> None:
        """Revoke a token.

        It does not lock the token's node: revoking a token must not wait for the one who is using it.

        Raises:
            UnknownToken: if there is none with this id.
        """
        if number.bit_length() > ID_BITS:
            raise UnknownToken(str(number))
        with self._database.transaction(write=True) as connection:
            if not self._queries.revoke_token(connection, id=number, now=format_time(now)):
                raise UnknownToken(str(number))

    def sender_of_token(self, token: str, now: datetime.datetime) -> Sender:
        """Return the node to which a token belongs, as it is at this moment.

        Raises:
            ExpiredToken: if it has expired.
            RefusedToken: if it is unknown, not yet valid, revoked, or for the operator of a network.
        """
        with self._database.transaction() as connection:
            found = self._queries.sender_of_token(connection, value=digest(token))
        if found is None:
            raise RefusedToken
        number, name, revision, token_id, *times = found
        return Sender(Node(number, name), Arrival(revision, token_id), check_validity(times, now))

    def network_of_token(self, token: str, now: datetime.datetime) -> str:
        """Return the network whose restricted statistics a token opens.

        Raises:
            ExpiredToken: if it has expired.
            RefusedToken: if it is unknown, not yet valid, revoked, or that of a node.
        """
        with self._database.transaction() as connection:
            found = self._queries.network_of_token(connection, value=digest(token))
        if found is None:
            raise RefusedToken
        network, *times = found
        check_validity(times, now)
        return str(network)

    # Within a transaction

    def find_id(self, connection: Any, name: str) -> int:
        """Return the id of a node.

        Raises:
            UnknownNode: if there is no such node.
        """
        found = self._queries.find_node(connection, name=name)
        if found is None:
            raise UnknownNode(name)
        return int(found[0])

    def list_ids(self, connection: Any) -> list[Node]:
        """Return all nodes by name."""
        return [Node(*columns) for columns in self._queries.list_ids(connection)]

    def lock(self, connection: Any, node: Node) -> int:
        """Lock a node against other writers, and return its revision.

        Every transaction that writes rows of a node begins with this, so that no two of them can deadlock.

        Raises:
            UnknownNode: if there is no such node.
        """
        revision = self._queries.lock_node(connection, node_id=node.id)
        if revision is None:
            raise UnknownNode(node.name)
        return int(revision)

    def lock_by_name(self, connection: Any, name: str) -> Node:
        """Lock a node against other writers, and return it.

        Raises:
            UnknownNode: if there is no node of that name.
        """
        node = Node(self.find_id(connection, name), name)
        self.lock(connection, node)
        return node

    def check_arrival(self, connection: Any, arrival: Arrival) -> None:
        """Check that the token of a request is still valid.

        Raises:
            ExpiredToken: if it has expired.
            RefusedToken: if it was revoked or removed.
        """
        times = self._queries.validity_of_token(connection, id=arrival.token)
        if times is None:
            raise RefusedToken
        check_validity(times, datetime.datetime.now(tz=datetime.UTC))

    def bump_revision(self, connection: Any, node: Node) -> None:
        """Count a change of a node's statistics."""
        self._queries.bump_revision(connection, node_id=node.id)

    def bump_registry_revision(self, connection: Any) -> None:
        """Count a change of nodes, networks or their policies. It comes last: all such changes meet in one row."""
        self._queries.bump_registry_revision(connection)

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection may do what the service needs."""
        return bool(self._queries.has_rights(connection))


def check_validity(times: Sequence[Any], now: datetime.datetime) -> datetime.datetime:
    """Check that a token is valid, and return its end; a revoked one is refused like one that never was.

    Args:
        times: since when and until when it is valid, and when it was revoked.
        now: the present time.

    Raises:
        ExpiredToken: if it has expired.
        RefusedToken: if it is not yet valid, or revoked.
    """
    valid_from, valid_until, revoked_at = times
    end = parse_time(valid_until)
    if revoked_at is not None or now < parse_time(valid_from):
        raise RefusedToken
    if now >= end:
        raise ExpiredToken(
            f"it was valid until {end:%Y-%m-%d %H:%M} UTC", hint="Ask the central administrator for a new one."
        )
    return end
