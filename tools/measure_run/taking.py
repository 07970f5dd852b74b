"""One run of one command under the supervisor, and everything that was seen of it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._core.worker import Limits, run
from .launch import Launch, own_python
from .metrics import read_files, series_found, split_metrics, unmatched, written_at
from .outcome import Outcome, outcome_of
from .series import Series, forward_passes, percentile, series_of
from .trace import Trace, read_trace

_ENGINE = Path(__file__).with_name("engine")
_MARGIN_SECONDS = 60.0  # for the supervisor to end what has to be ended
_SEARCHED_BYTES = 20_000  # of the output's end, for the sign of an exhausted memory


@dataclass(frozen=True)
class Taken:
    """One run as it was measured."""

    outcome: Outcome
    reason: str
    usage: dict[str, Any]
    trace: Trace
    series: Series
    printed: bytes
    metrics: dict[str, float]
    metric_series: dict[str, list[tuple[float, float]]]
    calls: list[dict[str, Any]]
    metric_notes: list[str]  # why a metric that was asked for has no value

    @property
    def peak_rss_bytes(self) -> int:
        """The kernel's own mark for one process, the largest sum of proportional shares for several.

        The kernel lets a child start with the mark of its parent, so a mark below the supervisor's own size is its.
        """
        usage = self.usage
        kernel = usage["max_rss_bytes"] if usage["max_rss_bytes"] > 1.02 * usage["own_rss_bytes"] else 0
        return max(kernel, usage["peak_process_bytes"], usage["peak_tree_bytes"]) or int(
            usage["peak_seen_bytes"]
        )

    @property
    def peak_gpu_bytes(self) -> tuple[int | None, int | None]:
        """torch's own counters of allocated and reserved memory, of the GPU that had the most."""
        steps = [(step.gpu_allocated_bytes, step.gpu_reserved_bytes) for step in self.trace.steps]
        seen = [*steps, tuple(self.trace.facts.get("end", {}).get("gpu_peaks", (None, None)))]
        allocated, reserved = (
            [peak for peak in peaks if peak is not None] for peaks in zip(*seen, strict=True)
        )
        return max(allocated, default=None), max(reserved, default=None)

    @property
    def steps(self) -> int:
        """Optimizer steps, backward passes where no optimizer stepped, or the calls of the first batch size."""
        return self.calls[0]["calls"] if self.calls else self.series.steps

    @property
    def step_seconds(self) -> dict[str, float] | None:
        """p50 and p95 after warm-up; of a function's calls those of the first batch size."""
        if self.calls:
            return {"p50": self.calls[0]["p50_seconds"], "p95": self.calls[0]["p95_seconds"]}
        seconds = self.series.seconds
        return {"p50": percentile(seconds, 0.5), "p95": percentile(seconds, 0.95)} if seconds else None


def take(
    launch: Launch,
    *,
    max_steps: int | None,
    max_seconds: float,
    memory_limit_bytes: int | None,
    metrics: dict[str, str],
) -> Taken:
    """Run the command once. Raises ToolError when it does not start; how it ends is part of the answer."""
    patterns, files = split_metrics(metrics, launch.cwd)
    before = written_at(files)
    with tempfile.TemporaryDirectory(prefix="optimizing-resources-run-") as scratch:
        events, output = Path(scratch) / "events", Path(scratch) / "output"
        events.mkdir()
        request = {
            "command": launch.command,
            "cwd": str(launch.cwd),
            "environment": {**launch.environment, "OPTIMIZING_RESOURCES_EVENTS": str(events)},
            "events": str(events),
            "output": str(output),
            "patterns": patterns,
            "max_seconds": max_seconds,
            "memory_limit_bytes": memory_limit_bytes,
        }
        usage = run(_ENGINE, request, python=own_python(), limits=Limits(max_seconds + _MARGIN_SECONDS))
        trace, printed = read_trace(events), output.read_bytes()
    series = series_of(trace)
    tail = printed[-_SEARCHED_BYTES:].decode("utf-8", "replace")
    outcome, reason = outcome_of(
        usage, trace, series, tail, max_steps=max_steps, limit_bytes=memory_limit_bytes
    )
    found = series_found(usage.pop("values"))
    from_files, notes = read_files(files, before)
    last = {**{name: values[-1][1] for name, values in found.items()}, **from_files}
    notes += unmatched(patterns, found)
    return Taken(outcome, reason, usage, trace, series, printed, last, found, forward_passes(trace), notes)
