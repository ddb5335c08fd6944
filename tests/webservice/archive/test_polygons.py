"""Tests of polygons, with PostGIS and without."""

import datetime
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from eida_statistics.archive.lines import CrawlLine
from eida_statistics.archive.paths import hash_path
from eida_stats_webservice.app import create_app
from eida_stats_webservice.archive.merging.merge import MergeResult
from eida_stats_webservice.archive.models import PolygonResult
from eida_stats_webservice.archive.polygons import PostGISState
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import grants
from eida_stats_webservice.errors import BadParameter
from support.crawls import ROOT, describe, describe_file, make_segment, remove, write_crawl
from support.postgresql import Cluster
from support.rasters import ALBERS, describe_raster, make_layer
from support.roles import grant_service
from support.service import PREFIX
from support.stations import REGISTRY, format_channel, write_stations
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store, open_store
from support.tables import execute, select

LAYERS = [make_layer(f"HIGH:{name}") for name in ("blue", "green", "red", "nir", "swir1", "swir2")]
RASTER = f"{ROOT}/rain.nc"
UTC = datetime.UTC


@pytest.fixture(scope="module")
def postgis_template(postgresql: Cluster, template: str) -> Iterator[str]:
    """Create a database with PostGIS and a shard, which is copied for each test."""
    with closing(psycopg2.connect(postgresql.create_database("template_postgis", template))) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE EXTENSION postgis")
    with closing(open_store(postgresql.uri("template_postgis"))) as store:
        store.polygons.set_up()
        _create_shard(store)
    yield "template_postgis"
    postgresql.drop_database("template_postgis")


@pytest.fixture
def postgis_uri(postgresql: Cluster, postgis_template: str) -> Iterator[str]:
    yield postgresql.create_database("with_postgis", postgis_template)
    postgresql.drop_database("with_postgis")


@pytest.fixture
def with_postgis(postgis_uri: str) -> Iterator[Store]:
    with closing(open_store(postgis_uri)) as store:
        yield store


def _create_shard(store: Store) -> None:
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)


def _ingest(store: Store, tmp_path: Path, *lines: CrawlLine, **options: Any) -> MergeResult:
    return store.crawls.ingest("gfz", write_crawl(tmp_path / "crawl.tsv.gz", lines), **options)


def _add_stations(store: Store, tmp_path: Path, *lines: str) -> None:
    store.stations.replace("gfz", write_stations(tmp_path / "stations.txt", lines), REGISTRY)


def _intersect(store: Store, wkt: str, srs: str = "EPSG:4326") -> list[str]:
    with store.database.snapshot() as connection:
        found = store.polygons.find_intersecting(connection, "gfz", wkt, srs)
    return sorted({path_hash for path_hash, _ in found})


POINTS = "SELECT CAST(po_hash AS text), po_name, po_stamps, ST_AsText(po_polygon) FROM polygons ORDER BY 1, 2, 3"


def test_six_layers_have_one_new_reference_system(with_postgis: Store, tmp_path: Path) -> None:
    result = _ingest(with_postgis, tmp_path, describe(RASTER), describe_raster(RASTER, *LAYERS))
    assert result.polygons == PolygonResult(6, 0, 0)
    found = select(
        with_postgis,
        "SELECT CAST(po_hash AS text), po_name, po_stamps, po_min_stamp, po_max_stamp, po_pixel_x, po_pixel_y,"
        " ST_SRID(po_polygon), ST_Area(po_polygon), sh_code FROM polygons ORDER BY po_name",
    )
    september, october = (
        datetime.datetime(2016, month, day, 23, 59, 59, tzinfo=UTC) for month, day in ((9, 30), (10, 31))
    )
    assert [row[1] for row in found] == sorted(layer["namespace"] for layer in LAYERS)
    assert {row[0] for row in found} == {hash_path(RASTER)}
    # In the order of the metadata.
    assert found[0][2:] == ([october, september], september, october, 25, -25, 100000, 1e10, "gfz")
    assert {row[7] for row in found} == {100000}
    # As they are registered, with one space less.
    assert select(with_postgis, "SELECT srtext, proj4text FROM spatial_ref_sys WHERE srid = 100000") == [
        (ALBERS["proj_wkt"], ALBERS["proj4"].strip())
    ]


