"""Places of clients, by databases in MaxMind's format that are made here."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eida_statistics.errors import ConfigurationError
from eida_statistics.ringserver.errors import UnusableGeoIP
from eida_statistics.ringserver.places import NOWHERE, Place, Places
from support.geoip import write_database

GRENOBLE = {
    "country": {"iso_code": "FR", "names": {"en": "France"}},
    "registered_country": {"iso_code": "US"},
    "city": {"names": {"en": "Grenoble", "fr": "Grenoble"}},
    "location": {"latitude": 45.1787, "longitude": 5.7148},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "192.0.2.0/25": GRENOBLE,
    "192.0.2.128/26": {"registered_country": {"iso_code": "US"}},
    "192.0.2.192/26": {"country": {"iso_code": "DE"}, "city": {"names": {"de": "Köln"}}},
    "198.51.100.0/25": {"country": {"iso_code": "Germany"}, "location": {"latitude": 95.5, "longitude": 7.0}},
    "198.51.100.128/25": {"country": "FR", "city": {"names": {"en": "a\nb"}}, "location": {"latitude": 45.5}},
    "2001:db8::/32": {
        "country": {"iso_code": "IS"},
        "city": {"names": {"en": "Reykjavík"}},
        # The example of Wikipedia's article on geohashes.
        "location": {"latitude": 57.64911, "longitude": 10.40744},
    },
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("geoip") / "City.mmdb", NETWORKS)


@pytest.fixture(scope="module")
def places(database: Path) -> Iterator[Places]:
    with Places(database) as places:
        yield places


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", Place("FR", "Grenoble", "u0h1")),
        ("::ffff:192.0.2.7", Place("FR", "Grenoble", "u0h1")),
        ("2001:DB8::7%eth0", Place("IS", "Reykjavík", "u4pr")),
        ("192.0.2.130", NOWHERE),  # only registered there
        ("192.0.2.200", Place("DE", "", "")),
        ("198.51.100.7", NOWHERE),
        ("198.51.100.130", NOWHERE),
        ("203.0.113.7", NOWHERE),
        ("2001:db9::7", NOWHERE),
        ("fe80::1%eth0", NOWHERE),
        ("unknown", NOWHERE),
        ("", NOWHERE),
    ],
)
def test_place_is_what_the_database_knows(places: Places, address: str, expected: Place) -> None:
    assert places.find(address) == expected
    assert places.find(address) == expected


@pytest.mark.parametrize("precision", [1, 6, 12])
def test_precision_is_the_length_of_the_geohash(database: Path, precision: int) -> None:
    with Places(database, precision) as places:
        assert places.find("2001:db8::7").geohash == "u4pruydqqvj8"[:precision]


@pytest.mark.parametrize("precision", [0, 13, -1])
def test_other_precisions_are_refused(precision: int) -> None:
    with pytest.raises(ConfigurationError, match="between 1 and 12"):
        Places(None, precision)


def test_countries_of_version_4_have_no_cities(tmp_path: Path) -> None:
    networks = {"192.0.2.0/24": {"country": {"iso_code": "FR"}}}
    with Places(write_database(tmp_path / "Country.mmdb", networks, version=4)) as places:
        assert places.find("::ffff:192.0.2.7") == Place("FR", "", "")
        assert places.find("2001:db8::7") == NOWHERE


def test_without_database_all_places_are_empty() -> None:
    with Places(None) as places:
        assert places.find("192.0.2.7") == NOWHERE


@pytest.mark.parametrize("content", [None, b"", b"<html>", bytes(range(256)) * 600])
def test_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "City.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableGeoIP, match=r"no database in MaxMind's format|No such file"):
        Places(path)
    with pytest.raises(UnusableGeoIP):
        Places(tmp_path)


def test_damaged_database_is_refused_by_name(database: Path, tmp_path: Path) -> None:
    content, chance = database.read_bytes(), random.Random(1)
    addresses = ("192.0.2.7", "192.0.2.200", "2001:db8::7")
    path = tmp_path / "damaged.mmdb"
    reasons = []
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 20)):
            damaged[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice([None, chance.randrange(len(content))])])
        try:
            with Places(path) as places:
                found = [places.find(address) for address in addresses]
        except UnusableGeoIP as error:
            reasons.append(str(error))
        else:
            assert all(place.geohash.isalnum() or not place.geohash for place in found)

    assert 100 < len(reasons) < 200
    assert all(str(path) in reason for reason in reasons)
    assert not any(address in reason for address in addresses for reason in reasons)


@pytest.mark.parametrize("package", ["maxminddb", "pygeohash"])
def test_missing_package_is_explained(database: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(UnusableGeoIP, match=package) as caught:
        Places(database)
    assert "pip install '.[ringserver]'" in str(caught.value)
    assert Places(None).find("192.0.2.7") == NOWHERE
