"""Nodes, networks and tokens: who may send, and who may see what."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from eida_statistics.errors import ExpiredToken, NodeExists, RefusedToken, UnknownNetwork, UnknownToken
from eida_stats_webservice.store.database import ID_BITS, Database, as_time, iso, now, records
from eida_stats_webservice.store.records import (
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
    """Who there is."""

    # Nodes

    def add_node(self, name: str, contact: str) -> None:
        """Register a node.

        Raises:
            NodeExists: if there is one of that name.
        """
        with self.transaction(write=True) as connection:
            if self.queries.add_node(connection, name=name, contact=contact, now=now()) is None:
                raise NodeExists(name)

    def check_node(self, name: str) -> None:
        """Make sure that there is a node.

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
        """Change a node's name or contact; what is None stays.

        Raises:
            UnknownNode: if there is no such node.
            NodeExists: if another has the new name.
        """
        with self.transaction(write=True) as connection:
            self.node_id(connection, name)
            if new_name not in (None, name) and self.queries.find_node(connection, name=new_name) is not None:
                raise NodeExists(str(new_name))
            self.queries.update_node(connection, name=name, new_name=new_name or name, contact=contact)
            self.queries.touch_all_nodes(connection, now=now())

    def remove_node(self, name: str) -> None:
        """Remove a node, its tokens, payloads and statistics.

        Raises:
            UnknownNode: if there is no such node.
        """
        with self.transaction(write=True) as connection:
            self.node_id(connection, name)
            self.queries.remove_node(connection, name=name)
            # Answers change, and what changed last is gone.
            self.queries.touch_all_nodes(connection, now=now())

    def node_policies(self) -> list[tuple[str, bool]]:
        """List the names of all nodes, and whether their networks are restricted unless they invert that."""
        with self.transaction() as connection:
            return [(name, bool(restricted)) for name, restricted in self.queries.public_nodes(connection)]

    # Who sees what

    def list_networks(self) -> list[NetworkRecord]:
        """List all networks by name, once for each of their nodes."""
        with self.transaction() as connection:
            return records(NetworkRecord, self.queries.list_networks(connection))

    def set_node_policy(self, name: str, *, restricted: bool) -> None:
        """Restrict the networks of a node, or open them, but for those that invert that.

        Raises:
            UnknownNode: if there is no such node.
        """
        self._set_of_node(self.queries.set_node_policy, name, restricted=restricted)

    def set_node_group(self, name: str, group: str | None) -> None:
        """Say whose members see the restricted statistics of a node.

        Raises:
            UnknownNode: if there is no such node.
        """
        self._set_of_node(self.queries.set_node_group, name, eas_group=group)

    def _set_of_node(self, setting: Callable[..., int], name: str, **value: object) -> None:
        with self.transaction(write=True) as connection:
            self.node_id(connection, name)
            setting(connection, name=name, **value)
            self.queries.touch_all_nodes(connection, now=now())

    def add_network(self, node: str, name: str) -> None:
        """Note a network of a node before statistics of it come in; it may be there.

        Raises:
            UnknownNode: if there is no such node.
        """
        with self.transaction(write=True) as connection:
            self.queries.add_network(connection, [{"node_id": self.node_id(connection, node), "name": name}])
            self.queries.touch_all_nodes(connection, now=now())

    def set_network_policy(self, node: str, name: str, *, inverted: bool) -> None:
        """Have a network invert the policy of its node, or follow it.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        self._set_of_network(self.queries.set_network_policy, node, name, inverted=inverted)

    def set_network_group(self, node: str, name: str, group: str | None) -> None:
        """Say whose members see the restricted statistics of a network.

        Raises:
            UnknownNode: if there is no such node.
            UnknownNetwork: if it has no such network.
        """
        self._set_of_network(self.queries.set_network_group, node, name, eas_group=group)

    def _set_of_network(self, setting: Callable[..., int], node: str, name: str, **value: object) -> None:
        with self.transaction(write=True) as connection:
            if not setting(connection, node_id=self.node_id(connection, node), name=name, **value):
                raise UnknownNetwork(f"{name} at {node}", hint=_NOTHING_SENT)
            self.queries.touch_all_nodes(connection, now=now())

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
                node_id=None if node is None else self.node_id(connection, node),
                network=network,
                value=digest(token),
                valid_from=iso(valid_from),
                valid_until=iso(valid_until),
            )
        return number, token

    def list_tokens(self) -> list[TokenRecord]:
        """List all tokens by node."""
        with self.transaction() as connection:
            return records(TokenRecord, self.queries.list_tokens(connection))

    def revoke_token(self, number: int, now: datetime.datetime) -> None:
        """Make a token invalid.

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
        number, name, revision, *times = found
        return Sender(Node(number, name), revision, _checked_end(times, now))

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
        _checked_end(times, now)
        return str(network)


def _checked_end(times: Sequence[Any], now: datetime.datetime) -> datetime.datetime:
    """Check that a token is valid now, and return its end; a revoked one is refused like one that never was.

    Args:
        times: since when and until when it is valid, and when it was revoked.
        now: the present time.
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
