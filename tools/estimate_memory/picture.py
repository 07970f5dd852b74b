"""The timeline, stacked by kind, with phases, peak and the card's limit: as a page without scripts, and as a PNG."""

from html import escape
from typing import Any

from .._core.data_block import data_block
from .._core.quantity import human_bytes
from .card import Card
from .judge import Bounds
from .png import ADVANCE, draw
from .shapes import Area, Line, Shape, Text

WIDTH, HEIGHT, LEFT, TOP = 1000, 380, 150, 60
PAGE_WIDTH, PAGE_HEIGHT = LEFT + WIDTH + 20, TOP + HEIGHT + 70
COLOURS = {
    "weights": "#4477aa",
    "gradients": "#ee6677",
    "optimizer": "#228833",
    "activations": "#ccbb44",
    "other": "#999999",
}
INK, GUIDE, LIMIT = "#222222", "#bbbbbb", "#cc0000"
NOTE = "Horizontal: births and deaths of tensors in order, not time. Simulated; nothing here was measured."


def pictures(reply: dict[str, Any], card: Card, bounds: Bounds | None) -> tuple[bytes, bytes]:
    """The timeline as a self-contained HTML page, which carries the series that it draws, and as a PNG."""
    shapes = _shapes(reply, card, bounds)
    caption = " ".join(_caption(reply))
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Memory timeline</title>
<style>body{{font:14px sans-serif;margin:24px}}svg{{max-width:100%;height:auto}}text{{font-size:14px}}</style>
<svg viewBox="0 0 {PAGE_WIDTH} {PAGE_HEIGHT}" role="img" aria-label="{escape(caption)}">
{"".join(map(_svg, shapes))}{data_block(reply["timeline"])}</svg>
<p>{NOTE}</p></html>
"""
    return page.encode(), draw(PAGE_WIDTH, PAGE_HEIGHT, shapes)


def _caption(reply: dict[str, Any]) -> list[str]:
    module = f", in {reply['peak_module']}" if reply["peak_module"] else ""
    return [
        f"Predicted memory over two steps: {human_bytes(reply['peak_allocated_bytes'])} at the peak",
        f"Peak: {reply['peak_operator']} ({reply['peak_phase']}{module})"[: PAGE_WIDTH // ADVANCE],
    ]


def _shapes(reply: dict[str, Any], card: Card, bounds: Bounds | None) -> list[Shape]:
    series = reply["timeline"]
    limit = bounds.capacity_bytes if bounds else None
    highest = max(sum(point[1:]) for point in series["points"])
    top = 1.05 * (max(highest, limit) if limit and limit < 3 * highest else highest)
    shapes: list[Shape] = [Text(INK, 8, 20 + 22 * row, line) for row, line in enumerate(_caption(reply))]
    shapes += [*_areas(series, top), *_phases(series), *_marks(series, top)]
    if limit and limit <= top:
        y = _y(limit, top)
        shapes.append(Line(LIMIT, LEFT, y, WIDTH, dashed=True))
        shapes.append(Text(LIMIT, LEFT + 6, y - 6, f"capacity of {card.name}: {human_bytes(limit)}"))
    return [*shapes, *_legend()]


def _x(event: float, series: dict[str, Any]) -> float:
    return float(LEFT + WIDTH * event / max(1, series["events"]))


def _y(size: float, top: float) -> float:
    return TOP + HEIGHT * (1 - size / top)


def _areas(series: dict[str, Any], top: float) -> list[Shape]:
    shapes: list[Shape] = []
    points = series["points"]
    xs = [_x(point[0], series) for point in points]
    below = [0] * len(points)
    for at, name in enumerate(series["kinds"], start=1):
        above = [low + point[at] for low, point in zip(below, points, strict=True)]
        edges = [[_y(size, top) for size in sizes] for sizes in (above, below)]
        shapes.append(Area(COLOURS[name], xs, *edges))
        below = above
    place = max(range(len(points)), key=below.__getitem__)
    return [*shapes, Text(INK, xs[place] - 2 * ADVANCE, _y(below[place], top) - 6, "peak")]


def _phases(series: dict[str, Any]) -> list[Shape]:
    """A guide where each begins; its name where there is room."""
    shapes: list[Shape] = []
    free = 0.0
    for event, name in series["phases"]:
        x = _x(event, series)
        shapes.append(Line(GUIDE, x, TOP, HEIGHT, vertical=True))
        if x >= free and x + len(name) * ADVANCE < PAGE_WIDTH:
            shapes.append(Text(INK, x + 2, TOP + HEIGHT + 20, name))
            free = x + (len(name) + 1) * ADVANCE
    return shapes


def _marks(series: dict[str, Any], top: float) -> list[Shape]:
    return [
        Text(INK, LEFT - 6, _y(size, top) + 6, human_bytes(int(size)), ends=True)
        for size in (top * part for part in (0, 0.25, 0.5, 0.75, 1))
    ]


def _legend() -> list[Shape]:
    shapes: list[Shape] = []
    x, y = float(LEFT), float(TOP + HEIGHT + 40)
    for name, colour in COLOURS.items():
        shapes.append(Area(colour, [x, x + 14], [y, y], [y + 14, y + 14]))
        shapes.append(Text(INK, x + 20, y + 13, name))
        x += 20 + (len(name) + 2) * ADVANCE
    return shapes


def _svg(shape: Shape) -> str:
    if isinstance(shape, Area):
        edges = [
            *zip(shape.xs, shape.tops, strict=True),
            *zip(reversed(shape.xs), reversed(shape.bottoms), strict=True),
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in edges)
        return f'<polygon fill="{shape.colour}" points="{points}"/>'
    if isinstance(shape, Line):
        way = "v" if shape.vertical else "h"
        dashes = ' stroke-dasharray="6 4"' if shape.dashed else ""
        return f'<path stroke="{shape.colour}"{dashes} d="M{shape.x:.1f} {shape.y:.1f}{way}{shape.length}"/>'
    anchor = ' text-anchor="end"' if shape.ends else ""
    return (
        f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" fill="{shape.colour}"{anchor}>{escape(shape.text)}</text>'
    )
