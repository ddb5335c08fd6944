"""Find which spaces a client may see, and which counts."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any, NamedTuple

from flask import Request, Response

from eida_statistics.connections import MAX_NAME
from eida_stats_webservice.auth.node import authenticate_node
from eida_stats_webservice.connections.counts import Counts
from eida_stats_webservice.connections.errors import UnknownSpace
from eida_stats_webservice.connections.live_counts import LiveCounts
from eida_stats_webservice.connections.models import Space
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.registry.models import Node
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.bearer import HEADERS
from eida_stats_webservice.web.parameters import quote_parameter

_NAME = re.compile(rf"[^\x00-\x1f\x7f]{{1,{MAX_NAME}}}")

MAX_AGE_SECONDS = 2
"""How long a public answer may be used again."""


class Viewer(NamedTuple):
    """The rights of the client of a request.

    Attributes:
        node: the node whose token the request carries, if it does.
        min_clients: the smallest count of clients that everybody may see, except 0.
    """

    node: Node | None
    min_clients: int

    def owns(self, node_id: int | None) -> bool:
        """Return whether a space of a node is the client's own."""
        return self.node is not None and self.node.id == node_id

    def can_see(self, node_id: int | None, *, restricted: bool) -> bool:
        """Return whether the client may see a space of a node."""
        return not restricted or self.owns(node_id)

    def is_too_small(self, count: int) -> bool:
        """Return whether a count of clients of another node is not shown."""
        return 0 < count < self.min_clients


class View:
    """The spaces as one client sees them, in one state of the database.

    Attributes:
        viewer: the client.
    """

    def __init__(
        self, tables: ConnectionTables, connect: Callable[[], Any], viewer: Viewer, live: LiveCounts
    ) -> None:
        self.viewer = viewer
        self._tables = tables
        self._database = tables.database
        self._queries = tables.queries
        self._connect = connect
        self._live = live

    @cached_property
    def _connection(self) -> Any:
        """A connection to the state that the first use finds."""
        return self._connect()

    @cached_property
    def counts(self) -> Counts:
        """The counts. Their first use reads all spaces."""
        return Counts(self._tables, self._connection)

    @property
    def min_clients(self) -> int:
        """The smallest count of clients that everybody may see, except 0."""
        return self.viewer.min_clients

    def can_see(self, space: Space) -> bool:
        """Return whether the client may see a space."""
        return self.viewer.can_see(space.node_id, restricted=space.restricted)

    def find(self, name: str) -> Space | None:
        """Return a space by its name, if there is one that the client may see.

        Raises:
            BadParameter: if no space can have this name.
        """
        check_name(name)
        space = self.counts.tree.find(name)
        return space if space is not None and self.can_see(space) else None

    def list_spaces(self) -> list[Space]:
        """Return the spaces that the client may see, by name."""
        return sorted(filter(self.can_see, self.counts.tree), key=lambda space: space.name.lower())

    def count_now(self, space: Space) -> int | None:
        """Return the count of a space now, or None if it has had no event.

        The copy may be 2 s old, so it decides nothing about suppression. It has no spaces above the nodes.
        """
        is_copied = space.node_id is not None and not self.is_protected(space)
        found = self._live.find(space) if is_copied else None
        if found is not None:
            return found
        return self.counts.count(space) if self.counts.is_known(space) else None

    def select(self, query: str, spaces: Iterable[int] | None = None, **parameters: object) -> list[Any]:
        """Run a named query, and return its rows. If its parameter `spaces` is empty, there are none."""
        if spaces is not None:
            chosen = set(spaces)
            if not chosen:
                return []
            parameters["spaces"] = self._database.to_list(chosen)
        return list(getattr(self._queries, query)(self._connection, **parameters))

    def read(self, query: str, spaces: Iterable[int], **parameters: object) -> list[Any]:
        """Run a named query by itself, and return its rows. Other queries may see a later state."""
        chosen = self._database.to_list(spaces)
        return self._database.read(getattr(self._queries, query), spaces=chosen, **parameters)

    def select_value(self, query: str, spaces: Iterable[int], **parameters: object) -> Any:
        """Run a named query for some spaces, and return its value; None if there are no spaces."""
        chosen = self._database.to_list(wanted := set(spaces))
        query_value = getattr(self._queries, query)
        return query_value(self._connection, spaces=chosen, **parameters) if wanted else None

    def is_suppressed(self, space: Space, count: int) -> bool:
        """Return whether a count is too small to be shown: it is that of clients, and the answer is public."""
        return self.viewer.is_too_small(count) and self.is_protected(space)

    def is_protected(self, space: Space) -> bool:
        """Return whether small counts of a space are not shown: they are those of clients, for everybody."""
        return bool(self.min_clients) and not self.viewer.owns(space.node_id) and self.has_ringservers(space)

    def has_ringservers(self, space: Space) -> bool:
        """Return whether ringservers count a space, or one below it."""
        return any(below.id in self._of_clients for below in self.counts.tree.list_below(space))

    @cached_property
    def _of_clients(self) -> frozenset[int]:
        """The spaces of ringservers."""
        return frozenset(int(number) for (number,) in self._queries.ringserver_spaces(self._connection))

    def show(self, space: Space, count: int) -> int | None:
        """Return a count as the client may see it: never negative, and None if it is suppressed."""
        return None if self.is_suppressed(space, count) else max(count, 0)


