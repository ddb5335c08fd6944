"""Nodes, networks and tokens: the rights to send and to see statistics."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from eida_stats_webservice.database.base import ID_BITS, Database, as_time, iso, records
from eida_stats_webservice.errors import ExpiredToken, NodeExists, RefusedToken, UnknownNetwork, UnknownToken
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


class Registry(Database):
    """Changes and lists nodes, networks and tokens."""

    # Nodes

    def add_node(self, name: str, contact: str) -> None:
        """Register a node.

        Raises:
            NodeExists: if there is one of that name.
        """

        def add(connection: Any) -> None:
            if self.queries.add_node(connection, name=name, contact=contact) is None:
                raise NodeExists(name)
            self.queries.bump_registry_revision(connection)

        self.administer(add)

    def check_node(self, name: str) -> None:
        """Check that there is a node.

        Raises:
            UnknownNode: if there is none of that name.
        """
        with self.transaction() as connection:
            self.node_id(connection, name)

    def list_nodes(self) -> list[NodeRecord]:
        """List all nodes by name."""
        with self.transaction() as connection:
            return records(NodeRecord, self.queries.list_nodes(connection))

    def update_node(self, name: str, *, new_name: str | None, contact: str | None) -> None:
        """Change a node's name or contact; None keeps it.

        Raises:
            UnknownNode: if there is no such node.
            NodeExists: if another has the new name.
        """

        def update(connection: Any, number: int) -> None:
            if new_name not in (None, name) and self.queries.find_node(connection, name=new_name) is not None:
                raise NodeExists(str(new_name))
            self.queries.update_node(connection, node_id=number, new_name=new_name, contact=contact)

        self._change_node(name, update)

    def remove_node(self, name: str) -> None:
        """Remove a node, its tokens, payloads and statistics.

        Raises:
            UnknownNode: if there is no such node.
        """

        def remove(connection: Any) -> None:
            number = self.lock_named(connection, name).id
            # First: then the time of the node's last change is still there, after which this change must be.
            self.queries.bump_registry_revision(connection)
            self.queries.remove_node(connection, node_id=number)

        self.administer(remove)

    def node_policies(self) -> list[tuple[str, bool]]:
        """List the names of all nodes, and whether their networks are restricted unless they invert that."""
        with self.transaction() as connection:
            return [(name, bool(restricted)) for name, restricted in self.queries.public_nodes(connection)]

    # Access to statistics

    def list_networks(self) -> list[NetworkRecord]:
        """List all networks by name, once for each of their nodes."""
        with self.transaction() as connection:
            return records(NetworkRecord, self.queries.list_networks(connection))

    def set_node_policy(self, name: str, *, restricted: bool) -> None:
        """Restrict the networks of a node, or open them, but for those that invert that.

        Raises:
            UnknownNode: if there is no such node.
        """
        self._change_node(
            name,
            lambda connection, number: self.queries.set_node_policy(
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
            lambda connection, number: self.queries.set_node_group(connection, node_id=number, eas_group=group),
        )

    def add_network(self, node: str, name: str) -> None:
        """Add a network of a node before it has sent statistics of it; do nothing if there is one of that name.

        Raises:
            UnknownNode: if there is no such node.
        """
        self._change_node(
            node,
            lambda connection, number: self.queries.add_network(connection, [{"node_id": number, "name": name}]),
        )

    def set_network_policy(self, node: str, name: str, *, inverted: bool) -> None:
        """Let a network invert the policy of its node, or follow it.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        self._change_network(self.queries.set_network_policy, node, name, inverted=inverted)

    def set_network_group(self, node: str, name: str, group: str | None) -> None:
        """Set the group whose members see the restricted statistics of a network.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        self._change_network(self.queries.set_network_group, node, name, eas_group=group)

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
            change(connection, self.lock_named(connection, name).id)
            # Last, since all such changes meet in this one row.
            self.queries.bump_registry_revision(connection)

        self.administer(change_locked)

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
            (number,) = self.queries.add_token(
                connection,
                node_id=None if node is None else self.lock_named(connection, node).id,
                network=network,
                value=digest(token),
                valid_from=iso(valid_from),
                valid_until=iso(valid_until),
            )
            return int(number)

        return self.administer(add), token

    def list_tokens(self) -> list[TokenRecord]:
        """List all tokens by node."""
        with self.transaction() as connection:
            return records(TokenRecord, self.queries.list_tokens(connection))

    def revoke_token(self, number: int, now: datetime.datetime) -> None:
        """Revoke a token.

        It does not lock the token's node: revoking a token must not wait for the one who is using it.

        Raises:
            UnknownToken: if there is none with this id.
        """
        if number.bit_length() > ID_BITS:
            raise UnknownToken(str(number))
        with self.transaction(write=True) as connection:
            if not self.queries.revoke_token(connection, id=number, now=iso(now)):
                raise UnknownToken(str(number))

    def sender_of_token(self, token: str, now: datetime.datetime) -> Sender:
        """Return the node to which a token belongs, as it is at this moment.

        Raises:
            ExpiredToken: if it has expired.
            RefusedToken: if it is unknown, not yet valid, revoked, or for the operator of a network.
        """
        with self.transaction() as connection:
            found = self.queries.sender_of_token(connection, value=digest(token))
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
        with self.transaction() as connection:
            found = self.queries.network_of_token(connection, value=digest(token))
        if found is None:
            raise RefusedToken
        network, *times = found
        check_validity(times, now)
        return str(network)


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
    end = as_time(valid_until)
    if revoked_at is not None or now < as_time(valid_from):
        raise RefusedToken
    if now >= end:
        raise ExpiredToken(
            f"it was valid until {end:%Y-%m-%d %H:%M} UTC", hint="Ask the central administrator for a new one."
        )
    return end
