"""Binary cross entropy, by what a call calls: also what an object holds whose class stands in another file."""

import ast
from collections.abc import Iterator

from ..context import Context
from ..origins import Origin
from ..script import Script

BCE = {"torch.nn.BCELoss", "torch.nn.functional.binary_cross_entropy", "torch.binary_cross_entropy"}
_MOST_BASES = 5


def is_bce(context: Context, script: Script, call: ast.Call) -> bool:
    """A call of F.binary_cross_entropy or of a BCELoss object."""
    name = script.called(call)
    if name in BCE and name != "torch.nn.BCELoss":
        return True
    return not name and any(map(_is_of_bce, called_by(context, script, call)))


def _is_of_bce(origin: Origin) -> bool:
    if origin.kind == "call":
        return origin.name == "torch.nn.BCELoss"
    return origin.kind == "import" and origin.name in BCE and origin.name != "torch.nn.BCELoss"


def called_by(context: Context, script: Script, call: ast.Call) -> list[Origin]:
    """What may be called; `model.loss(p, y)` too, where the class of the model has `self.loss = nn.BCELoss()`."""
    func, roles = call.func, context.roles_of(script)
    found = list(roles.origins(func))
    if not isinstance(func, ast.Attribute) or not any(o.kind == "unknown" for o in found):
        return found
    owner = func.value
    if isinstance(owner, ast.Attribute) and owner.attr == "module":  # of a DataParallel
        owner = owner.value
    names = [o.name for o in roles.origins(owner) if o.kind == "call"]
    if (holder := roles.owner_class(owner)) is not None:
        names += [script.qualified(base) or "" for kin in roles.family(holder) for base in kin.bases]
    held = [o for name in names for o in _set_elsewhere(context, name, func.attr)]
    return [*(o for o in found if o.kind != "unknown"), *held] if held else found


def _set_elsewhere(context: Context, name: str, attribute: str, depth: int = 0) -> Iterator[Origin]:
    """What a class of another file, or one that it derives from, sets an attribute of its objects to."""
    made = context.class_elsewhere(name) if name else None
    if made is None or depth > _MOST_BASES:
        return
    home, holder = made
    roles = context.roles_of(home)
    own, _, _ = roles.stores(attribute)
    for kin in [holder, *roles.bases(holder)]:
        for _, (_, value, index) in own.get(kin, []):
            if index is None:
                yield from roles.origins(value)
        for base in kin.bases:
            if (above := home.qualified(base)) and above != name:
                yield from _set_elsewhere(context, above, attribute, depth + 1)
