"""Tests of the places of stations: parse them, store them, find them."""

import datetime
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.archive.errors import InvalidLine
from eida_statistics.errors import RegistryUnavailable
from eida_statistics.networks import NetworkRegistry, read_registry
from eida_stats_webservice.archive.errors import InvalidStations, TooManyBadLines, UnknownShard
from eida_stats_webservice.archive.models import StationEpoch
from eida_stats_webservice.archive.station_lines import StationReader, parse_channel
from support.paths import ROOT
from support.stations import REGISTRY, format_channel, write_stations
from support.stores import ON_POSTGRESQL, Store

PLACE = ("37.07", "25.53")
UTC = datetime.UTC


@pytest.fixture
def shard(store: Store) -> str:
    store.registry.add_node("GFZ", "")
    for code in ("gfz", "other"):
        store.shards.create(code, f"/{code}", "GFZ", open_paths=False)
    return "gfz"


def _find(store: Store, code: str) -> list[StationEpoch]:
    with store.database.transaction() as connection:
        return store.stations.list_epochs(connection, code)


def _load(store: Store, code: str, file: Path, *lines: str) -> None:
    store.stations.replace(code, write_stations(file, lines), REGISTRY)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            format_channel("GE.APE.--.BHZ", *PLACE),
            StationEpoch(*("GE", "APE", "", "BHZ"), datetime.datetime(2010, 1, 1, tzinfo=UTC), None, 37.07, 25.53),
        ),
        # Blanks around columns, fractions, time zones, and a location.
        (
            format_channel(" GE . APE .10. BHZ ", -90, " 180 ", "2010-01-01T01:00:00.25+01:00", "2599-12-31"),
            StationEpoch(
                *("GE", "APE", "10", "BHZ"),
                datetime.datetime(2010, 1, 1, microsecond=250_000, tzinfo=UTC),
                datetime.datetime(2599, 12, 31, tzinfo=UTC),
                *(-90, 180),
            ),
        ),
    ],
)
def test_channel_is_parsed(line: str, expected: StationEpoch) -> None:
    assert parse_channel(line, REGISTRY) == expected


@pytest.mark.parametrize(
    ("network", "start", "expected"),
    [
        ("Z3", "2015-01-01T00:00:00", "Z32015"),
        # The start decides, and not the time of the data.
        ("Z3", "2007-12-31T23:59:59", "Z32005"),
        ("Z3", "2012-01-01T00:00:00", "Z3"),
        ("Z32015", "2016-01-01T00:00:00", "Z32015"),
        ("GE", "2016-01-01T00:00:00", "GE"),
    ],
)
def test_temporary_network_is_extended(network: str, start: str, expected: str) -> None:
    assert parse_channel(format_channel(f"{network}.APE..BHZ", *PLACE, start), REGISTRY).network == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("GE|APE|37.07|25.53|620.0|Apeiranthos|2010-01-01T00:00:00|", "8 columns instead of 17"),
        ("<html>", "1 columns"),
        (format_channel(".APE..BHZ", *PLACE), "network"),
        (format_channel("GE...BHZ", *PLACE), "station"),
        (format_channel("GE.APE..", *PLACE), "channel"),
        (format_channel("GE.APE.é.BHZ", *PLACE), "location"),
        (format_channel("GE.A PE..BHZ", *PLACE), "station"),
        (format_channel("GE.APE..BHZ", "90.1", "0"), "latitude: not a number from -90 to 90"),
        (format_channel("GE.APE..BHZ", "nan", "0"), "latitude"),
        (format_channel("GE.APE..BHZ", "", "0"), "latitude"),
        (format_channel("GE.APE..BHZ", "0", "-180.5"), "longitude: not a number from -180 to 180"),
        (format_channel("GE.APE..BHZ", "0", "inf"), "longitude"),
        (format_channel("GE.APE..BHZ", *PLACE, ""), "start: not a time"),
        (format_channel("GE.APE..BHZ", *PLACE, "2010-W01"), "start: not a time"),
        (format_channel("GE.APE..BHZ", *PLACE, "2016-12-31T23:59:60"), "start: not a time"),
        (format_channel("GE.APE..BHZ", *PLACE, end="9999-12-31T23:59:59-01:00"), "end: not a time"),
        (format_channel("GE.APE..BHZ", *PLACE, end="2009-12-31"), "the end is before the start"),
    ],
)
def test_bad_line_is_refused(line: str, reason: str) -> None:
    with pytest.raises(InvalidLine, match=reason):
        parse_channel(line, REGISTRY)


@given(st.text(alphabet=st.sampled_from("|GE.-:0129TZ \té\0"), max_size=200))
def test_noise_is_refused_or_parsed(line: str) -> None:
    try:
        epoch = parse_channel(line, REGISTRY)
    except InvalidLine:
        return
    assert -90 <= epoch.latitude <= 90


