"""A before-and-after picture as one self-contained SVG."""

from html import escape

from .._core.ledger import Figure, Run
from .._core.quantity import human_bytes

_WIDTH, _LEFT, _BAR, _ROW = 760, 190, 400, 46
_COLOURS = {"before": "#9aa5b1", "after": "#1f77b4"}
_NAMES = {
    "peak_gpu_bytes": "peak GPU memory",
    "peak_rss_bytes": "peak host memory",
    "step_seconds_p50": "step time, median",
    "step_seconds_p95": "step time, p95",
    "wall_seconds": "wall time",
}
_CURVE = 180  # height of the loss curves


def draw(before: Run, after: Run) -> str:
    """Bars of the figures that both runs have, with the range of their repeats, and both loss curves below."""
    pairs = [
        (name, first, second)
        for metric, name in _NAMES.items()
        if (first := before.figure(metric)) and (second := after.figure(metric))
    ]
    height = 70 + _ROW * len(pairs)
    body = [_text(16, 26, f"Before {before.id} {before.label} and after {after.id} {after.label}", 15)]
    body += [_text(16, 46, f"Measured on {before.device}; whiskers: range of the repeats", 11)]
    for row, pair in enumerate(pairs):
        body += _bars(66 + row * _ROW, *pair)
    curves = _curves(height, before, after)
    total = height + (_CURVE + 50 if curves else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{total}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(body + curves)}</svg>\n'
    )


def _bars(top: float, name: str, before: Figure, after: Figure) -> list[str]:
    largest = max(one.high or one.value for one in (before, after)) or 1
    parts = [_text(16, top + 20, name, 12)]
    for place, (side, one) in enumerate((("before", before), ("after", after))):
        y = top + place * 18
        parts.append(
            f'<rect x="{_LEFT}" y="{y}" width="{_BAR * one.value / largest:.1f}" height="14" fill="{_COLOURS[side]}"/>'
        )
        if one.low is not None and one.high is not None and one.high > one.low:
            x = [_LEFT + _BAR * value / largest for value in (one.low, one.high)]
            parts.append(f'<path d="M{x[0]:.1f} {y + 7}H{x[1]:.1f}" stroke="black" stroke-width="1.5"/>')
        value = human_bytes(round(one.value)) if one.unit == "bytes" else f"{one.value:.4g} s"
        parts.append(_text(_LEFT + _BAR + 12, y + 11, f"{value} {side}", 11))
    return parts


def _curves(top: float, before: Run, after: Run) -> list[str]:
    series = {side: run.report.get("loss", []) for side, run in (("before", before), ("after", after))}
    values = [value for losses in series.values() for value in losses if value is not None]
    if len(values) < 4:
        return []
    low, high = min(values), max(values)
    every = {"before": before.report.get("loss_every", 1), "after": after.report.get("loss_every", 1)}
    last = max(len(losses) * every[side] for side, losses in series.items())
    parts = [_text(16, top + 20, "loss by step", 12), _text(_LEFT - 70, top + 20, f"{high:.4g}", 11)]
    parts.append(_text(_LEFT - 70, top + _CURVE, f"{low:.4g}", 11))
    parts.append(_text(_LEFT + _BAR - 20, top + _CURVE + 24, f"step {last}", 11))
    for side, losses in series.items():
        points = " ".join(
            f"{_LEFT + _BAR * place * every[side] / last:.1f},"
            f"{top + 12 + (_CURVE - 12) * (high - loss) / ((high - low) or 1):.1f}"
            for place, loss in enumerate(losses)
            if loss is not None
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{_COLOURS[side]}" stroke-width="2"/>')
    return parts


def _text(x: float, y: float, text: str, size: int) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}">{escape(text)}</text>'
