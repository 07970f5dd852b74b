"""Activation checkpointing: the repeated blocks of a model are computed again in backward instead of kept.

    for block in self.blocks:        for block in self.blocks:
        x = block(x)            ->       if self.training and torch.is_grad_enabled():
                                             x = activation_checkpoint(block, x, use_reentrant=False)
                                         else:
                                             x = block(x)

Hugging Face models have a switch of their own. Random numbers and autocast are restored by torch, so dropout computes
the same. https://docs.pytorch.org/docs/stable/checkpoint.html
"""

import ast
import re

from ..arguments import further_argument
from ..blocks import appended, blocks_built_by, check_statistics
from ..context import Context
from ..edits import Edit, Line, Span, indent_unit
from ..flow import path
from ..framework_models import has_no_checkpointing, may_train
from ..frameworks import TRAINING_ARGUMENTS
from ..patch import Declined, Patch, Site
from ..prelude import header
from ..script import Script

REMEDY = "gradient_checkpointing"
_NAME = "activation_checkpoint"
_SEQUENTIAL = "activation_checkpoint_sequential"
_LISTS = {
    "torch.nn.ModuleList",
    "torch.nn.modules.container.ModuleList",
    "torch.nn.Sequential",
    "torch.nn.ModuleDict",
}
_TORCH = ("torch.utils.checkpoint.checkpoint", "torch.utils.checkpoint.checkpoint_sequential")
_OTHERS = ("torch.distributed.algorithms._checkpoint.", "fairscale.nn.checkpoint", "deepspeed.checkpointing.")
_OWN_SWITCH = re.compile(
    r"checkpointing|(use|grad|activation|with|memory)_?checkpoint|checkpoint_?(grad|activation)"
)
_PLAIN = (
    "Linear",
    "Conv",
    "Pool",
    "Embedding",
    "Norm",
    "Dropout",
    "Identity",
    "Upsample",
    "Flatten",
    "Padding",
)
_SWITCHES = ("gradient_checkpointing_enable", "enable_gradient_checkpointing")  # transformers, diffusers
_MODEL = re.compile(
    r"transformers\.(?!.*DataCollator)[\w.]*(Model|For[A-Z])\w*(\.from_pretrained|\.from_config)?$"
)
_SOME_CANNOT = "where this version's class has no such switch, the script stops with an error at once"
_SWITCH = '.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})'


def propose(context: Context) -> Patch:
    """Checkpoints for the repeated blocks of every model in this file."""
    try:
        return (
            _present(context)
            or _unable(context)
            or _trainer(context)
            or _hugging_face(context)
            or _blocks(context)
        )
    except Declined as reason:
        return reason.as_patch(REMEDY)


def _present(context: Context) -> Patch | None:
    script = context.script
    present = [c for c in script.calls if _checkpoints(script, c)]
    if not present:
        return None
    old = [
        c
        for c in present
        if script.called(c) in _TORCH and not any(k.arg in ("use_reentrant", None) for k in c.keywords)
    ]
    if not old:
        site = Site(present[0].lineno, REMEDY, "keep", "already", "activations are checkpointed already")
        return Patch("already", [site])
    note = "the reentrant variant is deprecated"
    return Patch(
        "patched",
        [Site(c.lineno, REMEDY, "edit", "use_reentrant", note) for c in old],
        [further_argument(script, c, "use_reentrant=False") for c in old],
    )


def _checkpoints(script: Script, call: ast.Call) -> bool:
    name = script.called(call) or ""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return name in _TORCH or name.startswith(_OTHERS) or method in _SWITCHES


def _unable(context: Context) -> Patch | None:
    for call in (c for c in context.script.calls if has_no_checkpointing(context.script, c)):
        made = context.script.statement(call)
        holder = path(made.targets[0]) if isinstance(made, ast.Assign) else None
        if holder and may_train(context, holder, made):
            note = f"the model of {ast.unparse(call.func)} has no gradient checkpointing in transformers"
            raise Declined(call.lineno, "blocks_not_found", note)
    return None


