"""The sub-cause: from the numbers of an allocator's message first, then from what the text names. Never a guess."""

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .beginnings import beginnings
from .clues import FINAL, Clue
from .kind import batch_is_one, grows_trees
from .numbers import Numbers, size

# Shares of the memory limit that tell causes apart, from messages of known cause (benchmarks/triage_score.py); the
# CUDA context and kernels explain up to about 0.16 of a card, desktop use up to 0.28.
_FRAGMENTED_SHARE = 0.25
_HUGE_SHARE = 0.30
_FOREIGN_SHARE = 0.35
_NOTEWORTHY_SHARE = 0.10
_OF_NETWORKS = ("cpu_inference", "gpu_not_used", "model_too_slow")  # trees always answer on the CPU
_SMALL_CARD_GIB = 4.5  # most training steps of today need more, whatever else is right
_HUGE_TENSOR_BYTES = 2**30
_HUGE_ARRAY_GIB = 1.0
_BUSY_PERCENT = 80  # of a GPU's time, from which on it is not underused
_LARGE_SIDE = 1500  # pixels
_HEAD_CHARACTERS = 12


def gpu_cause(numbers: Numbers, lowered: str) -> str | None:
    """Which cause the figures and words of a GPU memory failure establish; None where they do not decide."""
    cause = _from_figures(numbers, lowered) or _named("gpu_memory", lowered)
    return None if cause == "batch_too_large" and batch_is_one(lowered) else cause


def sub_cause(constraint: str, clues: list[Clue], numbers: Numbers, lowered: str) -> str | None:
    """The sub-cause of `constraint` that the evidence establishes, or None.

    A raised error that means one cause decides; for GPU memory then its figures; then words of the text, in the order
    of their table; last what a sentence was read for.
    """
    named = sorted((c for c in clues if c.sub_cause), key=lambda c: -c.points)
    raised = next((c.sub_cause for c in named if c.points >= FINAL), None)
    told = next((c.sub_cause for c in named), None)
    if constraint == "gpu_memory":
        # an error without a cause is not explained by a sentence that was read for another purpose
        plain = told if not any(c.points >= FINAL for c in clues) else None
        return raised or gpu_cause(numbers, lowered) or plain
    if constraint == "training_data":
        return "few_samples" if any(c.sub_cause == "few_samples" for c in named) else told
    if raised == "single_huge_array" and (size(numbers, "tried_gib") or _HUGE_ARRAY_GIB) < _HUGE_ARRAY_GIB:
        return "ram_capacity"  # the last small request that no longer fitted
    found = raised or _named(constraint, lowered) or told or _DEFAULTS.get(constraint)
    if constraint == "inference_latency" and found in _OF_NETWORKS and grows_trees(lowered):
        return None  # what takes the time, the trees or the rows made for them, is not said
    if found == "gpu_underused" and (size(numbers, "gpu_util_pct") or 0) >= _BUSY_PERCENT:
        return "true_capacity"
    return found


