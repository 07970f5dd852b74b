"""The order of events of one call."""

from typing import Any

from .._compression.choose import Twins
from .._compression.finish import decide, report_fields
from .._compression.limits import Limits
from .._compression.processor import find_target
from .._compression.session import open_session
from .._compression.table import summarise
from .._compression.trained import Trained, check_training, most_seconds, train
from .._compression.trained_text import split_control, then_quantize
from .._core.contract import ToolError

MOST_SPARSITIES = 6


def prune(request: Any) -> dict[str, Any]:
    """The fields of the Report."""
    check_training(request)
    if not 1 <= len(request.sparsity) <= MOST_SPARSITIES:
        raise ToolError("sparsity takes 1 to 6 values", saw=request.sparsity, try_next="[0.5]")
    if bad := [s for s in request.sparsity if not 0 < s < 1]:
        raise ToolError("A sparsity is the share of channels to remove", saw=bad, try_next="0.3 or 0.5")
    target, _ = find_target(None, None)
    with open_session(
        request, max_seconds=most_seconds(request), limit="max_train_seconds", salt="prune", calibrate=False
    ) as session:
        trained = train(
            session, request, "prune", sparsity=sorted(set(request.sparsity)), seeds=request.seeds
        )
        outcome, baseline = decide(session, Limits(), _weaker_twins(session.search.rows, trained))
        verdict = summarise(session.search, outcome, baseline["metric"], keep="the dense network")
        verdict += _against_scratch(session.search.rows, trained, outcome.overall)
        verdict += "" if outcome.overall else _what_would_help(session.search.rows, trained)
        fields = report_fields(
            session, outcome, baseline, target, kind="prune", assumed=False, verdict=verdict, warnings=[],
            extra={"trained": {n: r["about"] for n, r in session.search.rows.items()}},
        )  # fmt: skip
        next_step = then_quantize(request, session.search, outcome, fields)
    kind = (
        "keep_dense"
        if not outcome.overall
        else "pruned"
        if outcome.overall in trained.candidates
        else "from_scratch"
    )
    return {**split_control(fields, trained), "outcome": kind, "next_step": next_step}


def _against_scratch(rows: dict[str, Any], trained: Trained, chosen: str | None) -> str:
    """What the trained weights were worth: the chosen network's metric beside its twin's."""
    for pruned, scratch in trained.pairs():
        if chosen in (pruned, scratch) and all("drop_bound" in rows[name] for name in (pruned, scratch)):
            a, b = rows[pruned]["metric"], rows[scratch]["metric"]
            return f" That network gave {a:.4g} pruned and tuned, {b:.4g} from scratch (confirmation rows, one seed)."
    return ""


def _what_would_help(rows: dict[str, Any], trained: Trained) -> str:
    """What may keep the budget where the pruned networks lost too much of the metric."""
    lost = [n for n in trained.candidates if rows[n]["status"] in ("over_budget", "not_confirmed")]
    if not lost:
        return ""
    short = any(trained.candidates[name]["cut_short"] for name in lost)
    time = "more max_train_seconds (time ended the fine-tune) or " if short else ""
    return f" Try {time}a smaller sparsity."


def _weaker_twins(rows: dict[str, Any], trained: Trained) -> Twins:
    """Of two networks of one shape, the one with the worse search metric: their speed is the same."""
    twins = {}
    for pruned, scratch in trained.pairs():
        a, b = rows[pruned].get("drop"), rows[scratch].get("drop")
        if a is None or b is None:
            continue
        loser, winner = (scratch, pruned) if a <= b else (pruned, scratch)
        twins[loser] = (winner, f"the same network as {winner}, which lost less on the search rows")
    return twins
