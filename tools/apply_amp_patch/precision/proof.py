"""A static proof of what must hold in a script with a scaler: events in order, on every path through a step."""

import ast
from dataclasses import dataclass, replace
from functools import cached_property

from ..context import Context
from ..names import Function
from ..patch import Declined
from .readings import reads

_SCALERS = {"torch.amp.GradScaler", "torch.cuda.amp.GradScaler", "torch.cuda.amp.grad_scaler.GradScaler"}
_MOST_STATES = 64


@dataclass(frozen=True)
class _State:
    """Scaled gradients waiting for a step, and what happened to optimizers since the last update."""

    waiting: bool = False
    used_up: bool = False  # since the last update no loss was differentiated
    unscaled: frozenset[str] = frozenset()
    stepped: frozenset[str] = frozenset()
    flags: frozenset[tuple[str, bool]] = frozenset()  # what a switch was found to be on this path


class Proof:
    def __init__(self, context: Context) -> None:
        self.context, self.script, self.roles = context, context.script, context.roles
        self.fault: Declined | None = None
        self._walking: list[Function] = []
        self._broken: list[set[_State]] = [set()]  # where break and continue leave the loops around
        self._returned: list[set[_State]] = [set()]
        self._found: dict[ast.AST, list[ast.AST]] = {}
        self._kinds: dict[ast.AST, str | None] = {}

    @cached_property
    def _involved(self) -> set[Function]:
        """The functions whose calls can do something to a path: directly, or by what they call."""
        functions = self.script.functions
        called = {
            f: {g for n in ast.walk(f) if isinstance(n, ast.Call) for g in self.roles.callees(n)}
            for f in functions
        }
        found = {f for f in functions if any(self._acts(n) for n in ast.walk(f))}
        while more := {f for f in functions if f not in found and called[f] & found}:
            found |= more
        return found

    def _acts(self, node: ast.AST) -> bool:
        backward = isinstance(node, ast.Attribute) and node.attr == "backward"
        ends = isinstance(node, ast.Raise)
        return backward or ends or self.scaler_call(node) is not None or reads(self.script, node)

    def scaler_call(self, node: ast.AST) -> str | None:
        """`scale`, `step`, ... where the node calls a method of a GradScaler."""
        if node not in self._kinds:
            self._kinds[node] = self._find_scaler_call(node)
        return self._kinds[node]

    def _find_scaler_call(self, node: ast.AST) -> str | None:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return None
        names = {o.name for o in self.roles.origins(node.func.value) if o.kind == "call"}
        return node.func.attr if names & _SCALERS else None

    def fail(self, node: ast.AST, code: str, note: str) -> None:
        self.fault = self.fault or Declined(getattr(node, "lineno", 1), code, note)

    def run(self) -> Declined | None:
        kinds = {self.scaler_call(c) for c in self.script.calls}
        if "scale" not in kinds:
            return None
        self._cross(self.script.tree.body, {_State()})
        called = {f for c in self.script.calls for f in self.roles.callees(c)}
        for function in self.script.functions:
            if function not in called:
                self._run_through(function, {_State()})
        if "step" in kinds and "update" not in kinds:
            self.fail(
                next(c for c in self.script.calls if self.scaler_call(c) == "step"),
                "partial_amp",
                "no update()",
            )
        return self.fault

    def _cross(self, body: list[ast.stmt], states: set[_State]) -> set[_State]:
        for statement in body:
            states = set(list(self._pass(statement, states))[:_MOST_STATES])
        return states

    def _pass(self, s: ast.stmt, states: set[_State]) -> set[_State]:
        match s:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return states
            case ast.If():
                states = self._events(s.test, states)
                flag = self._flag(s)
                taken, left = (_where(states, flag, value) for value in (True, False))
                return self._cross(s.body, taken) | self._cross(s.orelse, left)
            case ast.For() | ast.AsyncFor() | ast.While():
                states = self._events(s.iter if not isinstance(s, ast.While) else s.test, states)
                self._broken.append(set())
                once = self._cross(s.body, states) | self._broken[-1]
                after = once | self._cross(s.body, once) | self._broken.pop()
                skipped = set() if self._differentiates(s) else states  # micro-batches: there is at least one
                return self._cross(s.orelse, skipped | after)
            case ast.With() | ast.AsyncWith():
                for item in s.items:
                    states = self._events(item.context_expr, states)
                return self._cross(s.body, states)
            case ast.Try():
                after = self._cross(s.body, states)
                for handler in s.handlers:
                    after |= self._cross(handler.body, states)
                return self._cross(s.finalbody, self._cross(s.orelse, after))
        states = self._events(s, states)
        if isinstance(s, ast.Break | ast.Continue):
            self._broken[-1] |= states
        elif isinstance(s, ast.Return):
            self._returned[-1] |= states
        return set() if isinstance(s, ast.Break | ast.Continue | ast.Return | ast.Raise) else states

    def _run_through(self, function: Function, states: set[_State]) -> set[_State]:
        """A function's body, which each `return` leaves."""
        self._returned.append(set())
        return self._cross(function.body, states) | self._returned.pop()

    def _flag(self, s: ast.If) -> str | None:
        """A switch such as `if self.fp16:` around what a scaler does, which nothing sets while the script trains."""
        text = ast.unparse(s.test)
        root, *attributes = text.split(".")
        if not all(part.isidentifier() for part in (root, *attributes)):
            return None
        if not any(self.scaler_call(n) for inner in (*s.body, *s.orelse) for n in ast.walk(inner)):
            return None
        bindings = self.script.bindings(root, s.test)
        if len(bindings) != 1 or self.script.loop(bindings[0].node) is not None:
            return None
        if not attributes:  # a parameter may differ from call to call
            return text if self.script.function(bindings[0].node) is None else None
        sets = (n for n in self.script.nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
        late = (n for n in sets if getattr(self.script.function(n), "name", "") != "__init__")
        return None if any(n.attr == attributes[-1] for n in late) else text

    def _differentiates(self, loop: ast.stmt) -> bool:
        return not self._backwards.isdisjoint(ast.walk(loop))

    @cached_property
    def _backwards(self) -> set[ast.AST]:
        return set(self.script.method_calls("backward"))

    def _events(self, node: ast.AST, states: set[_State]) -> set[_State]:
        if node not in self._found:
            inner = [n for n in ast.walk(node) if isinstance(n, ast.Call) or reads(self.script, n)]
            self._found[node] = sorted(inner, key=lambda n: (n.end_lineno, n.end_col_offset))  # type: ignore[attr-defined]
        for event in self._found[node]:
            states = self._event(event, states)
        return states

    def _event(self, node: ast.AST, states: set[_State]) -> set[_State]:
        kind = self.scaler_call(node)
        if kind in ("unscale_", "step", "update"):
            assert isinstance(node, ast.Call)
            what = ast.unparse(node.args[0]) if node.args else ""
            return {getattr(self, f"_on_{kind.strip('_')}")(s, node, what) for s in states}
        if reads(self.script, node):
            for s in states:
                if s.waiting and not s.unscaled:
                    self.fail(node, "reads_grad", "gradients are read while they are still scaled")
            return states
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "backward"
        ):
            if self._is_scaled(node.func.value):
                return {replace(s, waiting=True, used_up=False) for s in states}
            return states
        if isinstance(node, ast.Call):
            for function in self.roles.callees(node):
                if function in self._involved and function not in self._walking:
                    self._walking.append(function)
                    states = self._run_through(function, states)
                    self._walking.pop()
        return states

    def _is_scaled(self, loss: ast.expr) -> bool:
        if isinstance(loss, ast.Name):
            return any(
                b.value is not None and self.scaler_call(b.value) == "scale"
                for b in self.script.bindings(loss.id, loss)
            )
        return any(self.scaler_call(n) == "scale" for n in ast.walk(loss))

    def _on_unscale(self, s: _State, node: ast.AST, what: str) -> _State:
        if what in s.unscaled or what in s.stepped:
            self.fail(node, "unscaled_twice", f"{what} is unscaled a second time before update()")
        return replace(s, unscaled=s.unscaled | {what})

    def _on_step(self, s: _State, node: ast.Call, what: str) -> _State:
        if s.used_up and not self._left_over(node):
            self.fail(node, "update_undecidable", f"{what} may step after an update() without a new backward")
        if what in s.stepped:
            self.fail(node, "partial_amp", f"{what} steps twice without an update() between")
        if len(node.args) > 1 or node.keywords:
            self.fail(node, "closure", "a scaler cannot step an optimizer that calls a closure")
        return replace(s, stepped=s.stepped | {what}, waiting=False)

    def _left_over(self, node: ast.AST) -> bool:
        """Under `if steps % group != 0:` behind a loop that steps on every group: batches are left over."""
        for above in self.script.ancestors(node):
            if isinstance(above, ast.If) and (groups := _divisors(above.test)):
                block = self.script.block(above)
                loops = [s for s in block[: block.index(above)] if isinstance(s, ast.For | ast.While)]
                return any(self._differentiates(s) and groups & _divisors(s) for s in loops)
        return False

    def _on_update(self, s: _State, node: ast.AST, what: str) -> _State:
        if s.waiting:
            self.fail(node, "partial_amp", "update() stands between a scaled backward and its step")
        return _State(used_up=True, flags=s.flags)


def _divisors(node: ast.AST) -> set[str]:
    """What `i % group` divides by."""
    mods = (n for n in ast.walk(node) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mod))
    return {ast.unparse(n.right) for n in mods}


def _where(states: set[_State], flag: str | None, value: bool) -> set[_State]:
    """The states in which a switch can have a value."""
    if flag is None:
        return states
    return {replace(s, flags=s.flags | {(flag, value)}) for s in states if (flag, not value) not in s.flags}


def disprove(context: Context) -> Declined | None:
    """The first thing that is wrong with the scaler's use; None where it holds."""
    return Proof(context).run()
