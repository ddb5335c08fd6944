"""Tests of the lookup of paths."""

import itertools
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.archive.paths.parameters import parse_path_query
from eida_stats_webservice.archive.paths.repository import PathRepository
from eida_stats_webservice.config import Config
from support.catalogue import Piece, add_epoch, fill_shard
from support.node_client import make_node
from support.service import PREFIX
from support.stores import ON_POSTGRESQL, Store

ROOT = "/GFZ/archive"
DAY = f"{ROOT}/2026/GE/EIL/BHZ.D/GE.EIL..BHZ.D.2026.001"
OTHER = f"{ROOT}/2026/GE/EIL/BHN.D/GE.EIL..BHN.D.2026.001"
LATER = f"{ROOT}/2026/GE/APE/BHZ.D/GE.APE..BHZ.D.2026.002"
NEAR = f"{ROOT}/2026/GE2/X"
LAYERS = f"{ROOT}/maps/map.nc"
FILES = {
    DAY: [
        Piece("GE.EIL..BHZ", "2026-01-01T00:00:00", "2026-01-01T11:59:59.9994"),
        Piece("GE.EIL..BHZ", "2026-01-01T13:00:00", "2026-01-01T23:59:59"),
    ],
    OTHER: [Piece("GE.EIL..BHN", "2026-01-01T00:00:00", "2026-01-01T23:59:59", "M", 20.0)],
    LATER: [Piece("GE.APE..BHZ", "2026-01-02T00:00:00", "2026-01-02T23:59:59")],
    NEAR: [Piece("GE.NEAR..HHZ", "2030-01-01T00:00:00", "2030-01-02T00:00:00")],
}
GDAL = {
    LAYERS: {
        "filename": "/data/map.nc",
        "geo_metadata": [
            {
                "ds_name": "a",
                "namespace": "fc (4)",
                "timestamps": ["2016-01-01T00:00:00Z", "2016-02-01T00:00:00Z"],
                "polygon": "POLYGON ((0 0,1 0,1 1,0 0))",
                "proj_wkt": "WGS84",
                "geotransform": [0, 1, 0, 0, 0, 1],
            },
            {"ds_name": "b", "namespace": "broken", "timestamps": ["no time"]},
            {"ds_name": "c", "namespace": "ndvi", "timestamps": ["2016-03-01"]},
        ],
    }
}


class Node:
    """A client of the lookup with or without a token."""

    def __init__(self, client: FlaskClient, token: str | None) -> None:
        self._client = client
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def get(self, path: str, query: str) -> Any:
        answer = self._client.get(f"{PREFIX}/archive{path}?{query}", headers=self._headers)
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def find_fault(self, path: str, query: str = "list_sub_gpath") -> tuple[int, str, str]:
        answer = self._client.get(f"{PREFIX}/archive{path}?{query}", headers=self._headers)
        assert "no-store" in answer.headers.get("Cache-Control", ""), answer.status_code
        problem = answer.get_json()
        return answer.status_code, problem["type"].rpartition(":")[2], problem.get("detail", "")


@pytest.fixture
def client(service_uri: str) -> FlaskClient:
    return create_app(Config(service_uri, max_failures_per_minute=0)).test_client()


@pytest.fixture
def node(store: Store, client: FlaskClient) -> Node:
    _, token = make_node(store, "GFZ")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    fill_shard(store, "gfz", FILES, GDAL)
    add_epoch(store, "gfz", "GE.EIL..BHZ", (34.95, 29.67), "2000-01-01", "2026-01-01T12:30:00")
    add_epoch(store, "gfz", "GE.EIL..BHZ", (35.0, 30.0), "2026-01-01T12:30:00")
    add_epoch(store, "gfz", "GE.APE..BHZ", (25.53, 37.07), "2000-01-01")
    return Node(client, token)


def list_files(answer: dict[str, Any]) -> list[str]:
    return [path for path, _ in itertools.groupby(one["file_path"] for one in answer["mseed"])]


