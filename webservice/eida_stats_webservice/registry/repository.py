"""Store and list nodes, networks and tokens."""

import datetime
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from eida_stats_webservice.database.base import ID_BITS, Database, format_time, select_rows, to_records
from eida_stats_webservice.errors import (
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
    TokenPeriod,
    TokenRecord,
    create_token,
    hash_token,
)

_ADD_NETWORK = "Check the spelling. To set the policy before the first payload: networks set-policy --new"


class RegistryRepository:
    """Stores nodes, networks and tokens. A method is one transaction, unless it takes a connection.

    Methods that take a node raise UnknownNode if there is none of that name.

    Args:
        database: the database.
        connection: the connection of a snapshot, which lists of networks and policies come from; by default, each
            list has its own.
    """

    def __init__(self, database: Database, connection: Any = None) -> None:
        self._database = database
        self._connection = connection
        self._queries = database.load_queries(Path(__file__).parent)

    def read_from(self, connection: Any) -> "RegistryRepository":
        """Return a repository that lists the networks and policies of a snapshot."""
        return RegistryRepository(self._database, connection)

    def _connect(self) -> AbstractContextManager[Any]:
        return self._database.transaction() if self._connection is None else nullcontext(self._connection)

    # Nodes

    def add_node(self, name: str, contact: str) -> None:
        """Register a node.

        Raises:
            NodeExists: if the name is in use.
        """

        def add(connection: Any) -> None:
            if self._queries.add_node(connection, name=name, contact=contact) is None:
                raise NodeExists(name)
            self._queries.bump_registry_revision(connection)

        self._database.administer(add)

    def check_node(self, name: str) -> None:
        """Check that a node exists.

        Raises:
            UnknownNode: if it does not.
        """
        with self._database.transaction() as connection:
            self.find_id(connection, name)

    def find_node(self, name: str) -> Node:
        """Return a node by its name.

        Raises:
            UnknownNode: if there is none.
        """
        with self._database.transaction() as connection:
            return Node(self.find_id(connection, name), name)

    def list_nodes(self) -> list[NodeRecord]:
        """Return all nodes by name."""
        with self._database.transaction() as connection:
            return to_records(NodeRecord, select_rows(connection, self._queries.list_nodes))

    def update_node(
        self,
        name: str,
        *,
        new_name: str | None,
        contact: str | None,
        rename: Callable[[Any, Node, str], None] | None = None,
    ) -> None:
        """Change a node's name or contact; None keeps it.

        Args:
            name: the node.
            new_name: its new name.
            contact: its new contact.
            rename: renames what has its name from that of the node, in the same transaction.

        Raises:
            NodeExists: if the new name is in use.
        """

        def update(connection: Any, node_id: int) -> None:
            if new_name not in (None, name) and self._queries.find_node(connection, name=new_name) is not None:
                raise NodeExists(str(new_name))
            if new_name is not None and rename is not None:
                rename(connection, Node(node_id, name), new_name)
            self._queries.update_node(connection, node_id=node_id, new_name=new_name, contact=contact)

        self._change_node(name, update)

    def remove_node(self, name: str) -> None:
        """Remove a node, its tokens, payloads and statistics."""

        def remove(connection: Any) -> None:
            number = self.lock_by_name(connection, name).id
            # Before the node is removed, since the time of this change must be after the node's last change.
            self._queries.bump_registry_revision(connection)
            self._queries.remove_node(connection, node_id=number)

        self._database.administer(remove)

    def list_policies(self) -> list[tuple[str, bool]]:
        """Return the name of each node, and whether its networks are restricted by default."""
        with self._connect() as connection:
            return [(name, bool(restricted)) for name, restricted in self._queries.list_policies(connection)]

    # Access to statistics

    def list_networks(self) -> list[NetworkRecord]:
        """Return all networks by name, once for each of their nodes."""
        with self._connect() as connection:
            return to_records(NetworkRecord, select_rows(connection, self._queries.list_networks))

    def set_node_policy(self, name: str, *, restricted: bool) -> None:
        """Restrict or open the networks of a node, except those that invert the policy."""
        self._change_node(name, partial(self._queries.set_node_policy, restricted=restricted))

    def set_node_group(self, name: str, group: str | None) -> None:
        """Set the group that may see the restricted statistics of a node; None removes it."""
        self._change_node(name, partial(self._queries.set_node_group, eas_group=group))

    def add_network(self, node: str, name: str) -> None:
        """Add a network to a node before its first payload. Do nothing if the network exists."""
        self._change_node(node, partial(self._queries.add_network, name=name))

    def set_network_policy(self, node: str, name: str, *, inverted: bool) -> None:
        """Let a network invert the policy of its node, or follow it.

        Raises:
            UnknownNetwork: if the node has no such network.
        """
        self._change_network(self._queries.set_network_policy, node, name, inverted=inverted)

    def set_network_group(self, node: str, name: str, group: str | None) -> None:
        """Set the group that may see the restricted statistics of a network; None removes it.

        Raises:
            UnknownNetwork: if the node has no such network.
        """
        self._change_network(self._queries.set_network_group, node, name, eas_group=group)

    def _change_network(self, query: Callable[..., int], node: str, name: str, **value: object) -> None:
        def change(connection: Any, node_id: int) -> None:
            if not query(connection, node_id=node_id, name=name, **value):
                raise UnknownNetwork(f"{name} at {node}", hint=_ADD_NETWORK)

        self._change_node(node, change)

    def _change_node(self, name: str, change: Callable[..., object]) -> None:
        """Lock a node, call `change` with a connection and `node_id`, and bump the revision of the registry."""

        def change_locked(connection: Any) -> None:
            change(connection, node_id=self.lock_by_name(connection, name).id)
            # Last, since this row blocks all other changes of the registry.
            self._queries.bump_registry_revision(connection)

        self._database.administer(change_locked)

    # Tokens

    def add_token(
        self, node: str, valid_from: datetime.datetime, valid_until: datetime.datetime
    ) -> tuple[int, str]:
        """Create a token for a node. Return its id and its value, which is not stored."""
        return self._add_token(node, None, valid_from, valid_until)

    def add_network_token(
        self, network: str, valid_from: datetime.datetime, valid_until: datetime.datetime
    ) -> tuple[int, str]:
        """Create a token for the operator of a network. Return its id and its value, which is not stored."""
        return self._add_token(None, network, valid_from, valid_until)

    def _add_token(
        self,
        node: str | None,
        network: str | None,
        valid_from: datetime.datetime,
        valid_until: datetime.datetime,
    ) -> tuple[int, str]:
        token = create_token()

        def add(connection: Any) -> int:
            (number,) = self._queries.add_token(
                connection,
                node_id=None if node is None else self.lock_by_name(connection, node).id,
                network=network,
                value=hash_token(token),
                valid_from=format_time(valid_from),
                valid_until=format_time(valid_until),
            )
            return int(number)

        return self._database.administer(add), token

    def list_tokens(self) -> list[TokenRecord]:
        """Return all tokens by node."""
        with self._database.transaction() as connection:
            return to_records(TokenRecord, select_rows(connection, self._queries.list_tokens))

    def revoke_token(self, number: int, now: datetime.datetime) -> None:
        """Revoke a token. The node is not locked, so that a client that uses the token cannot delay this.

        Raises:
            UnknownToken: if there is no token with this id.
        """
        if number.bit_length() > ID_BITS:
            raise UnknownToken(str(number))
        with self._database.transaction(write=True) as connection:
            if not self._queries.revoke_token(connection, id=number, now=format_time(now)):
                raise UnknownToken(str(number))

    def find_sender_of_token(self, token: str, now: datetime.datetime) -> Sender:
        """Return the node of a token, with its current revision.

        Raises:
            ExpiredToken: if the token has expired.
            RefusedToken: if it is unknown, not yet valid, revoked, or that of a network's operator.
        """
        with self._database.transaction() as connection:
            found = self._queries.sender_of_token(connection, value=hash_token(token))
        if found is None:
            raise RefusedToken
        node_id, name, revision, token_id, *times = found
        period = _to_period(*times)
        period.check(now)
        return Sender(
            node=Node(id=node_id, name=name),
            arrival=Arrival(revision=revision, token=token_id),
            token_valid_until=period.valid_until,
        )

    def find_network_of_token(self, token: str, now: datetime.datetime) -> str:
        """Return the network of an operator's token.

        Raises:
            ExpiredToken: if the token has expired.
            RefusedToken: if it is unknown, not yet valid, revoked, or that of a node.
        """
        with self._database.transaction() as connection:
            found = self._queries.network_of_token(connection, value=hash_token(token))
        if found is None:
            raise RefusedToken
        network, *times = found
        _to_period(*times).check(now)
        return str(network)

    # Inside a transaction of the caller

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
        """Return the ids and names of all nodes, by name."""
        return to_records(Node, select_rows(connection, self._queries.list_ids))

    def lock(self, connection: Any, node: Node) -> int:
        """Lock a node against other writers and return its revision.

        To rule out deadlocks, each transaction that writes rows of a node must call this first.

        Raises:
            UnknownNode: if there is no such node.
        """
        revision = self._queries.lock_node(connection, node_id=node.id)
        if revision is None:
            raise UnknownNode(node.name)
        return int(revision)

    def lock_by_name(self, connection: Any, name: str) -> Node:
        """Lock a node against other writers and return it.

        Raises:
            UnknownNode: if there is no such node.
        """
        node = Node(self.find_id(connection, name), name)
        self.lock(connection, node)
        return node

    def begin_change(self, connection: Any, node: Node, arrival: Arrival | None) -> int:
        """Lock a node for a request, check that its token is still valid, and return the node's next revision.

        Raises:
            ExpiredToken: if the token has expired.
            RefusedToken: if it was revoked or removed.
        """
        revision = self.lock(connection, node) + 1
        if arrival is not None:
            self.check_arrival(connection, arrival)
        return revision

    def check_arrival(self, connection: Any, arrival: Arrival) -> None:
        """Check that the token of a request is still valid.

        Raises:
            ExpiredToken: if the token has expired.
            RefusedToken: if it was revoked or removed.
        """
        times = self._queries.validity_of_token(connection, id=arrival.token)
        if times is None:
            raise RefusedToken
        _to_period(*times).check(datetime.datetime.now(tz=datetime.UTC))

    def bump_revision(self, connection: Any, node: Node) -> None:
        """Record a change of a node's statistics."""
        self._queries.bump_revision(connection, node_id=node.id)

    def bump_registry_revision(self, connection: Any) -> None:
        """Record a change of nodes, networks or policies. Call it last: it blocks all other such changes."""
        self._queries.bump_registry_revision(connection)

    def has_rights(self, connection: Any) -> bool:
        """Return whether the role of the connection has the rights of the service."""
        return bool(self._queries.has_rights(connection))


def _to_period(valid_from: Any, valid_until: Any, revoked_at: Any) -> TokenPeriod:
    columns = {"valid_from": valid_from, "valid_until": valid_until, "revoked_at": revoked_at}
    return msgspec.convert(columns, TokenPeriod)