def test_known_reference_system_is_found(with_postgis: Store, tmp_path: Path) -> None:
    # PostGIS ends its text with a space; GDAL's may have one on any side.
    ((wkt, proj4),) = select(with_postgis, "SELECT srtext, proj4text FROM spatial_ref_sys WHERE srid = 32633")
    assert proj4.endswith(" ")
    layers = [make_layer(proj4, proj_wkt=wkt, proj4=proj4) for proj4 in (proj4, proj4.strip(), f"  {proj4}")]
    other = make_layer("other", proj4="+proj=longlat +ellps=GRS80 +no_defs")
    _ingest(with_postgis, tmp_path, describe(RASTER), describe_raster(RASTER, *layers, other, make_layer("last")))
    assert select(with_postgis, "SELECT ST_SRID(po_polygon), count(*) FROM polygons GROUP BY 1 ORDER BY 1") == [
        (32633, 3),
        (100000, 1),
        (100001, 1),
    ]


def test_invalid_layers_are_left_out(with_postgis: Store, tmp_path: Path) -> None:
    broken: list[dict[str, Any]] = [
        {"timestamps": ["yesterday"]},
        {"timestamps": ["2016-13-01T00:00:00Z"]},
        {"timestamps": ["2016-10-31T23:59:59Z", None]},
        {"timestamps": [20161031]},
        {"timestamps": "2016-10-31T23:59:59Z"},
        {"polygon": "POLYGON ((0 0,1 1))"},
        {"polygon": "POLYGON ((0 0,0 1,1 1,1 0))"},
        {"polygon": "nowhere"},
        {"geotransform": [0, "wide", 0, 0, 0, 0]},
        {"proj4": ""},
        {"proj_wkt": None},
        {"proj_wkt": "x" * 3000},
    ]
    layers = [make_layer(str(members), **members) for members in broken]
    result = _ingest(with_postgis, tmp_path, describe(RASTER), describe_raster(RASTER, "text", *layers, LAYERS[0]))
    assert result.polygons == PolygonResult(14, 13, 0)
    assert select(with_postgis, "SELECT po_name FROM polygons") == [("HIGH:blue",)]


def test_layer_may_lack_times_and_polygon(with_postgis: Store, tmp_path: Path) -> None:
    layer = make_layer("bare", timestamps=None, polygon=None, geotransform=None)
    other = describe_raster(f"{ROOT}/other.nc")._replace(json=b'{"geo_metadata": 5}')
    result = _ingest(with_postgis, tmp_path, describe(RASTER), describe_raster(RASTER, layer), other)
    assert result.polygons == PolygonResult(1, 0, 0)
    assert select(with_postgis, "SELECT po_stamps, po_min_stamp, po_pixel_x, po_polygon FROM polygons") == [
        ([], None, None, None)
    ]


def test_stations_are_points_by_epoch(with_postgis: Store, tmp_path: Path) -> None:
    moved = [
        format_channel("GE.APE..BHZ", 37, 25, "2010-01-01", "2015-01-01"),
        format_channel("GE.APE..BHZ", 38, 26, "2015-01-01"),
        format_channel("Z3.APE..BHZ", 1, 2, "2015-01-01"),
    ]
    _add_stations(with_postgis, tmp_path, *moved)
    one, two, three = (f"{ROOT}/{number}" for number in (1, 2, 3))
    first = make_segment("GE.APE..BHZ", "2012-01-01", "2012-01-02")
    second = make_segment("GE.APE..BHZ", "2012-01-03", "2012-01-04")
    # This segment has more of the later epoch.
    third = make_segment("GE.APE..BHZ", "2014-12-31T23:00", "2015-01-01T02:00")
    unknown = make_segment("GE.NONE..BHZ", "2012-01-01", "2012-01-02")
    temporary = make_segment("Z32015.APE..BHZ", "2016-01-01", "2016-01-02")
    _ingest(
        with_postgis,
        tmp_path,
        *describe_file(one, first, second, unknown),
        *describe_file(two, third),
        *describe_file(three, temporary),
    )
    assert select(with_postgis, POINTS) == sorted(
        [
            (hash_path(one), "BHZ", [first.start, first.end, second.start, second.end], "POINT(25 37)"),
            (hash_path(two), "BHZ", [third.start, third.end], "POINT(26 38)"),
            (hash_path(three), "BHZ", [temporary.start, temporary.end], "POINT(2 1)"),
        ]
    )
    assert {srid for (srid,) in select(with_postgis, "SELECT ST_SRID(po_polygon) FROM polygons")} == {4326}
    # Other stations change the points without a crawl.
    _add_stations(with_postgis, tmp_path, format_channel("GE.NONE..BHZ", 5, 6))
    assert select(with_postgis, POINTS) == [(hash_path(one), "BHZ", [unknown.start, unknown.end], "POINT(6 5)")]


