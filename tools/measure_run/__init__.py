"""Runs the caller's program and measures it.

launch       the command that is started        engine/     the supervisor, and the probe inside the program
taking       one run and what was seen of it    trace       what the probe wrote
series       step times                         causes      why it is slow or grows
outcome      how it ended                       metrics     quality figures
conditions   what must be equal to compare      recording   from runs to a row of the ledger and a Report
row          what the ledger keeps beside it    notes       what a reader of the figures must know
"""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from .._core.contract import Report, Request, current_call, tool
from .._core.interpreter import resolve_python
from .._core.quantity import human_bytes
from .causes import Cause
from .outcome import Outcome

_WORTH_NAMING = 0.01  # share of the step time below which a finding is a note, not a cause


class MeasureRunRequest(Request):
    """What to run (`command` or `target`) and when to stop."""

    command: list[str] = Field([], description='["python", "train.py"]')
    target: str | None = Field(None, description="file.py:function to call instead.")
    batch_sizes: list[int] = Field([1], description="Of a target.")
    threads: list[int] = Field([], description="Of a target.")
    max_steps: int | None = Field(None, description="Optimizer steps, or calls.")
    max_seconds: float = Field(600, description="Wall time.")
    memory_limit_bytes: int | None = Field(None, description="Host memory, in all.")
    repeats: int | None = Field(None, description="3 with against.")
    against: list[str] = Field([], description="Second command, in turns.")
    metrics: dict[str, str] = Field({}, description="Name: regex, or .json/.csv file.")
    python: str | None = Field(None, description="Interpreter.")
    label: str = Field("", description="A name.")

    @field_validator("max_steps", "max_seconds", "memory_limit_bytes", "repeats", "batch_sizes", "threads")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        """Here and not in the schema, which every host reads."""
        numbers = value if isinstance(value, list) else [] if value is None else [value]
        if any(number <= 0 for number in numbers):
            raise ValueError("must be positive")
        return value

    @model_validator(mode="after")
    def _one_thing_to_run(self) -> "MeasureRunRequest":
        if bool(self.command) == bool(self.target):
            raise ValueError("give either `command` or `target`")
        if self.target and self.against:
            raise ValueError("`against` is a second command, for `command` only")
        if not self.batch_sizes:
            raise ValueError("`batch_sizes` wants one at least")
        return self


Percentiles = dict[Literal["p50", "p95"], float]


