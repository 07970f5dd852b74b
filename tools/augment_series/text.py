"""What models and people read of an augmentation."""

from typing import Any

_SHOWN_WARNINGS = 4


def brief(report: Any) -> str:
    """Where the copies are, how many, how like their originals; at most 1,500 characters."""
    where = f"written to {report.output_path}" if report.output_path else "as a recipe only"
    lines = [
        f"{report.synthetic_rows} synthetic rows from {report.series} series, {where} ({report.rows} rows in all)."
    ]
    lines += [f"- {_line(row)}" for row in report.fidelity[:6]]
    lines += [f"! {w[:160]}" for w in report.warnings[:_SHOWN_WARNINGS]]
    lines.append(f"Manifest with seed and source rows: {report.manifest_path}.")
    lines.append(
        "Next: compare_baselines with augment=[...] measures whether these copies help; they may hurt."
    )
    return "\n".join(lines)[:1500]


def readable(report: Any) -> str:
    """The same, complete, for a terminal."""
    head = brief(report).splitlines()[0]
    rows = [f"  {_line(row)}" for row in report.fidelity]
    notes = [f"  ! {w}" for w in report.warnings]
    return "\n".join(
        [head, *rows, *notes, f"  manifest  {report.manifest_path}", f"  picture   {report.picture_path}"]
    )


def _line(row: dict[str, Any]) -> str:
    if not row["sampled"]:
        return f"{row['method']}: {row['copies']} copies"
    return (
        f"{row['method']}: {row['copies']} copies; measured distance from the original {row['copy_distance']} sd, "
        f"autocorrelation {row['acf_distance']}, distribution (KS) {row['ks_distance']}"
    )