def test_polygons_follow_changed_crawls(with_postgis: Store, tmp_path: Path) -> None:
    _add_stations(with_postgis, tmp_path, format_channel("GE.APE..BHZ", 37, 25))
    segment = make_segment("GE.APE..BHZ", "2012-01-01", "2012-01-02")
    others = [describe(f"{ROOT}/{number}") for number in range(9)]
    _ingest(
        with_postgis,
        tmp_path,
        *others,
        *describe_file(f"{ROOT}/a", segment),
        *describe_file(f"{ROOT}/b", segment),
        describe(RASTER),
        describe_raster(RASTER, *LAYERS),
    )
    before = select(with_postgis, "SELECT ctid, CAST(po_hash AS text) FROM gfz.polygons")
    assert len(before) == 8
    _ingest(
        with_postgis,
        tmp_path,
        *others,
        *describe_file(f"{ROOT}/a", segment),
        describe(RASTER),
        describe_raster(RASTER, LAYERS[2]),
        may_shrink=True,
    )
    after = select(with_postgis, "SELECT ctid, CAST(po_hash AS text) FROM gfz.polygons")
    assert sorted(path for _, path in after) == sorted([hash_path(f"{ROOT}/a"), hash_path(RASTER)])
    # The row of an unchanged file is not written again.
    assert [row for row in after if row[1] == hash_path(f"{ROOT}/a")] == [
        row for row in before if row[1] == hash_path(f"{ROOT}/a")
    ]


@pytest.fixture
def filled(with_postgis: Store, tmp_path: Path) -> Store:
    """Return a store with two stations, and a raster around 15.6° E, 47.2° N."""
    _add_stations(
        with_postgis,
        tmp_path,
        format_channel("GE.APE..BHZ", 37, 25),
        format_channel("GE.APE..HHZ", 37, 25),
        format_channel("GE.ALP..BHZ", 47.2, 15.6),
    )
    lines = [
        *describe_file(f"{ROOT}/bhz", make_segment("GE.APE..BHZ", "2012-01-01", "2012-01-02")),
        *describe_file(f"{ROOT}/hhz", make_segment("GE.APE..HHZ", "2013-01-01", "2013-01-02")),
        *describe_file(f"{ROOT}/alp", make_segment("GE.ALP..BHZ", "2012-01-01", "2012-01-02")),
        describe(RASTER),
        describe_raster(RASTER, *LAYERS),
    ]
    _ingest(with_postgis, tmp_path, *lines)
    return with_postgis


def _hash(*names: str) -> list[str]:
    return sorted(hash_path(f"{ROOT}/{name}") for name in names)


