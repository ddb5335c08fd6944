"""Where the layers of rasters and the stations of files are, as geometries. This needs PostGIS.

Without PostGIS, nothing here does anything: shards have no polygons.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from eida_stats_webservice.archive.models import PolygonResult, Shard, Stream
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.archive.storage import (
    POLYGONS,
    create_polygon_view,
    has_polygons,
    read_script,
    uses_polygons,
)
from eida_stats_webservice.database import postgis, schemas
from eida_stats_webservice.database.base import Database
from eida_stats_webservice.database.postgis import PostGIS
from eida_stats_webservice.errors import BadParameter, DatabaseFault, RefusedByDatabase
from eida_stats_webservice.web.parameters import quote_parameter

_ROWS_AT_ONCE = 50_000
_DEGREES = 4326
_REFERENCE_SYSTEM = re.compile(r"([A-Za-z]{1,50}):(\d{1,9})", re.ASCII)


@dataclass
class PostGISState:
    """Whether a database uses PostGIS.

    Attributes:
        extension: the extension, if the database has it.
        created: the shards whose polygons have just been created.
        result: what was found in them.
    """

    extension: PostGIS | None
    created: list[str]
    result: PolygonResult


class PolygonRepository:
    """The tables `polygons` of shards, and the view over them."""

    def __init__(self, database: Database, shards: ShardRepository) -> None:
        self._database = database
        self._shards = shards
        self._queries = database.load_queries(Path(__file__).parent, "polygons")

    def set_up(self) -> PostGISState:
        """Create the polygons of all shards that lack them, if the database has PostGIS.

        A shard is one transaction.
        """
        if self._database.dialect == "sqlite":
            return PostGISState(None, [], PolygonResult())
        with self._database.transaction() as connection:
            extension = postgis.find(connection)
        state = PostGISState(extension, [], PolygonResult())
        if extension is None or not extension.is_visible:
            return state
        for shard in self._shards.read_all():
            if shard.foreign_server is None:
                self._create_table(shard.code, state)
        self._database.administer(self._create_view)
        return state

    def recompute(self, code: str) -> PolygonResult:
        """Compute all polygons of a shard again, in one transaction. Foreign shards have none.

        Raises:
            UnknownShard: if there is no such shard.
        """
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            shard = self._shards.lock(connection, code)
            if self._database.dialect == "sqlite" or shard.foreign_server is not None:
                return PolygonResult()
            with self._shards.storage.enter(connection, code):
                result = self.refresh(connection, shard, None)
            self._shards.bump(connection, code)
            return result

    def refresh(self, connection: Any, shard: Shard, hashes: Iterable[str] | None) -> PolygonResult:
        """Compute the polygons of paths of a shard again; of all, if they are None.

        The transaction must have entered the shard. Its metadata and spans must be those of its paths.
        """
        if self._database.dialect == "sqlite" or not has_polygons(connection):
            return PolygonResult()
        self._queries.create_staging(connection)
        if hashes is None:
            self._queries.stage_all(connection)
            self._queries.delete_all(connection)
        else:
            self._stage(connection, hashes)
            self._queries.delete_polygons(connection)
        return self._add(connection, shard)

    def refresh_streams(self, connection: Any, shard: Shard, streams: Iterable[Stream]) -> None:
        """Compute the polygons of paths that have segments of some streams again.

        The transaction must not have entered the shard. Foreign shards have no polygons.
        """
        if self._database.dialect == "sqlite" or shard.foreign_server is not None:
            return
        with self._shards.storage.enter(connection, shard.code):
            if not has_polygons(connection):
                return
            self._queries.create_staging(connection)
            self._database.load_rows(
                connection,
                self._queries.stage_stream,
                streams,
                # No code has a character that needs an escape.
                to_line=lambda stream: "\t".join(stream) + "\n",
                to_parameters=Stream._asdict,
            )
            self._queries.stage_streams(connection)
            self._queries.delete_polygons(connection)
            self._add(connection, shard)

    def is_used(self, connection: Any) -> bool:
        """Return whether the database has polygons, so that `find_intersecting` can be used."""
        return self._database.dialect == "postgresql" and uses_polygons(connection)

    def find_intersecting(self, connection: Any, code: str, wkt: str, srs: str) -> set[tuple[str, str]]:
        """Return the hashes of paths, and the names of their layers or channels, that intersect a geometry.

        Args:
            connection: the connection.
            code: the shard.
            wkt: the geometry.
            srs: its reference system, such as `EPSG:4326`.

        Raises:
            BadParameter: if the geometry or the reference system is not valid.
        """
        mask, mask_srid = self._parse_mask(connection, wkt, srs)
        found: set[tuple[str, str]] = set()
        for srid in self._list_systems(connection, code):
            own = mask if srid == mask_srid else self._transform(connection, mask, srid)
            if own is not None:
                parameters = {"code": code, "srid": srid, "mask": own}
                found.update(self._compare(connection, wkt, self._queries.find_intersecting, parameters))
        return found

    def find_stations(self, connection: Any, code: str, wkt: str, srs: str) -> set[tuple[float, float]]:
        """Return the longitudes and latitudes of stations of a shard that intersect a geometry.

        Raises:
            BadParameter: if the geometry or the reference system is not valid.
        """
        mask, srid = self._parse_mask(connection, wkt, srs)
        own = mask if srid == _DEGREES else self._transform(connection, mask, _DEGREES)
        if own is None:
            return set()
        return set(self._compare(connection, wkt, self._queries.find_stations, {"code": code, "mask": own}))

    def _create_table(self, code: str, state: PostGISState) -> None:
        """Create the polygons of a shard and compute them, unless it has them."""
        with self._database.transaction(write=True) as connection:
            self._database.wait_without_limit(connection)
            shard = self._shards.lock(connection, code)
            if code in schemas.list_with_column(connection, "polygons", "po_polygon"):
                return
            # The extension may have been dropped, and with it one column.
            schemas.drop_table(connection, code, "polygons")
            schemas.run(connection, code, read_script("polygon_table"))
            with self._shards.storage.enter(connection, code):
                result = self.refresh(connection, shard, None)
            schemas.run(connection, code, read_script("polygon_indexes"))
            schemas.analyse(connection, code, POLYGONS)
            self._shards.bump(connection, code)
        state.created.append(code)
        state.result.layers += result.layers
        state.result.invalid += result.invalid
        state.result.unregistered += result.unregistered

    def _create_view(self, connection: Any) -> None:
        create_polygon_view(connection, self._shards.lock_list(connection))

    def _stage(self, connection: Any, hashes: Iterable[str]) -> None:
        remaining = iter(hashes)
        # The hashes may come from the same connection, which cannot read while it loads.
        while some := list(islice(remaining, _ROWS_AT_ONCE)):
            self._database.load_rows(
                connection,
                self._queries.stage_hash,
                some,
                to_line=lambda one: f"{one}\n",
                to_parameters=lambda one: {"hash": one},
            )

    def _add(self, connection: Any, shard: Shard) -> PolygonResult:
        """Add the polygons of the paths that are staged."""
        self._queries.analyse_staged(connection)
        result = self._add_layers(connection)
        self._queries.add_stations(connection, code=shard.code)
        return result

    def _add_layers(self, connection: Any) -> PolygonResult:
        if not self._queries.has_layers(connection):
            return PolygonResult()
        connection.cursor().execute(read_script("polygon_functions"))
        self._queries.find_layers(connection)
        self._queries.lock_systems(connection)
        self._queries.find_systems(connection)
        if self._queries.has_new_systems(connection) and self._queries.may_register(connection):
            self._queries.register_systems(connection)
        self._queries.add_layers(connection)
        layers, valid, unregistered = self._queries.count_layers(connection)
        return PolygonResult(layers, layers - valid, unregistered)

    def _parse_mask(self, connection: Any, wkt: str, srs: str) -> tuple[str, int]:
        srid = None
        if match := _REFERENCE_SYSTEM.fullmatch(srs):
            srid = self._queries.find_system(connection, authority=match[1], number=int(match[2]))
        if srid is None:
            raise BadParameter(
                quote_parameter("srs", srs), hint="Use the code of a reference system: EPSG:4326.", parameter="srs"
            )
        try:
            with self._database.savepoint(connection):
                mask = self._queries.parse_mask(connection, wkt=wkt, srid=srid)
        except (DatabaseFault, RefusedByDatabase) as error:
            raise _describe_mask(wkt) from error
        if mask is None:
            raise _describe_mask(wkt)
        return mask, srid

    def _list_systems(self, connection: Any, code: str) -> Iterator[int]:
        """Yield the reference systems of the polygons of a shard."""
        srid = -1
        while (following := self._queries.find_next_srid(connection, code=code, after=srid)) is not None:
            srid = following
            yield srid

    def _transform(self, connection: Any, mask: str, srid: int) -> str | None:
        """Return a mask in another reference system; None if it has no place there."""
        try:
            with self._database.savepoint(connection):
                transformed: str | None = self._queries.transform_mask(connection, mask=mask, srid=srid)
                return transformed
        except (DatabaseFault, RefusedByDatabase):
            return None

    def _compare(self, connection: Any, wkt: str, query: Any, parameters: dict[str, Any]) -> list[Any]:
        try:
            with self._database.savepoint(connection):
                return list(query(connection, **parameters))
        except (DatabaseFault, RefusedByDatabase) as error:
            raise _describe_mask(wkt) from error


def _describe_mask(wkt: str) -> BadParameter:
    return BadParameter(
        quote_parameter("wkt", wkt),
        hint="Use a geometry as well-known text, such as POLYGON((10 45, 15 45, 15 50, 10 50, 10 45)).",
        parameter="wkt",
    )