def test_bad_lines_are_named(tmp_path: Path) -> None:
    lines = [format_channel(f"GE.S{number}..BHZ", *PLACE) for number in range(100)]
    lines[3:3] = ["", "# comment", format_channel("GE.APE..BHZ", *PLACE, "tomorrow")]
    reader = StationReader(write_stations(tmp_path / "s.txt", lines), REGISTRY)
    assert len(reader.read()) == 100
    assert (reader.lines, reader.bad.count) == (101, 1)
    assert reader.bad.first[0].number == 7
    assert reader.bad.first[0].reason.startswith("start: not a time")


def test_same_line_counts_once(tmp_path: Path) -> None:
    line = format_channel("GE.APE..BHZ", *PLACE)
    assert len(StationReader(write_stations(tmp_path / "s.txt", [line, line]), REGISTRY).read()) == 1


def test_two_places_at_one_time_are_refused(tmp_path: Path) -> None:
    lines = [format_channel("GE.APE..BHZ", *PLACE), format_channel("GE.APE..BHZ", 37.08, 25.53)]
    with pytest.raises(TooManyBadLines, match=r"1 of 2 lines. line 3: line 2 has another place"):
        StationReader(write_stations(tmp_path / "s.txt", lines), REGISTRY).read()


def test_other_encodings_are_read(tmp_path: Path) -> None:
    file = tmp_path / "s.txt"
    line = format_channel("GE.APE..BHZ", *PLACE).replace("STS", "Güralp")
    file.write_bytes(b"\xef\xbb\xbf#Network\r\n" + line.encode("latin-1") + b"\r\n")
    assert [epoch.station for epoch in StationReader(file, REGISTRY).read()] == ["APE"]


@pytest.mark.parametrize("lines", [[], ["# nothing"]])
def test_empty_file_is_refused(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(InvalidStations):
        StationReader(write_stations(tmp_path / "s.txt", lines), REGISTRY).read()


def test_registry_is_needed_for_temporary_codes_only(tmp_path: Path) -> None:
    registry = NetworkRegistry(lambda: read_registry(tmp_path / "none.json"))
    assert parse_channel(format_channel("GE.APE..BHZ", *PLACE), registry).network == "GE"
    with pytest.raises(RegistryUnavailable):
        parse_channel(format_channel("Z3.APE..BHZ", *PLACE), registry)


def test_file_replaces_the_stations_of_one_shard(store: Store, shard: str, tmp_path: Path) -> None:
    file = tmp_path / "s.txt"
    moved = [
        format_channel("GE.APE..BHZ", 37.07, 25.53, "2010-01-01", "2015-01-01T00:00:00.123456"),
        format_channel("GE.APE..BHZ", 37.08, 25.543210987654321, "2015-01-01T00:00:00.123456"),
    ]
    _load(store, shard, file, *moved, format_channel("Z3.OLD..HHZ", 1, 2, "2006-01-01"))
    _load(store, "other", file, format_channel("GE.APE..BHZ", 0, 0))
    found = _find(store, shard)
    assert [(one.network, one.latitude, one.last and one.last.year) for one in found] == [
        ("GE", 37.07, 2015),
        ("GE", 37.08, None),
        ("Z32005", 1.0, None),
    ]
    _load(store, shard, file, moved[1])
    assert [one.latitude for one in _find(store, shard)] == [37.08]
    assert len(_find(store, "other")) == 1
    with pytest.raises(TooManyBadLines):
        _load(store, shard, file, "x")
    assert [one.latitude for one in _find(store, shard)] == [37.08]
    assert [one.generation for one in store.shards.read_all()] == [2, 1]
    # Times and degrees are read as they were written.
    assert store.stations.replace(shard, write_stations(file, [moved[1]]), REGISTRY).changed == 0
    assert [one.generation for one in store.shards.read_all()] == [2, 1]


def test_unknown_shard_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownShard):
        _load(store, "gfz", tmp_path / "s.txt", format_channel("GE.APE..BHZ", *PLACE))


@ON_POSTGRESQL
def test_documented_statements_find_stations(store: Store, shard: str, tmp_path: Path) -> None:
    text = (ROOT / "webservice" / "README.md").read_text()
    in_box, in_circle = re.findall(
        r"^    SELECT DISTINCT network, station FROM stations$.*?;$", text, re.MULTILINE | re.DOTALL
    )
    _load(
        store,
        shard,
        tmp_path / "s.txt",
        format_channel("GE.BOTH..BHZ", 37.07, 25.53),
        format_channel("GE.BOX..BHZ", 36, 26),
        format_channel("GE.CIRCLE..BHZ", 37, 24.5),
        format_channel("GE.FAR..BHZ", 37, 24.3),
    )
    for statement, expected in ((in_box, {"BOTH", "BOX"}), (in_circle, {"BOTH", "CIRCLE"})):
        with store.database.transaction() as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            assert {station for _, station in cursor} == expected