def test_directories_are_listed_level_by_level(node: Node) -> None:
    assert node.get("", "list_root_gpath") == {"sub_paths": [ROOT]}
    assert node.get("/", "list_root_gpath") == {"sub_paths": [ROOT]}
    assert node.get(f"{ROOT}/2026/", "list_sub_gpath") == {
        "sub_paths": ["/GE", "/GE2"],
        "has_namespaces": False,
        "gpath_root": ROOT,
    }
    assert node.get(f"{ROOT}/2026/GE/EIL/BHZ.D", "list_sub_gpath") == {
        "sub_paths": [],
        "has_namespaces": True,
        "gpath_root": ROOT,
    }
    assert node.get(f"{ROOT}/maps", "list_sub_gpath")["has_namespaces"]
    assert node.get(f"{ROOT}/nothing", "list_sub_gpath")["sub_paths"] == []


def test_stamps_are_starts_and_ends(node: Node) -> None:
    found = node.get(f"{ROOT}/2026", "timestamps")
    assert found["timestamps"] == [
        *("2026-01-01T00:00:00.000Z", "2026-01-01T11:59:59.999Z", "2026-01-01T13:00:00.000Z"),
        *("2026-01-01T23:59:59.000Z", "2026-01-02T00:00:00.000Z", "2026-01-02T23:59:59.000Z"),
    ]
    # The client has these already.
    again = node.get(f"{ROOT}/2026", f"timestamps&token={found['token']}")
    assert again == {"timestamps": [], "token": found["token"]}
    assert node.get(f"{ROOT}/2026", "timestamps&until=2031-01-01")["timestamps"][-1] == "2030-01-02T00:00:00.000Z"
    some = node.get(f"{ROOT}/2026/GE", "timestamps&time=2026-01-01T12:00:00Z&until=2026-01-02&namespace=HH?,BH*")
    assert len(some["timestamps"]) == 3
    assert some["token"] != found["token"]
    assert node.get(f"{ROOT}/2026", "timestamps&namespace=LHZ&time=&until=")["timestamps"] == []


def test_token_changes_with_the_shard(node: Node, store: Store) -> None:
    before = node.get(ROOT, "timestamps")["token"]
    with store.database.transaction(write=True) as connection:
        store.shards.bump(connection, "gfz")
    assert node.get(ROOT, f"timestamps&token={before}")["timestamps"] != []


def test_extents_are_a_box_and_a_period(node: Node) -> None:
    assert node.get(f"{ROOT}/2026/GE", "extents&srs=EPSG:4326") == {
        "xmin": 25.53,
        "ymin": 29.67,
        "xmax": 35.0,
        "ymax": 37.07,
        "min_stamp": "2026-01-01T00:00:00.000Z",
        "max_stamp": "2026-01-02T23:59:59.000Z",
        "variables": ["BHN", "BHZ"],
    }
    metres = node.get(f"{ROOT}/2026/GE", "extents&namespace=BHZ")
    assert metres["xmin"] == pytest.approx(25.53 * 111319.49079327358)
    assert metres["ymax"] == pytest.approx(4_448_553, rel=1e-3)
    nothing = node.get(f"{ROOT}/nothing", "extents")
    assert (nothing["xmin"], nothing["min_stamp"], nothing["variables"]) == (None, None, [])


def test_segments_are_found_by_time(node: Node) -> None:
    found = node.get(f"{ROOT}/2026/GE/EIL/BHZ.D", "intersects&metadata=mseed")
    assert [one["timestamps"] for one in found["mseed"]] == [
        ["2026-01-01T00:00:00.000Z", "2026-01-01T11:59:59.999Z"],
        ["2026-01-01T13:00:00.000Z", "2026-01-01T23:59:59.000Z"],
    ]
    assert found["mseed"][0] == {
        "file_path": DAY,
        "namespace": "BHZ",
        "network": "GE",
        "station": "EIL",
        "location": "",
        "channel": "BHZ",
        "quality": "D",
        "rate": 1.0,
        "bytes": 512,
        "srs": "EPSG:4326",
        "polygon": "POINT (34.95 29.67)",
        "timestamps": ["2026-01-01T00:00:00.000Z", "2026-01-01T11:59:59.999Z"],
    }

    def find(query: str) -> list[str]:
        return list_files(node.get(f"{ROOT}/2026", f"intersects&{query}"))

    assert find("time=2026-01-01T12:30:00") == [OTHER]
    assert find("time=2026-01-01T12:30:00&until=2026-01-01T12:59:58") == [OTHER]
    assert find("time=2026-01-01T12:30:00&until=2026-01-01T12:59:59") == [OTHER, DAY]
    assert find("until=2026-01-01T12:00:00&namespace=BHZ") == [DAY]
    assert find("limit=2") == [LATER, OTHER]
    assert len(find("limit=0")) == 4
    assert find("namespace=LHZ") == []