def test_any_geometry_is_compared(filled: Store) -> None:
    for wkt, expected in [
        ("POLYGON((24 36, 26 36, 26 38, 24 38, 24 36))", ["bhz", "hhz"]),
        ("POLYGON((15 47, 16 47, 16 48, 15 48, 15 47))", ["alp", "rain.nc"]),
        ("POINT(15.9 47.3)", ["rain.nc"]),
        ("POINT(25 37)", ["bhz", "hhz"]),
        ("LINESTRING(15.6 46, 15.6 48)", ["alp", "rain.nc"]),
        ("MULTIPOINT((25 37), (15.9 47.3))", ["bhz", "hhz", "rain.nc"]),
        ("GEOMETRYCOLLECTION(POINT(25 37), LINESTRING(0 0, 1 1))", ["bhz", "hhz"]),
        ("CURVEPOLYGON(CIRCULARSTRING(24 37, 25 38, 26 37, 25 36, 24 37))", ["bhz", "hhz"]),
        ("POLYGON EMPTY", []),
        # A hole, and a polygon that has no place in the reference system of the raster.
        ("POLYGON((0 0, 50 0, 50 50, 0 50, 0 0), (24 36, 26 36, 26 38, 24 38, 24 36))", ["alp", "rain.nc"]),
        ("POLYGON((-180 -90, 180 -90, 180 90, -180 90, -180 -90))", ["bhz", "hhz", "alp", "rain.nc"]),
    ]:
        assert _intersect(filled, wkt) == _hash(*expected), wkt
    mercator = "POLYGON((2700000 4300000, 2900000 4300000, 2900000 4500000, 2700000 4500000, 2700000 4300000))"
    assert _intersect(filled, mercator, "epsg:3857") == _hash("bhz", "hhz")


def test_names_are_of_the_shard(filled: Store) -> None:
    with filled.database.snapshot() as connection:
        found = filled.polygons.find_intersecting(connection, "gfz", "POINT(25 37)", "EPSG:4326")
        assert found == {(hash_path(f"{ROOT}/bhz"), "BHZ"), (hash_path(f"{ROOT}/hhz"), "HHZ")}
        assert filled.polygons.find_intersecting(connection, "other", "POINT(25 37)", "EPSG:4326") == set()
        stations = filled.polygons.find_stations(connection, "gfz", "LINESTRING(15 40, 25 37, 26 38)", "EPSG:4326")
        assert stations == {(25, 37)}
        world = "POLYGON((-1e30 -1e30, 1e30 -1e30, 1e30 1e30, -1e30 1e30, -1e30 -1e30))"
        assert filled.polygons.find_stations(connection, "gfz", world, "EPSG:32633") == set()


def test_paths_are_found_by_any_geometry(filled: Store, postgis_uri: str) -> None:
    execute(filled, "UPDATE shards SET open_paths = true")
    client = create_app(Config(grant_service(postgis_uri))).test_client()

    def ask(**parameters: str) -> Any:
        query = {"intersects": "", "wkt": "POINT(15.9 47.3)", **parameters}
        return client.get(f"{PREFIX}/archive{ROOT}", query_string=query).get_json()

    line = "LINESTRING(15.6 46, 15.6 48)"
    assert [found["file_path"] for found in ask(wkt=line)["mseed"]] == [f"{ROOT}/alp"]
    assert ask()["mseed"] == []
    layers = ask(metadata="gdal")["gdal"]
    assert [layer["namespace"] for layer in layers] == [
        *("HIGH_blue", "HIGH_green", "HIGH_red", "HIGH_nir", "HIGH_swir1", "HIGH_swir2")
    ]
    assert len(ask(metadata="gdal", namespace="HIGH_red", time="2016-10-31T23:59:59Z")["gdal"]) == 1
    assert ask(metadata="gdal", time="2016-10-31T23:59:58Z")["gdal"] == []
    assert ask(metadata="gdal", wkt="POINT(0 0)")["gdal"] == []
    utm = "POLYGON((540000 5220000, 560000 5220000, 560000 5240000, 540000 5240000, 540000 5220000))"
    assert len(ask(metadata="gdal", wkt=utm, srs="EPSG:32633")["gdal"]) == 6
    assert [found["namespace"] for found in ask(wkt=utm, srs="EPSG:32633")["mseed"]] == ["BHZ"]
    for wrong in ({"wkt": "LINE(0 0)"}, {"srs": "EPSG:1"}, {"wkt": "LINE(0 0)", "metadata": "gdal"}):
        assert ask(**wrong)["status"] == 400


