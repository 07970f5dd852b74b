"""Which measured rows are worth a race: within the budget as far as the search rows tell, and fast."""

from typing import Any

from .limits import Limits

Row = dict[str, Any]
FINALISTS = 4
NEAR = 0.80  # a finalist's first-look ratio, as a share of the best one's


def finalists(
    rows: dict[str, Row], batch_sizes: list[int], allowed: float, limits: Limits, tried: set[str]
) -> list[str]:
    """The fastest rows that were not raced yet, overall and per batch size; those within the budget come first.

    The few search rows only screen: one of them can be a point of accuracy, so a row whose drop may be noise is raced.
    """
    fit = {
        name: row
        for name, row in rows.items()
        if name not in tried and _may_fit(row, allowed) and not limits.broken_by(row, batch_sizes[0])
    }
    picks: dict[str, float] = {}
    for key in [*map(str, batch_sizes), "overall"]:
        speed = {n: overall_ratio(r) if key == "overall" else r["ratio"][key] for n, r in fit.items()}
        best = max(speed.values(), default=0.0)
        for name, value in speed.items():
            if value >= NEAR * best:
                picks[name] = max(picks.get(name, 0.0), value / best)
    return sorted(picks, key=lambda n: (not is_fit(fit[n], allowed), -picks[n]))[:FINALISTS]


def _may_fit(row: Row, allowed: float) -> bool:
    """Whether the budget lies above the lower bound of the drop on the search rows."""
    screened = {**row, "drop": row["drop_least"]} if "drop_least" in row else row
    return is_fit(screened, allowed)


def is_fit(row: Row, allowed: float) -> bool:
    return bool("ratio" in row and row.get("finite") and not row.get("status") and worst_drop(row) <= allowed)


def worst_drop(row: Row) -> float:
    """The drop on the rows at hand, or on rows moved on as the series moves, whichever is larger."""
    return float(max(row["drop"], row.get("moved_drop", row["drop"])))


def overall_ratio(row: Row) -> float:
    """Geometric mean of the speed ratios over the batch sizes."""
    product = 1.0
    for value in row["ratio"].values():
        product *= value
    return float(product ** (1 / len(row["ratio"])))
