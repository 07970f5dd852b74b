"""What the demo says: each step in a few lines, and the answer that an agent would give, from the tools' reports."""

import difflib
from typing import Any

from ..tools._core.quantity import human_bytes

Found = dict[str, Any]
_WIDTH = 110
_NAMES = {
    "peak_rss_bytes": "peak memory",
    "step_seconds_p50": "time per step",
    "wall_seconds": "time of the run",
    "final_loss": "loss at the end",
    "metric:accuracy": "accuracy",
}
_ADD_TORCH = (
    "make demo TORCH=1   the same with a PyTorch model: memory predicted before the run, the patch written for you",
    "                    (adds torch's CPU build, a 190 MB download; or PYTHON=/path/to/a/python/that/has/torch)",
)


def machine(report: Found) -> list[str]:
    """Processor, memory, accelerators and torch in one line or two."""
    cpu, memory = report["cpu"], report["memory"]
    cards = ", ".join(card["name"] for card in report["accelerators"]) or "no accelerator"
    usable = human_bytes(memory["usable_bytes"]) if memory["usable_bytes"] else "unknown"
    torch = report["software"]["torch_version"] or "not installed"
    return [f"{cpu['model']}, {cpu['usable_cores']:g} cores; {usable} of memory; {cards}; torch {torch}"]


def measurement(report: Found) -> list[str]:
    """How the run ended and what it took."""
    before = report["rss_before_training_bytes"]
    of_it = f", {human_bytes(before)} of it before training began" if before else ""
    peak = f"peak {human_bytes(report['peak_rss_bytes'])}{of_it}; {report['wall_seconds']:.1f} s"
    quality = "".join(f"; {name} {value:g}" for name, value in report["metrics"].items())
    return [f"{report['outcome']}: {report['reason']}", f"{peak}{quality}   [{report['id']}]"]


def triage(report: Found) -> list[str]:
    """The constraint and the head of the plan."""
    cause = f", {report['sub_cause']}" if report["sub_cause"] else ""
    first, *others = report["plan"]
    effect = first["expected_effect"]
    return [
        f"It is {report['constraint']}{cause} (confidence {report['confidence']:.2f}).",
        f"First {first['remedy']}: {first['why']}",
        f"  {effect['quantity']}: {effect['low_ratio']:g} to {effect['high_ratio']:g} of today's ({effect['basis']})",
        f"then {', '.join(step['remedy'] for step in others)}",
    ]


def peak(report: Found) -> list[str]:
    """What the tensors of one step are."""
    kinds = {name.removesuffix("_bytes"): size for name, size in report["breakdown"].items() if size}
    largest = sorted(kinds.items(), key=lambda item: -item[1])
    lines = [
        f"The tensors of one step of {report['batch']} samples take {human_bytes(report['peak_allocated_bytes'])}:"
    ]
    return [*lines, "  " + ", ".join(f"{name} {human_bytes(size)}" for name, size in largest)]


def part(report: Found, today: Found) -> list[str]:
    """The same for one micro-batch."""
    less, whole = (human_bytes(one["peak_allocated_bytes"]) for one in (report, today))
    return [
        f"In micro-batches of {report['batch']} a step takes {less} in tensors instead of {whole}.",
        "The process takes more than its tensors (interpreter, allocator): whether it fits is measured below.",
    ]


def patch(report: Found) -> list[str]:
    """The part of the diff in the training loop; helpers that it brings stand in the file."""
    *_, loop = report["diff"].split("\n@@")
    lines = [line for line in f"@@{loop}".splitlines() if line.strip()]
    path = report["patched_path"]
    return [*lines, "", "train.py stays as it is; the whole new file:", path]


def own_change(old: str, new: str, name: str) -> list[str]:
    """The diff to a version that the example brings."""
    diff = difflib.unified_diff(old.splitlines(), new.splitlines(), "train.py", name, n=1, lineterm="")
    return ["No tool rewrites how data is read, so this is the agent's own edit:", *diff]


