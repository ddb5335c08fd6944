"""The commands `shards stations` and `db migrate`: stations and PostGIS."""

import json
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from support.crawls import ROOT, describe, write_crawl
from support.rasters import describe_raster, make_layer
from support.stations import format_channel, write_stations
from support.statsman import Statsman
from support.stores import ON_ONE_STORE, ON_POSTGRESQL, Store

PLACE = ("37.07", "25.53")
NETWORKS = json.dumps({"networks": [{"fdsn_code": "Z3", "start_date": "2015-01-01", "end_date": "2020-12-31"}]})


@pytest.fixture
def statsman(store: Store, store_uri: str, tmp_path: Path) -> Statsman:
    store.registry.add_node("GFZ", "")
    store.shards.create("gfz", ROOT, "GFZ", open_paths=False)
    statsman = Statsman(store_uri)
    statsman.set(XDG_CACHE_HOME=str(tmp_path / "cache"))
    return statsman


def _write(tmp_path: Path, *lines: str) -> str:
    return str(write_stations(tmp_path / "stations.txt", lines))


@ON_ONE_STORE
def test_stations_are_loaded_and_bad_lines_named(statsman: Statsman, tmp_path: Path) -> None:
    networks = tmp_path / "networks.json"
    networks.write_text(NETWORKS)
    lines = [format_channel(f"Z3.S{number}..BHZ", *PLACE, "2016-01-01") for number in range(150)]
    file = _write(tmp_path, *lines, format_channel("Z3.BAD..BHZ", "north", "0"))
    done = statsman("shards", "stations", "gfz", file, "--networks", str(networks))
    assert done.returncode == 0
    assert done.stdout == "stored 150 epochs of channels of shard gfz; those of 150 channels have changed\n"
    assert done.stderr == "lines that were refused: 1\n  line 152: latitude: not a number from -90 to 90\n"
    again = statsman.run("shards", "stations", "gfz", file, "--networks", str(networks))
    assert again == "unchanged: shard gfz has all 150 epochs\n"
    # The cache of the registry is empty.
    refused = statsman("shards", "stations", "gfz", file)
    assert refused.returncode == 1
    assert "fdsn-networks.json" in refused.stderr
    assert "--networks" in refused.stderr


@ON_ONE_STORE
def test_other_files_are_refused(statsman: Statsman, tmp_path: Path) -> None:
    refused = statsman("shards", "stations", "gfz", _write(tmp_path, "GE|APE|37.07|25.53|620|Naxos|2010-01-01|"))
    assert refused.returncode == 1
    assert "line 2: 8 columns instead of 17" in refused.stderr
    assert "level=channel" in refused.stderr
    assert statsman("shards", "stations", "gfz", str(tmp_path / "none.txt")).returncode == 2
    unknown = statsman("shards", "stations", "gfs", _write(tmp_path, format_channel("GE.APE..BHZ", *PLACE)))
    assert "Did you mean gfz?" in unknown.stderr


@ON_POSTGRESQL
def test_migration_says_whether_postgis_is_used(statsman: Statsman, store_uri: str, tmp_path: Path) -> None:
    assert "PostGIS is not used" in statsman.run("db", "migrate")
    path = f"{ROOT}/rain.nc"
    lines = [describe(path), describe_raster(path, make_layer("rain"), make_layer("snow", polygon="white"))]
    crawl = str(write_crawl(tmp_path / "crawl.tsv.gz", lines))
    assert statsman("shards", "ingest", "gfz", crawl).stderr == ""
    with closing(psycopg2.connect(store_uri)) as connection, connection:
        connection.cursor().execute("CREATE EXTENSION postgis")
    migrated = statsman("db", "migrate")
    assert "created the polygons of gfz\n" in migrated.stdout
    assert " is used: shards have polygons\n" in migrated.stdout
    assert migrated.stderr.startswith("layers left out: 1 of 2, whose")
    again = statsman("db", "migrate")
    assert "created" not in again.stdout
    assert again.stderr == ""
