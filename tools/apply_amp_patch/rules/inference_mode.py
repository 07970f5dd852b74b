"""Evaluation without gradients: no activations are kept for a backward that never comes.

    def evaluate(model, loader):      ->   @torch.no_grad()
        model.eval()                       def evaluate(model, loader):

no_grad, not inference_mode: a tensor that leaves the evaluation may then still take part in training.
https://docs.pytorch.org/docs/stable/notes/autograd.html#locally-disable-grad-doc
"""

import ast

from ..context import Context
from ..edits import Edit, Line, Wrap
from ..index import returns
from ..leaving import is_number, kept, read_by_caller, read_by_training
from ..models import is_model
from ..names import Function
from ..patch import Patch, Site
from ..precision.hazards import second_order
from ..prelude import header
from ..script import Script

REMEDY = "inference_mode"
_OFF = {"torch.no_grad", "torch.inference_mode", "torch.set_grad_enabled", "torch.autograd.no_grad"}
_NO_FORWARD_WORDS = (
    "eval train to cuda cpu float half state_dict load_state_dict parameters named_parameters modules children "
    "named_modules requires_grad_ zero_grad apply compile register_buffer "
)
_NO_FORWARD = frozenset(_NO_FORWARD_WORDS.split())
_SECOND_ORDER = ("torch.autograd.", "torch.func.")
# methods that differentiate the model they were given: attacks and explanations of other packages
_DIFFERENTIATES = {"perturb", "attribute", "run_standard_evaluation", "attack"}
_ATTACKS = ("torchattacks.", "advertorch.", "captum.", "autoattack.", "foolbox.", "cleverhans.")


def propose(context: Context) -> Patch:
    """no_grad around functions and loops that follow `model.eval()` and differentiate nothing."""
    script = context.script
    evals = [c for c in script.method_calls("eval") if not c.args and not script.qualified(c.func)]
    if not evals:
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_evaluation", "no model is put into eval() here")]
        )
    if all(not _is_off(context, c) for c in evals):
        for line, note in second_order(context):
            note = f"{note}, perhaps in the evaluation too"
            return Patch("declined", [Site(line, REMEDY, "decline", "evaluation_not_separate", note)])
    edits, sites = _switched_off(context, evals)
    if edits and not script.torch_name():
        edits.append(header(script, ["import torch"]))
    if edits:
        return Patch("patched", sites, edits)
    if sites or any(_is_off(context, c) or _off_inside(context, script.function(c)) for c in evals):
        kept = sites or [
            Site(evals[0].lineno, REMEDY, "keep", "already", "the evaluation runs without gradients")
        ]
        return Patch("already", kept)
    if all((f := script.function(c)) is not None and not _runs(context, c, f) for c in evals):
        note = "eval() is called here, but nothing is evaluated"
        return Patch("nothing_to_do", [Site(evals[0].lineno, REMEDY, "keep", "no_evaluation", note)])
    note = "what follows eval() may be differentiated, or runs elsewhere"
    return Patch("declined", [Site(evals[0].lineno, REMEDY, "decline", "evaluation_not_separate", note)])


def _switched_off(context: Context, evals: list[ast.Call]) -> tuple[list[Edit], list[Site]]:
    """no_grad for each function or loop that only evaluates, and the sites of those that have it already."""
    script = context.script
    edits: list[Edit] = []
    sites: list[Site] = []
    torch = script.torch_name() or "torch"
    done: set[ast.AST] = set()
    for call in evals:
        function = script.function(call)
        if function is not None and not _runs(context, call, function):
            continue
        if function is not None and _only_evaluates(context, function) and function not in done:
            done.add(function)
            if _is_off(context, function):
                sites.append(
                    Site(call.lineno, REMEDY, "keep", "already", f"{function.name} runs without gradients")
                )
            else:
                line = function.lineno  # below other decorators: they may make it a property or a command
                edits.append(Line(line, script.indentation(line), f"@{torch}.no_grad()"))
                sites.append(
                    Site(function.lineno, REMEDY, "edit", "no_grad", f"{function.name} keeps no activations")
                )
        elif function not in done:
            for loop in _loops_after(context, call):
                line = loop.end_lineno or loop.lineno
                edits.append(Wrap(loop.lineno, line, f"with {torch}.no_grad():"))
                sites.append(
                    Site(loop.lineno, REMEDY, "edit", "no_grad", "the evaluation loop keeps no activations")
                )
    return edits, sites


