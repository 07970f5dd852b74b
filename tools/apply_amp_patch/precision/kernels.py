"""Losses of packages whose kernels know fp32 alone, wherever the project makes or calls them.

Their code reads a tensor's bytes as fp32, whatever its dtype: half gives zeros, an error, or memory that is not the
tensor's. What makes such a loss and what calls it may be two files, so it is the package's class that runs in fp32,
by any file that has its name; a function is set in each module that calls it by its own name.

    import model as amp_model
    amp_model.RNNTLoss.forward = amp_float32(amp_model.RNNTLoss.forward)
"""

import ast
from collections.abc import Iterator

from ..context import Context
from ..once import once
from ..patch import Declined
from ..prelude import header_line
from ..script import Script
from .remote import Place, import_line, module_place, runs_at_import

FP32_KERNELS = (
    *("warpctc_pytorch.", "warprnnt_pytorch.", "warp_rnnt.", "torch_baidu_ctc.", "fast_rnnt."),
    *("torchaudio.functional.rnnt_loss", "torchaudio.transforms.RNNTLoss"),
)
ALONE = "computes in fp32 alone"
_KEEP = ("builtins.", "torch.", "functools.")  # they call nothing that they are given, or here


def kernels(context: Context) -> dict[ast.AST, tuple[Declined, list[Place]]]:
    """Where the files that a script runs name such losses, and under which expressions those can be wrapped.

    What the script itself calls is not among them: that is wrapped where it is called. Raises Declined where a
    loss has no such expression, and is not given fp32.
    """
    found: dict[ast.AST, tuple[Declined, list[Place]]] = {}
    for path, script in [(None, context.script), *context.project.items()]:
        for mention in _mentions(script):
            if path is None and _is_called_here(context, mention):
                continue
            if path is not None and not _may_run(context, script, mention):
                continue
            where = f" in {path.name}" if path is not None else ""
            line = mention.lineno if path is None else import_line(context, path.name)
            reason = Declined(line, "custom_function", f"{script.qualified(mention)}{where} {ALONE}")
            place = _place(context, script, mention)
            if place is None and not _takes_fp32(context, script, mention):
                raise _unnamed(reason)
            found[mention] = reason, [place] if place is not None else []
    return found


def refuse_given(context: Context, giver: Context, line: int) -> None:
    """Raise where a file that hands the script a model or loss runs one: no import of the script leads there."""
    for path, script in [(giver.path, giver.script), *giver.project.items()]:
        if path == context.path or path in context.project:
            continue
        for mention in _mentions(script):
            if _may_run(giver, script, mention) and not _takes_fp32(giver, script, mention):
                name = (
                    f"{script.qualified(mention)} in {getattr(path, 'name', 'the file that runs this one')}"
                )
                raise _unnamed(Declined(line, "custom_function", f"{name} {ALONE}"))


def _unnamed(reason: Declined) -> Declined:
    return Declined(
        reason.line, reason.code, f"{reason.note}; call it there with `.float()`, then patch again"
    )


@once
def _mentions(script: Script) -> list[ast.expr]:
    """Where a file names such losses as it imports them: in calls, bases of classes, values of other names."""
    return [
        node
        for node in script.nodes
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
        if not isinstance(script.parents[node], ast.Attribute)
        if (script.qualified(node) or "").startswith(FP32_KERNELS)
        if any(b.kind == "import" for b in script.bindings(_root(node).id, node))
    ]


def _root(mention: ast.expr) -> ast.Name:
    return next(n for n in ast.walk(mention) if isinstance(n, ast.Name))


def _may_run(context: Context, script: Script, mention: ast.expr) -> bool:
    """Whether code that the script may run holds a mention."""
    around = [a for a in script.ancestors(mention) if isinstance(a, ast.FunctionDef | ast.ClassDef)]
    return all(map(context.reached.makes, around))


def _is_class(script: Script, mention: ast.expr) -> bool:
    return (script.qualified(mention) or "").rpartition(".")[2][:1].isupper()


def _is_called_here(context: Context, mention: ast.expr) -> bool:
    """Whether the script calls what it names, or the object that it makes, and hands that to no code elsewhere."""
    script, roles = context.script, context.roles
    name, made = script.qualified(mention), script.parents[mention]
    if _is_class(script, mention) and not (isinstance(made, ast.Call) and made.func is mention):
        return False

    def holds(value: ast.expr) -> bool:
        found = roles.origins(value)
        if _is_class(script, mention):
            return any(o.node is made for o in found)
        return any((o.kind, o.name) == ("import", name) for o in found)

    calls = [c for c in script.calls if holds(c.func)]
    return bool(calls) and not any(
        holds(a) for c in _at_work(context) for a in [*c.args, *(k.value for k in c.keywords)]
    )


def _at_work(context: Context) -> set[ast.Call]:
    """The calls of other code that a region runs, and those that make what it calls: `net = Net(RNNTLoss())`.

    What a batch's own loop makes is no model: `preds = validate(net, criterion)`.
    """
    roles, training = context.roles, context.training
    loops = {context.script.loop(r.first) for r in training.regions} - {None}
    roots = [*(s for r in training.regions for s in r.statements), *(b.loss for b in training.backwards)]
    inside = [n for root in roots for n in ast.walk(root) if isinstance(n, ast.Call)]
    values = [c.func for c in inside]
    values += [c.func.value for c in inside if isinstance(c.func, ast.Attribute)]
    behind = [o.node for value in values for o in roles.origins(value) if isinstance(o.node, ast.Call)]
    made = [node for node in behind if not loops & set(context.script.ancestors(node))]
    elsewhere = (c for c in [*inside, *made] if not (context.script.called(c) or "").startswith(_KEEP))
    return {c for c in elsewhere if not roles.callees(c)}


def _place(context: Context, script: Script, mention: ast.expr) -> Place | None:
    """The expression for a loss under the name that a module has it by; none where an import may fail or comes late."""
    own = script is context.script
    for binding in script.bindings(_root(mention).id, mention):
        statement = script.statement(binding.node)
        late = own and statement.lineno >= header_line(script)
        if binding.kind != "import" or script.parents[statement] is not script.tree or late:
            return None
    module = ("", "") if own else module_place(context, script)
    if module is None:
        return None
    name = ".".join(filter(None, (module[1], ast.unparse(mention))))
    last = (script.qualified(mention) or "").rpartition(".")[2]
    if _is_class(script, mention):
        return module[0], f"{name}.forward"
    plain = last.isidentifier() and last[:1].islower() and last != "apply"
    return (module[0], name) if plain and not runs_at_import(script, mention) else None


def _takes_fp32(context: Context, script: Script, mention: ast.expr) -> bool:
    """Whether every call in the file gives such a loss fp32: `crit(out.float(), ...)`."""
    made = script.parents[mention]
    calls = list(_calls(context, script, made)) if _is_class(script, mention) else [made]
    return bool(calls) and all(isinstance(c, ast.Call) and c.args and _is_fp32(c.args[0]) for c in calls)


def _calls(context: Context, script: Script, made: ast.AST) -> Iterator[ast.Call]:
    roles = context.roles_of(script)
    return (c for c in script.calls if any(o.node is made for o in roles.origins(c.func)))


def _is_fp32(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and getattr(value.func, "attr", "") == "float" and not value.args
