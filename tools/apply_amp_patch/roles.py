"""What objects are for: optimizers, schedulers, scalers, by the constructors they come from."""

import ast
from collections.abc import Callable

from .index import returns
from .names import Function
from .origins import Origin, Origins
from .script import Script

_OPTIMIZER_PACKAGES = (
    "torch.optim.",
    "timm.optim.",
    "apex.optimizers.",
    "apex.parallel.LARC.",
    "bitsandbytes.optim.",
    "torch_optimizer.",
    "pytorch_optimizer.",
    "lion_pytorch.",
    "adabelief_pytorch.",
    "transformers.AdamW",
    "transformers.Adafactor",
    "transformers.optimization.AdamW",
    "torch_geometric.nn.optim.",
    "adamp.",
    "prodigyopt.",
    "schedulefree.",
)
_SCHEDULER_PACKAGES = (
    "torch.optim.lr_scheduler.",
    "torch.optim.swa_utils.",
    "timm.scheduler.",
    "transformers.get_",
    "transformers.optimization.get_",
    "warmup_scheduler.",
)
_SCALERS = {"torch.amp.GradScaler", "torch.cuda.amp.GradScaler", "torch.amp.grad_scaler.GradScaler"}


class Roles(Origins):
    """What the objects of one script are for, by where they come from."""

    def __init__(self, script: Script, elsewhere: Callable[[str], str | None] = lambda name: None) -> None:
        super().__init__(script)
        # what a class or function of another project file makes: optimizer, scheduler, other
        self.elsewhere = elsewhere

    # roles -------------------------------------------------------------------------------------------------

    def stepper(self, node: ast.expr) -> str:
        """What an object with a `step` method is: optimizer, scheduler, scaler, other, or unknown."""
        kinds = {self._stepper(origin) for origin in self.origins(node)} - {"nothing"}
        return kinds.pop() if len(kinds) == 1 else "unknown"

    def made_by(self, name: str) -> str | None:
        """What a class or function of this file gives: optimizer, scheduler, other; None where it has no such name.

        `make_optimizer[1]` is the second of what a function gives.
        """
        name, _, place = name.removesuffix("]").partition("[")
        for holder in self.script.classes:
            if holder.name == name:
                return self._stepper(Origin("instance", "", holder))
        for function in self._functions.get(name, []):
            given = returns(self.script, function)
            if place:
                tuples = [v.elts for v in given if isinstance(v, ast.Tuple) and len(v.elts) > int(place)]
                plain = not any(isinstance(e, ast.Starred) for elts in tuples for e in elts)
                given = [elts[int(place)] for elts in tuples] if plain and len(tuples) == len(given) else []
            kinds = {self.stepper(value) for value in given}
            if len(kinds) == 1:
                return kinds.pop()
        tables = [b.value for b in self.script.held.get(name, []) if b.kind == "assign" and not place]
        made = {self._given_by(value) for table in tables for value in _entries(table)}
        return made.pop() if len(made) == 1 else None

    def _given_by(self, value: ast.expr) -> str:
        """What calling an entry of a table gives: `OPTIMIZERS = {"adamw": AdamW}`."""
        if name := self.script.qualified(value) or self._from_a_star(value):
            return self._stepper(Origin("call", name))
        kinds = set()
        for origin in self.origins(value):
            if origin.kind == "class":
                kinds.add(self._stepper(Origin("instance", "", origin.node)))
            elif origin.kind == "import":
                kinds.add(self._stepper(Origin("call", origin.name)))
            elif origin.kind == "function" and isinstance(origin.node, Function):
                kinds |= {self.stepper(given) for given in returns(self.script, origin.node)}
            else:
                kinds.add("unknown")
        return kinds.pop() if len(kinds) == 1 else "unknown"

    def _stepper(self, origin: Origin) -> str:
        if origin.kind == "call":
            if origin.name in _SCALERS:
                return "scaler"
            if origin.name.startswith(_SCHEDULER_PACKAGES):
                return "scheduler"
            if origin.name.startswith(_OPTIMIZER_PACKAGES):
                return "optimizer"
            if origin.name.startswith(("builtins.", "torch.")):
                return "other"
            return self.elsewhere(origin.name) or "unknown"
        if origin.kind == "instance" and isinstance(origin.node, ast.ClassDef):
            names = self.base_names(origin.node)
            if any(n.startswith(_SCHEDULER_PACKAGES) for n in names):
                return "scheduler"
            return "optimizer" if any(n.startswith("torch.optim.") for n in names) else "other"
        if origin.kind == "constant":
            return "nothing" if origin.name in ("None", "False") else "other"
        if (origin.kind, origin.name) == ("import", "torch.optim"):
            return "nothing"  # `optim = optim.Adam(...)` binds the module's name anew
        return "unknown"

    def handed(self, call: ast.Call) -> list[Function]:
        """The functions of this file that a call is given: `checkpoint(run, x)`."""
        names = [a for a in call.args if isinstance(a, ast.Name | ast.Attribute)]
        return [o.node for a in names for o in self.origins(a) if isinstance(o.node, Function)]

    def wraps_optimizer(self, node: ast.expr) -> ast.Call | None:
        """The call of unknown code that takes an optimizer and gives what steps in its place."""
        for origin in self.origins(node):
            call = origin.node
            if not isinstance(call, ast.Call) or self._stepper(origin) != "unknown":
                continue
            for value in [*call.args, *(k.value for k in call.keywords)]:
                if any(self._stepper(o) == "optimizer" for o in self.origins(value)):
                    return call
        return None

    def constructor(self, node: ast.expr, prefix: str = "torch.") -> set[str]:
        """The imported constructors that a value may come from, below a prefix."""
        return {o.name for o in self.origins(node) if o.kind == "call" and o.name.startswith(prefix)}


def _entries(table: ast.expr | None) -> list[ast.expr]:
    if isinstance(table, ast.Dict):
        return table.values
    return table.elts if isinstance(table, ast.List | ast.Tuple) else []
