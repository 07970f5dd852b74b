"""The models of a script: which names hold the one that trains, and where it is set up."""

import ast
from dataclasses import dataclass

from .context import Context
from .flow import path
from .names import Function
from .script import Script


@dataclass(frozen=True)
class Model:
    """A path such as `model` or `self.net`, and the last statement that assigns it before training."""

    path: str
    made: ast.stmt


def trained_models(context: Context) -> list[Model]:
    """The models that the training regions call, as far as their construction is in this file."""
    found: dict[str, Model] = {}
    training = context.training
    statements = [s for region in training.regions for s in region.statements]
    statements += [context.script.statement(b.call) for b in training.backwards]  # `loss(net(x)).backward()`
    for call in (n for s in statements for n in ast.walk(s) if isinstance(n, ast.Call)):
        for model in _behind(context, call.func, 0):
            found.setdefault(model.path, model)
    return list(found.values())


def _behind(context: Context, node: ast.expr, depth: int) -> list[Model]:
    """Follow a called name to the statement that made it, through the arguments of functions of this file."""
    name = path(node)
    if name is None or depth > 4 or context.script.qualified(node) or not is_model(context, node):
        return []
    if isinstance(node, ast.Attribute):
        made = [
            s for target, _, _ in context.roles.assigned(node) for s in [context.script.statement(target)]
        ]
        if any(_trained(context, s) for s in made):  # another model may train on
            return []
        return [Model(name, _last(context, made))] if made and _last(context, made) else []  # type: ignore[arg-type]
    bindings = context.script.bindings(name, node)
    if all(b.kind == "assign" for b in bindings):
        made = [context.script.statement(b.node) for b in bindings]
        last = _last(context, [s for s in made if not _trained(context, s)])
        return [Model(name, last)] if last is not None else []
    if len(bindings) == 1 and bindings[0].kind == "parameter":
        function = context.script.parents[context.script.parents[bindings[0].node]]
        if isinstance(function, Function):
            values = [context.roles.argument(c, function, name) for c in context.roles.call_sites(function)]
            return [m for v in values if v is not None for m in _behind(context, v, depth + 1)]
    return []


def _trained(context: Context, made: ast.stmt) -> bool:
    """`model = train(model)`, or an assignment behind the training: not the model that trains."""
    script, training = context.script, context.training
    if training.is_barrier(made):
        return True
    at: ast.stmt | None = made
    while at is not None and not isinstance(at, Function | ast.ClassDef):
        for statement in script.block(at):
            defines = isinstance(statement, Function | ast.ClassDef)
            if statement.lineno < at.lineno and not defines and training.is_barrier(statement):
                return True
        at = script.outer(at)
    return False


def is_model(context: Context, node: ast.expr) -> bool:
    """Whether a value is a module by origin: a class of this file, a layer, a model of a known library."""
    for origin in context.roles.origins(node):
        if origin.kind == "instance" and isinstance(origin.node, ast.ClassDef):
            if context.roles.is_module_class(origin.node):
                return True
        elif origin.kind == "call" and (makes_model(origin.name) or class_of(context, origin.name)):
            return True
    return False


def class_of(context: Context, name: str) -> tuple[Script, ast.ClassDef] | None:
    """A module class of another file of the project."""
    found = context.class_elsewhere(name)
    return found if found and context.roles_of(found[0]).is_module_class(found[1]) else None


def makes_model(name: str) -> bool:
    """Whether calling this name builds a module, losses excepted."""
    if name.startswith("torch.nn.") and not name.startswith(
        ("torch.nn.functional.", "torch.nn.utils.", "torch.nn.init.")
    ):
        return not name.endswith(("Loss", ".Parameter"))
    return name.startswith(
        ("torchvision.models.", "timm.create_model", "transformers.AutoModel", "segmentation_models_pytorch.")
    )


def _last(context: Context, statements: list[ast.stmt]) -> ast.stmt | None:
    """The last of the assignments in the innermost block around them all: itself, or what it stands in."""
    if not statements:
        return None
    script = context.script
    chains: list[list[ast.stmt]] = []
    for statement in statements:
        chain = [statement]
        while (above := script.outer(chain[-1])) is not None:
            chain.append(above)
        chains.append(chain)
    for inner in chains[0]:
        block = script.block(inner)
        tops = [next((s for s in chain if script.block(s) is block), None) for chain in chains]
        found = [s for s in tops if s is not None]
        if len(found) == len(chains):
            looped = any(isinstance(s, ast.For | ast.AsyncFor | ast.While) for s in found)
            return None if looped else max(found, key=lambda s: s.lineno)
    return None
