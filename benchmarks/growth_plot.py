"""A plot of curves that start at nothing, as an SVG written by hand: no drawing library for two pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _PANEL_WIDTH, _PANEL_HEIGHT = 900, 340, 70, 50, 340, 220
_COLOURS = ("#1f6feb", "#8b949e")
Panel = tuple[str, str, Sequence["Curve"]]


@dataclass(frozen=True)
class Curve:
    """Points (size, seconds), ascending."""

    name: str
    points: Sequence[tuple[int, float]]


def draw(panels: Sequence[Panel]) -> str:
    """Return the SVG: panels side by side, each (title, what is counted, curves)."""
    drawn = [_panel(*panel, left=_LEFT + index * (_PANEL_WIDTH + 90)) for index, panel in enumerate(panels)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(title: str, counted: str, curves: Sequence[Curve], left: int) -> str:
    most_size = max(size for curve in curves for size, _ in curve.points)
    most_seconds = 1.15 * max(seconds for curve in curves for _, seconds in curve.points)
    bottom, right = _TOP + _PANEL_HEIGHT, left + _PANEL_WIDTH

    def place(size: int, seconds: float) -> tuple[float, float]:
        return left + _PANEL_WIDTH * size / most_size, bottom - _PANEL_HEIGHT * seconds / most_seconds

    parts = [
        f'<text x="{left}" y="{_TOP - 18}" font-size="15">{escape(title)}: milliseconds by {escape(counted)}</text>',
        f'<path d="M{left},{_TOP} V{bottom} H{right}" fill="none" stroke="#57606a"/>',
    ]
    for step in range(5):
        seconds = most_seconds * step / 4
        y = place(0, seconds)[1]
        parts.append(f'<path d="M{left},{y:.1f} H{right}" stroke="#d0d7de" stroke-dasharray="2 4"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{seconds * 1e3:,.0f}</text>')
        size = most_size * step // 4
        x = place(size, 0)[0]
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{size:,}</text>')
    for number, curve in enumerate(curves):
        colour = _COLOURS[number]
        points = [place(size, seconds) for size, seconds in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{left + 12}" y="{_TOP + 14 + 16 * number}" fill="{colour}">{escape(curve.name)}</text>')
    return "\n".join(parts)