def _from_figures(numbers: Numbers, lowered: str) -> str | None:
    total, tried = size(numbers, "total_gib"), size(numbers, "tried_gib")
    if "mps_max_gib" in numbers:
        return "true_capacity"
    if total is None and _is_large_image(numbers.get("tensor_shape")):
        return "input_too_large"
    if total is None:
        huge = (tried is not None and tried >= 48) or _tensor_bytes(numbers) >= _HUGE_TENSOR_BYTES
        return _input_or_tensor(lowered) if huge else None
    allocated = size(numbers, "allocated_gib") or 0.0
    free = size(numbers, "free_gib")
    unallocated = size(numbers, "reserved_unalloc_gib")
    if unallocated is None and (reserved := size(numbers, "reserved_gib")) is not None:
        unallocated = max(0.0, reserved - allocated)
    idle = unallocated or 0.0
    allowed = size(numbers, "allowed_gib")
    limit = min(total, allowed) if allowed is not None else total
    if re.search(r"\bmig\b|\b[1-7]g\.\d+gb", lowered):
        return "mig_slice"
    if tried is not None and idle >= tried and idle >= _FRAGMENTED_SHARE * limit:
        return "fragmentation"
    if allowed is not None and allowed < total and free and (tried is None or free >= tried):
        return "fraction_limit"
    foreign = total - allocated - idle - free if free is not None and "allocated_gib" in numbers else 0.0
    if tried is not None and tried >= _HUGE_SHARE * total:
        return _input_or_tensor(lowered)
    if foreign >= _FOREIGN_SHARE * total:
        return (
            "device_map_imbalance"
            if re.search(r"resum|default_restore_location|map_location|all ranks", lowered)
            else "other_process"
        )
    others = size(numbers, "other_process_gib")
    if (
        others is not None
        and "process_gib" in numbers
        and others >= max(tried or 0.0, _NOTEWORTHY_SHARE * total)
    ):
        return "other_process"  # with its own process named apart, another that holds more than the failed request
    if others is not None and "allocated_gib" not in numbers and others >= _HUGE_SHARE * total:
        return "other_process"  # otherwise the balance decides: a container sees its own process as another
    return "true_capacity" if total <= _SMALL_CARD_GIB else None


def _input_or_tensor(lowered: str) -> str:
    """One huge request is put down to the input where the text names the input's size."""
    named = next(names for cause, names, _ in _words()["gpu_memory"] if cause == "input_too_large")
    return "input_too_large" if named.occurs_in(lowered) else "single_huge_tensor"


def _is_large_image(shape: object) -> bool:
    """A batch of feature maps whose two sides are both that of a large picture."""
    return isinstance(shape, list) and len(shape) == 4 and sorted(shape)[-2] >= _LARGE_SIDE


def _tensor_bytes(numbers: Numbers) -> int:
    """What the tensor of a TensorFlow message takes as float32; 0 where none is printed."""
    shape = numbers.get("tensor_shape")
    return 4 * math.prod(shape) if isinstance(shape, list) else 0


_DEFAULTS = {"not_a_resource_problem": "bug_other", "out_of_scope": "how_to"}


def _named(constraint: str, lowered: str) -> str | None:
    """The first cause of causes.txt that the words of the text name."""
    return next(
        (
            cause
            for cause, named, unless in _words().get(constraint, ())
            if named.occurs_in(lowered) and not unless.occurs_in(lowered)
        ),
        None,
    )


@dataclass(frozen=True)
class _Words:
    """Lines of causes.txt as patterns, each tried only where the text holds one of its beginnings."""

    patterns: list[tuple[set[str], re.Pattern[str]]]

    @classmethod
    def of(cls, lines: list[str]) -> "_Words":
        return cls([(beginnings(line, _HEAD_CHARACTERS), re.compile(line, re.ASCII)) for line in lines])

    def occurs_in(self, lowered: str) -> bool:
        return any(
            pattern.search(lowered)
            for heads, pattern in self.patterns
            if any(head in lowered for head in heads)
        )


@cache
def _words() -> dict[str, list[tuple[str, _Words, _Words]]]:
    """By constraint, in the file's order: a cause, what names it and what forbids it (lines with an exclamation mark).

    A cause may have two sections: what establishes it, and further down what it is when nothing else is named.
    """
    sections: dict[str, list[tuple[str, list[str]]]] = {}
    patterns: list[str] = []
    for line in (files(__package__) / "causes.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and "/" in line and line.endswith("]"):
            constraint, cause = line[1:-1].split("/")
            patterns = []
            sections.setdefault(constraint, []).append((cause, patterns))
        elif line and not line.startswith("#"):
            patterns.append(line)
    return {name: [(cause, *_both(lines)) for cause, lines in causes] for name, causes in sections.items()}


def _both(lines: list[str]) -> tuple[_Words, _Words]:
    names = [line for line in lines if not line.startswith("!")]
    return _Words.of(names), _Words.of([line[1:] for line in lines if line.startswith("!")])
