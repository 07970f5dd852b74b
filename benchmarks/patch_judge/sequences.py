"""Rules for the order of events: every path through scaled backward, unscale, reading, step and update."""

import ast
from dataclasses import dataclass
from functools import cached_property

from .running import Running
from .words import CALM, CLIP, DEFS, LOOPS


@dataclass(frozen=True)
class State:
    """What is true between two events of a step."""

    pending: bool = False  # a scaled backward since the last update
    fresh: bool = False  # a scaled backward that no step has used yet
    started: bool = False  # an update was seen, so a second one without a step is one too many
    unscaled_read: bool = False
    unscaled: frozenset = frozenset()
    stepped: frozenset = frozenset()

    def having(self, **changes) -> "State":
        return State(**{**self.__dict__, **changes})


class Sequences(Running):
    def sequences(self) -> None:
        if not self.scalers:
            return
        seen_calls: set[ast.AST] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                self.walk_block(node.body, {State()}, node, (node,))
                seen_calls.add(node)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.Module):
                self.loops_update(node)

    def loops_update(self, function: ast.AST) -> None:
        """On every path from a step to the end of its cycle there is an update."""
        for call in self.scaler_calls("step"):
            if self.function(call) is not function:
                continue
            if not any(self.function(u) is function for u in self.scaler_calls("update")):
                callers = {name for name, defs in self.functions.items() if function in defs}
                above = [
                    self.function(c)
                    for c in ast.walk(self.tree)
                    if isinstance(c, ast.Call)
                    and (getattr(c.func, "attr", None) or getattr(c.func, "id", None)) in callers
                ]
                if not any(self.function(u) in above for u in self.scaler_calls("update")):
                    self.add(call, "no_update")
            loop = next((a for a in self.within_function(call) if isinstance(a, LOOPS)), None)
            updates = [u for u in self.scaler_calls("update") if self.function(u) is function]
            if loop is not None and updates and not any(u in set(ast.walk(loop)) for u in updates):
                self.add(call, "update_outside_loop")

    def walk_block(
        self, body: list[ast.stmt], states: set[State], function: ast.AST, stack: tuple
    ) -> set[State]:
        for statement in body:
            states = self.walk_statement(statement, states, function, stack)
            if len(states) > 64:
                states = set(list(states)[:64])
        return states

    def walk_statement(self, s: ast.stmt, states: set[State], function: ast.AST, stack: tuple) -> set[State]:
        if isinstance(s, DEFS):
            return states
        if isinstance(s, ast.If):
            states = self.events(s.test, states, stack)
            return self.walk_block(s.body, states, function, stack) | self.walk_block(
                s.orelse, states, function, stack
            )
        if isinstance(s, LOOPS):
            states = self.events(getattr(s, "iter", getattr(s, "test", None)), states, stack)
            once = self.walk_block(s.body, states, function, stack)
            twice = self.walk_block(s.body, once, function, stack)
            if ".backward(" in ast.unparse(s):  # micro-batches: there is at least one
                states = set()
            return self.walk_block(s.orelse, states | once | twice, function, stack)
        if isinstance(s, ast.With | ast.AsyncWith):
            return self.walk_block(s.body, states, function, stack)
        if isinstance(s, ast.Try):
            out = self.walk_block(s.body, states, function, stack)
            for handler in s.handlers:
                if not isinstance(handler.body[-1], ast.Continue | ast.Break | ast.Return | ast.Raise):
                    out = out | self.walk_block(handler.body, states, function, stack)
            return self.walk_block(
                s.finalbody, self.walk_block(s.orelse, out, function, stack), function, stack
            )
        return self.events(s, states, stack)

    def events(self, node: ast.AST | None, states: set[State], stack: tuple) -> set[State]:
        if node is None:
            return states
        calls = [n for n in ast.walk(node) if isinstance(n, ast.Call | ast.Attribute)]
        calls.sort(key=lambda c: (c.end_lineno, c.end_col_offset))
        for call in calls:
            if isinstance(call, ast.Attribute):
                if call.attr == "grad" and isinstance(call.ctx, ast.Load) and self.reads(call):
                    states = {self.on_read(s, call, set()) for s in states}
                continue
            states = self.event(call, states, stack)
        return states

    def reads(self, node: ast.Attribute) -> bool:
        if self.name(node).startswith("torch."):
            return False
        above = self.parent[node]
        if isinstance(above, ast.Compare | ast.BoolOp | ast.If):
            return False
        text = ast.unparse(self.parent[above]) if isinstance(above, ast.Attribute) else ""
        return "zero_" not in text and "detach_" not in text

    def event(self, call: ast.Call, states: set[State], stack: tuple) -> set[State]:
        func = call.func
        if isinstance(func, ast.Attribute):
            owner = ast.unparse(func.value)
            if owner in self.scalers and func.attr in ("unscale_", "step", "update"):
                what = ast.unparse(call.args[0]) if call.args else ""
                return {getattr(self, f"on_{func.attr}")(s, call, what) for s in states}
            if func.attr == "backward" and self.scaled(func.value):
                return {s.having(pending=True, fresh=True, unscaled_read=False) for s in states}
        if CLIP.match(self.name(func)):
            roots = self.roots(call)
            return {self.on_read(s, call, roots) for s in states}
        target = getattr(func, "attr", None) or getattr(func, "id", None)
        waiting = any(s.pending and not s.unscaled for s in states)
        if waiting and target not in self.functions and self.hands_on_gradients(call):
            owners = self.owners(call)
            states = {
                s if owners and owners <= s.stepped and not s.fresh else self.on_read(s, call, set())
                for s in states
            }
        for callee in self.functions.get(target or "", []):
            if callee not in stack and len(stack) < 6 and callee in self.eventful:
                key = callee, frozenset(states)
                if key not in self.walked:
                    self.walked[key] = self.walk_block(callee.body, states, callee, (*stack, callee))
                states = self.walked[key]
        return states

    @cached_property
    def walked(self) -> dict[tuple[ast.AST, frozenset], set[State]]:
        """What a function comes to that began in some states."""
        return {}

    @cached_property
    def eventful(self) -> set[ast.AST]:
        """The functions in which something of a step may happen, themselves or through others."""
        inside = {f: list(ast.walk(f)) for defs in self.functions.values() for f in defs}
        found = {
            f
            for f, nodes in inside.items()
            if any(
                (
                    isinstance(n, ast.Attribute)
                    and n.attr in ("backward", "unscale_", "step", "update", "grad")
                )
                or (isinstance(n, ast.Call) and (CLIP.match(self.name(n.func)) or self.hands_on_gradients(n)))
                for n in nodes
            )
        }
        size = -1
        while len(found) > size:
            size = len(found)
            names = {n for n, defs in self.functions.items() if found & set(defs)}
            for f, nodes in inside.items():
                calls = (n.func for n in nodes if isinstance(n, ast.Call))
                if any((getattr(c, "attr", None) or getattr(c, "id", None)) in names for c in calls):
                    found.add(f)
        return found

    def hands_on_gradients(self, call: ast.Call) -> bool:
        """A function of another file gets a model that trains, and with it the gradients."""
        name = self.name(call.func)
        if name.startswith("torch.") or name in CALM or self.is_model(ast.unparse(call.func)):
            return False
        return any(ast.unparse(a) in self.trained for a in [*call.args, *(k.value for k in call.keywords)])

    def owners(self, call: ast.Call) -> set[str]:
        """The optimizers built for the models that a call gets; a step has unscaled their gradients."""
        handed = {ast.unparse(a) for a in [*call.args, *(k.value for k in call.keywords)]} & self.trained
        return {o for o in self.optimizers() for v in self.assigned.get(o, []) if handed & self.roots(v)}

    @cached_property
    def trained(self) -> set[str]:
        """The models that optimizers of this file were built for, or belong to."""
        found = {o.rpartition(".")[0] for o in self.optimizers()} - {"", "self"}
        for optimizer in self.optimizers():
            for value in self.assigned.get(optimizer, []):
                found |= {
                    ast.unparse(m.func.value)
                    for m in ast.walk(value)
                    if isinstance(m, ast.Call) and getattr(m.func, "attr", "") == "parameters"
                }
        return found

    def roots(self, node: ast.AST) -> set[str]:
        found = set()
        for n in ast.walk(node):
            if (
                isinstance(n, ast.Call)
                and isinstance(n.func, ast.Attribute)
                and n.func.attr.endswith("parameters")
            ):
                found.add(ast.unparse(n.func.value))
            elif isinstance(n, ast.Name | ast.Attribute):
                found.add(ast.unparse(n))
                for value in self.assigned.get(ast.unparse(n), []):
                    if "parameters" in ast.unparse(value):
                        found |= {
                            ast.unparse(m.func.value)
                            for m in ast.walk(value)
                            if isinstance(m, ast.Call)
                            and isinstance(m.func, ast.Attribute)
                            and "parameters" in m.func.attr
                        }
        return found

    def on_read(self, s: State, node: ast.AST, roots: set[str]) -> State:
        if not s.pending:
            return s
        if not s.unscaled:
            self.add(node, "reads_scaled_gradients")
        elif roots:
            owners: set[str] = set()
            for optimizer in s.unscaled:
                for value in self.assigned.get(optimizer, []):
                    owners |= self.roots(value)
            known = owners and roots & set().union(
                *(
                    self.roots(v)
                    for o in self.optimizers()
                    for v in self.assigned.get(o, []) or [ast.Constant(0)]
                )
            )
            if known and not owners & roots:
                self.add(node, "unscaled_the_wrong_optimizer")
        return s

    def on_unscale_(self, s: State, node: ast.AST, what: str) -> State:
        if what in s.unscaled:
            self.add(node, "unscaled_twice")
        if what in s.stepped:
            self.add(node, "unscaled_after_step")
        if not s.pending:
            self.add(node, "unscaled_before_backward") if s.fresh else None
        return s.having(unscaled=s.unscaled | {what})

    def on_step(self, s: State, node: ast.AST, what: str) -> State:
        if s.started and not s.pending:
            self.add(node, "stepped_after_update")
        if what in s.stepped:
            self.add(node, "stepped_twice")
        return s.having(stepped=s.stepped | {what}, fresh=False)

    def on_update(self, s: State, node: ast.AST, what: str) -> State:
        if s.fresh:
            self.add(node, "update_between_backward_and_step")
        elif not s.stepped and s.started:
            self.add(node, "updated_twice")
        return s.having(unscaled=frozenset(), stepped=frozenset(), pending=False, fresh=False, started=True)
