"""What the probe wrote, read back: one Trace for the process that trained."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .engine.probe.record import STEP


class Step(NamedTuple):
    """One optimizer step; the fields of STEP in engine/probe/record.py, where they are explained."""

    at: float
    optimizer: int
    data_seconds: float
    data_cpu_seconds: float
    batches: int
    samples: int
    gap_seconds: float | None
    gap_cpu_seconds: float | None
    sync_seconds: float
    syncs: int
    user_syncs: int
    copy_seconds: float
    backwards: int
    evaluations: int
    loss: float | None
    graphs: int
    thread_seconds: float
    anonymous_bytes: int | None
    cpu_seconds: float
    major_faults: int | None
    gpu_allocated_bytes: int | None
    gpu_reserved_bytes: int | None


assert Step._fields == STEP


@dataclass
class Trace:
    """The events of one process."""

    steps: list[Step] = field(default_factory=list)
    forwards: list[tuple[float, float]] = field(
        default_factory=list
    )  # (started, seconds), before any training
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)  # by event; the first of each kind
    optimizers: list[dict[str, Any]] = field(default_factory=list)
    processes: int = 0  # that had a probe


def read_trace(events: Path) -> Trace:
    """The trace of rank 0; of several such processes, the one with the most steps."""
    traces = [_read(path) for path in sorted(events.glob("*.jsonl"))]
    first = [trace for trace in traces if trace.facts["start"]["rank"] == "0"] or traces
    best = max(
        first, key=lambda trace: (len(trace.steps), len(trace.forwards), len(trace.facts)), default=Trace()
    )
    best.processes = len(traces)
    return best


def _read(path: Path) -> Trace:
    trace = Trace(facts={"start": {"rank": "0"}})
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            event, *values = json.loads(line)
        except json.JSONDecodeError:  # the process was killed while it wrote its last line
            break
        _add(trace, event, values)
    return trace


def _add(trace: Trace, event: str, values: list[Any]) -> None:
    if event == "step":
        trace.steps.append(Step(*values))
    elif event == "forward":
        trace.forwards.append((values[0], values[1]))
    elif event == "optimizer":
        trace.optimizers.append(values[0])
    elif event == "start" or event not in trace.facts:
        trace.facts[event] = values[0]
    if event == "end":
        for number, loss in values[0]["losses"]:
            if number < len(trace.steps):
                trace.steps[number] = trace.steps[number]._replace(loss=loss)
