"""The loader hands out an N-th of its batch, and N of those make the group that today's batch is.

    DataLoader(data, batch_size=64)  ->  DataLoader(data, batch_size=micro_size(64, N))

Only where the loader provably feeds this loop alone, so that nothing else counts its batches or reads its batch size.
"""

import ast
from dataclasses import dataclass

from ..context import Context
from ..datasets import kind_of_data
from ..edits import Edit, Span
from ..flow import path, uses
from ..names import Function
from ..patch import Declined, Patch
from ..prelude import header
from .grow import grow, loader_of
from .helpers import SIZE
from .loop import BatchLoop, zeroes

LOADERS = {"torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader"}


@dataclass(frozen=True)
class Loader:
    """The call that builds it, its batch size, and whether a last, smaller batch is left out."""

    call: ast.Call
    batch_size: ast.expr
    drop_last: bool


def divide(context: Context, found: BatchLoop, steps: int) -> Patch | None:
    """None where the loader's batch cannot be divided; the batch itself can be split then."""
    loader = only_loader(context, found.loop)
    if (
        loader is None
        or _known_size(context, loader.batch_size) % steps
        or not _counts_nothing(context, found)
    ):
        return None
    if reads_size(context, found, loader):
        return None
    try:
        patch = grow(context, found, steps, drop_last=loader.drop_last)
    except Declined:
        return None
    script = context.script
    start, end = script.start(loader.batch_size), script.end(loader.batch_size)
    size: list[Edit] = [Span(start, start, "micro_size("), Span(end, end, f", {steps})")]
    patch.edits += [*size, header(script, ["", *SIZE])]
    return patch


def only_loader(context: Context, loop: ast.For) -> Loader | None:
    """The loader of a loop, if it is built once, for map-style data, and nothing but this loop goes through it."""
    node: ast.expr = loader_of(context, loop)
    for _ in range(4):
        if not isinstance(node, ast.Name) or not _read_once(context, node):
            return None
        bindings = context.script.bindings(node.id, node)
        if len(bindings) != 1:
            return None
        binding = bindings[0]
        if binding.kind == "assign" and binding.index is None and isinstance(binding.value, ast.Call):
            return _described(context, binding.value)
        handed = _handed(context, binding.node, node.id) if binding.kind == "parameter" else None
        if handed is None:
            return None
        node = handed
    return None


def _read_once(context: Context, node: ast.Name) -> bool:
    """Nothing else reads the name but `len(loader.dataset)`."""
    script = context.script
    here = script.bindings(node.id, node)
    reads = [
        n
        for n in script.nodes
        if isinstance(n, ast.Name) and n.id == node.id and isinstance(n.ctx, ast.Load)
        if n is not node and script.bindings(n.id, n) is here
    ]
    return all(
        isinstance(above := script.parents[n], ast.Attribute) and above.attr in ("dataset", "sampler")
        for n in reads
    )


def _handed(context: Context, parameter: ast.AST, name: str) -> ast.expr | None:
    """What the one call of the function passes for its parameter."""
    script = context.script
    function = script.parents[script.parents[parameter]]
    sites = context.roles.call_sites(function) if isinstance(function, Function) else []
    return context.roles.argument(sites[0], function, name) if len(sites) == 1 else None  # type: ignore[arg-type]


def _described(context: Context, call: ast.Call) -> Loader | None:
    if context.script.called(call) not in LOADERS or len(call.args) > 2:
        return None
    given = {k.arg: k.value for k in call.keywords}
    if None in given or given.keys() & {"batch_sampler", "collate_fn", "worker_init_fn"}:
        return None
    size = given.get("batch_size") or (call.args[1] if len(call.args) == 2 else None)
    last = given.get("drop_last")
    if size is None or kind_of_data(context, call) == "stream":
        return None
    if last is not None and not (isinstance(last, ast.Constant) and isinstance(last.value, bool)):
        return None
    return Loader(call, size, isinstance(last, ast.Constant) and last.value is True)


def _known_size(context: Context, node: ast.expr) -> int:
    """The batch size a constant or an option's default gives; 1, which nothing divides, where it is not found."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        values = list(context.roles.origins(node))
        if (
            len(values) == 1
            and isinstance(values[0].node, ast.Constant)
            and isinstance(values[0].node.value, int)
        ):
            return values[0].node.value
    if isinstance(node, ast.Attribute):
        for call in context.script.method_calls("add_argument"):
            flags = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            default = next((k.value for k in call.keywords if k.arg == "default"), None)
            destination = next((f.lstrip("-").replace("-", "_") for f in flags if f.startswith("--")), "")
            if (
                destination == node.attr
                and isinstance(default, ast.Constant)
                and isinstance(default.value, int)
            ):
                return default.value
    return 1


def _counts_nothing(context: Context, found: BatchLoop) -> bool:
    """What stands before the backward moves data, zeroes gradients or computes the loss, and counts nothing."""
    if found.between:
        return False
    flow, loop = context.training.flow, found.loop
    batch = set(flow.defs(loop.target))
    for statement in loop.body[: loop.body.index(found.body[0])]:
        moves = isinstance(statement, ast.Assign) and bool(uses(statement) & batch)
        mode = isinstance(statement, ast.Expr) and ast.unparse(statement).endswith(".train()")
        if not (moves or mode or zeroes(statement)):
            return False
        batch |= flow.defs(statement) if moves else set()
    return not any(isinstance(n, ast.AugAssign) for s in found.body for n in ast.walk(s))


def reads_size(context: Context, found: BatchLoop, loader: Loader) -> bool:
    """Whether the loop reads the batch size by the name that the loader takes it from."""
    name = path(loader.batch_size)
    return name is not None and any(name in uses(s) for s in found.loop.body)
