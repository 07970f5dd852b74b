"""Which measured rows are worth a race: within the budget as far as the search rows tell, and fast."""

from typing import Any

from .limits import Limits

Row = dict[str, Any]
FINALISTS = 4
# fp32 against itself on an idle machine stayed within this; references/compression.md
NARROWEST_TIE_BAND = 0.03
NEAR = 0.80  # a finalist's first-look ratio, as a share of the best one's


def finalists(
    rows: dict[str, Row],
    batch_sizes: list[int],
    allowed: float,
    limits: Limits,
    tried: set[str],
    *,
    needed: bool = False,
) -> list[str]:
    """The most promising rows that were not raced yet; those within the budget come first.

    Those are the fastest, overall and per batch size. With a latency to keep they are the least harmful that keep it
    and gain speed, or any speed where one is `needed`. The few search rows only screen: one of them can be a point of
    accuracy, so a row whose drop may be noise is raced, and so is one whose p95 of a short look alone is too long.
    """
    fit = {
        name: row
        for name, row in rows.items()
        if name not in tried and _may_fit(row, allowed) and not limits.broken_by(row, batch_sizes[0], "p50")
    }
    if limits.least_harm_counts:
        gaining = [n for n, row in fit.items() if needed or max(row["ratio"].values()) > 1]
        return sorted(gaining, key=lambda n: (not is_fit(fit[n], allowed), *harm(fit[n])))[:FINALISTS]
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


def harm(row: Row) -> tuple[float, float, float]:
    """What a row may cost: metric, then drift, then time. A metric that rose by the change of a model is luck."""
    drop = max(0.0, row.get("drop_bound", 0.0), worst_drop(row))
    return drop, (row.get("drift") or {}).get("max_abs", 0.0), -overall_ratio(row)


def overall_ratio(row: Row) -> float:
    """Geometric mean of the speed ratios over the batch sizes."""
    product = 1.0
    for value in row["ratio"].values():
        product *= value
    return float(product ** (1 / len(row["ratio"])))
