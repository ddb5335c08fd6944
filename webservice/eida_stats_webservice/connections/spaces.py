"""The tree of spaces: which space contains which."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from eida_stats_webservice.connections.models import Space


class SpaceTree:
    """All spaces. Names ignore case."""

    def __init__(self, spaces: Iterable[Space]) -> None:
        self._by_id = {space.id: space for space in spaces}
        self._by_name = {space.name.lower(): space for space in self._by_id.values()}
        self._children: dict[int | None, list[Space]] = defaultdict(list)
        for space in self._by_id.values():
            self._children[space.parent_id].append(space)

    def __iter__(self) -> Iterator[Space]:
        return iter(self._by_id.values())

    def get(self, number: int) -> Space:
        """Return a space by its id."""
        return self._by_id[number]

    def find(self, name: str) -> Space | None:
        """Return a space by its name, if there is one."""
        return self._by_name.get(name.lower())

    def list_below(self, space: Space) -> list[Space]:
        """Return a space and all spaces that it contains."""
        found = [space]
        # The list grows while it is read.
        for one in found:
            found += self._children[one.id]
        return found

    def list_above(self, space: Space) -> list[Space]:
        """Return all spaces that contain a space, the nearest first."""
        found = []
        while space.parent_id is not None:
            space = self._by_id[space.parent_id]
            found.append(space)
        return found

    def list_within_node(self, space: Space) -> list[Space]:
        """Return a space of a node, and those of the same node that contain it. Their sums are stored."""
        return [space, *(one for one in self.list_above(space) if one.node_id == space.node_id)]

    def list_stored(self, space: Space) -> list[Space]:
        """Return the spaces of nodes whose sums add up to a space: itself, or those just below the upper spaces."""
        if space.node_id is not None:
            return [space]
        return [found for child in self._children[space.id] for found in self.list_stored(child)]
