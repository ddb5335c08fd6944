"""The files that `webservice/map` and `webservice/font` make: the maps and the font of the reports."""

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fontTools.ttLib import TTFont

from support.paths import ROOT

DATA = ROOT / "webservice/eida_stats_webservice/reports/data"
MAP_FILE = DATA / "map.json"
FONT_FILE = DATA / "eida-sans.woff2"

TABLES = json.loads(MAP_FILE.read_bytes())
WORLD, EUROPE = TABLES["world"], TABLES["europe"]
MAPS = [pytest.param(WORLD, id="world"), pytest.param(EUROPE, id="europe")]

# One command of a path with its numbers, as `draw.mjs` writes them.
COMMAND = re.compile(r"([Mlhvz])([-\d ]*)")
NUMBER = re.compile(r"-?\d+")

Point = tuple[int, int]


def parse_rings(path: str) -> Iterator[list[Point]]:
    """Yield the corners of each ring of an SVG path."""
    assert COMMAND.sub("", path) == ""
    ring: list[Point] = []
    for command, text in COMMAND.findall(path):
        numbers = [int(number) for number in NUMBER.findall(text)]
        assert NUMBER.sub("", text).strip() == ""
        if command == "z":
            assert not numbers
            yield ring
            ring = []
        elif command == "M":
            assert not ring
            ring = [(numbers[0], numbers[1])]
            assert len(numbers) == 2
        else:
            zeros = [0] * len(numbers)
            steps = {"l": (numbers[::2], numbers[1::2]), "h": (numbers, zeros), "v": (zeros, numbers)}[command]
            for dx, dy in zip(*steps, strict=True):
                ring.append((ring[-1][0] + dx, ring[-1][1] + dy))
    assert not ring


def find_area(ring: list[Point]) -> float:
    """Return the area of a ring in square units."""
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True))) / 2


def find_box(path: str) -> tuple[Point, Point]:
    """Return the upper left and the lower right corner of an outline."""
    xs, ys = zip(*(point for ring in parse_rings(path) for point in ring), strict=True)
    return (min(xs), min(ys)), (max(xs), max(ys))


def test_each_code_is_in_one_place() -> None:
    places = [*WORLD["paths"], *WORLD["dots"], *TABLES["not_on_map"]]
    assert sorted(places) == sorted(TABLES["names"])


def test_names_are_those_of_cldr() -> None:
    names = TABLES["names"]
    assert names["KR"] == "South Korea"
    assert names["XK"] == "Kosovo"
    assert names[""] == "Not known"
    assert names["A1"] == "Anonymous proxy"
    # 249 codes of ISO 3166-1, Kosovo, and 7 codes that are not countries
    assert len(names) == 257


@pytest.mark.parametrize("drawn", MAPS)
def test_codes_of_a_map_have_names(drawn: dict[str, Any]) -> None:
    assert {*drawn["paths"], *drawn["dots"]} <= TABLES["names"].keys()
    assert not drawn["paths"].keys() & drawn["dots"].keys()


@pytest.mark.parametrize("drawn", MAPS)
def test_outlines_are_in_the_frame(drawn: dict[str, Any]) -> None:
    for path in [*drawn["paths"].values(), drawn["land"]]:
        (left, top), (right, bottom) = find_box(path)
        assert 0 <= left < right <= drawn["width"]
        assert 0 <= top < bottom <= drawn["height"]
    for x, y in drawn["dots"].values():
        assert 0 <= x <= drawn["width"]
        assert 0 <= y <= drawn["height"]


@pytest.mark.parametrize("drawn", MAPS)
def test_no_outline_covers_the_sea(drawn: dict[str, Any]) -> None:
    frame = drawn["width"] * drawn["height"]
    areas = [find_area(ring) for path in drawn["paths"].values() for ring in parse_rings(path)]
    assert min(areas) > 0
    assert 0.2 * frame < sum(areas) < 0.65 * frame


def test_overseas_parts_are_where_they_lie() -> None:
    (left, _), (right, _) = find_box(WORLD["paths"]["FR"])
    assert right - left < WORLD["width"] / 20
    assert find_box(WORLD["paths"]["GF"])[1][0] < left  # in South America
    assert find_box(WORLD["paths"]["SJ"])[1][1] < find_box(WORLD["paths"]["NO"])[0][1]  # in the Arctic
    assert WORLD["dots"]["RE"][0] > right  # in the Indian Ocean


def test_russia_and_fiji_are_not_cut() -> None:
    for code, share in {"RU": 2.5, "FJ": 50}.items():
        (left, _), (right, _) = find_box(WORLD["paths"][code])
        assert right - left < WORLD["width"] / share


@pytest.mark.parametrize("code", ["SG", "MT", "LI", "MC", "SM", "VA", "AD", "MU", "XK"])
def test_small_country_is_a_dot(code: str) -> None:
    assert code in WORLD["dots"]


def test_europe_shows_small_countries_as_areas() -> None:
    assert {"XK", "LU", "CY", "SI", "ME"} <= EUROPE["paths"].keys()
    assert {"MT", "LI", "AD"} <= EUROPE["dots"].keys()


def test_map_file_is_small() -> None:
    content = MAP_FILE.read_bytes()
    assert len(content) < 100_000
    assert len(gzip.compress(content)) < 40_000


@pytest.fixture(scope="module")
def font() -> Iterator[TTFont]:
    with TTFont(FONT_FILE) as font:
        yield font


def test_font_has_the_characters_of_a_page(font: TTFont) -> None:
    latin = {*range(0x20, 0x7F), *range(0xA0, 0x180)}
    signs = "†≈±×−↑↓…–‘’“”▲▼·\N{THIN SPACE}\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"
    assert font.getBestCmap().keys() >= {*latin, *map(ord, signs)}


def test_font_has_regular_to_semibold(font: TTFont) -> None:
    axes = [(axis.axisTag, axis.minValue, axis.defaultValue, axis.maxValue) for axis in font["fvar"].axes]
    assert axes == [("wght", 400, 400, 600)]


def test_figures_have_equal_width(font: TTFont) -> None:
    glyphs = font.getBestCmap()
    assert len({font["hmtx"][glyphs[ord(figure)]][0] for figure in "0123456789"}) == 1


def test_font_has_no_reserved_name(font: TTFont) -> None:
    names = {name.nameID: str(name) for name in font["name"].names}
    # 0 is the copyright and 7 the trademark; both must stay as they are.
    assert [number for number, name in names.items() if "Source" in name] == [0, 7]
    assert names[1] == "EIDA Sans"
    assert "SIL Open Font License" in names[13]


def test_font_file_is_small() -> None:
    assert FONT_FILE.stat().st_size < 35_000


def test_licences_are_beside_the_files() -> None:
    licences = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    assert "Michael Bostock" in licences
    assert "UNICODE LICENSE V3" in licences
    assert "SIL OPEN FONT LICENSE Version 1.1" in licences