class MeasureRunReport(Report):
    id: str | None = Field(
        description="Of the row in the ledger; None when the run deleted the ledger's folder."
    )
    label: str = ""
    outcome: Outcome
    reason: str
    exit_code: int | None
    steps: int
    step_source: Literal["optimizer", "backward", "forward", "calls"] | None = None
    step_seconds: Percentiles | None = None
    samples_per_step: int | None = None
    samples_per_second: float | None = None
    wall_seconds: float
    cpu_cores_used: float | None = None
    gpu_utilization_percent: float | None = None
    data_wait_share: float | None = None
    peak_rss_bytes: int
    rss_before_training_bytes: int | None = Field(
        None, description="Of the training process at its first forward pass: interpreter, libraries, data."
    )
    training_device: str | None = Field(None, description="Where the first batch lay: cpu, cuda.")
    peak_gpu_bytes: int | None = None
    peak_gpu_reserved_bytes: int | None = None
    peak_gpu_device_bytes: int | None = None
    loss: list[float | None] = Field([], description="None where it is not finite.")
    loss_every: int = Field(1, description="`loss` holds the sum backpropagated in each such step.")
    metrics: dict[str, float] = Field({}, description="The last value of each.")
    metric_series: dict[str, list[tuple[float, float]]] = Field(
        {}, description="Seconds since the start, value."
    )
    causes: list[Cause] = Field([])
    calls: list[dict[str, Any]] = Field(
        [],
        description="Of `target` by batch size and threads; of a program that only infers its forward passes.",
    )
    repeats: list[dict[str, Any]] = Field([])
    against: dict[str, Any] | None = None
    python: str
    probe: str
    notes: list[str] = Field([])
    output_path: str | None = None
    trace_path: str | None = None
    basis: Literal["measured"] = "measured"

    def brief(self) -> str:
        """Outcome, key figures, causes and what to do next."""
        lines = [f"{self.outcome}: {self.reason[:300]}.", *self._figures()]
        for cause in self.causes[:2]:
            word = "Note" if cause.share is not None and cause.share < _WORTH_NAMING else "Cause"
            lines.append(f"{word}: {cause.cause}: {cause.evidence}.")
        lines += [f"{name}: {value:g}." for name, value in list(self.metrics.items())[:5]]
        lines += [f"Note: {note}." for note in self.notes[:2]]
        lines.append(f"Ledger id {self.id}; output in {self.output_path}.")
        lines.append(
            f"Next: triage_constraint with measurement={self.id!r}; or one remedy, the same measurement again, "
            "and review_evidence over both ids."
        )
        return "\n".join(lines)[:1500]

    def readable(self) -> str:
        """The same for a terminal, with every cause and note."""
        lines = [f"{self.outcome}: {self.reason}", "", *(f"  {line}" for line in self._figures())]
        lines += [f"  {name} {value:g}" for name, value in self.metrics.items()]
        lines += [f"  cause: {cause.cause}: {cause.evidence}" for cause in self.causes]
        lines += [f"  note: {note}" for note in self.notes]
        lines += ["", f"  ledger id {self.id}", f"  output {self.output_path}", f"  probe {self.probe}"]
        return "\n".join(lines)

    def _figures(self) -> list[str]:
        lines = [_call_line(call) for call in self.calls[:6]]
        if self.step_seconds and not lines:
            middle, slow = (self.step_seconds[share] * 1e3 for share in ("p50", "p95"))
            lines.append(
                f"{self.steps} steps ({self.step_source}): p50 {middle:.4g} ms, p95 {slow:.4g} ms (measured)."
            )
        before = self.rss_before_training_bytes
        at_start = f", {human_bytes(before)} of it before the first forward pass" if before else ""
        lines.append(
            f"Peak host memory {human_bytes(self.peak_rss_bytes)}{at_start}; {self.wall_seconds:.1f} s in all."
        )
        if self.peak_gpu_bytes is not None:
            lines.append(f"Peak GPU memory allocated by torch {human_bytes(self.peak_gpu_bytes)}.")
        if self.data_wait_share is not None:
            lines.append(f"Waiting for data: {self.data_wait_share:.1%} of the step time.")
        return lines


def _call_line(call: dict[str, Any]) -> str:
    what = f"batch {call['batch_size']}" if call["batch_size"] else f"{call['calls']} calls"
    threads = f", threads {call['threads']}" if call["threads"] else ""
    middle, slow, slowest, first = (call[f"{name}_seconds"] * 1e3 for name in ("p50", "p95", "p99", "first"))
    rate = f"{call['samples_per_second']:.4g} {'samples' if call['batch_size'] else 'calls'}/s"
    return (
        f"{what}{threads}: p50 {middle:.4g} ms, p95 {slow:.4g} ms, p99 {slowest:.4g} ms, {rate}; "
        f"first call {first:.4g} ms."
    )


@tool(effect="trains", positional=("command",))
def measure_run(request: MeasureRunRequest) -> MeasureRunReport:
    """Run a program unmodified and measure step time, memory and why it is slow; kept in the ledger.

    A probe rides inside Python processes: optimizer steps, waiting for data, losses, memory. Other programs get
    figures of the process tree. Stops at `max_steps`, `max_seconds` or a memory limit; nothing is left running. What
    the program itself does to files is its own affair. Raises ToolError when it cannot be started.
    """
    from .recording import (
        measure,
    )  # the engine's side of the contract: reads nothing heavy, keeps this file short

    call = current_call()
    python = resolve_python(request.python, call.workspace)
    return measure(request, call.workspace, python)