def _trainer(context: Context) -> Patch | None:
    """The Trainer of transformers has an option."""
    script = context.script
    calls = [c for c in script.calls if script.called(c) in TRAINING_ARGUMENTS]
    if calls and _trains_own_module(context):
        return None
    edits: list[Edit] = []
    sites: list[Site] = []
    for call in calls:
        given = next((k.value for k in call.keywords if k.arg == "gradient_checkpointing"), None)
        if given is not None and ast.unparse(given) != "False":
            sites.append(Site(call.lineno, REMEDY, "keep", "already", "gradient_checkpointing is set"))
            continue
        if any(k.arg is None for k in call.keywords):
            note = "its options come from a dictionary: set gradient_checkpointing there"
            raise Declined(call.lineno, "framework_flag", note)
        chosen = any(k.arg == "gradient_checkpointing_kwargs" for k in call.keywords)
        kind = "" if chosen else ', gradient_checkpointing_kwargs={"use_reentrant": False}'
        if given is not None:
            edits.append(Span(script.start(given), script.end(given), f"True{kind}"))
        else:
            edits.append(further_argument(script, call, f"gradient_checkpointing=True{kind}"))
        sites.append(Site(call.lineno, REMEDY, "edit", "framework_option", "the Trainer's own option"))
    return Patch("framework_option" if edits else "already", sites, edits) if calls else None


def _trains_own_module(context: Context) -> bool:
    """Whether a Trainer is given a plain torch module of this file, which has no such switch."""
    own = [
        o.node
        for call in context.script.calls
        for keyword in call.keywords
        if keyword.arg == "model"
        for o in context.roles.origins(keyword.value)
        if o.kind == "instance" and isinstance(o.node, ast.ClassDef)
    ]
    return any(set(context.roles.base_names(h)) & {"torch.nn.Module", "torch.nn.modules.Module"} for h in own)


def _hugging_face(context: Context) -> Patch | None:
    """`model = AutoModel....from_pretrained(...)` gets its switch in the next line."""
    script = context.script
    edits: list[Edit] = []
    sites: list[Site] = []
    for node in script.nodes:
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.targets) == 1):
            continue
        name = script.called(node.value) or ""
        holder = path(node.targets[0])
        if not (holder and _MODEL.match(name) and may_train(context, holder, node)):
            continue
        edits.append(
            Line((node.end_lineno or node.lineno) + 1, script.indentation(node.lineno), f"{holder}{_SWITCH}")
        )
        sites.append(Site(node.lineno, REMEDY, "edit", "framework_option", "the model's own switch"))
    return Patch("framework_option", sites, edits, [_SOME_CANNOT]) if edits else None


def _blocks(context: Context) -> Patch:
    """Calls of a loop variable over a list of blocks, in a forward of this file."""
    script, roles = context.script, context.roles
    edits: list[Edit] = []
    sites: list[Site] = []
    own = next((n for n in script.nodes if isinstance(n, ast.Attribute) and _OWN_SWITCH.search(n.attr)), None)
    if own is not None:
        note = f"the model has a switch of its own: {ast.unparse(own)}"
        return Patch("already", [Site(own.lineno, REMEDY, "keep", "already", note)])
    for holder in script.classes:
        if not roles.is_module_class(holder):
            continue
        for call, blocks in _block_calls(context, holder):
            if _single_layers(context, blocks):
                continue
            check_statistics(context, blocks, call)
            edits += _checkpointed(context, call, blocks)
            note = f"the blocks of {ast.unparse(blocks)}"
            sites.append(Site(call.lineno, REMEDY, "edit", "checkpointed", note))
    if edits:
        text = "".join(e.text for e in edits if isinstance(e, Span))
        lines = [] if script.torch_name() else ["import torch"]
        lines += [f"from torch.utils.checkpoint import checkpoint as {_NAME}"] if f"{_NAME}(" in text else []
        sequential = f"from torch.utils.checkpoint import checkpoint_sequential as {_SEQUENTIAL}"
        lines += [sequential] if f"{_SEQUENTIAL}(" in text else []
        return Patch("patched", sites, [*edits, header(script, lines)])
    if not context.training.backwards and not any(roles.is_module_class(c) for c in script.classes):
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", "no model and no training here")]
        )
    first = next((c for c in script.classes if roles.is_module_class(c)), None)
    line_number = first.lineno if first else context.training.backwards[0].call.lineno
    note = "no loop over repeated blocks (a ModuleList called block by block) is in this file"
    raise Declined(line_number, "blocks_not_found", note)