def test_any_name_can_be_looked_up(node: Node, store: Store) -> None:
    names = ["a\nb", "a\tb", "a\\b", '"', "café", "\\xe9", "a%b", "a b", "crawl", "_x"]
    pieces = [Piece("GE.EIL..BHZ", "2026-01-01T00:00:00", "2026-01-02T00:00:00")]
    store.shards.create("odd", "/odd/names", "GFZ", open_paths=False)
    fill_shard(store, "odd", {f"/odd/names/{name}": pieces for name in names})
    for name in names:
        path = f"/odd/names/{name}"
        assert list_files(node.get(quote(path), "intersects")) == [path]
    assert node.find_fault("/gfz/crawl")[0] == 405
    assert node.find_fault("/gfz/crawl/")[:2] == (403, "forbidden-path")


def test_path_of_a_file_is_that_file(node: Node) -> None:
    assert list_files(node.get(DAY, "intersects")) == [DAY]
    assert list_files(node.get(f"{ROOT}/2026/GE/EIL/BHZ", "intersects")) == []


def test_stations_are_found_by_place(node: Node) -> None:
    for geometry, expected in (
        ("POINT (25.53 37.07)", [LATER]),
        ("POINT (34.95 29.67)", [DAY]),
        ("POLYGON ((25 37, 26 37, 25 38, 25 37))", [LATER]),
        ("POLYGON ((20 20, 40 20, 40 40, 20 40, 20 20))", [LATER, DAY]),
        ("POLYGON ((20 20, 40 20, 40 40, 20 40, 20 20), (25 37, 26 37, 26 38, 25 38, 25 37))", [DAY]),
        ("POLYGON ((0 0, 1 0, 1 1, 0 0))", []),
    ):
        assert list_files(node.get(f"{ROOT}/2026", f"intersects&wkt={geometry}")) == expected, geometry


def test_moved_station_is_found_in_its_epoch(node: Node) -> None:
    found = node.get(f"{ROOT}/2026", "intersects&wkt=POINT (35 30)")
    assert [one["timestamps"][0] for one in found["mseed"]] == ["2026-01-01T13:00:00.000Z"]


def test_geometry_can_be_in_metres(node: Node) -> None:
    square = "POLYGON ((2800000 4400000, 2900000 4400000, 2900000 4500000, 2800000 4500000, 2800000 4400000))"
    assert list_files(node.get(ROOT, f"intersects&srs=EPSG:3857&wkt={square}")) == [LATER]


def test_layers_of_gdal_are_described(node: Node) -> None:
    found = node.get(ROOT, "intersects&metadata=gdal")["gdal"]
    assert [(one["ds_name"], one["namespace"]) for one in found] == [("a", "fc__4_"), ("c", "ndvi")]
    assert (found[0]["file_path"], found[0]["geo_transform"]) == ("/data/map.nc", [0, 1, 0, 0, 0, 1])
    assert (found[0]["srs"], found[0]["polygon"][:7], found[1]["polygon"]) == ("WGS84", "POLYGON", None)
    query = "intersects&metadata=gdal&namespace=ndvi"
    assert node.get(ROOT, f"{query}&time=2016-02-01")["gdal"] == []
    assert len(node.get(ROOT, f"{query}&time=2016-03-01T00:00:00.000Z")["gdal"]) == 1
    assert len(node.get(ROOT, f"{query}&time=2015-03-01&until=2016-03-01&limit=1")["gdal"]) == 1
    assert node.find_fault(ROOT, "intersects&metadata=gdal&wkt=POINT (1 1)")[:2] == (501, "postgis-missing")