def test_bad_geometry_is_named(filled: Store) -> None:
    with filled.database.snapshot() as connection:
        for wkt, srs, parameter in [
            ("POLYGON((0 0, 1 1))", "EPSG:4326", "wkt"),
            ("", "EPSG:4326", "wkt"),
            ("x'); DROP TABLE shards; --", "EPSG:4326", "wkt"),
            ("POLYHEDRALSURFACE(((0 0 0, 0 0 1, 0 1 1, 0 1 0, 0 0 0)))", "EPSG:4326", "wkt"),
            ("POINT(0 0)", "EPSG:999999999", "srs"),
            ("POINT(0 0)", "E%:4326", "srs"),
            ("POINT(0 0)", "4326", "srs"),
        ]:
            with pytest.raises(BadParameter) as caught:
                filled.polygons.find_intersecting(connection, "gfz", wkt, srs)
            assert caught.value.parameter == parameter
        # The transaction goes on.
        assert filled.polygons.is_used(connection)


def test_indexes_find_polygons(filled: Store) -> None:
    with filled.database.transaction(write=True) as connection:
        cursor = connection.cursor()
        cursor.execute("SET LOCAL enable_seqscan = off")
        for srid in (4326, 100000):
            cursor.execute(
                "EXPLAIN SELECT po_hash FROM polygons WHERE sh_code = 'gfz' AND ST_SRID(po_polygon) = %s"
                " AND ST_Intersects(po_polygon, ST_SetSRID(ST_MakeEnvelope(0, 0, 1, 1), %s))",
                (srid, srid),
            )
            assert f"poi_polygon_{srid}" in "\n".join(line for (line,) in cursor)
        cursor.execute(
            "EXPLAIN SELECT min(ST_SRID(po_polygon)) FROM polygons"
            " WHERE sh_code = 'gfz' AND ST_SRID(po_polygon) > 5"
        )
        assert "using poi_srid" in "\n".join(line for (line,) in cursor)


def test_any_way_leads_to_the_same_polygons(filled: Store, tmp_path: Path) -> None:
    path, moved = f"{ROOT}/new/bhz", format_channel("GE.APE..BHZ", 38, 26, "2012-06-01")
    later = make_segment("GE.APE..BHZ", "2012-07-01", "2012-07-02")
    _ingest(filled, tmp_path, *describe_file(path, later), is_partial=True)
    _add_stations(filled, tmp_path, format_channel("GE.APE..BHZ", 37, 25, end="2012-06-01"), moved)
    _ingest(filled, tmp_path, describe_raster(RASTER, *LAYERS[:3]), remove(f"{ROOT}/hhz"), is_partial=True)
    _ingest(filled, tmp_path, describe_raster(f"{ROOT}/alp", LAYERS[0]), is_partial=True)
    other = make_segment("GE.ALP..BHZ", "2012-01-01", "2013-01-01")
    _ingest(filled, tmp_path, *describe_file(path, later, other), is_partial=True)
    found = select(filled, POINTS)
    assert found
    filled.polygons.recompute("gfz")
    assert select(filled, POINTS) == found


def test_rebuild_computes_polygons(filled: Store, tmp_path: Path) -> None:
    before = select(filled, POINTS)
    lines = [
        *describe_file(f"{ROOT}/bhz", make_segment("GE.APE..BHZ", "2012-01-01", "2012-01-02")),
        describe(RASTER),
        describe_raster(RASTER, *LAYERS, make_layer("broken", timestamps=["now"])),
    ]
    *_, last = filled.shard_rebuild.rebuild("gfz", [write_crawl(tmp_path / "crawl.tsv.gz", lines)])
    assert last.polygons == PolygonResult(7, 1, 0)
    after = select(filled, POINTS)
    assert len(after) == 7
    assert [row for row in before if row in after] == after
    assert _intersect(filled, "POINT(25 37)") == _hash("bhz")
    with filled.database.transaction() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'gfz' AND tablename = 'polygons'")
        found = {name for (name,) in cursor}
    seed = {"poi_hash", "poi_name", "poi_polygon_100000", "poi_polygon_100001", "poi_stamp", "poi_stamps"}
    assert found == seed | {"poi_polygon_4326", "poi_srid"}


