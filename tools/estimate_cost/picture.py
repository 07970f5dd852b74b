"""A chart of the answer as one self-contained SVG: the plans, and the first break-even.

Plans with a wall time stand at time and cost, others as bars; lines reach from low to high. Numbers refer to the list
below the chart, so that names never overlap.
"""

from collections.abc import Sequence
from html import escape

from .answer import Plan
from .crossing import Crossing
from .words import plain

_WIDTH, _HEIGHT, _MARGIN, _LINE = 760, 320, 64, 18
_POINTS = 40  # of a break-even curve
_COLOURS = {"spot": "#2a7f62", "on_demand": "#31538f", "committed": "#8a5a00", "serverless": "#8f3161"}
_PLAIN = "#555555"


def chart(plans: Sequence[Plan], crossings: Sequence[Crossing], period: str) -> str:
    """SVG text."""
    timed = all(plan.wall_seconds is not None for plan in plans)
    parts = [_text(_MARGIN, 24, f"Cost in USD {period}; lines reach from low to high", 14)]
    parts += _scatter(plans) if timed else _bars(plans)
    top = _HEIGHT
    for number, plan in enumerate(plans, 1):
        top += _LINE
        hours = f", {plan.wall_seconds / 3600:.4g} h" if plan.wall_seconds is not None else ""
        parts.append(
            _text(
                _MARGIN, top, f"{number}  {plan.name}: {plan.expected_usd:,.4g} USD{hours}", 12, _colour(plan)
            )
        )
    if crossings:
        parts.append(
            f'<g transform="translate(0 {top + 2 * _LINE})">{"".join(_break_even(crossings[0]))}</g>'
        )
        top += _HEIGHT + _LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + _LINE}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _scatter(plans: Sequence[Plan]) -> list[str]:
    """Wall hours to the right, cost upwards."""
    hours = [(plan.wall_seconds or 0) / 3600 for plan in plans]
    most_hours, most_usd = max(hours) * 1.15 or 1, max(plan.high_usd for plan in plans) * 1.1 or 1
    parts = _axes("wall hours", most_hours, most_usd)
    for number, (plan, hour) in enumerate(zip(plans, hours, strict=True), 1):
        x = _x(hour / most_hours) + 7 * (number - len(plans) / 2)  # plans of one wall time stand side by side
        y, low, high = (_y(usd / most_usd) for usd in (plan.expected_usd, plan.low_usd, plan.high_usd))
        parts += _mark(number, plan, x, y, f"M{x:.1f} {low:.1f}V{high:.1f}")
    return parts


def _bars(plans: Sequence[Plan]) -> list[str]:
    """One row for each plan, cost to the right."""
    most = max(plan.high_usd for plan in plans) * 1.1 or 1
    step = (_HEIGHT - 2 * _MARGIN) / len(plans)
    parts = []
    for number, plan in enumerate(plans, 1):
        y = _MARGIN + step * (number - 0.5)
        x, low, high = (_x(usd / most) for usd in (plan.expected_usd, plan.low_usd, plan.high_usd))
        width = max(1.0, x - _MARGIN)
        bar = f'<rect x="{_MARGIN}" y="{y - 6:.1f}" width="{width:.1f}" height="12"'
        parts.append(f'{bar} fill="{_colour(plan)}" opacity="0.35"/>')
        parts += _mark(number, plan, x, y, f"M{low:.1f} {y:.1f}H{high:.1f}")
    return [*parts, *_scale_below(most, "USD")]


def _break_even(one: Crossing) -> list[str]:
    """Both costs against the quantity, up to twice the break-even."""
    most_x = 2 * one.value
    steps = [most_x * i / _POINTS for i in range(1, _POINTS + 1)]
    pairs = [one.costs(x) for x in steps]
    most_usd = max(one.costs(one.value)) * 2
    unit = one.quantity.replace("_", " ")
    parts = [
        _text(_MARGIN, 24, f"Break-even at {plain(one.value)} {unit}", 14),
        *_axes(unit, most_x, most_usd),
    ]
    for side, colour in ((0, "#2a7f62"), (1, "#31538f")):
        points = [
            (_x(x / most_x), _y(min(1.0, pair[side] / most_usd)))
            for x, pair in zip(steps, pairs, strict=True)
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="2" fill="none"/>')
        parts.append(_text(_MARGIN + 12, _MARGIN + 14 + 16 * side, one.between[side], 12, colour))
    x = _x(0.5)
    parts.append(f'<path d="M{x:.1f} {_y(0):.1f}V{_y(1):.1f}" stroke="#999999" stroke-dasharray="4 4"/>')
    return parts


def _mark(number: int, plan: Plan, x: float, y: float, path: str) -> list[str]:
    title = escape(f"{plan.name}: {plan.expected_usd:,.4g} USD ({plan.low_usd:,.4g} to {plan.high_usd:,.4g})")
    return [
        f'<path d="{path}" stroke="{_colour(plan)}" stroke-width="2" fill="none"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_colour(plan)}"><title>{title}</title></circle>',
        _text(x + 5, y - 5, str(number), 11, _colour(plan)),
    ]


def _axes(label: str, most_x: float, most_usd: float) -> list[str]:
    left, bottom = _MARGIN, _HEIGHT - _MARGIN
    line = f'<path d="M{left} {_MARGIN}V{bottom}H{_WIDTH - _MARGIN}" stroke="#888888" fill="none"/>'
    marks = [_text(6, _y(i / 4) + 4, plain(i / 4 * most_usd), 11) for i in range(5)]
    return [line, *marks, *_scale_below(most_x, label)]


def _scale_below(most: float, label: str) -> list[str]:
    bottom = _HEIGHT - _MARGIN
    marks = [_text(_x(i / 4) - 10, bottom + 18, plain(i / 4 * most), 11) for i in range(5)]
    return [*marks, _text(_WIDTH / 2 - 40, bottom + 38, label, 12)]


def _colour(plan: Plan) -> str:
    return _COLOURS.get(plan.purchase, _PLAIN)


def _x(share: float) -> float:
    return _MARGIN + share * (_WIDTH - 2 * _MARGIN)


def _y(share: float) -> float:
    return _HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN)


def _text(x: float, y: float, text: str, size: int, colour: str = "#222222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
