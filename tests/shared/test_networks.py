"""Extended network codes, and the registry behind them."""

import codecs
import datetime
import json
import os
import time
from pathlib import Path

import pytest

from eida_statistics.errors import InvalidRegistry, RegistryUnavailable
from eida_statistics.networks import (
    REFRESH_AFTER_SECONDS,
    Epoch,
    NetworkDescription,
    NetworkRegistry,
    is_temporary,
    read_cached_registry,
    read_registry,
)
from support.stubs import Answer, find_unused_url, make_log, serve_answers

EPOCHS = [
    Epoch("Z3", datetime.date(2005, 1, 1), datetime.date(2007, 12, 31)),
    Epoch("Z3", datetime.date(2015, 1, 1), datetime.date(2022, 12, 31)),
    Epoch("9A", datetime.date(2019, 2, 1), None),
    # The registry has such; the deployed aggregator takes the first.
    Epoch("ZE", datetime.date(2012, 1, 1), datetime.date(2014, 12, 31)),
    Epoch("ZE", datetime.date(2014, 6, 1), datetime.date(2018, 12, 31)),
]
ANSWER = json.dumps(make_log.registry()).encode()


@pytest.mark.parametrize(
    ("code", "day", "expected", "registered"),
    [
        ("GE", None, "GE", True),  # permanent
        ("GE", "2016-05-01", "GE", True),
        ("Z32015", "2016-05-01", "Z32015", True),  # extended already
        ("Z3", "2016-05-01", "Z32015", True),
        ("Z3", "2006-05-01", "Z32005", True),
        ("Z3", "2015-01-01", "Z32015", True),  # both ends belong to the epoch
        ("Z3", "2022-12-31", "Z32015", True),
        ("Z3", "2023-01-01", "Z3", False),
        ("Z3", "2010-01-01", "Z3", False),  # between two epochs
        ("Z3", None, "Z3", False),
        ("9A", "2019-01-31", "9A", False),
        ("9A", "2035-01-01", "9A2019", True),  # still open
        ("ZE", "2014-08-01", "ZE2012", True),  # epochs that overlap
        ("ZE", "2015-01-01", "ZE2014", True),
        ("X9", "2016-05-01", "X9", False),  # unknown
        ("", None, "", True),
        ("SYNTH", None, "SYNTH", True),
    ],
)
def test_code_gets_the_year_of_its_epoch(code: str, day: str | None, expected: str, registered: bool) -> None:
    start = None if day is None else datetime.date.fromisoformat(day)
    extended = NetworkRegistry(lambda: EPOCHS).extend(code, start)
    assert (extended, not is_temporary(extended)) == (expected, registered)


def test_temporary_codes_begin_with_a_digit_x_y_or_z() -> None:
    assert [code for code in ("0A", "9Z", "X1", "YV", "ZZ") if not is_temporary(code)] == []
    assert [code for code in ("GE", "A1", "X", "XXX", "Z32015", "z3", "X-", "", "X1\n") if is_temporary(code)] == []


def test_registry_is_loaded_when_needed() -> None:
    loaded = []

    def load() -> list[Epoch]:
        loaded.append(1)
        return EPOCHS

    registry = NetworkRegistry(load)
    registry.extend("GE", datetime.date(2016, 1, 1))
    assert loaded == []
    for day in range(1, 20):
        registry.extend("Z3", datetime.date(2016, 1, day))
    assert loaded == [1]


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "networks.json"
    path.write_bytes(ANSWER)
    expected = read_registry(path)
    path.write_bytes(codecs.BOM_UTF8 + ANSWER)
    assert read_registry(path) == expected


def test_file_of_the_operator_is_read(tmp_path: Path) -> None:
    path = tmp_path / "networks.json"
    path.write_bytes(ANSWER)
    epochs = read_registry(path)
    assert len(epochs) == len(make_log.registry()["networks"])
    assert [epoch for epoch in epochs if epoch.end_date is None] != []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"networks": {}}',
        b'{"networks": [{"fdsn_code": "Z3", "start_date": "2015"}]}',
        b"\xff",
    ],
)
def test_other_file_is_not_splittable(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "networks.json"
    path.write_bytes(content)
    with pytest.raises(InvalidRegistry, match=r"networks\.json"):
        read_registry(path)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="No such file"):
        read_registry(tmp_path / "networks.json")


def test_registry_is_fetched_once(tmp_path: Path) -> None:
    warnings: list[str] = []
    cache = tmp_path / "deep/networks.json"
    with serve_answers(Answer(200, ANSWER)) as stub:
        first = read_cached_registry(cache, stub.url, warn=warnings.append)
        assert read_cached_registry(cache, stub.url, warn=warnings.append) == first
        assert len(stub.received) == 1
    assert warnings == []
    assert [path.name for path in cache.parent.iterdir()] == ["networks.json"]


