"""From candidates to an answer: what is feasible, cheapest first, which are tied, and which one to take."""

from dataclasses import dataclass, field
from itertools import takewhile

from .candidate import Candidate, Miss, budget_miss, deadline_miss, name_all
from .option import Constraints

TIE_SHARE = 0.01

# Between plans that cost the same: no interruptions before interruptions, no cold starts before cold starts.
_CALM = {
    "as_it_runs": 0,
    "own": 0,
    "on_demand": 0,
    "committed": 1,
    "serverless": 2,
    "spot": 3,
    "spot_then_on_demand": 3,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`feasible` is cheapest first; `avoid_spot` when each interruption is a gap that nobody has agreed to.

    `aside` is feasible too, but asks for more than anybody has asked about: it is mentioned, not compared.
    """

    feasible: list[Candidate]
    missed: list[Miss]
    avoid_spot: bool
    aside: list[Candidate] = field(default_factory=list)

    @property
    def tied(self) -> list[Candidate]:
        """Those within TIE_SHARE of the cheapest, itself included; empty when it stands alone.

        Spot with a move in time is no rival of the spot plan that it makes surer.
        """
        near = [one for one in _near_the_first(self.feasible) if one.purchase != "spot_then_on_demand"]
        return near if len(near) > 1 else []

    @property
    def recommended(self) -> Candidate | None:
        """The cheapest that asks for no consent; of those tied with it, the calmest."""
        plain = [one for one in self.feasible if not self.needs_consent(one)]
        near = _near_the_first(plain or self.feasible)
        return min(near, key=lambda one: (_CALM[one.purchase], one.usd), default=None)

    def needs_consent(self, one: Candidate) -> bool:
        return self.catch(one) is not None

    def catch(self, one: Candidate) -> str | None:
        """What a cheap plan asks for that nobody has agreed to."""
        if one.purchase == "committed" and one.choice.as_of is not None:
            return "it binds for years"
        if one.purchase == "spot" and self.avoid_spot:
            return "each interruption is a gap in what it serves"
        if one.purchase == "spot_then_on_demand":
            return "something must watch the clock and move the run"
        return None


def compare(
    found: list[Candidate | Miss], constraints: Constraints, *, avoid_spot: bool, asked_spot: bool
) -> Comparison:
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
    missed.sort(key=lambda miss: (miss.reason, miss.misses_by or 0, miss.name))
    aside = [one for one in feasible if one.purchase == "spot_then_on_demand" and not asked_spot]
    plain = [one for one in feasible if one.purchase != "spot_then_on_demand" or asked_spot]
    return Comparison(plain, missed, avoid_spot, aside) if plain else Comparison(feasible, missed, avoid_spot)


def reason(comparison: Comparison) -> str:
    """Why the recommended plan, in one sentence."""
    best = comparison.recommended
    if best is None:
        nearest = min(
            (m for m in comparison.missed if m.misses_by), key=lambda m: m.misses_by or 0, default=None
        )
        nearest = nearest or next(iter(comparison.missed), None)
        return f"No plan does: {nearest.name}: {nearest.why}." if nearest else "There is nothing to compare."
    cheapest = comparison.feasible[0]
    if (catch := comparison.catch(cheapest)) and best is not cheapest:
        return f"{best.name}: {cheapest.name} would save {1 - cheapest.usd / best.usd:.0%}, but {catch}."
    if best in comparison.tied:
        return f"{best.name} {_tie(best, comparison.tied)}."
    if len(comparison.feasible) == 1:
        return f"{best.name} is the only plan that does."
    second = comparison.feasible[1]
    return f"{best.name} costs {1 - best.usd / second.usd:.0%} less than {second.name}, the next."


def _tie(best: Candidate, tied: list[Candidate]) -> str:
    others = [one.name for one in tied if one is not best]
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    calm = " and has no interruptions or cold starts" if _CALM[best.purchase] < 2 else ""
    return f"is tied within 1 % with {', '.join(others[:3])}{more}{calm}"


def _near_the_first(ordered: list[Candidate]) -> list[Candidate]:
    return list(takewhile(lambda one: one.usd <= ordered[0].usd * (1 + TIE_SHARE), ordered))
