"""What models and people read of a patch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import ApplyAmpPatchReport

_LIMIT = 1500


def brief(report: "ApplyAmpPatchReport") -> str:
    """Verdict, sites, warnings and the next step, within the limit of a brief."""
    parts = [f"{', '.join(f'{k}: {v}' for k, v in report.remedies.items())}."]
    if report.verification:
        parts.append(f"Verification: {report.verification['verdict']}.")
    next_step = _next(report)
    room = _LIMIT - len(next_step) - 40
    for line in _lines(report):
        if sum(map(len, parts)) + len(parts) + len(line) > room:
            parts.append("... (rest in `sites`)")
            break
        parts.append(line)
    return "\n".join([*parts, next_step])


def _lines(report: "ApplyAmpPatchReport") -> list[str]:
    first = [s for s in report.sites if s.action == "decline"]
    rest = [s for s in report.sites if s.action != "decline"]
    lines = [f"line {s.line}: {s.reason_code}: {s.note}" for s in first]
    lines += [f"warning: {w}" for w in report.warnings]
    return lines + [f"line {s.line}: {s.reason_code}: {s.note}" for s in rest]


def _next(report: "ApplyAmpPatchReport") -> str:
    if report.backup_path:
        return f"Written; undo with `optimizing-resources undo`, backup {report.backup_path}"
    if report.verification and report.verification["passed"] is False:
        return f"Nothing was written. The patched file: {report.patched_path}"
    if report.patched_path:
        return (
            f"Nothing written yet. Whole patched file: {report.patched_path}. To write: the same call with "
            f'"write": true, "expected_sha256": "{report.source_sha256}"'
        )
    return "The file stays as it is."


def readable(report: "ApplyAmpPatchReport") -> str:
    """The verdict per remedy, the sites and the diff."""
    lines = [f"{remedy}: {outcome}" for remedy, outcome in report.remedies.items()]
    lines += [f"  {line}" for line in _lines(report)]
    if report.verification:
        lines.append(f"verification: {report.verification['verdict']}")
    return "\n".join([*lines, "", report.diff.rstrip(), "", _next(report)])
