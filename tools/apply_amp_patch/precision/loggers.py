"""What loggers and plots make arrays of: tensors that come out of a region are given to them in fp32."""

import ast
from collections.abc import Iterator

from ..context import Context
from .alike import given_to
from .dtypes import Dtypes

LOGGED = {
    "add_scalar",
    "add_image",
    "add_images",
    "add_histogram",
    "add_embedding",
    "add_audio",
    "add_video",
}
_ARRAY_PACKAGES = {
    *("visdom", "wandb", "matplotlib", "seaborn", "plotly", "cv2", "PIL", "skimage", "imageio", "scipy"),
    *("sklearn", "pandas", "neptune", "comet_ml", "mlflow", "aim", "clearml", "trimesh", "open3d"),
}
Reason = tuple[int, str, str]


def parts(call: ast.Call) -> Iterator[ast.expr]:
    """What a call is given, and what lies in the lists and dictionaries that are written there."""
    for given in given_to(call):
        match given:
            case ast.Dict(values=values) | ast.List(elts=values) | ast.Tuple(elts=values):
                yield from values
            case ast.Starred():
                pass
            case _:
                yield given


def is_castable(value: ast.expr) -> bool:
    return isinstance(value, ast.Name | ast.Attribute | ast.Call | ast.Subscript)


def writes_arrays(context: Context) -> bool:
    """Whether tensorboardX is used here, which calls `.numpy()`; torch's own SummaryWriter converts bf16 itself."""
    return any("tensorboardX" in s.text for s in [context.script, *context.project.values()])


def handed_out(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """`vis.scatter(out)`, `plt.imshow(out)`: what packages are given behind a region that make arrays of tensors."""
    casts: list[ast.expr] = []
    for call in (c for c in context.script.calls if c not in dtypes.inside):
        names = [context.script.called(call) or ""]
        if not names[0] and isinstance(call.func, ast.Attribute):
            names = [o.name for o in context.roles.origins(call.func.value) if o.kind == "call"]
        if any(name.split(".")[0] in _ARRAY_PACKAGES for name in names):
            casts += [p for p in parts(call) if is_castable(p) and dtypes.of(p) == "low"]
    return casts


def logged(context: Context, dtypes: Dtypes) -> tuple[list[ast.expr], list[Reason]]:
    """What tensorboardX is given."""
    casts: list[ast.expr] = []
    unsure: list[Reason] = []
    losses = {ast.unparse(b.loss) for b in context.training.backwards}
    for call in (
        [c for m in sorted(LOGGED) for c in context.script.method_calls(m)] if writes_arrays(context) else []
    ):
        value = call.args[1] if len(call.args) > 1 else None
        if value is None or dtypes.of(value) != "low":
            continue
        if (
            ast.unparse(value) in losses or _is_method(value) or _is_computed(context, value)
        ):  # never a number
            casts.append(value)
        else:
            note = f"tensorboardX calls .numpy() on {ast.unparse(value)}, which bf16 has not"
            unsure.append((call.lineno, "numpy_of_low_precision", note))
    return casts, unsure


def _is_computed(context: Context, node: ast.expr) -> bool:
    """A name for what is computed from half tensors, and never set to a constant in some branch."""
    bindings = context.script.bindings(node.id, node) if isinstance(node, ast.Name) else []
    return bool(bindings) and all(
        b.kind == "assign" and b.index is None and isinstance(b.value, ast.BinOp | ast.Call) for b in bindings
    )


def _is_method(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("mean", "sum")
    )
