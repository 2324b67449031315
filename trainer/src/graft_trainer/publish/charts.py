"""Small charts as inline SVG: no script, no font, no address; colours come from the page's CSS variables, so dark and light both work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "histogram", "line_chart"]

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 42
MAX_POINTS = 600
"""A curve needs no more points than it has pixels."""


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    points: Sequence[tuple[float, float]]
    """(x, y), x rising."""
    css_class: str
    """Says the colour."""


def line_chart(lines: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """Draw curves over a common x.

    Args:
        lines: At least one point altogether, or nothing is drawn.
        x_label: Under the axis.
        y_label: For readers of screens.

    Returns:
        An `<svg>` element, or a paragraph saying that there is nothing to draw.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return '<p class="none">Nothing was recorded.</p>'
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    ticks = _ticks(min(y for _, y in points), max(y for _, y in points))
    y_low, y_high = ticks[0], ticks[-1]

    def x_at(x: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * ((x - x_low) / (x_high - x_low) if x_high > x_low else 0.5)

    def y_at(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - y_low) / (y_high - y_low)

    parts = [_open(f"{y_label} over {x_label}")]
    for tick in ticks:
        y = y_at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.3g}</text>')
    for x in dict.fromkeys([x_low, (x_low + x_high) / 2, x_high]):
        anchor = "end" if x == x_high and x_high > x_low else "middle"
        parts.append(f'<text x="{x_at(x):.1f}" y="{HEIGHT - 24}" text-anchor="{anchor}">{x:.0f}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    for line in lines:
        shown = _thinned(line.points)
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in shown)
        parts.append(f'<polyline class="{escape(line.css_class)}" points="{path}"/>')
        if len(shown) <= 20:  # few points are easy to miss without a mark
            parts += [
                f'<circle class="{escape(line.css_class)}" cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3"/>'
                for x, y in shown
            ]
    legend = "".join(
        f'<span class="key"><i class="{escape(line.css_class)}"></i>{escape(line.name)}</span>'
        for line in lines
        if line.points
    )
    return "".join([*parts, "</svg>", f'<div class="legend">{legend}</div>'])


def histogram(buckets: Sequence[tuple[int, int, int]], *, unit: str) -> str:
    """Draw counts by bucket.

    Args:
        buckets: (from, below, count).
        unit: Of the bounds.

    Returns:
        An `<svg>` element, or a paragraph saying that there is nothing to draw.
    """
    shown = _trimmed(buckets)
    if not shown:
        return '<p class="none">Nothing was measured.</p>'
    highest = max(count for _, _, count in shown)
    step = (WIDTH - LEFT - RIGHT) / len(shown)
    parts = [_open(f"records by length in {unit}")]
    for i, (low, below, count) in enumerate(shown):
        x, tall = LEFT + i * step, (HEIGHT - TOP - BOTTOM - 14) * count / highest
        middle = x + step / 2
        parts.append(
            f'<rect class="bar" x="{x + 3:.1f}" width="{max(step - 6, 1):.1f}" y="{HEIGHT - BOTTOM - tall:.1f}" height="{tall:.1f}" rx="3"/>'
            f'<text x="{middle:.1f}" y="{HEIGHT - BOTTOM - tall - 5:.1f}" text-anchor="middle">{count:,}</text>'
            f'<text x="{middle:.1f}" y="{HEIGHT - 24}" text-anchor="middle">{low:,}-{below - 1:,}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(unit)}</text></svg>'
    )
    return "".join(parts)


def _open(title: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"><title>{escape(title)}</title>'


def _ticks(low: float, high: float) -> list[float]:
    """Choose four to seven round values around the range (Heckbert 1990, "Nice numbers for graph labels")."""
    span = high - low or abs(high) or 1.0
    raw = span / 4
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    if first == last:
        last += 1
    return [step * i for i in range(first, last + 1)]


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    if len(points) <= MAX_POINTS:
        return points
    stride = -(-len(points) // MAX_POINTS)
    return [*points[::stride], points[-1]]


def _trimmed(buckets: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    filled = [i for i, (_, _, count) in enumerate(buckets) if count]
    return list(buckets[filled[0] : filled[-1] + 1]) if filled else []