def test_old_registry_is_fetched_again(tmp_path: Path) -> None:
    warnings: list[str] = []
    cache = tmp_path / "networks.json"
    cache.write_bytes(b'{"networks": []}')
    long_ago = time.time() - REFRESH_AFTER_SECONDS - 10
    os.utime(cache, (long_ago, long_ago))
    with serve_answers(Answer(200, ANSWER)) as stub:
        assert len(read_cached_registry(cache, stub.url, warn=warnings.append)) > 0
    assert cache.read_bytes() == ANSWER
    assert warnings == []


@pytest.mark.parametrize("answer", [Answer(500, b"broken"), Answer(200, b"<html>"), Answer(204, b""), Answer(0)])
def test_old_registry_is_better_than_none(answer: Answer, tmp_path: Path) -> None:
    warnings: list[str] = []
    cache = tmp_path / "networks.json"
    cache.write_bytes(ANSWER)
    long_ago = time.time() - 30 * 86400
    os.utime(cache, (long_ago, long_ago))
    with serve_answers(answer) as stub:
        assert len(read_cached_registry(cache, stub.url, warn=warnings.append)) > 0
    assert len(warnings) == 1
    assert "30 days old" in warnings[0]
    assert cache.read_bytes() == ANSWER


def test_no_registry_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="--networks FILE"):
        read_cached_registry(tmp_path / "networks.json", find_unused_url(), warn=print)


def test_registry_is_used_without_cache(tmp_path: Path) -> None:
    """A service without a home directory has no place for a cache."""
    warnings: list[str] = []
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with serve_answers(Answer(200, ANSWER)) as stub:
        assert len(read_cached_registry(in_the_way / "networks.json", stub.url, warn=warnings.append)) > 0
    assert len(warnings) == 1
    assert "not cached" in warnings[0]


def test_registry_without_network_is_invalid(tmp_path: Path) -> None:
    empty = tmp_path / "networks.json"
    empty.write_bytes(b'{"networks": []}')
    with pytest.raises(InvalidRegistry, match="no network"):
        read_registry(empty)


def test_bad_epoch_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "networks.json"
    file.write_bytes(
        b'{"networks": [{"fdsn_code": "Z3", "start_date": null}, {"fdsn_code": "Z3", "start_date": "2015-01-01"}]}'
    )
    assert [epoch.start_date.year for epoch in read_registry(file)] == [2015]


def test_emptied_cache_is_fetched_again(tmp_path: Path) -> None:
    cache = tmp_path / "networks.json"
    cache.write_bytes(b"")
    with serve_answers(Answer(200, ANSWER)) as stub:
        assert read_cached_registry(cache, stub.url, warn=print)
    assert cache.read_bytes() == ANSWER


# Descriptions

DESCRIBED = {
    "networks": [
        {"fdsn_code": "GE", "start_date": "1993-01-01", "name": "GEOFON", "doi": "10.14470/TR560404"},
        {"fdsn_code": "3D", "start_date": "2014-01-01", "end_date": "2016-12-31", "name": " One ", "doi": "10.1/a"},
        {"fdsn_code": "3D", "start_date": "2021-01-01", "name": None, "doi": ["10.1/b"]},
        {"fdsn_code": "FR", "start_date": "1962-01-01", "name": "RESIF", "doi": ""},
    ]
}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("GE", ("GEOFON", 1993, "10.14470/TR560404")),
        ("3D2014", ("One", 2014, "10.1/a")),
        # An odd name or DOI is none, and does not cost the epoch.
        ("3D2021", ("", 2021, "")),
        ("FR", ("RESIF", 1962, "")),
        # A short temporary code is that of no network.
        *(("3D", None), ("3D2015", None), ("QQ", None)),
    ],
)
def test_network_is_described(tmp_path: Path, code: str, expected: tuple[str, int, str] | None) -> None:
    path = tmp_path / "networks.json"
    path.write_text(json.dumps(DESCRIBED))
    registry = NetworkRegistry(lambda: read_registry(path))
    found = registry.describe(code)
    assert (found and (found.name, found.start_year, found.doi)) == expected
    assert registry.extend("3D", datetime.date(2022, 1, 1)) == "3D2021"


def test_citation_invents_nothing() -> None:
    assert NetworkDescription("GEOFON", 1993, "10.14470/TR560404").citation == (
        "GEOFON (1993). International Federation of Digital Seismograph Networks. https://doi.org/10.14470/TR560404"
    )
    assert NetworkDescription("", 1993, "10.14470/TR560404").citation == ""
    assert NetworkDescription("GEOFON", 1993, "").citation == ""