def _single_layers(context: Context, blocks: ast.expr) -> bool:
    """Each block is one layer, which keeps no more than the input that a checkpoint keeps too."""
    built: list[ast.AST] = [*blocks_built_by(context, blocks), *appended(context, blocks)]
    calls = [n for b in built for n in ast.walk(b) if isinstance(n, ast.Call) and n not in built]
    names = [context.script.called(c) or "" for c in calls]
    layers = [n.rpartition(".")[2] for n in names if not n.startswith(("builtins.", "torch.nn.utils."))]
    return (
        bool(layers)
        and all(n.startswith(("torch.nn.", "builtins.")) for n in names if n)
        and all(any(kind in layer for kind in _PLAIN) for layer in layers)
    )


def _block_calls(context: Context, holder: ast.ClassDef) -> list[tuple[ast.Call, ast.expr]]:
    """Calls of repeated blocks in a class, each with the expression that holds the blocks."""
    found: list[tuple[ast.Call, ast.expr]] = []
    for node in ast.walk(holder):
        if isinstance(node, ast.For):
            blocks = _iterated(context, node)
            call = _block_call(context, node)
            if call is not None:
                found.append((call, blocks))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            call = node.value
            if _is_repeated(context, call.func) and len(call.args) == 1 and not call.keywords:
                found.append((call, call.func))
    return found


def _block_call(context: Context, loop: ast.For) -> ast.Call | None:
    """`x = block(x, ...)` as a statement of the loop, where `block` runs over a list of modules."""
    target = loop.target
    if isinstance(target, ast.Tuple) and context.script.called(loop.iter) == "builtins.enumerate":
        target = target.elts[1]
    lists = [
        c for c in blocks_built_by(context, _iterated(context, loop)) if context.script.called(c) in _LISTS
    ]
    for statement in loop.body if lists and isinstance(target, ast.Name) else []:
        value = statement.value if isinstance(statement, ast.Assign) else None
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == target.id:  # type: ignore[attr-defined]
            return value
    return None


def _iterated(context: Context, loop: ast.For) -> ast.expr:
    """What a loop runs over, without enumerate and slices."""
    node: ast.expr = loop.iter
    if isinstance(node, ast.Call) and context.script.called(node) == "builtins.enumerate" and node.args:
        node = node.args[0]
    while isinstance(node, ast.Subscript):
        node = node.value
    return node


def _is_repeated(context: Context, node: ast.expr) -> bool:
    """`nn.Sequential(*[Block() for _ in range(n)])`, under one name."""
    built = blocks_built_by(context, node) if isinstance(node, ast.Attribute) else []
    return len(built) == 1 and (
        context.script.called(built[0]) == "torch.nn.Sequential"
        and len(built[0].args) == 1
        and isinstance(built[0].args[0], ast.Starred)
        and isinstance(built[0].args[0].value, ast.ListComp)
    )


def _checkpointed(context: Context, call: ast.Call, blocks: ast.expr) -> list[Edit]:
    script = context.script
    statement = script.statement(call)
    function = script.function(call)
    me = function.args.args[0].arg if function and function.args.args else "self"
    torch = script.torch_name() or "torch"
    before = script.text[script.line_starts[statement.lineno - 1] : script.start(statement)]
    if before.strip():
        raise Declined(
            statement.lineno, "shared_line", "the block's call shares its line with another statement"
        )
    indent, unit = script.indentation(statement.lineno), indent_unit(script)
    text = script.code(statement)
    head = text[: script.start(call) - script.start(statement)]
    opening = script.text.index("(", script.end(call.func)) + 1
    arguments = script.text[opening : script.end(call) - 1].strip().rstrip(",")
    tail = script.text[script.end(call) : script.end(statement)]
    block = script.code(call.func)
    whole = call.func is blocks
    wrapped = f"{_SEQUENTIAL}({block}, len({block})" if whole else f"{_NAME}({block}"
    body = f"{head}{wrapped}, {arguments}, use_reentrant=False){tail}"
    lines = f"if {me}.training and {torch}.is_grad_enabled():\n{unit}{body}\nelse:\n{unit}{text}"
    if "\n" in text or "\r" in text:
        raise Declined(statement.lineno, "shared_line", "the block's call runs over several lines")
    start = script.start(statement)
    return [Span(start, script.end(statement), lines.replace("\n", f"\n{indent}"))]
