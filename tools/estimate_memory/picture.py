"""The timeline as one page without scripts or links: stacked areas by kind, phases, the peak, the card's limit."""

from html import escape
from typing import Any

from .._core.data_block import data_block
from .._core.quantity import human_bytes
from .card import Card
from .judge import Bounds

WIDTH, HEIGHT, LEFT, TOP = 1000, 380, 90, 30
COLOURS = {
    "weights": "#4477aa",
    "gradients": "#ee6677",
    "optimizer": "#228833",
    "activations": "#ccbb44",
    "other": "#999999",
}


def page(reply: dict[str, Any], card: Card, bounds: Bounds | None) -> str:
    """A self-contained HTML page, which carries the series that it draws."""
    series = reply["timeline"]
    limit = bounds.capacity_bytes if bounds else None
    highest = max(sum(point[1:]) for point in series["points"])
    top = max(highest, limit) if limit and limit < 3 * highest else highest
    top = top * 1.05
    shapes = [*_areas(series, top), *_phases(series), *_marks(series, top)]
    if limit and limit <= top:
        shapes.append(_level(limit, top, f"allocator's share of {card.name}: {human_bytes(limit)}"))
    caption = (
        f"Predicted memory over two steps, {human_bytes(reply['peak_allocated_bytes'])} at the peak: "
        f"{reply['peak_operator']} ({reply['peak_phase']}"
        f"{', ' + reply['peak_module'] if reply['peak_module'] else ''})"
    )
    legend = "".join(
        f'<tspan fill="{colour}">■ </tspan><tspan>{name}   </tspan>' for name, colour in COLOURS.items()
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Memory timeline</title>
<style>body{{font:14px sans-serif;margin:24px}}svg{{max-width:100%;height:auto}}text{{font-size:12px}}</style>
<h1 style="font-size:18px">{escape(caption)}</h1>
<svg viewBox="0 0 {LEFT + WIDTH + 20} {TOP + HEIGHT + 60}" role="img" aria-label="{escape(caption)}">
{"".join(shapes)}<text x="{LEFT}" y="{TOP + HEIGHT + 48}" xml:space="preserve">{legend}</text>{data_block(series)}</svg>
<p>Horizontal: births and deaths of tensors in order, not time. Simulated; nothing here was measured.</p></html>
"""


def _x(event: float, series: dict[str, Any]) -> float:
    return float(LEFT + WIDTH * event / max(1, series["events"]))


def _y(size: float, top: float) -> float:
    return TOP + HEIGHT * (1 - size / top)


def _areas(series: dict[str, Any], top: float) -> list[str]:
    shapes = []
    below = [0] * len(series["points"])
    for at, name in enumerate(series["kinds"], start=1):
        above = [low + point[at] for low, point in zip(below, series["points"], strict=True)]
        xs = [_x(point[0], series) for point in series["points"]]
        forward = [f"{x:.1f},{_y(size, top):.1f}" for x, size in zip(xs, above, strict=True)]
        back = [f"{x:.1f},{_y(size, top):.1f}" for x, size in zip(reversed(xs), reversed(below), strict=True)]
        shapes.append(f'<polygon fill="{COLOURS[name]}" points="{" ".join(forward + back)}"/>')
        below = above
    return shapes


def _phases(series: dict[str, Any]) -> list[str]:
    shapes = []
    for event, name in series["phases"]:
        x = _x(event, series)
        shapes.append(f'<path stroke="#0003" d="M{x:.1f} {TOP}v{HEIGHT}"/>')
        shapes.append(f'<text x="{x + 2:.1f}" y="{TOP + HEIGHT + 16}">{escape(name)}</text>')
    return shapes


def _marks(series: dict[str, Any], top: float) -> list[str]:
    return [
        f'<text x="{LEFT - 6}" y="{_y(size, top) + 4:.1f}" text-anchor="end">{human_bytes(int(size))}</text>'
        for size in (top * part for part in (0, 0.25, 0.5, 0.75, 1))
    ]


def _level(size: int, top: float, label: str) -> str:
    y = _y(size, top)
    line = f'<path stroke="#c00" stroke-dasharray="6 4" d="M{LEFT} {y:.1f}h{WIDTH}"/>'
    return f'{line}<text x="{LEFT + 6}" y="{y - 4:.1f}" fill="#c00">{escape(label)}</text>'
