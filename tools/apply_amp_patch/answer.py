"""One call from bytes to Report: read, patch, store, verify, write."""

import difflib
import re
from pathlib import Path
from typing import Any

from .._core.contract import Call, ToolError
from .._core.interpreter import resolve_python
from . import ApplyAmpPatchReport, ApplyAmpPatchRequest, PatchSite
from .codemod import Result, patch
from .context import Wishes
from .source import Source, read_source
from .verify import verify
from .write_back import digest, replace

_MOST_LINES = 100_000  # lines times remedies: 10,000 lines with all eleven took 20 s on a busy core
_OTHERS = re.compile(r"^\s*(?:import|from)\s+(tensorflow|keras|jax|flax)\b", re.MULTILINE)
_TORCH = re.compile(r"^\s*(?:import|from)\s+torch\b", re.MULTILINE)
_LONGEST_DIFF = 20_000  # characters; patched_path holds the whole file in any case


def answer(request: ApplyAmpPatchRequest, call: Call) -> ApplyAmpPatchReport:
    """Raises ToolError for a file that cannot be read as Python, or written."""
    path = call.workspace.file(request.path)
    raw = path.read_bytes()
    source = read_source(raw, path.name)
    result = _patched(source, path, request, call)
    content = source.encode(result.text)
    changed = content != raw
    verification = _verified(request, call, path, source.text, result) if changed else None
    stored = call.workspace.store(path.name, content) if changed else None
    backup = None
    if request.write and changed and (verification is None or verification["passed"] is not False):
        assert request.expected_sha256 is not None
        backup = replace(path, content, expected_sha256=request.expected_sha256)
    return ApplyAmpPatchReport(
        outcome=result.outcome,
        remedies=result.outcomes,
        sites=[PatchSite(**_site(site, source)) for site in result.sites],
        diff=_diff(source.text, result.text, path.name),
        patched_path=str(stored) if stored else None,
        source_sha256=digest(raw),
        patched_sha256=digest(content) if changed else None,
        backup_path=str(backup) if backup else None,
        verification=verification,
        warnings=[*_of_another_framework(source.text, result), *result.warnings],
    )


def _of_another_framework(text: str, result: Result) -> list[str]:
    """That this tool knows PyTorch only, where a script of another framework gave it nothing to do."""
    other = _OTHERS.search(text)
    if result.outcome != "nothing_to_do" or other is None or _TORCH.search(text):
        return []
    return [
        f"Only PyTorch's scripts are rewritten, and this one uses {other[1]}: triage_constraint, with this file as"
        " `script_path`, says what to write"
    ]


def _verified(
    request: ApplyAmpPatchRequest, call: Call, path: Path, before: str, result: Result
) -> dict[str, Any] | None:
    if request.verify_command is None:
        return None
    if path.suffix == ".ipynb":
        raise ToolError(
            "A notebook cannot be verified", saw=path.name, try_next="the same code as a .py file"
        )
    python = resolve_python(request.python, call.workspace)
    changed = {r for r, outcome in result.outcomes.items() if outcome in ("patched", "framework_option")}
    root = call.workspace.root
    return verify(request.verify_command, path, before, result.text, changed, python=python, folder=root)


def _patched(source: Source, path: Path, request: ApplyAmpPatchRequest, call: Call) -> Result:
    remedies: list[str] = list(dict.fromkeys(request.remedies))
    lines = source.text.count("\n") + 1
    if lines * len(remedies) > _MOST_LINES:
        raise ToolError(
            "The file is too long for this many remedies at once",
            saw=f"{lines:,} lines and {len(remedies)} remedies",
            try_next=f"at most {max(1, _MOST_LINES // lines)} at a time, or the file that holds the training loop",
        )
    wishes = Wishes(request.precision, request.accumulation_steps, request.grow_batch)
    root = call.workspace.root if call.workspace.confined else None
    try:
        return patch(source.text, remedies, wishes, path, root)
    except SyntaxError as error:
        older = "print" in (error.msg or "") or "exec" in (error.msg or "") or "except" in (error.msg or "")
        kind = "Python 2" if older and "parenthes" in (error.msg or "") else "not valid Python"
        raise ToolError(
            f"The file is {kind}, {source.where(error.lineno or 1)}",
            saw=error.msg,
            try_next=_parsable(error),
        ) from error
    except RecursionError as error:
        raise ToolError(
            "The file nests too deeply to be read", saw=path.name, try_next="a smaller file"
        ) from error


def _parsable(error: SyntaxError) -> str:
    """What makes the file readable; `async` was an argument of .cuda() until Python 3.7 made a keyword of it."""
    if "async=" in (error.text or ""):
        return "non_blocking=True in place of async=True, which no Python since 3.7 reads"
    return "a file that this Python's parser accepts"


def _site(site: object, source: Source) -> dict[str, object]:
    fields = dict(vars(site))
    where = source.where(fields["line"])
    if where.startswith("cell"):
        fields["note"] = f"{where}: {fields['note']}"
    return fields


def _diff(before: str, after: str, name: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=2
    )
    text = "".join(lines)
    return (
        text if len(text) <= _LONGEST_DIFF else text[:_LONGEST_DIFF] + "\n... (the rest is in patched_path)\n"
    )