def turns(report: Found) -> list[str]:
    """Both sides of runs taken in turns."""
    sides = {"before": report, "after": report["against"]}
    lines = []
    for name, side in sides.items():
        step = side["step_seconds"]
        runs = side["repeats"] or [side]
        took = f"{step['p50'] * 1e3:.0f} ms a step" if step else f"{_middle(runs, 'wall_seconds'):.2f} s"
        peak = human_bytes(side["peak_rss_bytes"])
        times = "once" if len(runs) == 1 else f"{len(runs)} times"
        lines.append(f"{name:8}{took:>16}{peak:>14}   {times}, {side['outcome']}   [{side['id']}]")
    return lines


def review(report: Found) -> list[str]:
    """The verdict and the four boxes."""
    lines = [f"{report['verdict']}: {report['reason']}"]
    for box in report["boxes"]:
        said = box["evidence"] if box["ticked"] else f"missing: {box['missing']}"
        lines.append(f"[{'x' if box['ticked'] else ' '}] {box['box'].replace('_', ' '):20}{_cut(said)}")
    return lines


def price(report: Found) -> list[str]:
    """Every figure of both sides, with its interval."""
    rows = [*report["impact"], *report["quality"]]
    wanted = [row for row in rows if row["metric"] in _NAMES]
    return [f"{_NAMES[row['metric']]:17}{change(row)}: {row['verdict']}" for row in wanted]


def change(row: Found) -> str:
    """One figure before and after, with the ratio and its interval where there is one."""
    if row["unit"] == "bytes":
        before, after = (human_bytes(round(row[side])) for side in ("before", "after"))
    elif row["unit"] == "seconds":
        before, after = (f"{row[side]:.3g} s" for side in ("before", "after"))
    else:
        before, after = (f"{row[side]:.4g}" for side in ("before", "after"))
    if row["ratio"] is None or row["before"] == row["after"]:
        return f"{before} -> {after}"
    interval = f" (95 %: {row['low_ratio']:.2f} to {row['high_ratio']:.2f})" if row["low_ratio"] else ""
    return f"{before} -> {after}, {row['ratio']:.2f} of before{interval}"


def summary(died: Found, found: Found, predicted: Found | None, remedied: Found, proof: Found) -> list[str]:
    """Constraint, remedy, proof, price, way back: what was asked for, each figure with the id that holds it."""
    fits, turns, price_ = proof["fits"], proof["turns"], proof["price"]
    resource = found["constraint"].replace("_", " ")
    others = ", ".join(step["remedy"] for step in found["plan"] if step["remedy"] != remedied["remedy"])
    return [
        f"The run is short of {resource}: {_lowered(died['reason'])} [{died['id']}].",
        *_remedy(remedied, predicted),
        f"Under the same limit it {'still dies' if fits['outcome'] == 'out_of_memory' else 'now runs'},"
        f" with a peak of {human_bytes(fits['peak_rss_bytes'])} [{fits['id']}]:"
        f" {proof['review']['verdict']}.",
        f"Against the original, in turns and with memory to spare [{turns['id']}, {turns['against']['id']}]:",
        *(f"  {line}" for line in price(price_)),
        *(_expected(one) for one in price_["expected"]),
        f"To go back: train.py was not touched. Not tried yet: {others}.",
    ]


def next_steps(has_torch: bool) -> list[str]:
    """Where to go from here."""
    own = "optimizing-resources measure_run --max-steps 30 -- python your_script.py   the same on your own script"
    every = "optimizing-resources ledger   every run of this page, by its id"
    return [every, own] if has_torch else [every, own, *_ADD_TORCH]


def _remedy(remedied: Found, predicted: Found | None) -> list[str]:
    lines = [f"Remedy, {remedied['by']}: {remedied['remedy']}, {remedied['why']}."]
    if predicted:
        today, less = (human_bytes(predicted[name]["peak_allocated_bytes"]) for name in ("today", "part"))
        lines.append(f"  Predicted for the tensors of a step: {today} -> {less} (simulated).")
    return lines


def _expected(one: Found) -> str:
    low, high = one["expected_low_ratio"], one["expected_high_ratio"]
    return f"That is {one['agreement']} for {one['quantity']} ({low:g} to {high:g} of before, {one['expected_basis']})."


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _middle(runs: list[Found], name: str) -> float:
    return float(sorted(run[name] for run in runs)[len(runs) // 2])


def _cut(said: str) -> str:
    return said if len(said) <= _WIDTH else said[: _WIDTH - 4] + " ..."
