"""From candidates to an answer: what is feasible, cheapest first, which are tied, and which one to take."""

from dataclasses import dataclass

from .candidate import Candidate, Miss, budget_miss, deadline_miss, name_all
from .option import Constraints

TIE_SHARE = 0.01

# Between plans that cost the same: no interruptions before interruptions, no cold starts before cold starts.
_CALM = {"as_it_runs": 0, "own": 0, "on_demand": 0, "committed": 1, "serverless": 2, "spot": 3}


@dataclass(frozen=True, slots=True)
class Comparison:
    feasible: list[Candidate]
    tied: int  # how many from the front are within TIE_SHARE of the cheapest
    missed: list[Miss]

    @property
    def recommended(self) -> Candidate | None:
        """The calmest of the tied, else the cheapest."""
        return min(self.feasible[: self.tied], key=lambda one: (_CALM[one.purchase], one.usd), default=None)


def compare(found: list[Candidate | Miss], constraints: Constraints) -> Comparison:
    """Split by deadline and budget, and sort by cost; equal costs by name, so that the order is certain."""
    candidates = [one for one in found if isinstance(one, Candidate)]
    missed = [one for one in found if isinstance(one, Miss)]
    name_all(candidates)
    feasible = []
    for one in candidates:
        misses = [miss for miss in (deadline_miss(one, constraints), budget_miss(one, constraints)) if miss]
        missed += misses
        if not misses:
            feasible.append(one)
    feasible.sort(key=lambda one: (one.usd, one.name))
    tied = sum(one.usd <= feasible[0].usd * (1 + TIE_SHARE) for one in feasible)
    return Comparison(
        feasible, tied, sorted(missed, key=lambda miss: (miss.reason, miss.misses_by or 0, miss.name))
    )


def reason(comparison: Comparison) -> str:
    """Why the recommended plan, in one sentence."""
    best = comparison.recommended
    if best is None:
        nearest = min(
            (m for m in comparison.missed if m.misses_by), key=lambda m: m.misses_by or 0, default=None
        )
        return f"No plan does. {nearest.name} {nearest.why}." if nearest else "No plan does; see infeasible."
    if comparison.tied > 1:
        others = ", ".join(one.name for one in comparison.feasible[: comparison.tied] if one is not best)
        calm = {"spot": "", "serverless": ""}.get(best.purchase, " and has no interruptions or cold starts")
        return f"{best.name} is tied within 1 % with {others}{calm}."
    if len(comparison.feasible) == 1:
        return f"{best.name} is the only plan that does."
    second = comparison.feasible[1]
    return (
        f"{best.name} costs {1 - best.usd / second.usd:.0%} less than {second.name}, the next."
        if second.usd
        else ""
    )