def test_layers_count_where_no_segment_is(node: Node) -> None:
    assert node.get(f"{ROOT}/maps", "timestamps")["timestamps"] == [
        *("2016-01-01T00:00:00.000Z", "2016-02-01T00:00:00.000Z", "2016-03-01T00:00:00.000Z"),
    ]
    assert node.get(f"{ROOT}/maps", "timestamps&metadata=mseed")["timestamps"] == []
    extents = node.get(ROOT, "extents&metadata=gdal")
    assert extents["variables"] == ["fc__4_", "ndvi"]
    assert (extents["min_stamp"], extents["xmin"]) == ("2016-01-01T00:00:00.000Z", None)


def test_closed_paths_are_forbidden_to_others(node: Node, client: FlaskClient, store: Store) -> None:
    assert node
    _, other = make_node(store, "ODC")
    store.shards.create("odc", "/ODC", "ODC", open_paths=False)
    answers = [
        Node(client, token).find_fault(path, query)
        for token in (None, other)
        for path in (ROOT, DAY, f"{ROOT}/nothing", f"{ROOT}X", "/GFZ", "/nothing", f"{ROOT}/../x", "/%00")
        for query in ("list_sub_gpath", "timestamps", "extents", "intersects")
    ]
    assert {answer[:2] for answer in answers} == {(403, "forbidden-path")}
    assert len(set(answers)) == 1
    assert Node(client, other).get("", "list_root_gpath") == {"sub_paths": ["/ODC"]}
    assert Node(client, None).get("", "list_root_gpath") == {"sub_paths": []}
    assert Node(client, "x" * 20).find_fault(ROOT)[:2] == (403, "refused-token")


def test_open_paths_are_visible_to_all(client: FlaskClient, store: Store) -> None:
    make_node(store, "GFZ")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=True)
    fill_shard(store, "gfz", FILES)
    assert Node(client, None).get("", "list_root_gpath") == {"sub_paths": [ROOT]}
    assert list_files(Node(client, None).get(ROOT, "intersects&time=2026-01-02T12:00:00")) == [LATER]
    assert Node(client, None).find_fault("/GFZ/archive2")[:2] == (403, "forbidden-path")


def test_bad_parameter_is_named(node: Node) -> None:
    assert node.find_fault(ROOT, "timestamps&time=yesterday")[:2] == (400, "bad-parameter")


@ON_POSTGRESQL
def test_paths_below_are_found_by_index(node: Node, store: Store) -> None:
    assert node
    with store.database.transaction(write=True) as connection, store.shards.storage.enter(connection, "gfz"):
        connection.cursor().execute(
            """
            INSERT INTO paths (pa_hash, pa_type, pa_path, pa_parents)
            SELECT md5(path)::uuid, 'file', path, ARRAY[md5(station)::uuid, md5('x')::uuid]
            FROM generate_series(1, 10000) AS number, LATERAL (SELECT '/s' || number / 10 AS station) AS one,
                LATERAL (SELECT station || '/' || number AS path) AS two;
            INSERT INTO spans SELECT pa_hash, 'GE', 'X', '', 'BHZ', 'D', 1, now(), now(), 1 FROM paths;
            SELECT gin_clean_pending_list('pai_parents');
            ANALYZE paths, spans;
            """
        )
    with store.database.transaction() as connection:
        repository = PathRepository(store.database)
        query = parse_path_query([("intersects", "")])
        parameters = repository._make_parameters(store.shards.get(connection, "gfz"), f"{ROOT}/2026/GE/EIL", query)
        parameters |= {"start": "2000-01-01", "stop": "2100-01-01", "all_stations": True, "stations": ("",)}
        cursor = connection.cursor()
        cursor.execute(f"EXPLAIN {repository._queries.list_spans.sql}", parameters)
        plan = "\n".join(line for (line,) in cursor)
    assert "Index Scan on pai_parents" in plan, plan
    assert "spi_hash" in plan, plan
    assert "Seq Scan" not in plan, plan
