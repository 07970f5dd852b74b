"""Tensors that leave autocast for what takes no bf16: numpy, loggers that use it, layers in fp32."""

import ast

from ..context import Context
from ..edits import Edit, Span
from ..models import is_model
from ..names import last_name
from ..patch import Site
from ..script import Script
from .alike import given_to, perhaps_half
from .dtypes import Dtypes
from .loggers import LOGGED, Reason, handed_out, is_castable, logged, parts, writes_arrays
from .operations import takes_numpy
from .rescaled import find_rescaled
from .sums import find_means, find_sums
from .tensors import is_tensor

_LARGE = 1000  # metres to millimetres


def _for_layers(
    context: Context, dtypes: Dtypes, function: ast.AST | None, cast: set[ast.AST]
) -> list[ast.expr]:
    """Half tensors handed to a layer that runs outside of autocast, whose weights are fp32."""
    script = context.script
    nodes = ast.walk(function) if function is not None else script.nodes
    return [
        argument
        for call in nodes
        if isinstance(call, ast.Call) and call not in cast
        if script.function(call) is function and is_model(context, call.func)
        for argument in call.args
        if isinstance(argument, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        and dtypes.of(argument) == "low"
    ]


def _tensor_behind(node: ast.AST) -> str:
    """The name in `t.data.cpu().numpy()`; nothing where it is a part of something else that is named."""
    while True:
        match node:
            case ast.Call(func=ast.Attribute(value=inner)) | ast.Attribute(attr="data" | "T", value=inner):
                node = inner
            case ast.Name(id=name):
                return name
            case _:
                return ""


def _numpy_in_calls(context: Context, dtypes: Dtypes) -> tuple[list[ast.expr], list[Reason]]:
    """`to_array(output)`, where a function of this file or another calls `.numpy()`: what it is given outside."""
    casts: list[ast.expr] = []
    unsure: list[Reason] = []
    writes = writes_arrays(context)
    for call in context.script.calls:
        inside = call in dtypes.inside
        half = ("low", "unknown") if inside else ("low",)
        given = [a for a in parts(call) if dtypes.of(a) in half]
        for script, node in _run_by(context, call, inside) if given else ():
            function = script.function(node)
            logs = writes and not inside and isinstance(node, ast.Call) and last_name(node) in LOGGED
            if not (takes_numpy(node) or logs) or function is None:
                continue
            value = context.roles_of(script).argument(call, function, _tensor_behind(node))
            if value in given and not inside:
                casts.append(value)
            elif not inside and (logs or _holds_parts(value, call)):
                casts += given  # which of them is drawn cannot be followed, and fp32 does no harm there
            elif inside or value is None:
                note = f"{ast.unparse(call.func)} calls .numpy(), which bf16 has not"
                unsure.append((call.lineno, "numpy_of_low_precision", note))
    return [c for c in dict.fromkeys(casts) if is_castable(c)], unsure


def _holds_parts(value: ast.expr | None, call: ast.Call) -> bool:
    """Whether what ends as an array lies in a list or dictionary that is written in the call."""
    written = [a for a in given_to(call) if isinstance(a, ast.Dict | ast.List | ast.Tuple)]
    return value in written or (value is None and bool(written))


def _run_by(context: Context, call: ast.Call, inside: bool) -> list[tuple[Script, ast.AST]]:
    """What a call runs in other files; outside of autocast, in this one too."""
    here = [] if inside else [(context.script, n) for f in context.roles.callees(call) for n in ast.walk(f)]
    return [*here, *context.run_elsewhere(call)]


def find_magnified(context: Context) -> list[Reason]:
    """`evaluate(output)`, where a function multiplies what it is given by 1000: outside of autocast fp16 stays fp16."""
    dtypes = Dtypes(context)
    found: list[Reason] = []
    for call in context.script.calls:
        given = [a for a in given_to(call) if not isinstance(a, ast.Starred) and call not in dtypes.inside]
        given = [a for a in given if dtypes.of(a) == "low"]
        for script, node in _run_by(context, call, False) if given else ():
            function, name = script.function(node), _multiplied(node)
            if name and function and context.roles_of(script).argument(call, function, name) in given:
                note = f"{ast.unparse(node)} of an fp16 {name} overflows from {65504 / _LARGE:.0f}"
                found.append((call.lineno, "fp16_constant", note))
    return found


def _multiplied(node: ast.AST) -> str:
    """The name in `1e3 * output[mask]`."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
        return ""
    for number, value in ((node.left, node.right), (node.right, node.left)):
        if (
            isinstance(number, ast.Constant)
            and isinstance(number.value, int | float)
            and number.value >= _LARGE
        ):
            return _tensor_behind(value.value if isinstance(value, ast.Subscript) else value)
    return ""


def _collected(context: Context, dtypes: Dtypes) -> tuple[list[ast.expr], list[Reason]]:
    """`memory.add(state, action)`, where `np.vstack([e.action for e in drawn])` makes an array of it later."""
    casts: list[ast.expr] = []
    unsure: list[Reason] = []
    collects = any(_collects(s, c) for s in [context.script, *context.project.values()] for c in s.calls)
    for call in context.script.calls if collects else ():
        if not (context.roles.callees(call) or context.run_elsewhere(call)) or is_model(context, call.func):
            continue
        low = [a for a in given_to(call) if isinstance(a, ast.Name) and dtypes.of(a) == "low"]
        kept = [a for a in low if _is_made_array(context, a)]
        if call not in dtypes.inside:
            casts += kept
        elif kept:
            note = f"what {ast.unparse(call.func)} keeps becomes an array of numpy, which has no bf16"
            unsure.append((call.lineno, "numpy_of_low_precision", note))
    return casts, unsure


def _collects(script: Script, call: ast.Call) -> bool:
    """`np.vstack([e.action for e in drawn])`: an array of what was put by."""
    name = script.called(call) or ""
    made = call.args[0] if call.args else None
    return (
        name.startswith("numpy.")
        and name.split(".")[-1] in ("vstack", "hstack", "stack", "concatenate", "array", "asarray")
        and isinstance(made, ast.ListComp)
        and isinstance(made.elt, ast.Attribute | ast.Subscript)
    )


def _is_made_array(context: Context, name: ast.Name) -> bool:
    """Whether the tensor of this name becomes an array here as well: an action, say, that goes to a simulator."""
    calls = context.script.method_calls("numpy")
    return any(
        _tensor_behind(c) == name.id and context.script.function(c) is context.script.function(name)
        for c in calls
    )


def find_casts(context: Context) -> tuple[list[ast.expr], list[ast.expr], list[Reason]]:
    """Tensors to cast, what may be half or no tensor of fp32 at all, and calls that may take numpy of bf16."""
    casts: list[ast.expr] = []
    dtypes = Dtypes(context)
    unsure: list[Reason] = []
    perhaps = perhaps_half(context, dtypes)
    hosts = {context.script.function(r.first) for r in context.training.regions}
    cast = {n for r in context.training.regions for s in r.statements for n in ast.walk(s)}
    cast |= {n for b in context.training.backwards for n in ast.walk(b.loss)}
    for handed, doubts in (f(context, dtypes) for f in (_numpy_in_calls, _collected)):
        casts += handed
        unsure += doubts
    shown, doubts = logged(context, dtypes)
    unsure += doubts
    shown += [*handed_out(context, dtypes), *find_rescaled(context, dtypes)]
    losses = {ast.unparse(b.loss) for b in context.training.backwards}
    for value in dict.fromkeys(shown):
        sure = ast.unparse(value) in losses or is_tensor(context, value)
        (casts if sure else perhaps).append(value)
    for function in hosts:
        casts += _for_layers(context, dtypes, function, cast)
    for call in context.script.method_calls("numpy"):
        assert isinstance(call.func, ast.Attribute)
        if context.script.function(call) not in {*hosts, *dtypes.functions}:
            continue
        kind = dtypes.of(call.func.value)
        if kind == "low":
            casts.append(call.func.value)
        elif kind == "unknown":
            perhaps.append(call.func.value)
    added = [*find_sums(context, dtypes), *find_means(context, dtypes)]
    casts += (value for value in dict.fromkeys(added) if value not in casts)
    return casts, [v for v in perhaps if v not in casts], unsure


def cast_edits(
    context: Context, values: list[ast.expr], perhaps: list[ast.expr], name: str, remedy: str
) -> tuple[list[Edit], list[Site]]:
    """The values as fp32, each by `.float()` behind it; by a function of that name where one may be no half tensor."""
    script = context.script
    edits: list[Edit] = []
    sites: list[Site] = []
    for value in perhaps:
        start, end = script.start(value), script.end(value)
        edits += [Span(start, start, f"{name}("), Span(end, end, ")")]
        code, what = "layer_cast", "what takes this knows no half precision"
        if isinstance(script.parents[value], ast.Attribute):
            code, what = "numpy_cast", "numpy has no bf16"
        sites.append(Site(value.lineno, remedy, "edit", code, f"{what}, so a half tensor becomes fp32 first"))
    for value in values:
        above, start, end = script.parents[value], script.start(value), script.end(value)
        if isinstance(above, ast.Attribute):
            place = script.text.rindex(".", end, script.end(above))
            edits.append(Span(place, place, ".float()"))
        elif isinstance(value, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            edits.append(Span(end, end, ".float()"))
        else:
            edits += [Span(start, start, "("), Span(end, end, ").float()")]
        sites.append(Site(value.lineno, remedy, "edit", *_why(context, above)))
    return edits, sites


def _why(context: Context, above: ast.AST) -> tuple[str, str]:
    """The reason code and note for a value that stands below `above`."""
    word = (
        above.attr
        if isinstance(above, ast.Attribute)
        else last_name(above)
        if isinstance(above, ast.Call)
        else ""
    )
    if word in ("mean", "std", "var"):
        return "fp32_sum", f"the {word} is taken in fp32: its rounding would stay in what is normalized by it"
    if isinstance(above, ast.Attribute):
        return "numpy_cast", "numpy has no bf16, so the tensor becomes fp32 first"
    if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Mult):
        return "rescaled", "scaled back to what it stands for, half precision would keep two or three digits"
    if not isinstance(above, ast.Call):
        return "fp32_sum", "a sum over steps begins as a number: of half tensors it would stop growing"
    if is_model(context, above.func):
        return "layer_cast", "a layer or function outside of autocast takes fp32"
    return "numpy_cast", "what is called here makes an array, for which numpy has no bf16, or scales it back"
