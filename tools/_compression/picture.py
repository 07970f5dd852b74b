"""The Pareto picture: metric against latency, as a self-contained SVG."""

from html import escape

from .nouns import Candidate

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 440, 70, 30, 48, 56
_COLOURS = {"chosen": "#0a7d33", "confirmed": "#2f6fb0", "baseline": "#222222"}
_LOST = "#b3532b"


def draw(baseline: Candidate, rows: list[Candidate], batch: int, metric: str, *, higher: bool) -> str:
    """Every measured candidate as a point; up and to the left is better, a ring marks the chosen one."""
    key = str(batch)
    points = [
        c
        for c in [baseline, *rows]
        if c.latency_seconds and c.metric is not None and key in c.latency_seconds
    ]
    xs = [1000 * (c.latency_seconds or {})[key] for c in points]
    ys = [c.metric or 0.0 for c in points]
    x_of, y_of = (
        _scale(xs, LEFT, WIDTH - RIGHT, 0.0),
        _scale(ys, *((HEIGHT - BOTTOM, TOP) if higher else (TOP, HEIGHT - BOTTOM))),
    )
    body = [_axes(batch, metric, min(xs), max(xs), min(ys), max(ys), x_of, y_of)]
    labelled: list[tuple[float, float]] = []
    for c, x, y in sorted(zip(points, xs, ys, strict=True), key=lambda p: p[1]):
        body.append(_point(c, x_of(x), y_of(y), labelled, is_baseline=c is baseline))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(body)}</svg>\n'
    )


def _scale(values, start, stop, floor=None):  # type: ignore[no-untyped-def]
    low, high = min(values), max(values)
    if floor is not None:
        low = floor
    margin = (high - low) * 0.08 or abs(high) * 0.01 or 1.0
    low, high = low - (margin if floor is None else 0), high + margin
    return lambda v: start + (v - low) / (high - low) * (stop - start)


def _axes(batch, metric, x0, x1, y0, y1, x_of, y_of) -> str:  # type: ignore[no-untyped-def]
    parts = [
        f'<text x="{LEFT}" y="24" font-size="15">{escape(metric)} against latency, batch {batch}</text>',
        f'<path d="M{LEFT} {TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}" fill="none" stroke="#888"/>',
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">median latency, milliseconds</text>',
        f'<text x="16" y="{HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2:.0f})">{escape(metric)}</text>',
    ]
    for i in range(5):
        x, y = x1 * i / 4, y0 + (y1 - y0) * i / 4
        parts.append(
            f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="#555">{x:.3g}</text>'
        )
        if y1 > y0 or i == 0:
            parts.append(
                f'<text x="{LEFT - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end" fill="#555">{y:.4g}</text>'
            )
    return "".join(parts)


def _point(
    c: Candidate, x: float, y: float, labelled: list[tuple[float, float]], *, is_baseline: bool
) -> str:
    colour = _COLOURS["baseline"] if is_baseline else _COLOURS.get(c.status, _LOST)
    ring = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="{colour}" stroke-width="2"/>'
        if c.status == "chosen"
        else ""
    )
    label_y = y - 8
    while any(abs(label_y - ly) < 13 and abs(x - lx) < 150 for lx, ly in labelled):
        label_y -= 13
    if label_y < TOP:
        label_y = y + 18
        while any(abs(label_y - ly) < 13 and abs(x - lx) < 150 for lx, ly in labelled):
            label_y += 13
    labelled.append((x, label_y))
    anchor = "end" if x > WIDTH - 180 else "start"
    tip = f"{c.variant}: {c.status}. {c.reason}".strip()
    return (
        f'<g><title>{escape(tip)}</title>{ring}<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
        f'<text x="{x + (8 if anchor == "start" else -8):.1f}" y="{label_y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(c.variant)}</text></g>'
    )
