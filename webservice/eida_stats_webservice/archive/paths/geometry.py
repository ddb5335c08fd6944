"""Geometries of queries, as well-known text, without PostGIS: points and polygons."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.web.parameters import quote_parameter

DEGREES = "EPSG:4326"
MERCATOR = "EPSG:3857"
_EARTH_METRES = 6378137.0
# The projection of a pole is infinitely far away.
_MAX_LATITUDE = 90 - 1e-9
_RING_POINTS = 4
_NUMBER = r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,2})?"
_PAIR = rf" *{_NUMBER} +{_NUMBER} *"
_RING = rf" *\({_PAIR}(?:,{_PAIR})*\) *"
_POINT_TEXT = re.compile(rf"POINT *\({_PAIR}\)", re.ASCII | re.IGNORECASE)
_POLYGON_TEXT = re.compile(rf"POLYGON *\({_RING}(?:,{_RING})*\)", re.ASCII | re.IGNORECASE)
_COORDINATES = re.compile(rf"({_NUMBER}) +({_NUMBER})", re.ASCII)

Point = tuple[float, float]
"""Longitude and latitude in degrees, or x and y in metres."""


class Box(NamedTuple):
    """The smallest box of some points."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float


class Geometry(NamedTuple):
    """A point, or a polygon with holes.

    Attributes:
        rings: one ring of one point, or the outer ring and the holes; the last point of each is the first one.
        srs: the coordinates of the points.
    """

    rings: Sequence[Sequence[Point]]
    srs: str

    def intersects(self, place: Point) -> bool:
        """Return whether a place, in degrees, is in the geometry or on its border."""
        point = PROJECTIONS[self.srs](place)
        outer, *holes = self.rings
        if len(outer) == 1:
            return point == outer[0]
        if any(_is_on_border(point, ring) for ring in self.rings):
            return True
        return _is_inside(point, outer) and not any(_is_inside(point, hole) for hole in holes)

    def get_box(self) -> Box:
        """Return the box of the geometry, in degrees."""
        return make_box(_to_degrees(point) if self.srs == MERCATOR else point for point in self.rings[0])


def parse_geometry(text: str, srs: str) -> Geometry:
    """Parse a POINT or POLYGON of well-known text.

    Raises:
        BadParameter: if it is none.
    """
    is_polygon = _POLYGON_TEXT.fullmatch(text) is not None
    if not is_polygon and _POINT_TEXT.fullmatch(text) is None:
        raise BadParameter(
            quote_parameter("wkt", text),
            hint="Use POINT (longitude latitude) or POLYGON ((longitude latitude, …)).",
            parameter="wkt",
        )
    rings = [
        [(float(x), float(y)) for x, y in _COORDINATES.findall(ring)] for ring in text.replace(")", "(").split("(")
    ]
    rings = [ring for ring in rings if ring]
    for ring in rings:
        if is_polygon and (len(ring) < _RING_POINTS or ring[0] != ring[-1]):
            raise BadParameter(
                quote_parameter("wkt", text),
                hint="Close each ring: its last point is the first one.",
                parameter="wkt",
            )
    return Geometry(rings, srs)


def make_box(points: Iterable[Point]) -> Box:
    """Return the box of some points, at least one."""
    xs, ys = zip(*points, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


def to_mercator(place: Point) -> Point:
    """Return a place in metres of EPSG:3857."""
    longitude, latitude = place
    latitude = max(-_MAX_LATITUDE, min(_MAX_LATITUDE, latitude))
    y = math.log(math.tan(math.pi / 4 + math.radians(latitude) / 2))
    return _EARTH_METRES * math.radians(longitude), _EARTH_METRES * y


def _to_degrees(point: Point) -> Point:
    x, y = point
    latitude = math.degrees(2 * math.atan(math.exp(min(y / _EARTH_METRES, 700))) - math.pi / 2)
    return math.degrees(x / _EARTH_METRES), latitude


def _keep(place: Point) -> Point:
    return place


PROJECTIONS: dict[str, Callable[[Point], Point]] = {DEGREES: _keep, MERCATOR: to_mercator}
"""Functions that project a place in degrees, by the name of their coordinates."""


def _is_on_border(point: Point, ring: Sequence[Point]) -> bool:
    x, y = point
    for (x1, y1), (x2, y2) in pairwise(ring):
        is_in_box = min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2)
        if is_in_box and (x - x1) * (y2 - y1) == (y - y1) * (x2 - x1):
            return True
    return False


def _is_inside(point: Point, ring: Sequence[Point]) -> bool:
    """Return whether a ray from the point to the right crosses the ring an odd number of times."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in pairwise(ring):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            inside = not inside
    return inside
