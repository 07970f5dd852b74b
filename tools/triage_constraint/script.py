"""What a training script shows without being run: what it does already, and patterns that waste a resource."""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from .._core.errors import ToolError
from .._core.syntax import parse

_SCRIPT_BYTES = 5_000_000


@dataclass
class ScriptFacts:
    """Remedies that are in place already, and lines worth showing: (line, source, what it shows, sub-cause)."""

    path: str
    present: set[str] = field(default_factory=set)
    findings: list[tuple[int, str, str, str]] = field(default_factory=list)
    note: str | None = None
    has_make_step: bool = False


# What already stands in a script, by the words of the libraries that do it.
_PRESENT = {
    "mixed_precision": r"\bautocast\b|GradScaler|\bbf16=True|\bfp16=True|mixed_precision=|precision=[\"'](?:bf16|16)",
    "gradient_accumulation": r"accumulat\w*_steps|accumulate_grad_batches|accum\w*_iter",
    "gradient_checkpointing": r"gradient_checkpointing|utils\.checkpoint|checkpoint_sequential",
    "inference_mode": r"torch\.no_grad|inference_mode",
    "compile": r"torch\.compile\(|jit\.script",
    "early_stopping": r"EarlyStopping|early_stop",
    "fused_optimizer": r"fused=True",
    "lora": r"\bLoraConfig\b|get_peft_model",
    "eight_bit_optimizer": r"bitsandbytes|8bit",
    "allocator_settings": r"expandable_segments",
    "channels_last": r"channels_last",
}


def read_script(path: Path, shown_as: str) -> ScriptFacts:
    """The facts of a script; one that does not parse still gives what its words say. Raises ToolError for no text."""
    data = path.read_bytes()
    if b"\x00" in data or len(data) > _SCRIPT_BYTES:
        raise ToolError("This is no Python script", saw=shown_as, try_next="the .py file that trains")
    source = data.decode("utf-8", "replace")
    facts = ScriptFacts(shown_as, {name for name, words in _PRESENT.items() if re.search(words, source)})
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        facts.note = f"The script does not parse ({error.__class__.__name__}), so only its words were read."
        return facts
    facts.has_make_step = any(isinstance(n, ast.FunctionDef) and n.name == "make_step" for n in tree.body)
    lines = source.splitlines()
    for node in ast.walk(tree):
        for shows, cause in _findings(node):
            facts.findings.append((node.lineno, lines[node.lineno - 1].strip()[:160], shows, cause))  # type: ignore[attr-defined]
    facts.findings.sort()
    return facts


def _findings(node: ast.AST) -> list[tuple[str, str]]:
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and _is_bare_loss(node.value):
        return [("adds up a tensor with its graph: each step's activations stay in memory", "leak")]
    if isinstance(node, ast.Call) and _called(node) == "append" and node.args and _is_bare_loss(node.args[0]):
        return [("keeps tensors with their graph in a list", "leak")]
    if isinstance(node, ast.Call) and _called(node) == "DataLoader":
        workers = next((k.value for k in node.keywords if k.arg == "num_workers"), None)
        if not any(k.arg is None for k in node.keywords) and (
            workers is None or (isinstance(workers, ast.Constant) and workers.value == 0)
        ):
            return [("loads data in the training process itself (num_workers=0)", "data_loader_bound")]
    return []


def _is_bare_loss(node: ast.expr) -> bool:
    """A name that holds a loss, not a number taken out of it (.item(), .detach(), float())."""
    return isinstance(node, ast.Name) and re.fullmatch(r"(?:\w+_)?loss", node.id) is not None


def _called(node: ast.Call) -> str:
    target = node.func
    return (
        target.attr
        if isinstance(target, ast.Attribute)
        else target.id
        if isinstance(target, ast.Name)
        else ""
    )
