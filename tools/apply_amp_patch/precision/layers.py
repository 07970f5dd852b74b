"""A sigmoid inside of a Sequential becomes a subclass that computes in fp32, so that no key of a checkpoint moves."""

import ast
from collections.abc import Iterator

from ..context import Context
from ..edits import indent_unit
from ..names import Function
from ..roles import Roles
from ..script import Script
from .picks import Unproven

_SAVES = {"torch.save", "torch.jit.save", "pickle.dump", "pickle.dumps", "joblib.dump", "dill.dump"}
_FORWARD = {
    "Sigmoid": "torch.sigmoid(input.float())",
    "Softmax": "torch.nn.functional.softmax(input.float(), self.dim)",
}
_FILLS = ("append", "extend", "insert", "update", "setdefault")
_NO_MODULES = (
    *(f"builtins.{n}" for n in ("int", "float", "str", "len", "round")),
    "numpy.",
    "argparse.",
    "time.",
)
_MOST_NAMES = 4  # from one to the next
_STORES = ("add_module", "append", "extend", "insert", "register_module")


def layers_of(roles: Roles, made: ast.Call) -> list[ast.expr]:
    """The layers of a Sequential, at least the last one. Raises Unproven where that may be another."""
    script = roles.script
    stores = [c for word in _STORES for c in script.method_calls(word) if isinstance(c.func, ast.Attribute)]
    added = [c for c in stores if any(o.node is made for o in roles.origins(c.func.value))]  # type: ignore[attr-defined]
    if added:
        last = added[-1]
        blocks = [script.block(script.statement(call)) for call in (last, made)]
        whole = last.func.attr == "add_module" and len(last.args) == 2  # type: ignore[attr-defined]
        if made.args or not whole or blocks[0] is not blocks[1]:
            raise Unproven
        return [last.args[1]]
    match made.args:
        case [ast.Call(args=[ast.List(elts=pairs)]) as ordered]:
            named = all(isinstance(p, ast.Tuple) and len(p.elts) == 2 for p in pairs)
            if named and script.called(ordered) == "collections.OrderedDict":
                return [p.elts[1] for p in pairs]  # type: ignore[attr-defined]
    return made.args


def may_change(context: Context, layers: set[str]) -> bool:
    """Whether the class of a layer can be another: no whole model is saved, no type is compared."""
    saved = any(_saves_model(context, call) for call in context.script.calls)
    return not saved and not _named_types(context.script, layers)


def _saves_model(context: Context, call: ast.Call) -> bool:
    """Whether a call may write a model as such, whose pickle would name the new class: not a state dict."""
    if context.script.called(call) not in _SAVES:
        return False
    return not call.args or not all(_is_plain(context, value) for value in _parts(context, call.args[0]))


def _parts(context: Context, value: ast.expr, depth: int = 0) -> Iterator[ast.expr]:
    """What a container holds that is saved, by itself or through a name, an attribute or a parameter."""
    if isinstance(value, ast.Dict | ast.List | ast.Tuple):
        for part in value.values if isinstance(value, ast.Dict) else value.elts:
            yield from _parts(context, part, depth)
    elif (
        isinstance(value, ast.Name | ast.Attribute)
        and depth < _MOST_NAMES
        and (found := _held(context, value))
    ):
        for part in found:
            yield from _parts(context, part, depth + 1)
    else:
        yield value


def _held(context: Context, value: ast.Name | ast.Attribute) -> list[ast.expr]:
    """What a name or attribute may be, and what is put into it; nothing where one of these is not known."""
    script, roles = context.script, context.roles
    found: list[ast.expr | None] = []
    if isinstance(value, ast.Attribute):
        found += [v if index is None else None for _, v, index in roles.assigned(value)]
    for binding in script.bindings(value.id, value) if isinstance(value, ast.Name) else []:
        function = script.parents[script.parents[binding.node]] if binding.kind == "parameter" else None
        if isinstance(function, Function):
            found += [roles.argument(c, function, value.id) for c in roles.call_sites(function)] or [None]  # type: ignore[union-attr]
        else:
            found.append(binding.value if binding.kind == "assign" and binding.index is None else None)
    known = [v for v in found if v is not None]
    return [*known, *_put_into(script, ast.unparse(value))] if len(known) == len(found) else []


def _put_into(script: Script, container: str) -> Iterator[ast.expr]:
    """`state["net"] = net`, `history["loss"].append(loss)`."""
    for node in script.nodes:
        match node:
            case ast.Assign(targets=[ast.Subscript(value=owner)], value=part) if (
                ast.unparse(owner) == container
            ):
                yield part
            case ast.Call(func=ast.Attribute(attr=attr, value=owner)) if attr in _FILLS:
                whole = owner.value if isinstance(owner, ast.Subscript) else owner
                if ast.unparse(whole) == container:
                    yield from [*node.args, *(k.value for k in node.keywords)]


def _is_plain(context: Context, value: ast.expr) -> bool:
    """A state dict, a number, a tensor by its method: nothing that may hold a module."""
    match value:
        case ast.Constant() | ast.BinOp() | ast.Compare() | ast.JoinedStr():
            return True
        case ast.Call(func=ast.Attribute(attr="state_dict" | "item" | "get_rng_state" | "numpy")):
            return True
    loops = context.script.bindings(value.id, value) if isinstance(value, ast.Name) else []
    if loops and all(b.kind == "loop" and context.script.called(b.value) == "builtins.range" for b in loops):  # type: ignore[arg-type]
        return True
    origins = context.roles.origins(value)
    return bool(origins) and all(
        o.kind == "constant" or (o.kind == "call" and o.name.startswith(_NO_MODULES)) for o in origins
    )


def _named_types(script: Script, layers: set[str]) -> bool:
    """Whether a script compares types with one of the layers, or names one in a string."""
    short = {name.split(".")[-1] for name in layers}
    for node in script.nodes:
        if isinstance(node, ast.Constant) and node.value in short:
            return True
        if isinstance(node, ast.Attribute | ast.Name) and script.qualified(node) in layers:
            above = script.parents[node]
            if isinstance(above, ast.Compare | ast.Tuple | ast.List | ast.Set | ast.Dict):
                return True
    return False


def class_lines(script: Script, kind: str, name: str, torch: str) -> list[str]:
    """A subclass of `nn.Sigmoid` or `nn.Softmax` that computes in fp32, as lines at module level."""
    unit = indent_unit(script)
    forward = _FORWARD[kind].replace("torch.", f"{torch}.", 1)
    why = "is 1 from a logit of 7 on" if kind == "Sigmoid" else "does not sum to 1 within 1e-6"
    return [
        f"class {name}({torch}.nn.{kind}):",
        f"{unit}# In half precision a {kind.lower()} {why}.",
        f"{unit}def forward(self, input):",
        f"{unit}{unit}return {forward}",
    ]
