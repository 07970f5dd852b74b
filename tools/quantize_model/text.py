"""What people and models read of a quantize_model Report."""

from typing import Any

from .._compression.table import markdown


def brief(report: Any) -> str:
    """Verdict, the chosen file, the runners-up, and what to do next."""
    lines = [report.verdict, f"File: {report.chosen.path} ({report.chosen.runtime})"]
    for batch, pick in report.chosen.by_batch_size.items():
        if pick.variant != report.chosen.variant:
            lines.append(f"Batch {batch}: {pick.path} ({pick.runtime}, {pick.speed_ratio:g}x)")
    for c in report.candidates[:6]:
        if c.speed_ratio and c.status != "chosen":
            ratio = ", ".join(f"{v:g}x b{b}" for b, v in c.speed_ratio.items())
            lines.append(f"- {c.variant}: {c.status}, {ratio}")
    lines.append(
        f"Measured on {report.conditions.isa}, {report.conditions.threads} thread(s), tie band "
        f"{report.conditions.tie_band:.1%}, rows {report.rows}. Report and manifest: {report.folder}"
    )
    lines += [f"Also as .{form}: {path}" for form, path in report.edge_files.items()]
    lines += [f"No .{form} file: {why}" for form, why in report.edge_missing.items()]
    lines += [f"Warning: {w}" for w in report.warnings]
    return "\n".join(lines)[:1500]


def readable(report: Any) -> str:
    """The verdict, the table of all candidates, and where the files are."""
    batches = [int(b) for b in report.baseline.latency_seconds or {}]
    table = markdown(report.baseline, report.candidates, batches)
    warnings = "".join(f"Warning: {w}\n" for w in report.warnings)
    return f"{report.verdict}\n\n{table}\n{warnings}Files: {report.folder}"
