"""The original against the patched script, both run for a few steps in a child process."""

import math
import re
from pathlib import Path
from typing import Any

from .._core.contract import ToolError
from .._core.worker import Limits, run

_ENGINE = Path(__file__).with_name("engine")
_STEPS = 20
_SECONDS = 180.0  # per version of the script
_CLOSE = 0.05  # mean relative difference of the loss over the last quarter of the steps
# With the switch off, these leave every floating-point operation what it was; the others change order or steps.
_EXACT = {
    "mixed_precision",
    "gradient_checkpointing",
    "inference_mode",
    "allocator_settings",
    "zero_grad_none",
}
_OTHER_LOSSES = {
    "lr_schedule",
    "early_stopping",
    "dataloader",
}  # other learning rates, or other random batches


def verify(
    command: list[str],
    path: Path,
    original: str,
    patched: str,
    remedies: set[str],
    *,
    python: Path,
    folder: Path,
) -> dict[str, Any]:
    """Losses per step of both (and of the patched one switched off), and a verdict.

    `remedies` are those that changed the text: which comparisons hold depends on them. Seeds are set, so that equal
    code gives equal losses. The command runs the file, or a script that imports it. Raises ToolError for one without
    a script.
    """
    start, arguments = _script(command, path, folder)
    versions = {"original": original, "patched": patched}
    off = re.sub(r"(?m)^(amp_enabled_*) = .*$", r"\1 = False", patched)
    if off != patched:
        versions["switched_off"] = off
    request = {"path": str(path), "start": str(start), "arguments": arguments, "folder": str(folder)}
    runs = {name: _run({**request, "source": text}, python) for name, text in versions.items()}
    return {**_compare(runs, remedies), "steps_wanted": _STEPS, "python": str(python), "basis": "measured"}


def _script(command: list[str], path: Path, folder: Path) -> tuple[Path, list[str]]:
    """The script that a command runs, and what follows it: the file itself where it is named."""
    named = [(i, found) for i, word in enumerate(command) if (found := (folder / word).resolve()).is_file()]
    scripts = [(i, found) for i, found in named if found == path or found.suffix == ".py"]
    own = [pair for pair in scripts if pair[1] == path]
    if not scripts:
        raise ToolError(
            "verify_command runs no script", saw=" ".join(command), try_next=f'["python", "{path.name}"]'
        )
    place, start = (own or scripts)[0]
    return start, command[place + 1 :]


def _run(request: dict[str, Any], python: Path) -> dict[str, Any]:
    return run(_ENGINE, {**request, "steps": _STEPS}, python=python, limits=Limits(_SECONDS))


def _compare(runs: dict[str, dict[str, Any]], remedies: set[str]) -> dict[str, Any]:
    losses = {name: reply["losses"] for name, reply in runs.items()}
    errors = {name: reply["error"] for name, reply in runs.items() if reply["error"]}
    counts = {name: len(values) for name, values in losses.items()}
    seconds = {name: round(reply["seconds"], 3) for name, reply in runs.items()}
    found: dict[str, Any] = {"steps": counts, "seconds": seconds, "errors": errors}
    if not errors and not all(reply["ran"] for reply in runs.values()):
        return {**found, "passed": None, "verdict": "cannot tell: the command never imports this file"}
    if errors.get("original") or not losses["original"]:
        return {
            **found,
            "passed": None,
            "verdict": "cannot tell: the original takes no optimizer step with this command",
        }
    if errors:
        return {**found, "passed": False, "verdict": f"failed: {next(iter(errors.values()))}"}
    if len(set(counts.values())) > 1:
        return {**found, "passed": False, "verdict": "failed: the versions take different numbers of steps"}
    if not all(map(math.isfinite, losses["patched"])):
        return {**found, "passed": False, "verdict": "failed: the patched loss is not finite"}
    quarter = max(1, len(losses["original"]) // 4)
    before, after = (sum(losses[name][-quarter:]) / quarter for name in ("original", "patched"))
    difference = abs(after - before) / max(abs(before), 1e-12)
    found |= {"loss_original": before, "loss_patched": after, "relative_difference": difference}
    if "switched_off" in losses:
        found["switched_off_identical"] = losses["switched_off"] == losses["original"]
        if remedies <= _EXACT and not found["switched_off_identical"]:
            return {
                **found,
                "passed": False,
                "verdict": "failed: switched off, the losses differ from the original's",
            }
    if difference > _CLOSE and not remedies & _OTHER_LOSSES:
        return {**found, "passed": False, "verdict": f"failed: the losses differ by {difference:.1%}"}
    return {
        **found,
        "passed": True,
        "verdict": f"passed: {counts['patched']} steps, losses within {difference:.2%}",
    }