def _runs(context: Context, call: ast.Call, function: Function) -> bool:
    """Whether a function also runs a model: the one it puts into eval(), or a known one, perhaps in its callees."""
    assert isinstance(call.func, ast.Attribute)
    owner = ast.unparse(call.func.value)
    queue, seen = [function], {function}
    while queue:
        above = queue.pop()
        for node in ast.walk(above):
            if not isinstance(node, ast.Call) or node is call or context.script.function(node) is not above:
                continue
            if is_model(context, node.func) or _runs_owner(node, owner):
                return True
            for callee in context.roles.callees(node):
                if callee not in seen:
                    seen.add(callee)
                    queue.append(callee)
    return False


def _runs_owner(call: ast.Call, owner: str) -> bool:
    """`model(x)` or `model.generate(x)`, not `model.cuda()`."""
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == owner:
        return call.func.attr not in _NO_FORWARD
    return ast.unparse(call.func) == owner


def _only_evaluates(context: Context, function: Function) -> bool:
    """Differentiates nothing, trains nothing, and what it returns feeds no loss."""
    script, training = context.script, context.training
    if training.effect(function) or not any(training.flow.calls_model(s) for s in function.body):
        return False
    inside = list(ast.walk(function))
    if isinstance(function, ast.AsyncFunctionDef) or any(_differentiates(script, n) for n in inside):
        return False
    if any(
        isinstance(n, ast.Attribute)
        and n.attr in ("backward", "train", "requires_grad_", "step")
        and _called(script, n)
        and not _back_to_training(n, function)
        for n in inside
    ):
        return False
    feeding = {s for found in training.contributors.values() for s in found}
    sites = [script.statement(c) for c in context.roles.call_sites(function)]
    if all(is_number(context, value) for value in returns(script, function)):
        return not any(s in feeding for s in sites)
    # another file, or the training behind it, may differentiate what it returns
    return bool(sites) and not any(
        s in feeding or kept(context, s) & read_by_training(context) for s in sites
    )


def _differentiates(script: Script, node: ast.AST) -> bool:
    """A call that takes gradients of the model by itself."""
    if not isinstance(node, ast.Call):
        return False
    name = script.called(node) or ""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    return name.startswith((*_SECOND_ORDER, *_ATTACKS)) or (not name and method in _DIFFERENTIATES)


def _called(script: Script, node: ast.Attribute) -> bool:
    parent = script.parents[node]
    return isinstance(parent, ast.Call) and parent.func is node


def _back_to_training(node: ast.Attribute, function: Function) -> bool:
    """`model.train()` as the evaluation's last word is no training."""
    return node.attr == "train" and node.lineno >= function.body[-1].lineno - 3


def _is_off(context: Context, node: ast.AST) -> bool:
    """Under no_grad already: a decorator, a with around it, or the whole body in one."""
    script = context.script
    if isinstance(node, Function):
        if any((script.called(d) or script.qualified(d)) in _OFF for d in node.decorator_list):
            return True
        return _off_inside(context, node)
    return any(
        isinstance(above, ast.With) and any(script.called(i.context_expr) in _OFF for i in above.items)
        for above in script.ancestors(node)
    )


def _off_inside(context: Context, function: ast.AST | None) -> bool:
    nodes = ast.walk(function) if function is not None else context.script.nodes
    return any(isinstance(n, ast.Call) and context.script.called(n) in _OFF for n in nodes)


def _loops_after(context: Context, call: ast.Call) -> list[ast.stmt]:
    """Loops behind `model.eval()` in its block, up to `.train()`, that only evaluate and are not under no_grad."""
    script, training = context.script, context.training
    if _is_off(context, call):
        return []
    block = script.block(script.statement(call))
    feeding = {s for found in training.contributors.values() for s in found}
    found: list[ast.stmt] = []
    for statement in block[block.index(script.statement(call)) + 1 :]:
        calls = [n for n in ast.walk(statement) if isinstance(n, ast.Call)]
        if training.is_barrier(statement) or any(
            isinstance(c.func, ast.Attribute) and c.func.attr == "train" for c in calls
        ):
            break
        runs = any(is_model(context, c.func) for c in calls)
        off = any(script.called(c) in _OFF or _differentiates(script, c) for c in calls)
        if not (isinstance(statement, ast.For | ast.While) and runs) or off or statement in feeding:
            continue
        if not kept(context, statement) & (read_by_training(context) | read_by_caller(context, statement)):
            found.append(statement)
    return found