class ViewFactory:
    """Creates the views of requests."""

    def __init__(
        self,
        database: Database,
        tables: ConnectionTables,
        registry: RegistryRepository,
        min_clients: int,
        live: LiveCounts,
    ) -> None:
        self._database = database
        self._tables = tables
        self._registry = registry
        self._min_clients = min_clients
        self._live = live

    @contextmanager
    def open(self, request: Request) -> Iterator[View]:
        """Yield the view of a request, in a snapshot of the database.

        Raises:
            RefusedToken: if the request carries a token that is not valid.
        """
        viewer = self._identify(request)
        with ExitStack() as stack:
            yield View(self._tables, lambda: stack.enter_context(self._database.snapshot()), viewer, self._live)

    def count_now(self, request: Request, name: str) -> int | None:
        """Return the present count of a space as the client may see it; None if there is none that it may see.

        Raises:
            BadParameter: if no space can have this name.
            RefusedToken: if the request carries a token that is not valid.
        """
        check_name(name)
        if not self._live.is_active:
            viewer = self._identify(request)
            for row in self._database.read(self._tables.queries.present_count, name=name):
                node_id, restricted, net, is_known, has_recounts, has_ringservers = row
                if not viewer.can_see(node_id, restricted=bool(restricted)):
                    return None
                if not has_recounts:
                    hidden = viewer.is_too_small(net) and has_ringservers and not viewer.owns(node_id)
                    return None if hidden or not is_known else max(0, int(net))
        with self.open(request) as view:
            space = view.find(name)
            count = None if space is None else view.count_now(space)
            return None if space is None or count is None else view.show(space, count)

    def _identify(self, request: Request) -> Viewer:
        node = authenticate_node(request, self._registry).node if has_token(request) else None
        return Viewer(node, self._min_clients)


def check_name(name: str) -> None:
    """Check that a space can have a name.

    Raises:
        BadParameter: if it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise BadParameter(
            quote_parameter("space", name),
            hint=f"A name has 1 to {MAX_NAME} characters, and no control characters.",
            parameter="space",
        )


def find_space(view: View, name: str) -> Space:
    """Return a space by its name.

    Raises:
        UnknownSpace: if there is none that the client may see.
    """
    space = view.find(name)
    if space is None:
        raise UnknownSpace(quote_parameter("space", name), hint="List them: GET …/connections/now")
    return space


def has_token(request: Request) -> bool:
    """Return whether a request carries a token."""
    return any(name in request.headers for name in HEADERS)


def set_cache(response: Response, request: Request) -> Response:
    """Let caches use a public answer for some seconds, and never one to a request with a token."""
    private = has_token(request)
    response.headers["Cache-Control"] = "private, no-store" if private else f"public, max-age={MAX_AGE_SECONDS}"
    return response
