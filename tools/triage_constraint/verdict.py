"""From clues to one constraint: which resource binds, what else is short, what was rejected and how sure that is."""

from dataclasses import dataclass

from .clues import FINAL, STRONG, Clue

_NOTEWORTHY = 6.0  # points from which a second constraint is worth naming
NEGATIVE = ("not_a_resource_problem", "out_of_scope")


@dataclass(frozen=True)
class Verdict:
    """The binding constraint with its clues, strongest first."""

    constraint: str
    confidence: float
    secondary: list[str]
    rejected: list[tuple[str, float]]
    clues: list[Clue]
    points: float = 0.0


# What a sub-cause says about a second resource, whether or not the text complains of it.
_IMPLIED = {
    "cpu_inference": "no_gpu",
    "multi_gpu_scaling": "compute_time",
    "nccl_timeout": "compute_time",
    "device_latency": "inference_latency",
    "device_memory": "gpu_memory",
    "driver_mismatch": "no_gpu",
}
_FELT_WITHOUT_GPU = ("compute_time", "host_memory", "inference_latency")


def implied(verdict: Verdict, cause: str | None, says_no_gpu: bool) -> list[str]:
    """The secondary constraints: what else is short by the evidence, or follows from the sub-cause."""
    found = list(verdict.secondary)
    if (extra := _IMPLIED.get(cause or "")) and extra != verdict.constraint:
        found.append(extra)
    if says_no_gpu and verdict.constraint in _FELT_WITHOUT_GPU:
        found.append("no_gpu")
    return list(dict.fromkeys(found))[:3]


def judge(clues: list[Clue]) -> Verdict:
    """Add up what each constraint has going for it; the largest sum binds."""
    if not clues:
        return Verdict("out_of_scope", 0.3, [], [], [])
    scores = _scores(clues)
    (constraint, top), *others = sorted(scores.items(), key=lambda item: -item[1])
    second = others[0][1] if others else 0.0
    if top >= FINAL and second < STRONG:
        second *= 0.3  # beside a raised error of a known kind, words and bare tracebacks are no rival
    secondary = [name for name, score in others if name not in NEGATIVE and score >= _NOTEWORTHY]
    binding, secondary = _at_the_edge(constraint, secondary, clues)
    own = [c for c in clues if c.constraint == binding]
    own.sort(key=lambda c: (c.source == "words", -c.points))  # what a rule read is quoted first
    confidence = round(min(0.99, top / (top + second + 1)), 2)
    return Verdict(binding, confidence, secondary[:2], others[:3], own, top)


def _scores(clues: list[Clue]) -> dict[str, float]:
    """Its best message, its sentences, each further one counting less, and its words, for each constraint."""
    messages = {name: _best_message(clues, name) for name in dict.fromkeys(c.constraint for c in clues)}
    # an error that was raised says more than any words around it
    weight = 0.3 if max(messages.values()) >= FINAL else 1.0
    scores = {}
    for constraint, best in messages.items():
        prose = [c.points for c in clues if c.constraint == constraint and c.source == "prose"]
        said = sum(points / (1 + rank) for rank, points in enumerate(sorted(prose, reverse=True)))
        words = sum(c.points for c in clues if c.constraint == constraint and c.source == "words")
        scores[constraint] = best + weight * said + words
    return scores


def _best_message(clues: list[Clue], constraint: str) -> float:
    own = (c for c in clues if c.constraint == constraint and c.source not in ("prose", "words"))
    return max((c.points for c in own), default=0.0)


def _at_the_edge(constraint: str, secondary: list[str], clues: list[Clue]) -> tuple[str, list[str]]:
    """A device at the edge that is named with its problem is the constraint; the resource is the secondary one."""
    named = any(c.constraint == "edge" and c.source == "message" for c in clues)
    if named and constraint in ("gpu_memory", "host_memory", "inference_latency"):
        return "edge", [constraint, *[name for name in secondary if name != "edge"]]
    return constraint, secondary
