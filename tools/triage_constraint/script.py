"""What a training script shows without being run: what it does already, and patterns that waste a resource."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .._core.errors import ToolError
from .._core.syntax import parse
from .frameworks import framework

_SCRIPT_BYTES = 5_000_000
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_CONVOLVES = re.compile(r"conv|[a-z]net|vision|image|vgg|yolo|timm", re.IGNORECASE)
_ADAPTS = re.compile(
    r"pre_?trained|\bweights=|hub\.load|create_model\(|load_state_dict|safetensors|PeftModel|restore"
)
_NUMBER = re.compile(r"\.(?:item|detach|data|numpy|tolist)\b|\bfloat\(")


@dataclass
class ScriptFacts:
    """Remedies that are in place already, and lines worth showing: (line, source, what it shows, sub-cause)."""

    path: str
    present: set[str] = field(default_factory=set)
    findings: list[tuple[int, str, str, str]] = field(default_factory=list)
    note: str | None = None
    has_make_step: bool = False
    framework: str | None = None  # where it is not PyTorch
    adapts: bool = True  # whether it may start from weights of another training
    convolves: bool = True  # whether it may hold convolutions


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
    facts.framework = framework(source.lower())
    facts.convolves = _CONVOLVES.search(source) is not None
    facts.adapts = _ADAPTS.search(source) is not None
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        facts.note = f"The script does not parse ({error.__class__.__name__}), so only its words were read."
        return facts
    facts.has_make_step = any(isinstance(n, ast.FunctionDef) and n.name == "make_step" for n in tree.body)
    lines = source.splitlines()
    for node, loop in _with_loop(tree):
        for shows, cause in _findings(node, loop):
            facts.findings.append((node.lineno, lines[node.lineno - 1].strip()[:160], shows, cause))  # type: ignore[attr-defined]
    facts.findings.sort()
    return facts


def _with_loop(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    """Every node, with the training loop around it in its function: the innermost that goes backward."""
    waiting: list[tuple[ast.AST, ast.AST | None]] = [(tree, None)]
    while waiting:
        node, loop = waiting.pop()
        yield node, loop
        if isinstance(node, _SCOPES):
            loop = None
        elif isinstance(node, ast.For | ast.While | ast.AsyncFor) and _backward_calls(node):
            loop = node
        waiting += [(child, loop) for child in ast.iter_child_nodes(node)]


def _backward_calls(loop: ast.AST) -> list[str]:
    """`loss.backward()`, `scaler.scale(loss).backward()`, `accelerator.backward(loss)`: what goes backward."""
    return [
        ast.unparse(node)
        for node in ast.walk(loop)
        if isinstance(node, ast.Call) and _called(node) == "backward"
    ]


def _findings(node: ast.AST, loop: ast.AST | None) -> list[tuple[str, str]]:
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        if _is_kept(node.target, loop) and _is_bare_loss(node.value, loop):
            return [("adds up a tensor with its graph: memory grows with every step", "leak")]
    elif isinstance(node, ast.Call) and _called(node) == "append" and node.args:
        kept = isinstance(node.func, ast.Attribute) and _is_kept(node.func.value, loop)
        if kept and _is_bare_loss(node.args[0], loop):
            return [("keeps tensors with their graph in a list: memory grows with every step", "leak")]
    elif isinstance(node, ast.Call) and _called(node) == "DataLoader":
        workers = next((k.value for k in node.keywords if k.arg == "num_workers"), None)
        if not any(k.arg is None for k in node.keywords) and (
            workers is None or (isinstance(workers, ast.Constant) and workers.value == 0)
        ):
            return [("loads data in the training process itself (num_workers=0)", "data_loader_bound")]
    return []


def _is_kept(target: ast.expr, loop: ast.AST | None) -> bool:
    """Whether what is added to outlives a turn of the loop: `loss += penalty` inside one step does not."""
    return loop is not None and not _assigned(target, loop)


def _is_bare_loss(node: ast.expr, loop: ast.AST | None) -> bool:
    """A name that the loop goes backward from, not a number taken out of it (.item(), .detach(), float())."""
    if loop is None or not isinstance(node, ast.Name):
        return False
    if not any(re.search(rf"\b{node.id}\b", call) for call in _backward_calls(loop)):
        return False
    return not any(_NUMBER.search(ast.unparse(value)) for value in _assigned(node, loop))


def _assigned(target: ast.expr, loop: ast.AST) -> list[ast.expr]:
    """What the loop assigns to a name or an attribute."""
    name, found = ast.unparse(target), []
    for node in ast.walk(loop):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for one in targets:
            parts = one.elts if isinstance(one, ast.Tuple) else [one]
            found += [node.value for part in parts if ast.unparse(part) == name]  # type: ignore[attr-defined]
    return found


def _called(node: ast.Call) -> str:
    target = node.func
    return (
        target.attr
        if isinstance(target, ast.Attribute)
        else target.id
        if isinstance(target, ast.Name)
        else ""
    )
