"""The Pareto picture: metric against latency, as a self-contained SVG."""

from dataclasses import dataclass
from html import escape

from .nouns import Candidate

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 440, 70, 30, 48, 56
_COLOURS = {"chosen": "#0a7d33", "confirmed": "#2f6fb0", "baseline": "#222222"}
_LOST = "#b3532b"


@dataclass(frozen=True)
class Axis:
    """From a value to a place on the page."""

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def over(cls, values: list[float], start: float, stop: float, *, from_zero: bool = False) -> "Axis":
        low, high = (0.0 if from_zero else min(values)), max(values)
        margin = (high - low) * 0.08 or abs(high) * 0.01 or 1.0
        return cls(low if from_zero else low - margin, high + margin, start, stop)

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        return [self.low + (self.high - self.low) * i / 5 for i in range(1, 5)]


def draw(baseline: Candidate, rows: list[Candidate], batch: int, metric: str, *, higher: bool) -> str:
    """Every measured candidate as a point; up and to the left is better, a ring marks the chosen one."""
    key = str(batch)
    points = [
        (1000 * c.latency_seconds[key], c.metric, c)
        for c in [baseline, *rows]
        if c.latency_seconds and c.metric is not None and key in c.latency_seconds
    ]
    x = Axis.over([p[0] for p in points], LEFT, WIDTH - RIGHT, from_zero=True)
    ends = (HEIGHT - BOTTOM, TOP) if higher else (TOP, HEIGHT - BOTTOM)
    y = Axis.over([p[1] for p in points], *ends)
    body, labels = [_axes(batch, metric, x, y)], Labels()
    for milliseconds, value, c in sorted(points, key=lambda p: p[0]):
        body.append(_point(c, x.place(milliseconds), y.place(value), labels, is_baseline=c is baseline))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(body)}</svg>\n"
    )


def _axes(batch: int, metric: str, x: Axis, y: Axis) -> str:
    middle, centre = HEIGHT / 2, (LEFT + WIDTH) / 2
    name = escape(metric)
    parts = [
        f'<text x="{LEFT}" y="24" font-size="15">{name} against latency, batch {batch} (ring: chosen)</text>',
        f'<path d="M{LEFT} {TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}" fill="none" stroke="#888"/>',
        f'<text x="{centre:.0f}" y="{HEIGHT - 12}" text-anchor="middle">median latency, milliseconds</text>',
        f'<text x="16" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 16 {middle:.0f})">{name}</text>',
    ]
    base = HEIGHT - BOTTOM + 16
    grey = 'fill="#555"'
    parts += [
        f'<text x="{x.place(v):.1f}" y="{base}" text-anchor="middle" {grey}>{v:.3g}</text>' for v in x.ticks()
    ]
    left = LEFT - 6
    parts += [
        f'<text x="{left}" y="{y.place(v):.1f}" text-anchor="end" {grey}>{v:.4g}</text>' for v in y.ticks()
    ]
    return "".join(parts)


class Labels:
    """Places for labels that do not cover each other."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float]] = []

    def place(self, x: float, y: float) -> float:
        """Above the point, further up while that is taken, else below."""
        for step in [-8 - 13 * i for i in range(8)] + [18 + 13 * i for i in range(20)]:
            free = all(abs(y + step - other) >= 13 or abs(x - at) >= 190 for at, other in self.taken)
            if free and TOP - 6 < y + step < HEIGHT - BOTTOM - 4:
                break
        self.taken.append((x, y + step))
        return y + step


def _point(c: Candidate, x: float, y: float, labels: Labels, *, is_baseline: bool) -> str:
    colour = _COLOURS["baseline"] if is_baseline else _COLOURS.get(c.status, _LOST)
    ring = ""
    if c.status == "chosen":
        ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="{colour}" stroke-width="2"/>'
    anchor, shift = ("end", -8) if x > WIDTH - 200 else ("start", 8)
    tip = escape(f"{c.variant}: {c.status}. {c.reason}".strip())
    return (
        f'<g fill="{colour}"><title>{tip}</title>{ring}<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        f'<text x="{x + shift:.1f}" y="{labels.place(x, y):.1f}" text-anchor="{anchor}">{escape(c.variant)}</text></g>'
    )
