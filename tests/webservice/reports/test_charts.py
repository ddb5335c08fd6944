"""Charts: drawn to scale, readable by machines, with enough contrast."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eida_stats_webservice.reports import charts
from eida_stats_webservice.reports.charts import Bar, Map

SVG = "{http://www.w3.org/2000/svg}"
STYLE = Path(charts.__file__).with_name("templates") / "style.css"


def make_bar(value: float | None, *, earlier: float | None = None, received: int = 31, text: str = "text") -> Bar:
    return Bar("Jan", value, earlier, error=0.0, received=received, due=31, text=text)


def draw(*bars: Bar, width: int = 720) -> ET.Element:
    return ET.fromstring(charts.draw_bars(bars, "TiB", title="Title", description="Gist.", width=width))


def list_rects(drawing: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in drawing.iter(f"{SVG}rect") if one.get("class") == name]


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40), st.sampled_from([720, 360]))
@example([1e-05], 720)
def test_bars_are_to_scale(values: list[float], width: int) -> None:
    drawing = draw(*map(make_bar, values), width=width)
    heights = [float(rect.get("height", "")) for rect in list_rects(drawing, "bar")]
    assert len(heights) == len(values)
    _, top = charts.find_scale(max(values))
    assert top >= max(values)
    for height, value in zip(heights, values, strict=True):
        assert height == pytest.approx(value / top * 180, abs=0.06)
    for rect in list_rects(drawing, "bar"):
        assert 0 <= float(rect.get("x", "")) <= width


@given(st.floats(1e-3, 1e15))
def test_scale_has_some_round_ticks(largest: float) -> None:
    step, top = charts.find_scale(largest)
    assert largest <= top * (1 + 1e-9)
    assert 2 <= round(top / step) <= 6
    assert top < 2 * largest
    assert f"{step:.3e}"[:4] in {"1.00", "2.00", "2.50", "5.00"}


def test_gap_is_no_bar_and_zero_is_one() -> None:
    drawing = draw(make_bar(None, received=0), make_bar(0.0), make_bar(5.0))
    assert len(list_rects(drawing, "bar")) == 2
    assert [one.text for one in drawing.iter(f"{SVG}text") if one.get("class") == "gap-text"] == ["0\u00a0%"]


@pytest.mark.parametrize(("received", "is_pale"), [(31, False), (30, False), (27, True)])
def test_days_not_received_are_marked(received: int, is_pale: bool) -> None:
    drawing = draw(make_bar(5.0, received=received))
    (bar,) = list_rects(drawing, "bar")
    assert (bar.get("fill-opacity") is not None) == is_pale
    marks = [one for one in drawing.iter(f"{SVG}line") if one.get("class") == "gap"]
    assert len(marks) == (received < 31)
    # Never by colour alone.
    assert all(mark.get("stroke-dasharray") for mark in marks)


def test_texts_are_escaped_and_described() -> None:
    drawing = draw(make_bar(1.0, text='<script>"&'))
    assert drawing.get("role") == "img"
    assert [drawing.findtext(f"{SVG}{name}") for name in ("title", "desc")] == ["Title", "Gist."]
    assert [one.findtext(f"{SVG}title") for one in drawing.iter(f"{SVG}g")] == ['<script>"&']


def test_letters_keep_their_size_on_a_phone() -> None:
    for width in (720, 360):
        drawing = draw(*[make_bar(1.0)] * 36, width=width)
        assert {one.get("font-size") for one in drawing.iter(f"{SVG}text")} == {"12"}
        labels = [float(one.get("x", "")) for one in drawing.iter(f"{SVG}text") if one.text == "Jan"]
        assert min(after - before for before, after in itertools.pairwise(labels)) >= 30


@given(st.lists(st.floats(1, 1e18), min_size=1, max_size=50))
def test_shades_grow_with_the_values(values: list[float]) -> None:
    shades = charts.find_shades(values)
    found = [shades.find(value) for value in sorted(values)]
    assert found == sorted(found)
    assert set(found) <= set(range(6))
    if max(values) > 2 * min(values):
        assert (found[0], found[-1]) == (0, 5)


def test_map_shades_only_countries_with_values() -> None:
    drawing = ET.fromstring(
        charts.draw_map(
            Map(20, 10, {"DE": "M0 0h9v9z", "FR": "M9 0h9v9z"}, {"SG": (3, 4), "MT": (5, 6)}, land="M0 0h1v1z"),
            {"DE": 1.0, "SG": 100.0},
            {"DE": "Germany: 1 B"},
            pixels=20,
            title="Map",
            description="Gist.",
        )
    )
    assert [one.get("class") for one in drawing.iter(f"{SVG}path")] == ["none", "s0", "none"]
    assert [(one.get("cx"), one.get("class")) for one in drawing.iter(f"{SVG}circle")] == [("3", "s5")]


# Contrast, as WCAG 2.1 defines it


def compute_luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def compute_contrast(one: str, other: str) -> float:
    low, high = sorted(map(compute_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def read_colours() -> Iterator[dict[str, str]]:
    """Yield the named colours of the style in light and in dark."""
    for block in re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL):
        yield dict(re.findall(r"--(\w+): (#\w{6})", block))


def test_texts_and_marks_have_enough_contrast() -> None:
    themes = list(read_colours())
    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "grey", "link", "gap"):
            assert compute_contrast(theme[text], theme["paper"]) >= 4.5, text
        for mark in ("bar", "gap"):
            assert compute_contrast(theme[mark], theme["paper"]) >= 3, mark
    assert tuple(themes[0][name] for name in ("ink", "grey", "bar", "gap")) == (
        charts.INK,
        charts.GREY,
        charts.BAR,
        charts.NOT_RECEIVED,
    )


def test_neighbouring_shades_differ() -> None:
    dark = re.findall(r"svg \.(s\d) \{ fill: (#\w{6})", STYLE.read_text())
    for shades in (charts.SHADES, [colour for _, colour in sorted(dark)]):
        assert len(shades) == 6
        assert all(compute_contrast(one, other) >= 1.25 for one, other in itertools.pairwise(shades))
