"""Charts as SVG. All functions are pure.

The colours are attributes, so that a chart can stand alone and be printed. Classes let the style of a page change
them in dark mode. Each chart has a title and a description for screen readers.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise

import msgspec

from eida_stats_webservice.reports.numbers import format_share, format_three_digits

# Light colours. `style.css` has those of dark mode.
INK, GREY, LINES, PAPER = "#1b2430", "#5a6675", "#dfe4ea", "#ffffff"
BAR, NOT_RECEIVED = "#1f6cae", "#b45309"
SHADES = ("#c6ddf0", "#9cc6e3", "#5fa5d1", "#2f7fbd", "#105ba4", "#08306b")
NO_SHADE = "#f0f2f4"

WIDE, NARROW = 720, 360
_HEIGHT = 240
_TOP, _BOTTOM, _LEFT = 34, 26, 52
_FONT = 12
# The width of a label.
_LABEL = 30
# So many marks are enough without other labels.
_MARKS = 3
# The width of a character of a label.
_CHARACTER = 7
# The style of a page sets its own font. Charts in a PDF, and charts alone, use these.
_FONTS = "EIDA Sans, Source Sans 3, sans-serif"
_TICKS = 4
_SMALLEST = 1e-9
# Bars with a smaller share of days received are paler.
_PALE_BELOW = 0.9
_PALE = "0.45"
_STRIP, _RANK = 160, 80


class Bar(msgspec.Struct, frozen=True):
    """A bar of a chart.

    Attributes:
        label: the text below it.
        value: its height in the unit of the chart; None for a gap.
        earlier: the value of an earlier period, drawn as a line; None if there is none.
        error: two standard errors, drawn as a whisker.
        received: the days received.
        due: the days due.
        text: the figures in words, shown under the pointer.
        is_mark: whether the label is one of those that remain if there is no place for all.
        beside: the height of a second bar, in outline; None if there is none.
        is_earlier_partial: whether days of the earlier period were not received; the line is dashed.
    """

    label: str
    value: float | None
    earlier: float | None
    error: float
    received: int
    due: int
    text: str
    is_mark: bool = False
    beside: float | None = None
    is_earlier_partial: bool = False


def draw_bars(bars: Sequence[Bar], unit: str, *, title: str, description: str, width: int = WIDE) -> str:
    """Return a bar chart. Bars begin at 0.

    Args:
        bars: the bars, from left to right.
        unit: the unit of their values, written above the scale.
        title: the title, for screen readers.
        description: the gist of the chart in one sentence.
        width: the width in units of the drawing. Letters keep their size.
    """
    largest = max((_find_height(bar) for bar in bars), default=0)
    step, top = find_scale(largest)
    height = _HEIGHT - _TOP - _BOTTOM
    base = _TOP + height

    def find_y(value: float) -> float:
        return base - value / top * height

    slot = (width - _LEFT) / max(1, len(bars))
    parts = [_text(_LEFT - 8, _TOP - 18, unit, "grey", GREY, "end")]
    for number in range(round(top / step) + 1):
        y = find_y(number * step)
        parts.append(_line(_LEFT, y, width, y, "rule", LINES))
        parts.append(_text(_LEFT - 8, y + 4, format_tick(number * step), "grey", GREY, "end"))
    labelled = _choose_labels(bars, slot)
    for number, bar in enumerate(bars):
        left = _LEFT + number * slot
        parts.append(f"<g><title>{escape(bar.text, quote=False)}</title>")
        parts += _draw_bar(bar, left, slot, find_y, base)
        parts.append("</g>")
        if number in labelled:
            parts.append(_text(left + slot / 2, base + 18, bar.label, "grey", GREY, "middle"))
    return _wrap(parts, width, _HEIGHT, title, description)


def _find_height(bar: Bar) -> float:
    return max((bar.value or 0) + bar.error, bar.beside or 0, bar.earlier or 0)


def _choose_labels(bars: Sequence[Bar], slot: float) -> set[int]:
    """Return the numbers of the bars with a label. If there is no place for all, only marks have one, or fewer."""
    numbers = list(range(len(bars)))
    marks = [number for number in numbers if bars[number].is_mark]
    if slot < _LABEL and len(marks) >= _MARKS:
        numbers = marks
    closest = min((after - before for before, after in pairwise(numbers)), default=1)
    return set(numbers[:: max(1, math.ceil(_LABEL / (slot * closest)))])


def _draw_bar(bar: Bar, left: float, slot: float, find_y: Callable[[float], float], base: float) -> list[str]:
    width = slot * 0.62
    x = left + (slot - width) / 2
    parts = [f'<rect x="{left:.1f}" y="{_TOP}" width="{slot:.1f}" height="{base - _TOP}" fill="none" class="hit"/>']
    y = find_y(bar.value or 0)
    share = bar.received / bar.due if bar.due else 1.0
    if bar.beside is not None:
        width *= 0.6
        right, top = x + width + 1, find_y(bar.beside)
        parts.append(_rect(right, top, width * 0.5, base - top, "outline", "none", f' stroke="{GREY}"'))
    if bar.value is not None:
        pale = f' fill-opacity="{_PALE}"' if share < _PALE_BELOW else ""
        parts.append(_rect(x, y, width, base - y, "bar", BAR, pale))
    if bar.earlier is not None:
        at = find_y(bar.earlier)
        dashes = ' stroke-dasharray="3 2"' if bar.is_earlier_partial else ""
        parts.append(_line(x - 4, at, x + width + 4, at, "paper", PAPER, 5))
        parts.append(_line(x - 4, at, x + width + 4, at, "ink", INK, 2, dashes))
    if bar.value is not None and bar.error:
        middle = x + width / 2
        low, high = find_y(max(0, bar.value - bar.error)), find_y(bar.value + bar.error)
        parts.append(_line(middle, low, middle, high, "paper", PAPER, 4))
        parts.append(_line(middle, low, middle, high, "ink", INK, 1.5))
    if bar.received < bar.due:
        parts.append(_line(x, y, x + width, y, "gap", NOT_RECEIVED, 3, ' stroke-dasharray="4 2"'))
        label = format_share(bar.received, bar.due)
        above = min(y, find_y(bar.earlier or 0) if bar.earlier else y, find_y((bar.value or 0) + bar.error))
        if slot >= _CHARACTER * len(label):
            parts.append(_text(left + slot / 2, above - 6, label, "gap-text", NOT_RECEIVED, "middle"))
    return parts


def draw_strip(length: int, gaps: Sequence[tuple[int, int]], due: tuple[int, int], text: str) -> str:
    """Return a strip of days: received ones, gaps, and days that were not due as a thin line.

    Args:
        length: the number of days.
        gaps: the first day of each gap and the one after its last, from 0.
        due: likewise for the days due.
        text: the coverage in words.
    """
    factor = _STRIP / length
    parts = [_line(0, 6, _STRIP, 6, "rule", LINES, 2)]
    start, stop = due
    if stop > start:
        parts.append(_rect(start * factor, 1, (stop - start) * factor, 10, "bar", BAR))
    for start, stop in gaps:
        # A single day of a year would be too thin to see.
        width = max(2.0, (stop - start) * factor)
        x = min(start * factor, _STRIP - width)
        parts.append(_rect(x, 1, width, 10, "paper-fill", PAPER))
        parts.append(_line(x, 6, x + width, 6, "gap", NOT_RECEIVED, 3, ' stroke-dasharray="4 2"'))
    return _wrap_small(parts, _STRIP, text)


def draw_rank(part: float) -> str:
    """Return a bar for a table that has the figure, too: it is a part, from 0 to 1, of the largest one."""
    return _wrap_small([_rect(0, 1, part * _RANK, 10, "bar", BAR)], _RANK, "")


def _wrap_small(parts: Iterable[str], width: int, text: str) -> str:
    """Return a small drawing with a text for screen readers, or without if the text beside it says the same."""
    label = f'role="img" aria-label="{escape(text)}"' if text else 'aria-hidden="true"'
    return f'<svg viewBox="0 0 {width} 12" width="{width}" height="12" {label} class="small">{"".join(parts)}</svg>'


class Shades(msgspec.Struct, frozen=True):
    """Classes of a logarithmic scale: `bounds[n]` is the smallest value of class n + 1."""

    bounds: list[float]

    def find(self, value: float) -> int:
        """Return the class of a value, from 0 for the smallest ones."""
        return sum(value >= bound for bound in self.bounds)


def find_shades(values: Iterable[float]) -> Shades:
    """Return six classes, equally wide on a logarithmic scale, for some positive values."""
    positive = [value for value in values if value > 0]
    if not positive:
        return Shades([])
    low, high = math.log(min(positive)), math.log(max(positive))
    step = (high - low) / len(SHADES)
    return Shades([math.exp(low + number * step) for number in range(1, len(SHADES))] if step else [])


class Map(msgspec.Struct, frozen=True):
    """A map: a frame, the outlines of countries, and dots for those that are too small for one.

    Attributes:
        land: the outline of land that has no country of its own on the map.
    """

    width: int
    height: int
    paths: dict[str, str]
    dots: dict[str, tuple[float, float]]
    land: str = ""


def draw_map(
    outlines: Map,
    values: Mapping[str, float],
    texts: Mapping[str, str],
    *,
    pixels: int,
    title: str,
    description: str,
) -> str:
    """Return a map whose countries are shaded by their values.

    Args:
        outlines: the map.
        values: the values, by country; the others have no shade.
        texts: the figures of countries in words, shown under the pointer.
        pixels: the width at which lines and dots have their intended size.
        title: the title, for screen readers.
        description: the gist of the map in one sentence.
    """
    shades = find_shades(values.values())
    unit = outlines.width / pixels
    parts = [f'<g stroke="{PAPER}" stroke-width="{0.5 * unit:.2f}" class="borders">']
    if outlines.land:
        parts.append(f'<path d="{outlines.land}" {_shade(None)}/>')
    for code, path in sorted(outlines.paths.items()):
        number = shades.find(values[code]) if values.get(code) else None
        parts.append(f'<path d="{path}" {_shade(number)}{_close("path", texts.get(code))}')
    parts.append("</g>")
    for code, (x, y) in sorted(outlines.dots.items()):
        if values.get(code):
            parts.append(
                f'<circle cx="{x}" cy="{y}" r="{3 * unit:.1f}" {_shade(shades.find(values[code]))}'
                f' stroke="{PAPER}" stroke-width="{unit:.1f}"{_close("circle", texts.get(code))}'
            )
    return _wrap(parts, outlines.width, outlines.height, title, description, "map")


def _shade(number: int | None) -> str:
    name, colour = ("none", NO_SHADE) if number is None else (f"s{number}", SHADES[number])
    return f'class="{name}" fill="{colour}"'


def _close(tag: str, text: str | None) -> str:
    """Return the end of an element, with the text that browsers show under the pointer."""
    return "/>" if text is None else f"><title>{escape(text, quote=False)}</title></{tag}>"


def find_scale(largest: float) -> tuple[float, float]:
    """Return the distance of ticks and the top of a scale from 0 that holds a value."""
    if largest < _SMALLEST:
        return 1.0, 1.0
    power = 10.0 ** math.floor(math.log10(largest / _TICKS))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if power * factor * (_TICKS + 1) >= largest)
    # A product of fractions may be too small by its last digit.
    return step, max(largest, step * math.ceil(largest / step - 1e-9))


def format_tick(value: float) -> str:
    """Return the number beside a tick."""
    return f"{value:,.10g}" if value < 1e6 else f"{format_three_digits(value / 1e6)} M"


def _text(x: float, y: float, text: str, name: str, colour: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{name}" fill="{colour}" font-size="{_FONT}"'
        f' text-anchor="{anchor}">{escape(text, quote=False)}</text>'
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, name: str, colour: str, width: float = 1, further: str = ""
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{name}" stroke="{colour}"'
        f' stroke-width="{width}"{further}/>'
    )


def _rect(x: float, y: float, width: float, height: float, name: str, colour: str, further: str = "") -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{name}"'
        f' fill="{colour}"{further}/>'
    )


def _wrap(
    parts: Iterable[str], width: int, height: int, title: str, description: str, name: str | None = None
) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="{_FONTS}"'
    )
    texts = f"<title>{escape(title, quote=False)}</title><desc>{escape(description, quote=False)}</desc>"
    return f'{head} class="{name or f"w{width}"}">{texts}{"".join(parts)}</svg>'


def draw_key(name: str) -> str:
    """Return the key of a legend: bar, outline, ink (a line), dashes, gap, whisker, none or s0 to s5."""
    shades = {f"s{number}": colour for number, colour in enumerate(SHADES)} | {"none": NO_SHADE}
    drawn = {
        **{shade: _rect(0, 1, 16, 10, shade, colour) for shade, colour in shades.items()},
        "bar": _rect(0, 1, 16, 10, "bar", BAR),
        "outline": _rect(1, 1, 14, 10, "outline", "none", f' stroke="{GREY}"'),
        "ink": _line(0, 6, 16, 6, "ink", INK, 2),
        "dashes": _line(0, 6, 16, 6, "ink", INK, 2, ' stroke-dasharray="3 2"'),
        "gap": _line(0, 6, 16, 6, "gap", NOT_RECEIVED, 3, ' stroke-dasharray="4 2"'),
        "whisker": _line(8, 0, 8, 12, "ink", INK, 1.5),
    }[name]
    return f'<svg viewBox="0 0 16 12" width="16" height="12" aria-hidden="true">{drawn}</svg>'
