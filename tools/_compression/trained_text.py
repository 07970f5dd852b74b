"""What the Reports of prune_model and distill_model have in common."""

from typing import Any

from .arguments import CompressionRequest
from .choose import Outcome
from .nouns import NextStep
from .search import Search
from .table import markdown
from .trained import Trained


def split_control(fields: dict[str, Any], trained: Trained) -> dict[str, Any]:
    """The candidates without the controls, and the controls apart."""
    rows = fields["candidates"]
    return {
        **fields,
        "candidates": [c for c in rows if c.variant in trained.candidates],
        "control": [c for c in rows if c.variant in trained.control],
    }


def then_quantize(
    request: CompressionRequest, search: Search, outcome: Outcome, fields: dict[str, Any]
) -> NextStep | None:
    """quantize_model on the chosen network, with what is left of the budget."""
    if not outcome.overall:
        return None
    row = search.rows[outcome.overall]
    allowed = search.metric.allowed(search.facts["metric"]["confirmation"])
    left = min(
        allowed, allowed - row["drop_bound"]
    )  # a network that is better than its source keeps its gain
    arguments = {
        "model": fields["chosen"].path,
        "data": request.data,
        "metric": request.metric,
        "max_metric_drop": round(max(0.0, left), 6),
        "batch_sizes": search.batch_sizes,
        "threads": request.threads,
    }
    arguments |= {k: v for k in ("metric_direction", "python") if (v := getattr(request, k))}
    return NextStep(
        tool="quantize_model", arguments=arguments, why="int8 on top, with what is left of the budget"
    )


def brief(report: Any) -> str:
    """Verdict, the chosen file, each network in a line, and the next step."""
    lines = [report.verdict, f"File: {report.chosen.path} ({report.chosen.runtime})"]
    for c in [*report.candidates, *report.control][:6]:
        ratio = ", ".join(f"{v:g}x b{b}" for b, v in (c.speed_ratio or {}).items())
        lines.append(f"- {c.variant}: {c.status}, {ratio}, metric {c.metric} on {c.metric_rows} rows")
    if report.next_step:
        lines.append(f"Next: {report.next_step.tool} on that file ({report.next_step.why}).")
    lines += [f"Warning: {w}" for w in report.warnings]
    lines.append(f"Report and manifest: {report.folder}")
    return "\n".join(lines)[:1500]


def readable(report: Any) -> str:
    """The verdict, the table with the controls, and where the files are."""
    batches = [int(b) for b in report.baseline.latency_seconds or {}]
    table = markdown(report.baseline, [*report.candidates, *report.control], batches)
    warnings = "".join(f"Warning: {w}\n" for w in report.warnings)
    return f"{report.verdict}\n\n{table}\n{warnings}Files: {report.folder}"
