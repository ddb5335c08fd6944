"""Verify the sums of all kinds against the payloads in force, and rebuild them."""

import datetime
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from eida_stats_webservice.database.base import Database
from eida_stats_webservice.payloads.differences import Difference
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository


class VerifiedKind(Protocol):
    """The sums of one kind. All methods take a connection in a transaction; all but the first one lock the node."""

    def list_months(self, connection: Any, node: Node, /) -> set[datetime.date]:
        """Return the months in which a node has sums, or payloads in force."""

    def find_differences(self, connection: Any, node: Node, month: datetime.date, /) -> Iterator[Difference]:
        """Recompute the sums of a month without the queries that made them, and yield the differences."""

    def rebuild_months(self, connection: Any, node: Node, months: Collection[datetime.date], /) -> None:
        """Build the sums of some months again from the payloads in force."""

    def restore_identities(self, connection: Any, node: Node, /) -> None:
        """Restore properties of payloads from their bodies, where an older version has dropped them."""


class Verification:
    """Recomputes sums of one node or of all, in one transaction for each month of a node."""

    def __init__(self, database: Database, registry: RegistryRepository, kinds: Sequence[VerifiedKind]) -> None:
        self._database = database
        self._registry = registry
        self._kinds = kinds

    def verify(self, node: str = "") -> Iterator[tuple[str, datetime.date, list[Difference]]]:
        """Recompute sums from the payloads in force, without the queries that made them.

        Yields:
            A node, a month, and the differences there. A payload that arrives meanwhile waits until this month is
            done, or is sent again.
        """
        for owner, month in self._list_months(node):
            with self._lock(owner) as connection:
                differences = [
                    difference
                    for kind in self._kinds
                    for difference in kind.find_differences(connection, owner, month)
                ]
            yield owner.name, month, differences

    def replay(self, node: str = "") -> Iterator[tuple[str, datetime.date]]:
        """Rebuild sums from the payloads in force, and yield each node and month that is done.

        Properties of payloads that an older version has dropped are restored first.
        """
        months = self._list_months(node)
        for owner in dict.fromkeys(owner for owner, _ in months):
            with self._lock(owner) as connection:
                for kind in self._kinds:
                    kind.restore_identities(connection, owner)
        for owner, month in months:
            with self._lock(owner) as connection:
                for kind in self._kinds:
                    kind.rebuild_months(connection, owner, {month})
                # Answers depend on the revision of the node. Decisions depend on the payloads of closed months, of
                # which none has changed, and on the revision of the registry.
                self._registry.bump_revision(connection, owner)
                self._registry.bump_registry_revision(connection)
            yield owner.name, month

    @contextmanager
    def _lock(self, owner: Node) -> Iterator[Any]:
        """Yield a connection in a transaction that has locked a node and may last long."""
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            self._registry.lock(connection, owner)
            yield connection

    def _list_months(self, name: str) -> list[tuple[Node, datetime.date]]:
        """Return the nodes, and the months in which they have sums or payloads in force."""
        with self._database.transaction() as connection:
            if name:
                owners = [Node(self._registry.find_id(connection, name), name)]
            else:
                owners = self._registry.list_ids(connection)
            months: dict[Node, set[datetime.date]] = {
                owner: set().union(*(kind.list_months(connection, owner) for kind in self._kinds))
                for owner in owners
            }
        return [(owner, month) for owner in owners for month in sorted(months[owner])]
