"""Add spaces, state their counts, and rename those of a node."""

import datetime
from pathlib import Path
from typing import Any

from eida_stats_webservice.connections.counts import Counts
from eida_stats_webservice.connections.errors import ArchivedEvents, NameTaken, UnknownSpace, UnusableSpace
from eida_stats_webservice.connections.intake import check_time, show_counts
from eida_stats_webservice.connections.models import FEDERATION, Recount, Space
from eida_stats_webservice.connections.spaces import SpaceTree
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database, format_moment
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository


class SpaceAdministration:
    """Changes spaces, each time in a transaction. All methods raise DatabaseLocked if others hold a lock."""

    def __init__(self, database: Database, registry: RegistryRepository, tables: ConnectionTables) -> None:
        self._database = database
        self._registry = registry
        self._tables = tables
        self._queries = database.load_queries(Path(__file__).parent, "administration")

    def add(
        self,
        name: str,
        *,
        node: str | None,
        parent: str | None,
        capacity: int | None,
        restricted: bool,
        is_copy: bool = False,
    ) -> Space:
        """Add a space to a node, or above the nodes. A copy may have the name of a node or of its ringserver.

        Raises:
            NameTaken: if there is a space of this name; capitals do not matter.
            UnknownNode: if there is no such node.
            UnknownSpace: if there is no such parent.
            UnusableSpace: if the parent belongs to a node, and the space does not belong to the same one, or if the
                name is that of a node or of its ringserver.
        """

        def add(connection: Any) -> Space:
            tree = self._tables.read_tree(connection)
            if tree.find(name) is not None:
                raise NameTaken(f"space {name}")
            if not is_copy:
                self._check_name(connection, name, node, parent)
            owner = None if node is None else Node(self._registry.find_id(connection, node), node)
            above = None if parent is None else find_space(tree, parent)
            if above is not None and above.node_id is not None and above.node_id != (owner and owner.id):
                raise UnusableSpace(
                    f"{above.name} belongs to a node", hint="Add the space to the same node: --node."
                )
            space = self._tables.add_space(connection, name, above, owner, restricted=restricted)
            self._queries.set_capacity(connection, space_id=space.id, capacity=capacity)
            return space

        return self._database.administer(add)

    def _check_name(self, connection: Any, name: str, node: str | None, parent: str | None) -> None:
        """Check that no ringserver has a name, and no node, unless the space is the one that it will have.

        Raises:
            UnusableSpace: if one has: its space would be in the wrong place.
        """
        lower = name.lower()
        for one in self._registry.list_ids(connection):
            is_its_own = lower == one.name.lower() and node == one.name and (parent or "").lower() == FEDERATION
            if lower.startswith(f"{one.name.lower()}/") or (lower == one.name.lower() and not is_its_own):
                raise UnusableSpace(
                    f"{name} is the name of a node or of its ringserver",
                    hint="Its space is added with its first records. Then change it: eida_statsman spaces update."
                    f" To add that of a node before: --node {one.name} --parent {FEDERATION}",
                )

    def update(self, name: str, *, capacity: int | None, restricted: bool | None) -> None:
        """Change the capacity of a space, and whether only its node may see it; None keeps it.

        Raises:
            UnknownSpace: if there is no such space.
            UnusableSpace: if it is above the nodes, and is to be restricted.
        """

        def update(connection: Any) -> None:
            space = find_space(self._tables.read_tree(connection), name)
            if restricted and space.node_id is None:
                raise UnusableSpace(f"{space.name} is above the nodes", hint="No node could see it.")
            self._queries.update_space(connection, space_id=space.id, capacity=capacity, restricted=restricted)

        self._database.administer(update)

    def list_counts(self) -> list[tuple[Space, int]]:
        """Return all spaces with their counts, by name."""
        with self._database.snapshot() as connection:
            counts = Counts(self._tables, connection)
            spaces = sorted(counts.tree, key=lambda space: space.name.lower())
            return [(space, counts.count(space)) for space in spaces]

    def read_tree(self) -> SpaceTree:
        """Return all spaces."""
        with self._database.transaction() as connection:
            return self._tables.read_tree(connection)

    def list_recounts(self) -> list[tuple[str, Recount]]:
        """Return all recounts by time, each with the name of its space."""
        with self._database.snapshot() as connection:
            tree = self._tables.read_tree(connection)
            return [(tree.get(one.space_id).name, one) for one in self._tables.list_recounts(connection, tree)]

    def recount(self, name: str, count: int, moment: datetime.datetime, author: str) -> int:
        """State the count of a space at a moment. Return its count now.

        Raises:
            UnknownSpace: if there is no such space.
            UnusableSpace: if it counts the clients of ringservers.
            UnusableTime: if the moment is in the future, or before 2000.
            ArchivedEvents: if the events at that time are archived.
        """
        now = datetime.datetime.now(tz=datetime.UTC)
        check_time(moment, now, name)

        def change(connection: Any) -> int:
            tree = self._tables.read_tree(connection)
            space = find_space(tree, name)
            if space.node_id is not None:
                self._tables.queries.lock_node(connection, node_id=space.node_id)
            if find_clients(self._tables, connection, tree, space):
                raise UnusableSpace(
                    f"{space.name} counts clients", hint="Their sessions decide how many there are."
                )
            check_archive(self._tables, connection, moment)
            self._queries.put_recount(
                connection,
                space_id=space.id,
                recorded=format_moment(moment),
                count=count,
                author=author,
                created=format_moment(now),
            )
            changed = [one.id for one in tree.list_within_node(space)]
            show_counts(self._tables, connection, tree, changed, moment, now)
            return Counts(self._tables, connection, tree).count(space)

        return self._database.administer(change)

    def rename_node(self, connection: Any, node: Node, new_name: str) -> None:
        """Rename the spaces and ringservers of a node, so that their history goes on.

        Raises:
            NameTaken: if another space has a new name.
        """
        self._tables.lock(connection, node)
        values = {"node_id": node.id, "old_name": node.name, "new_name": new_name}
        tree = self._tables.read_tree(connection)
        for space in tree:
            name = space.name.lower()
            if name == new_name.lower() or name.startswith(f"{new_name.lower()}/"):
                of_node = name == node.name.lower() or name.startswith(f"{node.name.lower()}/")
                if not (space.node_id == node.id and of_node):
                    raise NameTaken(f"space {space.name}", hint="Choose another name for the node.")
        self._queries.rename_sensors(connection, **values)
        self._queries.rename_spaces(connection, **values)


def find_space(tree: SpaceTree, name: str) -> Space:
    """Return a space by its name.

    Raises:
        UnknownSpace: if there is none.
    """
    space = tree.find(name)
    if space is None:
        raise UnknownSpace(name, hint="List the spaces: eida_statsman spaces list")
    return space


def find_clients(tables: ConnectionTables, connection: Any, tree: SpaceTree, space: Space) -> bool:
    """Return whether a space, or one that it contains, counts the clients of ringservers."""
    below = {one.id for one in tree.list_below(space)}
    return any(int(number) in below for (number,) in tables.queries.ringserver_spaces(connection))


def check_archive(tables: ConnectionTables, connection: Any, moment: datetime.datetime) -> None:
    """Check that the events at a moment are not archived.

    Raises:
        ArchivedEvents: if they are.
    """
    first_kept = tables.find_first_kept(connection)
    if moment < first_kept:
        raise ArchivedEvents(f"{moment:%Y-%m}", hint=f"Events are kept from {first_kept:%Y-%m-%d} on.")
