"""What models and people read of a comparison."""

from typing import Any


def brief(report: Any) -> str:
    """The recommendation, the best lines, the verdicts and what was not run; at most 1,500 characters."""
    best = report.recommended
    if "accuracy" in best:
        return _classes(report)
    plus = "" if best["augmentation"] == "none" else f" with {best['augmentation']}"
    lines = [
        f"Best of {len(report.table)} measured cells on {report.series} series, {report.folds} rolling origins, "
        f"season {report.season}: {best['model']}{plus}, {_mase(best['mase'])} "
        f"(seasonal naive {_number(best['mase_of_seasonal_naive'])}); all figures measured."
    ]
    lines += [f"- {_cell(row)}: {_mase(row['mase'])}, {row['seconds']:.1f} s" for row in report.table[:6]]
    lines += [
        f"* {_what(v)}: {_verdict(v)} ({v['difference']:+.2f} % MASE, "
        f"interval {v['interval'][0]:+.2f} to {v['interval'][1]:+.2f})"
        for v in report.verdict[:6]
    ]
    lines += [f"not run: {n['model']}: {n['why'][:110]}" for n in report.not_run[:2]]
    lines += [f"! {w[:140]}" for w in report.warnings[:2]]
    lines.append(f"Forecast with 80 % intervals: {report.forecast_path}.")
    return "\n".join(lines)[:1500]


def _classes(report: Any) -> str:
    best = report.recommended
    lines = [
        f"Best of {len(report.table)} measured classifiers on {report.series} series, {report.folds} folds: "
        f"{best['model']} (augmentation {best['augmentation']}), accuracy {best['accuracy']:.3f}, "
        f"macro-F1 {best['macro_f1']:.3f}."
    ]
    lines += [
        f"- {_cell(r)}: accuracy {r['accuracy']:.3f}, macro-F1 {r['macro_f1']:.3f}" for r in report.table[:8]
    ]
    lines += [
        f"* {v['augmentation']} for {v['model']}: {v['verdict']} ({v['difference']:+.1f} points, "
        f"interval {v['interval'][0]:+.1f} to {v['interval'][1]:+.1f})"
        for v in report.verdict[:6]
    ]
    return "\n".join([*lines, *[f"! {w[:140]}" for w in report.warnings[:2]]])[:1500]


def readable(report: Any) -> str:
    """The whole table and every verdict, for a terminal."""
    is_classes = "accuracy" in report.recommended
    columns = (*(("accuracy", "macro_f1") if is_classes else ("mase", "rmsse", "smape", "crps")), "seconds")
    lines = [brief(report).splitlines()[0], f"{'model':34}" + "".join(f"{c:>10}" for c in columns)]
    lines += [f"{_cell(r):34}" + "".join(f"{_number(r.get(c)):>10}" for c in columns) for r in report.table]
    lines += [
        f"{_what(v)}: {_verdict(v)}  {v['difference']:+.2f} % "
        f"[{v['interval'][0]:+.2f}, {v['interval'][1]:+.2f}]"
        for v in report.verdict
    ]
    lines += [f"not run: {n['model']} ({n['augmentation']}): {n['why']}" for n in report.not_run]
    lines += [f"! {w}" for w in report.warnings]
    lines.append(f"expected {report.estimated_seconds} s, took {report.run_seconds} s")
    return "\n".join([*lines, f"forecast  {report.forecast_path}", f"picture   {report.picture_path}"])


def _cell(row: dict[str, Any]) -> str:
    return row["model"] if row["augmentation"] == "none" else f"{row['model']} + {row['augmentation']}"


def _what(row: dict[str, Any]) -> str:
    """What a verdict is about."""
    if row["augmentation"] == "none":
        return f"{row['model']} against {row['against']}"
    return f"{row['augmentation']} for {row['model']}"


def _verdict(row: dict[str, Any]) -> str:
    """The verdict on the asked origins, and whether it lasts."""
    if row.get("holds_elsewhere") is None:
        return str(row["verdict"])
    lasting = {
        "yes": f" and over all {row['elsewhere']['origins']}",
        "no": f", not over all {row['elsewhere']['origins']}",
        "cannot tell": ", whether it lasts cannot be told",
    }
    return f"{row['verdict']} on these {row['origins']} origins{lasting[row['holds_elsewhere']]}"


def _mase(value: float | None) -> str:
    return f"MASE {_number(value)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
