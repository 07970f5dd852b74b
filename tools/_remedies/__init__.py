"""The one table of remedies: what each relieves, what it costs, how to verify it, and which tool applies it.

`ORDER` says which remedies are tried for a constraint (and a sub-cause), in the order least harmful first.
To add a remedy: a row beside its kin, its place in order.py, and its heading in references/remedies.md.
"""

from .means import ON_MEANS
from .memory import ON_MEMORY
from .order import (
    COMMAND,
    INFERENCE_MEMORY,
    ORDER,
    PREPARE,
    PREPARE_STEP_ON_CPU,
    SLOW_ENGINE,
    STEP_ON_CPU,
    SYMPTOMS,
    ordered,
)
from .places import ON_PLACES
from .remedy import (
    AUGMENT,
    BACKTEST,
    COST,
    DATA,
    DISTILL,
    MEASURE,
    MODEL,
    PATCH,
    PREDICT,
    PRUNE,
    QUANTIZE,
    SCRIPT,
    STEP,
    TREES,
    WORKLOAD,
    WORKLOADS,
    Effect,
    Remedy,
)
from .speed import ON_SPEED

REMEDIES = (*ON_MEMORY, *ON_SPEED, *ON_MEANS, *ON_PLACES)
BY_ID = {remedy.id: remedy for remedy in REMEDIES}

__all__ = [
    "AUGMENT",
    "BACKTEST",
    "BY_ID",
    "COMMAND",
    "COST",
    "DATA",
    "DISTILL",
    "INFERENCE_MEMORY",
    "MEASURE",
    "MODEL",
    "ORDER",
    "PATCH",
    "PREDICT",
    "PREPARE",
    "PREPARE_STEP_ON_CPU",
    "PRUNE",
    "QUANTIZE",
    "REMEDIES",
    "SCRIPT",
    "SLOW_ENGINE",
    "STEP",
    "STEP_ON_CPU",
    "SYMPTOMS",
    "TREES",
    "WORKLOAD",
    "WORKLOADS",
    "Effect",
    "Remedy",
    "ordered",
]
