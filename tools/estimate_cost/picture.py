"""A chart of the plans as one self-contained SVG: cost against wall time, or cost in bars, and the break-evens."""

from collections.abc import Sequence
from html import escape

from .answer import BreakEven, Plan

_WIDTH, _HEIGHT, _MARGIN = 720, 420, 70
_COLOURS = {
    "spot": "#2a7f62",
    "on_demand": "#31538f",
    "committed": "#8a5a00",
    "serverless": "#8f3161",
    "own": "#555",
}


def chart(plans: Sequence[Plan], crossings: Sequence[BreakEven], period: str) -> str:
    """SVG text. Each plan is a mark with its low-to-high range; numbers stand in the title of each mark."""
    timed = [plan for plan in plans if plan.wall_seconds is not None]
    body = _scatter(timed) if len(timed) == len(plans) else _bars(plans)
    texts = [
        f"{c.between[0]} is cheaper up to {c.value:,.4g} {c.quantity}, then {c.between[1]}"
        for c in crossings[:4]
    ]
    foot = [_text(_MARGIN, _HEIGHT + 20 + 18 * i, text, 12) for i, text in enumerate(texts)]
    height = _HEIGHT + 24 + 18 * len(texts)
    title = _text(_MARGIN, 24, f"Cost in USD {period}; lines show low to high", 14)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="#fff"/>{title}{"".join(body)}{"".join(foot)}</svg>\n'
    )


def _scatter(plans: Sequence[Plan]) -> list[str]:
    """Wall hours to the right, cost upwards."""
    hours = [(plan.wall_seconds or 0) / 3600 for plan in plans]
    most_hours, most_usd = max(hours) * 1.1 or 1, max(plan.high_usd for plan in plans) * 1.05 or 1
    parts = _axes("wall hours", most_hours, most_usd)
    for plan, hour in zip(plans, hours, strict=True):
        x = _x(hour / most_hours)
        y, low, high = (_y(usd / most_usd) for usd in (plan.expected_usd, plan.low_usd, plan.high_usd))
        parts += _mark(plan, x, y, f"M{x:.1f} {low:.1f}V{high:.1f}")
        parts.append(_text(x + 8, y + 4, plan.name, 11))
    return parts


def _bars(plans: Sequence[Plan]) -> list[str]:
    """One row for each plan, cost to the right."""
    most = max(plan.high_usd for plan in plans) * 1.05 or 1
    step = (_HEIGHT - 2 * _MARGIN) / len(plans)
    parts = []
    for i, plan in enumerate(plans):
        y = _MARGIN + step * (i + 0.5)
        x, low, high = (_x(usd / most) for usd in (plan.expected_usd, plan.low_usd, plan.high_usd))
        colour = _COLOURS.get(plan.purchase, "#555")
        parts.append(
            f'<rect x="{_MARGIN}" y="{y - 5:.1f}" width="{max(1, x - _MARGIN):.1f}" height="10" '
            f'fill="{colour}" opacity=".35"/>'
        )
        parts += _mark(plan, x, y, f"M{low:.1f} {y:.1f}H{high:.1f}")
        parts.append(_text(_MARGIN, y - 9, f"{plan.name}: {plan.expected_usd:,.4g} USD", 11))
    return parts


def _mark(plan: Plan, x: float, y: float, path: str) -> list[str]:
    colour = _COLOURS.get(plan.purchase, "#555")
    title = escape(f"{plan.name}: {plan.expected_usd:,.4g} USD ({plan.low_usd:,.4g} to {plan.high_usd:,.4g})")
    return [
        f'<path d="{path}" stroke="{colour}" stroke-width="2" fill="none"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{title}</title></circle>',
    ]


def _axes(label: str, most_x: float, most_usd: float) -> list[str]:
    left, right, bottom, top = _MARGIN, _WIDTH - _MARGIN, _HEIGHT - _MARGIN, _MARGIN
    parts = [f'<path d="M{left} {top}V{bottom}H{right}" stroke="#888" fill="none"/>']
    for i in range(5):
        share = i / 4
        parts.append(_text(_x(share) - 10, bottom + 18, f"{share * most_x:.3g}", 11))
        parts.append(_text(8, _y(share) + 4, f"{share * most_usd:,.3g} USD", 11))
    return [*parts, _text(_WIDTH / 2 - 30, bottom + 38, label, 12)]


def _x(share: float) -> float:
    return _MARGIN + share * (_WIDTH - 2 * _MARGIN)


def _y(share: float) -> float:
    return _HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN)


def _text(x: float, y: float, text: str, size: int) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="#222">{escape(text)}</text>'
