"""The Report as a model and as a person read it."""

from typing import TYPE_CHECKING

from .._core.quantity import human_bytes as size

if TYPE_CHECKING:
    from . import Caveat, EstimateMemoryReport, Remedy

_VERDICTS = {
    "fits": "fits",
    "tight": "is tight (inside the margin of error)",
    "no": "does not fit",
    None: "no card size known, so no verdict",
}


def brief(report: "EstimateMemoryReport") -> str:
    """At most 1,500 characters: verdict, peak, its parts, the remedy, the next step."""
    lines = [_headline(report), _parts(report)]
    if report.largest_batch:
        edge = report.largest_batch
        lines.append(f"Largest {edge.argument}: {edge.fits} fits, {edge.not_no} is not a clear no.")
    if report.recommended:
        lines.append(f"First that fits, least harmful first: {_remedy(report.recommended)}")
    elif report.remedies and report.fits is not None:
        lines.append("No simulated remedy or combination fits with the margin.")
    best = sorted(report.remedies, key=lambda row: row.peak_allocated_bytes)
    lines += [f"- {_remedy(row)}" for row in best[:5] if row != report.recommended]
    lines += [_caveat(caveat) for caveat in report.caveats[:3]]
    lines += report.assumptions[:2]
    if report.left_out:
        lines.append(f"Left out: {report.left_out[0]}.")
    if report.timeline_path:
        lines.append(f"Timeline: {report.timeline_path}; as PNG: {report.picture_path}")
    text = "\n".join(lines)
    return text if len(text) <= 1500 else text[:1460] + "... (rest in the structured result)"


def readable(report: "EstimateMemoryReport") -> str:
    """Tables for a terminal."""
    lines = [_headline(report), "", *(_bar(report, name) for name in _KINDS), ""]
    if report.largest_batch:
        edge = report.largest_batch
        lines += [f"largest {edge.argument}: {edge.fits} fits, {edge.not_no} not a clear no", ""]
    if report.remedies:
        lines.append(f"{'remedy':62s} {'peak':>11s} {'saved':>11s} {'step time':>9s}  fits")
        for row in report.remedies:
            mark = "*" if row == report.recommended else " "
            changed = "  changes results" if row.changes_results else ""
            lines.append(
                f"{mark}{_name(row)[:61]:61s} {size(row.peak_allocated_bytes):>11s} {size(row.saved_bytes):>11s} "
                f"{row.step_cost_ratio:>8.2f}x  {row.fits or '-'}{changed}"
            )
        lines.append("")
    lines += [f"not applicable: {name}: {why}" for name, why in report.skipped.items()]
    lines += [_caveat(caveat) for caveat in report.caveats]
    lines += report.assumptions
    lines += [f"left out: {item}" for item in report.left_out]
    if report.timeline_path:
        lines.append(f"timeline: {report.timeline_path}, {report.picture_path}")
    return "\n".join(lines)


_KINDS = ("weights", "gradients", "optimizer", "activations", "other")


def _bar(report: "EstimateMemoryReport", name: str) -> str:
    value = getattr(report.breakdown, f"{name}_bytes")
    whole = max(1, report.peak_allocated_bytes)
    return f"  {name:12s} {size(value):>11s}  {'█' * round(40 * value / whole)}"


def _headline(report: "EstimateMemoryReport") -> str:
    capacity = f" of {size(report.capacity_bytes)} usable" if report.capacity_bytes else ""
    return (
        f"Predicted peak {size(report.peak_allocated_bytes)} allocated, {size(report.peak_reserved_bytes)} reserved, "
        f"{size(report.device_bytes)} on the device ({report.gpu}{capacity}): {_VERDICTS[report.fits]}. "
        + (
            f"Simulated with torch {report.torch_version}."
            if report.torch_version
            else "From closed formulas."
        )
    )


def _parts(report: "EstimateMemoryReport") -> str:
    parts = ", ".join(f"{name} {size(getattr(report.breakdown, name + '_bytes'))}" for name in _KINDS)
    at = report.peak_at
    place = f" in {at['module']}" if at["module"] else ""
    return f"At the peak ({at['phase']}, {at['operator']}{place}): {parts}."


def _remedy(row: "Remedy") -> str:
    return (
        f"{_name(row)}: {size(row.peak_allocated_bytes)}, saves {size(row.saved_bytes)}, "
        f"step time x{row.step_cost_ratio:.2f}{f', {row.fits}' if row.fits else ''}"
        + (", changes results" if row.changes_results else "")
    )


_DIRECTIONS = {"too_low": "may be too low", "too_high": "is an upper bound", "either": "may be off"}


def _caveat(caveat: "Caveat") -> str:
    return f"The prediction {_DIRECTIONS[caveat.direction]}: {caveat.operation}: {caveat.note}."


def _name(row: "Remedy") -> str:
    details = ", ".join(f"{key} {value}" for key, value in row.details.items() if key != "setting")
    return " + ".join(row.ids) + (f" ({details})" if details else "")
