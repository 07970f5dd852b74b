"""Small line charts as SVG: nothing to install, opens in any browser."""

from collections.abc import Sequence
from html import escape

import numpy as np

from .._core.data_block import data_block
from .arrays.streams import Floats

_WIDTH, _HEIGHT, _PAD = 640, 150, 24
_COLOURS = ("#222222", "#d1495b", "#2e86ab", "#66a182", "#edae49", "#8d6a9f")

Curve = tuple[str, Floats, int]  # name, values, first step


def chart(panels: Sequence[tuple[str, Sequence[Curve]]]) -> bytes:
    """Panels one below the other, each a title and its curves on shared axes. The picture carries their values."""
    parts = [_panel(title, curves, k * (_HEIGHT + _PAD)) for k, (title, curves) in enumerate(panels)]
    height = len(panels) * (_HEIGHT + _PAD)
    size = f'viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, *parts, _carried(panels), "</svg>\n"]).encode("utf-8")


def _carried(panels: Sequence[tuple[str, Sequence[Curve]]]) -> str:
    return data_block(
        [
            (title, [(name, [float(f"{v:.6g}") for v in y.tolist()], first) for name, y, first in curves])
            for title, curves in panels
        ]
    )


def _panel(title: str, curves: Sequence[Curve], top: int) -> str:
    values = np.concatenate([c[1] for c in curves])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    bottom, span = top + _PAD + _HEIGHT, (high - low) or 1.0
    last = max(first + len(y) for _, y, first in curves)
    lines = [f'<text x="4" y="{top + 14}">{escape(title)}  ({low:.4g} to {high:.4g})</text>']
    for k, (name, y, first) in enumerate(curves):
        points = " ".join(
            f"{_WIDTH * (first + t) / max(last - 1, 1):.1f},{bottom - _HEIGHT * (v - low) / span:.1f}"
            for t, v in enumerate(y.tolist())
            if np.isfinite(v)
        )
        colour = _COLOURS[k % len(_COLOURS)]
        lines.append(f'<polyline fill="none" stroke="{colour}" points="{points}"/>')
        lines.append(
            f'<text x="{_WIDTH - 4}" y="{top + 14 + 12 * k}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join(lines)
