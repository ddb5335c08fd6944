"""Tests of the parameters of the lookup of paths, and of geometries."""

import datetime
from urllib.parse import parse_qsl

import pytest

from eida_stats_webservice.archive.paths.geometry import DEGREES, MERCATOR, parse_geometry, to_mercator
from eida_stats_webservice.archive.paths.parameters import PathQuery, parse_path_query
from eida_stats_webservice.errors import BadParameter

PLACE = (25.5, 37.5)


def parse(query: str) -> PathQuery:
    return parse_path_query(parse_qsl(query, keep_blank_values=True))


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("", "?list_root_gpath"),
        ("put_ows_cache", "there is no operation"),
        ("timestamps&extents", "one operation"),
        ("timestamps&timestamps", "one operation"),
        ("timestamps=1", "no"),
        ("list_sub_gpath&time=2026-01-01", "no such parameter"),
        ("timestamps&wkt=POINT (1 1)", "wkt"),
        ("timestamps&time=yesterday", "time=yesterday"),
        ("timestamps&time=2026-W01", "time="),
        ("timestamps&time=2026-02-30", "time="),
        ("timestamps&time=2026-01-02&until=2026-01-01", "before"),
        ("intersects&srs=EPSG:1", "EPSG:4326"),
        ("intersects&wkt=LINESTRING (0 0, 1 1)", "POLYGON"),
        ("intersects&wkt=POLYGON ((0 0, 1 0, 1 1))", "ring"),
        ("intersects&wkt=POLYGON ((0 0, 1 0, 1 1, 2 2))", "ring"),
        ("intersects&wkt=POINT (NaN 1)", "POINT"),
        ("intersects&limit=-1", "limit"),
        ("intersects&metadata=pdal", "mseed"),
        ("intersects&namespace=B[HZ]", "namespace"),
        ("timestamps&token=x", "token"),
    ],
)
def test_bad_parameter_is_named(query: str, word: str) -> None:
    with pytest.raises(BadParameter) as caught:
        parse(query)
    assert word in str(caught.value)


def test_empty_values_are_not_given() -> None:
    assert parse("intersects&time=&until=&srs=&wkt=&namespace=&limit=&metadata=") == parse("intersects")
    assert parse("intersects&limit=0").limit is None


def test_range_is_a_second_longer() -> None:
    query = parse("intersects&time=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z")
    assert [f"{moment:%dT%H:%M:%S}" for moment in query.overlapped] == ["31T23:59:59", "02T00:00:01"]
    earliest, latest = parse("intersects&time=0001-01-01&until=9999-12-31T23:59:59.999999Z").overlapped
    assert (earliest.year, latest.year) == (1, 9999)
    assert (
        parse("intersects&time=2026-01-01").overlapped == (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),) * 2
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("POINT (25.5 37.5)", True),
        ("point(2.55e1 +37.50)", True),
        ("POINT (25.5 37.6)", False),
        ("POLYGON ((25 37, 26 37, 26 38, 25 38, 25 37))", True),
        ("POLYGON((25 37,26 37,26 38,25 38,25 37))", True),
        # On a corner, and on a border.
        ("POLYGON ((25.5 37.5, 26 37, 26 38, 25.5 37.5))", True),
        ("POLYGON ((25 37, 26 38, 25 38, 25 37))", True),
        ("POLYGON ((26 37, 27 37, 27 38, 26 37))", False),
        # The ray from the place goes through a corner.
        ("POLYGON ((25 37, 26 37.5, 25 38, 25 37))", True),
        ("POLYGON ((26 37, 27 37.5, 26 38, 26 37))", False),
        # In a hole, and on its border.
        ("POLYGON ((20 30, 30 30, 30 40, 20 40, 20 30), (25 37, 26 37, 26 38, 25 38, 25 37))", False),
        ("POLYGON ((20 30, 30 30, 30 40, 20 40, 20 30), (25.5 37, 26 37, 26 38, 25.5 38, 25.5 37))", True),
    ],
)
def test_place_is_in_the_geometry_or_not(text: str, expected: bool) -> None:
    geometry = parse_geometry(text, DEGREES)
    assert geometry.intersects(PLACE) is expected
    west, south, east, north = geometry.get_box()
    assert not expected or (west <= PLACE[0] <= east and south <= PLACE[1] <= north)


def test_box_of_metres_is_in_degrees() -> None:
    x, y = to_mercator(PLACE)
    ring = ", ".join(f"{x + dx} {y + dy}" for dx, dy in ((-9, -9), (9, -9), (9, 9), (-9, 9), (-9, -9)))
    geometry = parse_geometry(f"POLYGON (({ring}))", MERCATOR)
    assert geometry.intersects(PLACE)
    assert not geometry.intersects((25.5, 37.6))
    assert geometry.get_box() == pytest.approx((25.5, 37.5, 25.5, 37.5), abs=1e-3)
    assert to_mercator((0, 90))[1] > 1e8