@ON_POSTGRESQL
def test_extension_that_is_added_later_is_used(store: Store, tmp_path: Path) -> None:
    _create_shard(store)
    assert store.polygons.set_up() == PostGISState(None, [], PolygonResult())
    lines = (describe(RASTER), describe_raster(RASTER, *LAYERS, make_layer("broken", timestamps=["now"])))
    assert _ingest(store, tmp_path, *lines).polygons == PolygonResult()
    with store.database.transaction() as connection:
        assert not store.polygons.is_used(connection)
    execute(store, "CREATE EXTENSION postgis")
    # Nothing changes before the next migration.
    store.shards.create("select", "/select", "GFZ", open_paths=False)
    state = store.polygons.set_up()
    assert state.extension is not None
    assert (state.created, state.result) == (["gfz", "select"], PolygonResult(7, 1, 0))
    assert select(store, "SELECT count(*) FROM polygons") == [(6,)]
    assert store.polygons.set_up().created == []
    store.shards.create("new", "/new", "GFZ", open_paths=False)
    assert select(store, "SELECT count(*) FROM new.polygons") == [(0,)]
    # Without it again: PostgreSQL drops the view and the column.
    execute(store, "DROP EXTENSION postgis CASCADE")
    _ingest(store, tmp_path, describe(RASTER), describe_raster(RASTER, LAYERS[0]))
    store.shards.create("last", "/last", "GFZ", open_paths=False)
    execute(store, "CREATE EXTENSION postgis")
    _ingest(store, tmp_path, describe(RASTER), describe_raster(RASTER, *LAYERS[:2]))
    assert store.polygons.set_up().created == ["gfz", "last", "new", "select"]
    assert select(store, "SELECT count(*) FROM polygons") == [(2,)]
    store.shards.remove("gfz")
    assert select(store, "SELECT count(*) FROM polygons") == [(0,)]


def test_schema_outside_the_search_path_is_named(with_postgis: Store) -> None:
    execute(
        with_postgis,
        "DROP EXTENSION postgis CASCADE",
        "CREATE SCHEMA hidden",
        "CREATE EXTENSION postgis SCHEMA hidden",
    )
    extension = with_postgis.polygons.set_up().extension
    assert extension is not None
    assert (extension.schema, extension.is_visible) == ("hidden", False)


def test_owner_may_lack_the_right_to_register(with_postgis: Store, postgis_uri: str, tmp_path: Path) -> None:
    execute(
        with_postgis,
        "CREATE ROLE poor LOGIN",
        "GRANT USAGE, CREATE ON SCHEMA public, gfz TO poor",
        "GRANT ALL ON ALL TABLES IN SCHEMA public, gfz TO poor",
        "REVOKE INSERT ON spatial_ref_sys FROM poor",
    )
    try:
        uri = postgis_uri.replace("postgres@", "poor@")
        with closing(open_store(uri)) as store:
            result = _ingest(store, tmp_path, describe(RASTER), describe_raster(RASTER, *LAYERS))
            assert result.polygons == PolygonResult(6, 0, 6)
            assert select(store, "SELECT count(*) FROM polygons") == [(0,)]
            execute(with_postgis, "GRANT INSERT ON spatial_ref_sys TO poor")
            assert store.polygons.recompute("gfz") == PolygonResult(6, 0, 0)
            assert select(store, "SELECT count(*) FROM polygons") == [(6,)]
    finally:
        execute(with_postgis, "DROP OWNED BY poor", "DROP ROLE poor")


def test_service_may_read_polygons(filled: Store, postgis_uri: str) -> None:
    uri = grant_service(postgis_uri)
    with closing(open_store(uri)) as store:
        assert _intersect(store, "POINT(25 37)") == _hash("bhz", "hhz")
        with pytest.raises(Exception, match="permission denied"):
            select(store, "SELECT count(*) FROM gfz.polygons")


@ON_ONE_STORE
def test_sqlite_has_no_polygons(store: Store, tmp_path: Path) -> None:
    _create_shard(store)
    assert store.polygons.set_up() == PostGISState(None, [], PolygonResult())
    lines = (describe(RASTER), describe_raster(RASTER, *LAYERS))
    assert _ingest(store, tmp_path, *lines).polygons == PolygonResult()
    _add_stations(store, tmp_path, format_channel("GE.APE..BHZ", 37, 25))
    with store.database.transaction() as connection:
        assert not store.polygons.is_used(connection)


def test_grants_fit_the_database() -> None:
    assert "polygons" not in grants.read_grants()
