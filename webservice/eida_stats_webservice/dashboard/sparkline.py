"""The counts of the last hour as a small line."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from markupsafe import Markup

from eida_stats_webservice.reports.charts import BAR, LINES

_WIDTH, _HEIGHT, _EDGE = 160, 28, 2


def draw_sparkline(counts: Sequence[int | None]) -> Markup:
    """Return a line from the left, where the first count is, to the right. It begins at 0; None is a gap.

    A style may set any width and height: the line stays as thick.
    """
    largest = max((count for count in counts if count is not None), default=0)
    step = (_WIDTH - 2 * _EDGE) / max(1, len(counts) - 1)
    height = _HEIGHT - 2 * _EDGE

    def place(number: int, count: int) -> str:
        y = _HEIGHT - _EDGE - count / max(1, largest) * height
        return f"{_EDGE + number * step:.1f},{y:.1f}"

    lines = [
        f'<polyline points="{" ".join(place(number, count) for number, count in run)}" class="line"'
        f' fill="none" stroke="{BAR}" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"'
        ' vector-effect="non-scaling-stroke"/>'
        for run in _list_runs(counts)
    ]
    base = _HEIGHT - 1
    lines.insert(0, f'<line x1="0" y1="{base}" x2="{_WIDTH}" y2="{base}" class="rule" stroke="{LINES}"/>')
    # The numbers are the only text, and the drawing has nothing else.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img"'
        ' preserveAspectRatio="none"'
        f' aria-label="{escape(_describe(counts))}" class="spark">{"".join(lines)}</svg>'
    )


def _list_runs(counts: Sequence[int | None]) -> Iterable[list[tuple[int, int]]]:
    """Yield the counts between gaps with their places. A single one is there twice, so that it is a dot."""
    for is_known, run in groupby(enumerate(counts), key=lambda numbered: numbered[1] is not None):
        if is_known:
            known = [(number, count) for number, count in run if count is not None]
            yield known if len(known) > 1 else known * 2


def _describe(counts: Sequence[int | None]) -> str:
    known = [count for count in counts if count is not None]
    if not known:
        return "not shown"
    gaps = ", with gaps" if len(known) < len(counts) else ""
    return f"from {min(known)} to {max(known)}{gaps}"
