"""From clues to one constraint: which resource binds, what else is short, what was rejected and how sure that is."""

from dataclasses import dataclass

from .clues import FINAL, Clue

NEGATIVE = ("not_a_resource_problem", "out_of_scope")


@dataclass(frozen=True)
class Verdict:
    """The binding constraint with its clues, strongest first."""

    constraint: str
    confidence: float
    secondary: list[str]
    rejected: list[tuple[str, float]]
    clues: list[Clue]


def judge(clues: list[Clue]) -> Verdict:
    """Add up what each constraint has going for it; the largest sum binds."""
    scores: dict[str, float] = {}
    messages = {c.constraint: max((d.points for d in clues if d.constraint == c.constraint and d.source == "message"), default=0.0) for c in clues}
    raised = max(messages.values(), default=0.0) >= FINAL
    for constraint, best in messages.items():
        prose = sorted((c.points for c in clues if c.constraint == constraint and c.source == "prose"), reverse=True)
        words = sum(points / (1 + rank) for rank, points in enumerate(prose))
        scores[constraint] = best + words * (0.3 if raised else 1.0)  # an error that was raised says more than words
    if not scores:
        return Verdict("out_of_scope", 0.3, [], [], [])
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    constraint, top = ranked[0]
    second = ranked[1][1] if len(ranked) > 1 else 0.0
    secondary = [name for name, score in ranked[1:] if name not in NEGATIVE and score >= 6]
    constraint, secondary = _at_the_edge(constraint, secondary, clues)
    own = sorted((c for c in clues if c.constraint == constraint), key=lambda c: -c.points)
    return Verdict(constraint, round(min(0.99, top / (top + second + 2)), 2), secondary[:2], ranked[1:4], own)


def _at_the_edge(constraint: str, secondary: list[str], clues: list[Clue]) -> tuple[str, list[str]]:
    """A device at the edge that is named with its problem is the constraint; the resource is the secondary one."""
    named = any(c.constraint == "edge" and c.source == "message" for c in clues)
    if named and constraint in ("gpu_memory", "host_memory", "inference_latency"):
        return "edge", [constraint, *[name for name in secondary if name != "edge"]]
    return constraint, secondary
