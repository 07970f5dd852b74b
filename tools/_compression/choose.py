"""Which row wins, and one sentence for each row that does not."""

from dataclasses import dataclass

from .limits import Limits
from .search import Row, Search
from .shortlist import NARROWEST_TIE_BAND, harm, overall_ratio

Twins = dict[str, tuple[str, str]]  # a row, the better of the same kind, and what makes that one better
UNRACED = "the search time ended before it was judged on the confirmation rows"
CLEARLY_FASTER = 1.02  # below, one file for all batch sizes is worth more than the gain at one of them


@dataclass
class Outcome:
    """The winner over all batch sizes and per batch size; None is the baseline."""

    overall: str | None
    by_batch: dict[str, str | None]
    tie_band: float
    clock: dict[str, str]  # by batch size: what the ratios compare
    broken: str = ""  # the limit that the baseline breaks
    kept: str = ""  # the latency of a baseline that keeps all limits, beside the one allowed


def tie_band(raced: Row) -> float:
    """The widest gap of the baseline to its own copy, at least the idle machine's."""
    gaps = [abs(1 - float(ratio)) for ratio in raced["control"]["ratio"].values()]
    return max([NARROWEST_TIE_BAND, *gaps])


def choose(search: Search, raced: Row, limits: Limits, baseline: Row, twins: Twins) -> Outcome:
    """Mark each row's status; return the winners.

    A row wins when the bound of its drop keeps the budget, no limit is broken, no better twin of it is confirmed, and
    it is faster than the baseline beyond the tie band (or the baseline breaks a limit that the row keeps). The winner
    is the fastest of them; with a latency to keep, the least harmful.
    """
    band = tie_band(raced)
    smallest = search.batch_sizes[0]
    broken = limits.broken_by(baseline, smallest)
    needed = bool(broken)
    allowed = search.metric.allowed(baseline["metric"])
    for name, row in search.rows.items():
        if name in raced:
            row.update({k: v for k, v in raced[name].items() if k != "artifact"}, raced=True)
        row.setdefault("status", "")
        row["status"], row["reason"] = judge(row, limits, smallest, band, allowed, needed)
    confirmed = [name for name, row in search.rows.items() if row["status"] == "confirmed"]
    lesser = {n: why for n, (better, why) in twins.items() if n in confirmed and better in confirmed}
    for name, why in lesser.items():
        search.rows[name]["reason"] = why
    eligible = [name for name in confirmed if name not in lesser]
    best = _best(search, eligible, band, limits, needed)
    kept = "" if needed else limits.latency_kept_by(baseline, smallest)
    outcome = Outcome(best, {}, band, raced["control"]["clock"], broken, kept)
    for batch in map(str, search.batch_sizes):
        if limits.least_harm_counts:
            outcome.by_batch[batch] = best or _least_harmful_at(search, eligible, batch, band)
        else:
            outcome.by_batch[batch] = _best_at(search, eligible, batch, outcome, needed)
    for winner in {outcome.overall, *outcome.by_batch.values()}:
        if winner:
            search.rows[winner].update(status="chosen", reason="")
    return outcome


def judge(
    row: Row, limits: Limits, smallest: int, band: float, allowed: float, needed: bool
) -> tuple[str, str]:
    """Status and reason of one row."""
    if row["status"]:
        return row["status"], row["reason"]
    if row.get("finite") is False:
        return "non_finite", "its outputs on the confirmation rows hold NaN or infinity"
    if row.get("hopeless"):
        return "slower", f"{_ratios(row)} of the baseline's speed; not evaluated further"
    worthwhile = needed or max(row["ratio"].values()) >= 1 + band
    if worthwhile and "drop_bound" not in row and (row.get("raced") or row.get("unraced")):
        return "not_tried", UNRACED
    if row["drop"] > allowed:
        return "over_budget", f"drop {row['drop']:.4g} is above the budget of {allowed:.4g}"
    if row.get("moved_drop", 0.0) > allowed:
        return "over_budget", (
            f"its drop would be {row['moved_drop']:.4g} once the rows move on as far again as they did between "
            f"calibration and confirmation; the budget is {allowed:.4g}"
        )
    if broken := limits.broken_by(row, smallest):
        return "over_limit", broken
    if not worthwhile:
        return "slower", f"{_ratios(row)}: no gain beyond the tie band of {band:.0%}"
    if not row.get("raced"):
        others = "risk less" if limits.least_harm_counts else "were faster"
        return "slower", f"{_ratios(row)} at the first look; others {others}"
    if row["drop_bound"] > allowed:
        return "not_confirmed", (
            f"its drop may reach {row['drop_bound']:.4g} on unseen rows, the budget is {allowed:.4g}; "
            "more confirmation rows would narrow this"
        )
    lost = "another risks less" if limits.least_harm_counts else "not the fastest"
    return "confirmed", f"{_ratios(row)}: confirmed, but {lost}"


def _ratios(row: Row) -> str:
    return ", ".join(f"{value:.2f}x at batch {batch}" for batch, value in row["ratio"].items())


def _best(search: Search, names: list[str], band: float, limits: Limits, needed: bool) -> str | None:
    """The least harm or the best geometric mean, among rows that are slower than the baseline at no batch size."""
    rows = {n: search.rows[n] for n in names}
    if not needed:
        rows = {n: r for n, r in rows.items() if _gains(r, band)}
    if limits.least_harm_counts:
        return min(rows, key=lambda n: harm(rows[n]), default=None)
    return max(rows, key=lambda n: overall_ratio(rows[n]), default=None)


def _gains(row: Row, band: float) -> bool:
    return min(row["ratio"].values()) > 1 - band and overall_ratio(row) > 1 + band


def _least_harmful_at(search: Search, names: list[str], batch: str, band: float) -> str | None:
    """Of those that gain speed at one batch size."""
    gaining = [n for n in names if search.rows[n]["ratio"][batch] > 1 + band]
    return min(gaining, key=lambda n: harm(search.rows[n]), default=None)


def _best_at(search: Search, names: list[str], batch: str, outcome: Outcome, needed: bool) -> str | None:
    """The fastest at one batch size; the overall winner where that is a tie."""
    speed = {n: search.rows[n]["ratio"][batch] for n in names}
    best = max(speed, key=lambda n: speed[n], default=None)
    own = speed.get(outcome.overall or "", 1.0)
    margin = CLEARLY_FASTER if outcome.overall else 1 + outcome.tie_band
    if best is None or (speed[best] <= own * margin and (outcome.overall or not needed)):
        return outcome.overall
    return best
