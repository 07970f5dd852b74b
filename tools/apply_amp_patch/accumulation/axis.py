"""Whether the samples of a batch lie along its first dimension, where a batch is cut."""

import ast

from ..context import Context
from ..patch import Declined
from ..script import Script
from .divide import LOADERS
from .grow import loader_of
from .loop import BatchLoop

# Time comes first in what these take and give, unless they are told otherwise.
_TIME_FIRST = {
    f"torch.nn.{name}"
    for name in (
        "RNN",
        "LSTM",
        "GRU",
        "Transformer",
        "TransformerEncoderLayer",
        "TransformerDecoderLayer",
        "MultiheadAttention",
    )
}
_TIME_FIRST |= {"torch.nn.utils.rnn.pad_sequence", "torch.nn.utils.rnn.pad_packed_sequence"}
_GRAPHS = ("torch_geometric.", "dgl.")
_SWAPS = {"transpose", "transpose_", "swapaxes", "swapdims", "movedim", "moveaxis"}


def check_axis(context: Context, found: BatchLoop) -> None:
    """Raises Declined where a batch may be cut along another dimension than that of its samples."""
    loop = found.loop
    for statement in loop.body[: loop.body.index(found.body[0])]:
        made = context.training.flow.defs(statement)
        moved = next((n for n in ast.walk(statement) if _moves_first(n)), None)
        if moved is not None and made & set(found.batch):
            note = f"{ast.unparse(moved)} moves the samples away from the first dimension"
            raise Declined(statement.lineno, "batch_axis_unknown", note)
    if _default_batches(context, loop):
        return
    for used in context.script.nodes:
        if (context.script.qualified(used) or "").startswith(_GRAPHS):
            note = "the nodes of all graphs of a batch lie along one dimension, where it cannot be cut"
            raise Declined(loop.lineno, "batch_axis_unknown", note)
    for script in (context.script, *context.project.values()):
        node = _time_first(script)
        if node is not None:
            note = (
                f"no DataLoader of this file makes the batches, and {node} takes time as the first dimension"
            )
            raise Declined(loop.lineno, "batch_axis_unknown", note)


def _default_batches(context: Context, loop: ast.For) -> bool:
    """A DataLoader that stacks samples along a new first dimension."""
    loader = loader_of(context, loop)
    while isinstance(loader, ast.Call) and (context.script.called(loader) or "").startswith("tqdm"):
        loader = loader.args[0]
    origins = context.roles.origins(loader)
    return bool(origins) and all(
        isinstance(o.node, ast.Call)
        and o.name in LOADERS
        and not any(k.arg in (None, "collate_fn") for k in o.node.keywords)
        for o in origins
    )


def _moves_first(node: ast.AST) -> bool:
    """`x.t()`, `x.permute(1, 0)`, `x.transpose(0, 1)`, `x.view(28, -1)`: the first dimension becomes another one."""
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        return True
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    method, numbers = node.func.attr, [_number(a) for a in node.args]
    if method in ("t", "rearrange"):
        return True
    if method == "permute":
        first = node.args[0] if node.args else None
        return _number(first.elts[0] if isinstance(first, ast.Tuple | ast.List) else first) != 0
    if method in _SWAPS:
        return None in numbers or 0 in numbers
    return method in ("view", "reshape") and bool(numbers) and numbers[0] not in (None, -1)


def _number(node: ast.expr | None) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return -inner if inner is not None else None
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int) else None


def _time_first(script: Script) -> str | None:
    """A module or function that takes time as the first dimension."""
    for call in script.calls:
        name = script.called(call) or ""
        if name not in _TIME_FIRST and not name.startswith("torchtext."):
            continue
        first = next((k.value for k in call.keywords if k.arg == "batch_first"), None)
        if not (isinstance(first, ast.Constant) and first.value is True):
            return name
    return None
