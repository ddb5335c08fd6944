"""The answers about what is below a path, as JSON in the form of GSKY."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, groupby, islice
from typing import Any, NamedTuple, TypeVar

import msgspec

from eida_statistics.archive.paths import hash_path
from eida_stats_webservice.archive.errors import PostgisMissing
from eida_stats_webservice.archive.models import Shard
from eida_stats_webservice.archive.paths.geometry import PROJECTIONS, make_box
from eida_stats_webservice.archive.paths.layers import (
    Layer,
    has_namespace,
    has_time,
    normalise_namespace,
    parse_layers,
)
from eida_stats_webservice.archive.paths.parameters import GDAL, MSEED, PathQuery
from eida_stats_webservice.archive.paths.repository import PathRepository, Places
from eida_stats_webservice.archive.paths.segments import find_segments
from eida_stats_webservice.archive.paths.stamps import format_stamp
from eida_stats_webservice.archive.polygons import PolygonRepository
from eida_stats_webservice.archive.reading import ShardReader

_ITEMS_AT_ONCE = 1000
_NO_BOX = {"xmin": None, "ymin": None, "xmax": None, "ymax": None}
_Row = TypeVar("_Row")


class PathRepositories(NamedTuple):
    """The repositories that answers are read from."""

    paths: PathRepository
    polygons: PolygonRepository


class AnswerMaker:
    """Makes the answer to a query about a path of a shard.

    All methods raise ShardUnavailable if the shard cannot be read.
    """

    def __init__(
        self, repositories: PathRepositories, reader: ShardReader, shard: Shard, path: str, query: PathQuery
    ) -> None:
        self._repository, self._polygons = repositories
        self._reader = reader
        self._shard = shard
        self._path = path
        self._query = query

    def make(self) -> Iterator[bytes]:
        """Yield the answer.

        Raises:
            PostgisMissing: if only PostGIS could find what the query selects.
        """
        match self._query.operation:
            case "list_sub_gpath":
                yield msgspec.json.encode(self._list_directories()) + b"\n"
            case "timestamps":
                yield from self._list_stamps()
            case "extents":
                yield msgspec.json.encode(self._find_extents()) + b"\n"
            case _:
                yield from self._find_files()

    def _list_directories(self) -> dict[str, object]:
        names = self._read(self._repository.list_directories, self._path)
        has_content = self._read(self._repository.list_content, self._path)
        return {
            "sub_paths": [f"/{name}" for name in names],
            "has_namespaces": any(has_content),
            "gpath_root": self._shard.path,
        }

    def _list_stamps(self) -> Iterator[bytes]:
        token = self._make_token()
        stamps = iter(()) if self._query.token == token else self._find_stamps()
        # Times that differ by less than a millisecond are written once.
        texts = (text for text, _ in groupby(map(format_stamp, stamps)))
        return _write_list("timestamps", texts, token=token)

    def _find_stamps(self) -> Iterator[datetime]:
        start, stop = self._query.select_stamps(datetime.now(tz=UTC))
        found = self._read_segments(self._repository.list_stamps, (start, stop))
        if (first := next(found, None)) is not None:
            return chain([first], found)
        stamps = {stamp for layer in self._read_layers() for stamp in layer.stamps}
        return iter(sorted(stamp for stamp in stamps if start <= stamp <= stop))

    def _find_extents(self) -> dict[str, object]:
        streams = list(self._read_segments(self._repository.list_streams))
        places = self._repository.read_places(self._reader.connection, self._shard)
        project = PROJECTIONS[self._query.srs]
        points = [project(place) for one in streams for place in places.list_between(*one)]
        layers = [] if streams else [layer for layer in self._read_layers() if layer.stamps]
        starts = [*(one.start for one in streams), *(min(layer.stamps) for layer in layers)]
        ends = [*(one.end for one in streams), *(max(layer.stamps) for layer in layers)]
        names = {*(one.stream.channel for one in streams), *(layer.namespace for layer in layers)}
        return {
            **(make_box(points)._asdict() if points else _NO_BOX),
            "min_stamp": format_stamp(min(starts)) if starts else None,
            "max_stamp": format_stamp(max(ends)) if ends else None,
            "variables": sorted(names),
        }

    def _find_files(self) -> Iterator[bytes]:
        if self._query.metadata == GDAL:
            return _write_list(GDAL, self._find_layers())
        places = self._find_places()
        stations = places.list_stations() if self._query.has_place else None
        spans = self._read_segments(self._repository.list_spans, stations)
        return _write_list(MSEED, find_segments(spans, places, self._query))

    def _find_places(self) -> Places:
        """Return where channels were; with a place in the query, only those there."""
        connection, geometry, wkt = self._reader.connection, self._query.geometry, self._query.wkt
        box = None if geometry is None else geometry.get_box()
        places = self._repository.read_places(connection, self._shard, box)
        if geometry is not None:
            return places.select(geometry.intersects)
        if wkt is None:
            return places
        found = self._polygons.find_stations(connection, self._shard.code, wkt, self._query.srs)
        return places.select(found.__contains__)

    def _find_layers(self) -> Iterator[object]:
        """Yield the layers of the files that have a layer which the query selects."""
        is_there = self._find_layers_at_place()
        files = ((hash_path(path), list(layers)) for path, layers in self._read_files_of_gdal())
        selected = (
            [layer for layer in layers if has_namespace(layer, self._query)]
            for path_hash, layers in files
            if any(
                has_namespace(layer, self._query)
                and has_time(layer, self._query)
                and is_there(path_hash, layer.namespace)
                for layer in layers
            )
        )
        for layers in islice(selected, self._query.limit):
            yield from (layer.document for layer in layers)

    def _find_layers_at_place(self) -> Callable[[str, str], bool]:
        """Return a function that returns whether a layer of a path is at the place of the query.

        Raises:
            PostgisMissing: if this cannot be found.
        """
        if not self._query.has_place:
            return lambda _path_hash, _namespace: True
        if self._query.wkt is None or self._shard.foreign_server is not None:
            raise PostgisMissing(hint="Leave out wkt. The administrator can install PostGIS.")
        found = self._polygons.find_intersecting(
            self._reader.connection, self._shard.code, self._query.wkt, self._query.srs
        )
        there = {(path_hash, normalise_namespace(name or "")) for path_hash, name in found}
        return lambda path_hash, namespace: (path_hash, namespace) in there

    def _read_layers(self) -> Iterator[Layer]:
        """Return the layers whose names the query selects, unless it is about segments only."""
        if self._query.metadata == MSEED:
            return iter(())
        layers = chain.from_iterable(layers for _, layers in self._read_files_of_gdal())
        return (layer for layer in layers if has_namespace(layer, self._query))

    def _read_files_of_gdal(self) -> Iterator[tuple[str, Iterator[Layer]]]:
        found = self._read(self._repository.list_layers, self._path)
        return ((path, parse_layers(path, text)) for path, text in found)

    def _read_segments(self, query: Callable[..., Iterator[_Row]], *arguments: object) -> Iterator[_Row]:
        """Return the rows of a query about segments, unless the client wants layers only."""
        if self._query.metadata == GDAL:
            return iter(())
        return self._read(query, self._path, self._query, *arguments)

    def _read(self, query: Callable[..., Iterable[_Row]], *arguments: object) -> Iterator[_Row]:
        """Run a query of the repository, and return its rows."""

        def run(connection: Any, shard: Shard) -> Iterable[_Row]:
            return query(connection, shard, *arguments)

        ((_, rows),) = self._reader.read([self._shard], run)
        return rows

    def _make_token(self) -> str:
        """Return a text that changes with the query and with the shard."""
        query = self._query._replace(token=None)
        # A shard of the same code that was removed may have had the same generation.
        parts = (self._shard.code, self._shard.generation, self._shard.refreshed_at, self._path, query)
        return str(uuid.UUID(hashlib.md5(repr(parts).encode(), usedforsecurity=False).hexdigest()))


def _write_list(name: str, items: Iterable[object], **members: object) -> Iterator[bytes]:
    """Yield a JSON object whose first member is a list, some items at a time."""
    written = msgspec.json.encode(name).join((b"{", b":["))
    remaining = iter(items)
    while batch := list(islice(remaining, _ITEMS_AT_ONCE)):
        yield written + msgspec.json.encode(batch)[1:-1]
        written = b","
    end = b"]" + b"".join(
        b"," + msgspec.json.encode(key) + b":" + msgspec.json.encode(value) for key, value in members.items()
    )
    yield (written if written != b"," else b"") + end + b"}\n"
