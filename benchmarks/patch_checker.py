"""An independent judge of patched training scripts: knows mixed precision, nothing of the rewriter.

`faults(patched, original)` lists what is wrong. It reads the source with `ast` alone, follows every path through the
events of a step (scaled backward, unscale, reading of gradients, step, update), and undoes the patch in its own way
to see that nothing else changed. It imports nothing of optimizing_resources.

    python benchmarks/patch_checker.py PATCHED [ORIGINAL]
"""

import ast
import builtins
import copy
import io
import re
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

LOOPS = (ast.For, ast.While, ast.AsyncFor)
DEFS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
DEPRECATED = ("torch.cuda.amp.", "torch.cpu.amp.")
AUTOCAST = {
    "torch.autocast",
    "torch.amp.autocast",
    "torch.amp.autocast_mode.autocast",
    "torch.cuda.amp.autocast",
    "torch.cpu.amp.autocast",
}
SCALER = {"torch.amp.GradScaler", "torch.cuda.amp.GradScaler", "torch.amp.grad_scaler.GradScaler"}
BCE_FUNCTION = {"torch.nn.functional.binary_cross_entropy", "torch.binary_cross_entropy"}
SIGMOID = {"torch.sigmoid", "torch.nn.functional.sigmoid"}
RESHAPING = {
    "float",
    "view",
    "squeeze",
    "unsqueeze",
    "reshape",
    "flatten",
    "mean",
    "cuda",
    "cpu",
    "contiguous",
}
FULL_LAYER = "|".join(
    rf"class Float32{kind}_*\(\w+\.nn\.{kind}\):\s+def forward\(self, input\):\s+return \w+\.{forward}"
    for kind, forward in (
        ("Sigmoid", r"sigmoid\(input\.float\(\)\)"),
        ("Softmax", r"nn\.functional\.softmax\(input\.float\(\), self\.dim\)"),
    )
)
CLIP = re.compile(r"torch\.nn\.utils\.(clip_grad|get_total_norm|clip_grads)")
PLAIN = {
    "to",
    "cuda",
    "cpu",
    "view",
    "reshape",
    "size",
    "float",
    "long",
    "detach",
    "item",
    "numpy",
    "mean",
    "sum",
}


CALM = {"print", "len", "isinstance", "getattr", "hasattr", "setattr", "type", "id", "next", "iter", "float"}


@dataclass(frozen=True)
class Fault:
    line: int
    code: str
    detail: str = ""


def faults(patched: str, original: str | None = None) -> list[Fault]:
    """Everything wrong with a patched script; an empty list where nothing was found."""
    try:
        tree = ast.parse(patched)
    except SyntaxError as error:
        return [Fault(error.lineno or 1, "does_not_parse", error.msg)]
    found = Judge(tree).run()
    if original is not None:
        known = {f.detail for f in Judge(ast.parse(original)).run() if f.code == "unbound_name"}
        found = [f for f in found if not (f.code == "unbound_name" and f.detail in known)]
        before = Judge(ast.parse(original))
        if (
            before.scalers or before.casts
        ):  # mixed precision that was there is judged by what the patch changed
            old = {f.code for f in before.run()} - {"deprecated_name", "no_device_type"}
            found = [f for f in found if f.code not in old]
        found += compare(patched, original)
    return sorted(set(found), key=lambda f: (f.line, f.code))


@dataclass
class Judge:
    tree: ast.Module
    found: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parent = {c: n for n in ast.walk(self.tree) for c in ast.iter_child_nodes(n)}
        self.imports: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for a in node.names:
                    self.imports[a.asname or a.name.split(".")[0]] = (
                        a.name if a.asname else a.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                for a in node.names:
                    self.imports[a.asname or a.name] = f"{node.module or ''}.{a.name}"
        self.assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self.bind(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value:
                self.bind(node.target, node.value)
        self.functions: dict[str, list[ast.AST]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions.setdefault(node.name, []).append(node)
        self.scalers = {k for k, vs in self.assigned.items() if any(self.is_call(v, SCALER) for v in vs)}
        called: dict[str, set[str]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called.setdefault(ast.unparse(node.func.value), set()).add(node.func.attr)
        self.scalers |= {k for k, methods in called.items() if {"scale", "step", "update"} <= methods}
        self.casts = [
            n for n in ast.walk(self.tree) if isinstance(n, ast.With) and self.autocast(n) is not None
        ]

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            for i, element in enumerate(target.elts):
                self.bind(element, value.elts[i] if same else value)
        elif isinstance(target, ast.Name | ast.Attribute):
            self.assigned.setdefault(ast.unparse(target), []).append(value)

    def name(self, node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return self.imports.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self.name(node.value)}.{node.attr}"
        return "?"

    def is_call(self, node: ast.AST | None, names: set[str]) -> bool:
        return isinstance(node, ast.Call) and self.name(node.func) in names

    def add(self, node: ast.AST, code: str, detail: str = "") -> None:
        self.found.append(Fault(getattr(node, "lineno", 1), code, detail))

    def autocast(self, node: ast.With) -> ast.Call | None:
        for item in node.items:
            if self.is_call(item.context_expr, AUTOCAST):
                return item.context_expr  # type: ignore[return-value]
        return None

    def is_off(self, node: ast.With) -> bool:
        call = self.autocast(node)
        return call is not None and any(
            k.arg == "enabled" and isinstance(k.value, ast.Constant) and k.value.value is False
            for k in call.keywords
        )

    def above(self, node: ast.AST):
        while node in self.parent:
            node = self.parent[node]
            yield node

    def function(self, node: ast.AST) -> ast.AST:
        return next((a for a in self.above(node) if isinstance(a, (*DEFS, ast.Module))), self.tree)

    def casts_around(self, node: ast.AST) -> list[ast.With]:
        """The autocast blocks around a node in its function, innermost first."""
        found = []
        for above in self.above(node):
            if isinstance(above, DEFS):
                break
            if isinstance(above, ast.With) and self.autocast(above) is not None:
                found.append(above)
        return found

    def run(self) -> list[Fault]:
        self.autocasts()
        self.scaler_building()
        self.names_bound()
        self.backwards_and_steps()
        self.sequences()
        self.forwards()
        self.full_precision_losses()
        self.islands()
        self.numpy()
        self.replicas()
        return self.found

    def plain_side(self, node: ast.AST) -> bool:
        """In the branch of an AMP flag that leaves mixed precision off."""
        below = node
        for above in self.above(node):
            if isinstance(above, ast.If):
                mine = above.orelse if below in above.orelse else above.body
                others = above.body if mine is above.orelse else above.orelse
                if self.mixed(others) and not self.mixed(mine):
                    return True
            below = above
        return False

    def mixed(self, body: list[ast.stmt]) -> bool:
        text = "\n".join(ast.unparse(s) for s in body)
        return "autocast(" in text or any(f"{s}.scale(" in text for s in self.scalers)

    # each rule -----------------------------------------------------------------------------------------------

    def autocasts(self) -> None:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name) and self.name(node).startswith(DEPRECATED):
                self.add(node, "deprecated_name", self.name(node))
            if isinstance(node, ast.Call) and self.name(node.func) in (
                "torch.autocast",
                "torch.amp.autocast",
            ):
                first = (
                    node.args[0]
                    if node.args
                    else next((k.value for k in node.keywords if k.arg == "device_type"), None)
                )
                if first is None or (isinstance(first, ast.Constant) and not isinstance(first.value, str)):
                    self.add(node, "no_device_type")
        for node in self.casts:
            outer = self.casts_around(node)
            if outer and not self.is_off(node) and not self.is_off(outer[0]):
                self.add(node, "nested_autocast")

    def scaler_building(self) -> None:
        made: Counter[tuple[int, str]] = Counter()
        for node in ast.walk(self.tree):
            if self.is_call(node, SCALER):
                if any(isinstance(a, LOOPS) for a in self.within_function(node)):
                    self.add(node, "scaler_in_loop")
                home = self.function(node)
                used = [c for c in self.scaler_calls("scale") if self.function(c) is home]
                if (
                    not isinstance(home, ast.Module)
                    and used
                    and not any(isinstance(a, LOOPS) for c in used for a in self.within_function(c))
                ):
                    self.add(node, "scaler_per_call")
                statement = self.parent[node]
                if isinstance(statement, ast.Assign):
                    key = (id(self.function(node)), ast.unparse(statement.targets[0]))
                    branch = any(isinstance(a, ast.If | ast.Try) for a in self.within_function(node))
                    made[key] += 0 if branch else 1
                    if made[key] > 1:
                        self.add(node, "scaler_twice")
        if self.scalers and not self.uses("step"):
            self.add(self.tree, "scaler_never_steps")
        if self.scalers and not self.uses("update"):
            self.add(self.tree, "scaler_never_updates")
        low = any(self.may_be_fp16(self.autocast(c)) for c in self.casts if not self.is_off(c))
        trains = any(isinstance(n, ast.Call) and self.is_backward(n) for n in ast.walk(self.tree))
        if low and trains and not self.scalers:
            self.add(self.casts[0], "fp16_without_scaler")

    def within_function(self, node: ast.AST) -> list[ast.AST]:
        found = []
        for above in self.above(node):
            if isinstance(above, DEFS):
                break
            found.append(above)
        return found

    def uses(self, method: str) -> bool:
        return any(
            isinstance(n, ast.Call)
            and isinstance(n.func, ast.Attribute)
            and n.func.attr == method
            and ast.unparse(n.func.value) in self.scalers
            for n in ast.walk(self.tree)
        )

    def may_be_fp16(self, call: ast.Call | None) -> bool:
        if call is None:
            return False
        dtype = next(
            (k.value for k in call.keywords if k.arg == "dtype"), call.args[1] if len(call.args) > 1 else None
        )
        if dtype is None:
            return "cuda" in ast.unparse(call) or self.name(call.func).startswith("torch.cuda.amp")
        values = [dtype, *self.assigned.get(ast.unparse(dtype), [])]
        return any(self.name(n) in ("torch.float16", "torch.half") for v in values for n in ast.walk(v))

    def names_bound(self) -> None:
        bound = set(dir(builtins)) | set(self.imports) | {"__file__", "__name__"}
        star = any(
            isinstance(n, ast.ImportFrom) and any(a.name == "*" for a in n.names) for n in ast.walk(self.tree)
        )
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                bound.add(node.id)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, DEFS[:3]) or (isinstance(node, ast.ExceptHandler) and node.name):
                bound.add(node.name)
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Name)
                and node.id not in bound
                and (not star or node.id.startswith("amp_"))
            ):
                self.add(node, "unbound_name", node.id)
        self.order_of_settings()

    def order_of_settings(self) -> None:
        """A module-level name used by module-level code has to be bound above."""
        first: dict[str, int] = {}
        for statement in self.tree.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                for alias in statement.names:
                    first.setdefault(alias.asname or alias.name, statement.lineno)
            if isinstance(statement, DEFS[:3]):
                first.setdefault(statement.name, statement.lineno)
            named = [n for n in ast.walk(statement) if isinstance(n, ast.Name) and n.id.startswith("amp_")]
            for node in sorted(named, key=lambda n: n.lineno):
                if node.id:
                    if isinstance(node.ctx, ast.Store):
                        first.setdefault(node.id, node.lineno)
                    elif isinstance(self.function(node), ast.Module) and node.id not in first:
                        self.add(node, "used_before_bound", node.id)

    def is_backward(self, call: ast.Call) -> bool:
        if not (isinstance(call.func, ast.Attribute) and call.func.attr == "backward"):
            return False
        owner = ast.unparse(call.func.value)
        return (
            owner != "self"
            and not owner.startswith(("super(", "self.backward", "accelerator", "fabric"))
            and owner not in self.imports
        )

    def scaled(self, node: ast.expr) -> int:
        """How many times a loss expression is scaled."""
        count = sum(
            isinstance(n, ast.Call)
            and isinstance(n.func, ast.Attribute)
            and n.func.attr == "scale"
            and ast.unparse(n.func.value) in self.scalers
            for n in ast.walk(node)
        )
        if not count and isinstance(node, ast.Name):
            count = max(
                (self.scaled(v) for v in self.assigned.get(node.id, []) if not isinstance(v, ast.Name)),
                default=0,
            )
        return count

    def optimizers(self) -> set[str]:
        found = {
            k
            for k, vs in self.assigned.items()
            for v in vs
            if isinstance(v, ast.Call)
            and self.name(v.func).startswith("torch.optim.")
            and "lr_scheduler" not in self.name(v.func)
            and "swa_utils" not in self.name(v.func)
        }
        return found | {ast.unparse(c.args[0]) for c in self.scaler_calls("step") if c.args}

    def scaler_calls(self, method: str) -> list[ast.Call]:
        return [
            n
            for n in ast.walk(self.tree)
            if isinstance(n, ast.Call)
            and isinstance(n.func, ast.Attribute)
            and n.func.attr == method
            and ast.unparse(n.func.value) in self.scalers
        ]

    def backwards_and_steps(self) -> None:
        optimizers = self.optimizers()
        hot = self.under_autocast()
        for node in ast.walk(self.tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or self.plain_side(
                node
            ):
                continue
            inside = any(not self.is_off(c) for c in self.casts_around(node)) or self.function(node) in hot
            if self.is_backward(node):
                count = self.scaled(node.func.value)
                if self.scalers and count == 0:
                    self.add(node, "unscaled_backward")
                if count > 1:
                    self.add(node, "scaled_twice")
                if inside:
                    self.add(node, "backward_in_autocast")
            if node.func.attr == "step" and ast.unparse(node.func.value) in optimizers:
                if self.scalers:
                    self.add(node, "raw_step")
                if inside:
                    self.add(node, "step_in_autocast")
        for call in self.scaler_calls("step"):
            self.scaler_step(call, inside=any(not self.is_off(c) for c in self.casts_around(call)))

    def scaler_step(self, call: ast.Call, inside: bool) -> None:
        if inside:
            self.add(call, "step_in_autocast")
        if len(call.args) != 1 or call.keywords:
            self.add(call, "closure_with_scaler")
        if not call.args:
            return
        values = self.assigned.get(ast.unparse(call.args[0]), [])
        names = [self.name(v.func) for v in values if isinstance(v, ast.Call)]
        if any("lr_scheduler" in n for n in names):
            self.add(call, "scheduler_in_scaler")
        if any(n.endswith("optim.LBFGS") for n in names):
            self.add(call, "closure_with_scaler")

    # events --------------------------------------------------------------------------------------------------

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
        self, body: list[ast.stmt], states: set["State"], function: ast.AST, stack: tuple
    ) -> set["State"]:
        for statement in body:
            states = self.walk_statement(statement, states, function, stack)
            if len(states) > 64:
                states = set(list(states)[:64])
        return states

    def walk_statement(
        self, s: ast.stmt, states: set["State"], function: ast.AST, stack: tuple
    ) -> set["State"]:
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

    def events(self, node: ast.AST | None, states: set["State"], stack: tuple) -> set["State"]:
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

    def event(self, call: ast.Call, states: set["State"], stack: tuple) -> set["State"]:
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
                states = self.walk_block(callee.body, states, callee, (*stack, callee))
        return states

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

    def on_read(self, s: "State", node: ast.AST, roots: set[str]) -> "State":
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

    def on_unscale_(self, s: "State", node: ast.AST, what: str) -> "State":
        if what in s.unscaled:
            self.add(node, "unscaled_twice")
        if what in s.stepped:
            self.add(node, "unscaled_after_step")
        if not s.pending:
            self.add(node, "unscaled_before_backward") if s.fresh else None
        return s.having(unscaled=s.unscaled | {what})

    def on_step(self, s: "State", node: ast.AST, what: str) -> "State":
        if s.started and not s.pending:
            self.add(node, "stepped_after_update")
        if what in s.stepped:
            self.add(node, "stepped_twice")
        return s.having(stepped=s.stepped | {what}, fresh=False)

    def on_update(self, s: "State", node: ast.AST, what: str) -> "State":
        if s.fresh:
            self.add(node, "update_between_backward_and_step")
        elif not s.stepped and s.started:
            self.add(node, "updated_twice")
        return s.having(unscaled=frozenset(), stepped=frozenset(), pending=False, fresh=False, started=True)

    # what runs where -----------------------------------------------------------------------------------------

    def under_autocast(self) -> set[ast.AST]:
        """Functions called from inside an autocast block, through each other."""
        hot: set[ast.AST] = set()
        queue = [s for c in self.casts if not self.is_off(c) for s in c.body]
        while queue:
            for node in ast.walk(queue.pop()):
                if isinstance(node, ast.Call) and not any(self.is_off(c) for c in self.casts_around(node)):
                    target = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
                    for callee in self.functions.get(target or "", []):
                        if self.in_full(callee):
                            continue
                        if callee not in hot and self.plausible(node, callee):
                            hot.add(callee)
                            queue += callee.body
        return hot

    def in_full(self, function: ast.AST) -> bool:
        """A function that a decorator of ours runs outside of autocast."""
        return any(
            re.match(r"amp_float32_*$", ast.unparse(d)) for d in getattr(function, "decorator_list", [])
        )

    def islands(self) -> None:
        """The decorator casts what it is given, and switches autocast off."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef) and re.match(r"amp_float32_*$", node.name):
                text = ast.unparse(node)
                if "enabled=False)" not in text:
                    self.add(node, "island_under_autocast")
                if ".float()" not in text or "cast(args)" not in text or "cast(kwargs)" not in text:
                    self.add(node, "island_without_float")

    def plausible(self, call: ast.Call, callee: ast.AST) -> bool:
        """A method is called on an object, a function by its name."""
        method = isinstance(self.parent.get(callee), ast.ClassDef)
        if not isinstance(call.func, ast.Attribute):
            return not method
        common = call.func.attr in ("backward", "step", "update", "train", "eval", "forward", "sample", "add")
        return method and (not common or ast.unparse(call.func.value) == "self")

    def is_model(self, text: str, depth: int = 0) -> bool:
        for value in self.assigned.get(text, []):
            if isinstance(value, ast.Call) and depth < 4:
                name = self.name(value.func)
                if name.startswith("torch.nn.") and not name.endswith("Loss"):
                    return True
                if name.startswith("torchvision.models."):
                    return True
                for node in ast.walk(self.tree):
                    if isinstance(node, ast.ClassDef) and node.name == name:
                        return any(self.name(b) == "torch.nn.Module" for b in node.bases)
                if isinstance(value.func, ast.Attribute) and value.func.attr in ("to", "cuda"):
                    inner = value.func.value
                    return self.is_model(ast.unparse(inner), depth + 1) or (
                        isinstance(inner, ast.Call) and self.model_class(inner)
                    )
        return False

    def model_class(self, call: ast.Call) -> bool:
        name = self.name(call.func)
        return name.startswith(("torch.nn.", "torchvision.models.")) or any(
            isinstance(n, ast.ClassDef)
            and n.name == name
            and any(self.name(b) == "torch.nn.Module" for b in n.bases)
            for n in ast.walk(self.tree)
        )

    def forwards(self) -> None:
        """The model calls of a training step, and the statement that makes its loss, are under autocast."""
        if not self.casts:
            if any(
                isinstance(n, ast.Call) and self.is_backward(n) and self.scaled(n.func.value)
                for n in ast.walk(self.tree)
            ):
                self.add(self.tree, "scaled_without_autocast")
            return
        hot = self.under_autocast()
        self.helpers_of_a_step(hot)
        for node in ast.walk(self.tree):
            if not (isinstance(node, ast.Call) and self.is_backward(node)):
                continue
            function, loop = self.function(node), None
            for above in self.within_function(node):
                if isinstance(above, LOOPS):
                    loop = above
                    break
            scope = loop or function
            first = 0 if loop else self.backward_before(node)
            for call in ast.walk(scope):
                if (
                    isinstance(call, ast.Call)
                    and self.is_model(ast.unparse(call.func))
                    and first < call.lineno <= node.lineno
                    and self.function(call) is function
                    and not self.plain_side(call)
                    and not self.no_grad(call)
                    and not self.evaluates(call, node)
                    and not self.casts_around(call)
                    and function not in hot
                    and not self.only_shown(call)
                ):
                    self.add(call, "model_outside_autocast", ast.unparse(call.func))
            self.loss_inside(node, scope, function, hot)

    def backward_before(self, node: ast.Call) -> int:
        """The line of the last backward in front of one that stands in no loop: its forward pass comes behind it."""
        function = self.function(node)
        lines = [
            n.lineno
            for n in ast.walk(function)
            if isinstance(n, ast.Call) and self.is_backward(n) and self.function(n) is function
        ]
        return max((line for line in lines if line < node.lineno), default=0)

    def gives_no_gradient(self, function: ast.AST) -> bool:
        """Whether all that a function returns is cut off from what it was computed from."""
        cuts = ("detach", "item", "numpy", "tolist")
        given = [n.value for n in ast.walk(function) if isinstance(n, ast.Return)]
        return bool(given) and all(
            isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in cuts
            for value in given
        )

    def helpers_of_a_step(self, hot: set[ast.AST]) -> None:
        """What a function runs before it calls a backward elsewhere is the forward pass of that step."""
        trains = {
            self.function(n) for n in ast.walk(self.tree) if isinstance(n, ast.Call) and self.is_backward(n)
        }
        for caller in (f for defs in self.functions.values() for f in defs):
            calls = [(c, f) for c in ast.walk(caller) if isinstance(c, ast.Call) for f in self.called(c)]
            ends = [c.lineno for c, f in calls if f in trains and f is not caller]
            for call, callee in calls:
                if (
                    callee in hot
                    or callee in trains
                    or not ends
                    or call.lineno > max(ends)
                    or self.casts_around(call)
                    or self.gives_no_gradient(callee)
                ):
                    continue
                for inner in ast.walk(callee):
                    if (
                        isinstance(inner, ast.Call)
                        and self.is_model(ast.unparse(inner.func))
                        and not self.casts_around(inner)
                        and not self.no_grad(inner)
                    ):
                        self.add(inner, "model_outside_autocast", ast.unparse(inner.func))

    def called(self, call: ast.Call) -> list[ast.AST]:
        target = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
        return [f for f in self.functions.get(target or "", []) if self.plausible(call, f)]

    def evaluates(self, call: ast.Call, backward: ast.Call) -> bool:
        """A call in another inner loop than the backward belongs to something else."""
        loops = [a for a in self.within_function(call) if isinstance(a, LOOPS)]
        mine = [a for a in self.within_function(backward) if isinstance(a, LOOPS)]
        return bool(loops) and loops[0] not in mine

    def only_shown(self, call: ast.Call) -> bool:
        """What comes of a call is read back as a number and nothing else: no gradient passes it."""
        nodes = list(ast.walk(self.function(call)))
        assigns = {
            node: {t.id for t in node.targets if isinstance(t, ast.Name)}
            for node in nodes
            if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets)
        }
        first = next((a for a in self.above(call) if isinstance(a, ast.stmt)), None)
        names: set[str] = set(assigns.get(first, ()))
        carried: set[ast.AST] = set()
        size = -1
        while len(names) > size:
            size = len(names)
            for node, targets in assigns.items():
                read = [n for n in ast.walk(node.value) if isinstance(n, ast.Name) and n.id in names]
                if read:
                    names |= targets
                    carried.update(read)
        uses = [
            n
            for n in nodes
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id in names and n not in carried
        ]
        return bool(names) and all(
            isinstance(above := next(iter(self.above(n)), None), ast.Attribute) and above.attr == "item"
            for n in uses
        )

    def loss_inside(self, node: ast.Call, scope: ast.AST, function: ast.AST, hot: set[ast.AST]) -> None:
        names = {n.id for n in ast.walk(node.func) if isinstance(n, ast.Name)} - self.scalers
        for statement in ast.walk(scope):
            if not isinstance(statement, ast.Assign) or statement.lineno > node.lineno:
                continue
            targets = {ast.unparse(t) for t in statement.targets}
            if (
                not targets & names
                or self.function(statement) is not function
                or self.no_grad(statement)
                or self.plain_side(statement)
            ):
                continue
            heavy = [c for c in ast.walk(statement.value) if isinstance(c, ast.Call) and self.is_loss(c)]
            fp32 = all(".float()" in ast.unparse(c) for c in heavy)
            if heavy and not fp32 and not self.casts_around(statement) and function not in hot:
                self.add(statement, "loss_outside_autocast")
        for call in ast.walk(node.func):
            heavy = isinstance(call, ast.Call) and (
                self.is_loss(call) or self.is_model(ast.unparse(call.func))
            )
            if heavy and ".float()" not in ast.unparse(call) and function not in hot:
                self.add(call, "loss_outside_autocast")

    def is_loss(self, call: ast.Call) -> bool:
        name = self.name(call.func)
        if name.startswith("torch.nn.functional.") and ("loss" in name or "cross_entropy" in name):
            return True
        values = self.assigned.get(ast.unparse(call.func), [])
        return any(
            isinstance(v, ast.Call) and re.match(r"torch\.nn\.\w*Loss$", self.name(v.func)) for v in values
        )

    def no_grad(self, node: ast.AST) -> bool:
        return any(
            "no_grad" in ast.unparse(i) or "inference_mode" in ast.unparse(i)
            for a in self.above(node)
            for i in [*getattr(a, "items", ()), *getattr(a, "decorator_list", ())]
        )

    def full_precision_losses(self) -> None:
        hot = self.under_autocast()
        makers = {
            k
            for k, vs in self.assigned.items()
            if any(
                isinstance(n, ast.Call) and self.name(n.func) == "torch.nn.BCELoss"
                for v in vs
                for n in ast.walk(v)
            )
        }
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call):
                continue
            if self.name(node.func) in BCE_FUNCTION or ast.unparse(node.func) in makers:
                around = self.casts_around(node)
                if around and self.is_off(around[0]):
                    if ".float()" not in ast.unparse(node):
                        self.add(node, "island_without_float")
                    elif node.args and self.half_sigmoid(node.args[0], node):
                        self.add(node, "half_probability", ast.unparse(node.args[0]))
                elif around or self.function(node) in hot:
                    self.add(node, "bce_under_autocast")

    def half_sigmoid(self, value: ast.AST, at: ast.AST, depth: int = 0) -> bool:
        """Whether a value is seen to come out of a sigmoid in half precision; False where nothing is seen."""
        value = self.unmoved(value)
        if isinstance(value, ast.Name):
            made = [
                n
                for n in ast.walk(self.function(at))
                if isinstance(n, ast.Assign)
                and n.lineno < at.lineno
                and ast.unparse(n.targets[0]) == value.id
            ]
            last = max(made, key=lambda n: n.lineno, default=None)
            return last is not None and depth < 6 and self.half_sigmoid(last.value, last, depth + 1)
        if not isinstance(value, ast.Call) or depth > 6:
            return False
        name, last_part = self.name(value.func), getattr(value.func, "attr", "")
        bound = self.assigned.get(ast.unparse(value.func), [])
        if ast.unparse(value.func).startswith("self."):
            bound = [v for v in bound if self.holder(v) is self.holder(at)]
        kept = [self.unmoved(v) for v in bound]
        made = [v for v in kept if isinstance(v, ast.Call)]
        if name in SIGMOID or any(self.name(v.func) == "torch.nn.Sigmoid" for v in made):
            return ".float()" not in ast.unparse(value)
        if last_part == "sigmoid" and not made and ast.unparse(value.func.value) not in ("self", "F", "nn"):
            return ".float()" not in ast.unparse(value)
        kinds = [self.name(v.func) for v in made]
        if any(
            k == "torch.nn.Sequential" and self.ends_in_sigmoid(v) for k, v in zip(kinds, made, strict=True)
        ):
            return not self.saves_whole()
        return any(
            self.half_sigmoid(r.value, r, depth + 1)
            for c in ast.walk(self.tree)
            if isinstance(c, ast.ClassDef) and c.name in kinds
            for f in c.body
            if isinstance(f, ast.FunctionDef) and f.name == "forward"
            for r in ast.walk(f)
            if isinstance(r, ast.Return) and r.value is not None
        )

    def holder(self, node: ast.AST) -> ast.AST | None:
        return next((a for a in self.above(node) if isinstance(a, ast.ClassDef)), None)

    def unmoved(self, value: ast.AST) -> ast.AST:
        """A tensor before it is reshaped, a model before it is moved."""
        while (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr in RESHAPING
        ):
            value = value.func.value
        return value

    def ends_in_sigmoid(self, made: ast.Call) -> bool:
        return bool(made.args) and self.is_call(made.args[-1], {"torch.nn.Sigmoid"})

    def saves_whole(self) -> bool:
        """A model saved as such keeps the classes of its layers."""
        saves = (n for n in ast.walk(self.tree) if self.is_call(n, {"torch.save", "pickle.dump"}))
        return any("state_dict" not in ast.unparse(n) for n in saves)

    def numpy(self) -> None:
        if not any(isinstance(n, ast.Attribute) and n.attr == "bfloat16" for n in ast.walk(self.tree)):
            return  # numpy knows fp16
        low: dict[tuple[ast.AST, str], ast.AST] = {}
        for block in self.casts:
            if self.is_off(block):
                continue
            for node in ast.walk(block):
                if (
                    isinstance(node, ast.Assign)
                    and isinstance(node.value, ast.Call)
                    and self.is_model(ast.unparse(node.value.func))
                ):
                    for target in node.targets:
                        low[(self.function(node), ast.unparse(target))] = node
        for node in ast.walk(self.tree):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "numpy"
            ):
                continue
            chain = ast.unparse(node.func.value)
            root = chain.split(".")[0] if not chain.startswith("self.") else ".".join(chain.split(".")[:2])
            casts = (".float()", ".long()", "argmax", ".max(", ".int()", ".bool()", ".topk(")
            if (self.function(node), root) in low and not any(c in chain for c in casts):
                made = low[(self.function(node), root)]
                if made.lineno < node.lineno and not self.redefined(root, made, node):
                    self.add(node, "numpy_of_bf16")

    def replicas(self) -> None:
        """DataParallel's threads autocast to fp16: bf16 reaches them where a hook of all modules sets it."""
        if not any(self.may_be_bf16(c) for c in self.casts if not self.is_off(c)):
            return
        hooks = {
            n
            for n, defs in self.functions.items()
            if any("set_autocast_dtype(" in ast.unparse(f) for f in defs)
        }
        calls = [n for n in ast.walk(self.tree) if isinstance(n, ast.Call)]
        if any(
            self.name(c.func) == "torch.nn.modules.module.register_module_forward_pre_hook"
            and {a.id for a in c.args if isinstance(a, ast.Name)} & hooks
            and isinstance(self.function(c), ast.Module)
            for c in calls
        ):
            return
        for call in calls:
            name = self.name(call.func)
            last = name.split(".")[-1].lower().replace("_", "")
            if last == "parallelapply" or ("dataparallel" in last and "distributed" not in last):
                self.add(call, "replicas_in_fp16", name)

    def may_be_bf16(self, block: ast.With) -> bool:
        call = self.autocast(block)
        dtype = next((k.value for k in call.keywords if k.arg == "dtype"), None) if call else None
        values = [dtype, *self.assigned.get(ast.unparse(dtype), [])] if dtype else []
        return any(self.name(n) == "torch.bfloat16" for v in values for n in ast.walk(v))

    def redefined(self, root: str, made: ast.AST, node: ast.AST) -> bool:
        return any(
            isinstance(n, ast.Assign)
            and made.lineno < n.lineno < node.lineno
            and root in {ast.unparse(t) for t in n.targets}
            for n in ast.walk(self.function(node))
        )


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


# against the original ------------------------------------------------------------------------------------------


def compare(patched: str, original: str) -> list[Fault]:
    """Comments, line endings and everything outside the AMP sites are what they were."""
    found = []
    if endings(patched) != endings(original):
        found.append(Fault(1, "line_endings", f"{endings(original)} became {endings(patched)}"))
    lost = comments(original) - comments(patched)
    if lost:
        found.append(Fault(1, "comment_lost", next(iter(lost))[:60]))
    before, after = plain(original), plain(patched)
    if before != after:
        found.append(Fault(1, "other_code_changed", first_difference(before, after)))
    return found


def endings(text: str) -> str:
    crlf = text.count("\r\n")
    return "crlf" if crlf and crlf == text.count("\n") else "lf" if not crlf else "mixed"


def comments(text: str) -> Counter[str]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, IndentationError):
        return Counter()
    return Counter(t.string for t in tokens if t.type == tokenize.COMMENT)


def first_difference(before: str, after: str) -> str:
    for a, b in zip(before.split("\n"), after.split("\n"), strict=False):
        if a != b:
            return f"{a.strip()[:70]!r} became {b.strip()[:70]!r}"
    return "lines at the end"


def plain(text: str) -> str:
    """The script with every trace of mixed precision taken out, in one canonical form."""
    tree = ast.parse(text)
    names: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and re.match(r"amp_(loss|bce|input)", target.id):
            names[f"{target.id}@{node.lineno}"] = node.value
    bare = ast.unparse(ast.fix_missing_locations(Stripper(names).visit(copy.deepcopy(tree))))
    return "\n".join(line for line in bare.split("\n") if line != "import torch")


class Stripper(ast.NodeTransformer):
    """Takes autocast blocks, scaler calls, casts and settings out again."""

    def __init__(self, names: dict[str, ast.expr]) -> None:
        self.names = names
        self.had_torch = False

    def visit_With(self, node: ast.With):
        if any("autocast(" in ast.unparse(i.context_expr) for i in node.items):
            return [m for s in node.body for m in self.as_list(self.visit(s))]
        return self.generic_visit(node)

    def as_list(self, value):
        return value if isinstance(value, list) else [] if value is None else [value]

    def visit_FunctionDef(self, node: ast.FunctionDef):
        if re.match(r"amp_(float32|full|in_replicas)_*$", node.name):
            return None
        ours = (
            r"amp_float32_*$|torch\.amp\.custom_(fwd\(.*cast_inputs=torch\.float32\)|bwd\(device_type=.*\))$"
        )
        node.decorator_list = [d for d in node.decorator_list if not re.match(ours, ast.unparse(d))]
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef):
        return None if re.fullmatch(FULL_LAYER, ast.unparse(node)) else self.generic_visit(node)

    def visit_Try(self, node: ast.Try):
        imports = (ast.Import, ast.ImportFrom)
        alone = all(isinstance(s, imports) and "apex" in ast.unparse(s) for s in node.body)
        return None if alone else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign):
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id.startswith("amp_"):
            return None
        if ast.unparse(target).startswith("amp_") and self.sets_from_outside(node):
            return None
        if isinstance(target, ast.Subscript):  # `out[mask] = (...).to(out.dtype)`
            cast = f".to({ast.unparse(target.value)}.dtype)"
            if ast.unparse(node.value).endswith(cast) and isinstance(node.value, ast.Call):
                node.value = node.value.func.value
        return self.generic_visit(node)

    def sets_from_outside(self, node: ast.Assign) -> bool:
        """`amp_layers.Knn.forward = amp_float32(amp_layers.Knn.forward)`, or the same with staticmethod(custom_fwd)."""
        where, value = ast.unparse(node.targets[0]), ast.unparse(node.value)
        wrapped = rf"amp_float32_*\({re.escape(where)}\)"
        direction = rf"staticmethod\(torch\.amp\.custom_[fb]wd\({re.escape(where)}, device_type=.*\)\)"
        return re.fullmatch(f"{wrapped}|{direction}", value) is not None

    def visit_If(self, node: ast.If):
        text = ast.unparse(node)
        if (
            "is_bf16_supported" in text
            or "amp_scaler" in ast.unparse(node.test)
            or "'amp_scaler'" in ast.unparse(node.test)
        ):
            return None
        node = self.generic_visit(node)
        return node

    def visit_Expr(self, node: ast.Expr):
        ours = (
            r"amp_scaler_*\.(update|load_state_dict)|[\w.]+\.unscale_\(|"
            r"[\w.]+\.register_module_forward_pre_hook\(amp_in_replicas_*\)"
        )
        if isinstance(node.value, ast.Call) and re.match(ours, ast.unparse(node.value)):
            return None
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name):
        if re.match(r"amp_(loss|bce|input)", node.id):
            made = [(int(k.split("@")[1]), v) for k, v in self.names.items() if k.split("@")[0] == node.id]
            above = [(line, v) for line, v in made if line <= node.lineno]
            if above:
                return self.visit(copy.deepcopy(max(above, key=lambda pair: pair[0])[1]))
        return node

    def visit_Call(self, node: ast.Call):
        text = ast.unparse(node.func)
        if re.match(r"amp_(float32|full)_*$", text):
            return self.visit(node.args[0])
        if re.match(r"amp_scaler_*\.scale$", text):
            return self.visit(node.args[0])
        if re.match(r"amp_scaler_*\.step$", text):
            return ast.Call(ast.Attribute(self.visit(node.args[0]), "step", ast.Load()), [], [])
        node = self.generic_visit(node)
        if layer := re.search(r"\b(?:Float32)?(Sigmoid|Softmax)_*$", text):
            node.func = ast.Name(layer[1], ast.Load())
        if re.search(r"(Trainer|Fabric|Accelerator|Arguments|Config|create_supervised_trainer)$", text):
            options = ("precision", "mixed_precision", "bf16", "fp16", "amp_mode", "scaler")
            node.keywords = [k for k in node.keywords if k.arg not in options]
        if re.search(r"(GradScaler|autocast|custom_fwd|custom_bwd)$", text):
            first = node.args[:1]
            if first and isinstance(first[0], ast.Constant) and isinstance(first[0].value, str):
                node.args = node.args[1:]
            node.keywords = [k for k in node.keywords if k.arg != "device_type"]
            if "autocast" in text:  # positions become keywords
                node.keywords = [*map(ast.keyword, ("enabled", "dtype"), node.args), *node.keywords]
                node.args = []
            if text.endswith(("custom_fwd", "custom_bwd")) and not node.keywords:
                return node.func
        if text == "dict":
            node.keywords = [k for k in node.keywords if k.arg != "amp_scaler"]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "float" and not node.args:
            return node.func.value
        return node

    def visit_Attribute(self, node: ast.Attribute):
        if ast.unparse(node) in ("torch.cuda.amp", "torch.cpu.amp"):
            return ast.Attribute(ast.Name("torch", ast.Load()), "amp", ast.Load())
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom):
        if (node.names[0].asname or "").startswith("amp_"):
            return None
        node.module = (
            (node.module or "").replace("torch.cuda.amp", "torch.amp").replace("torch.cpu.amp", "torch.amp")
        )
        if node.module in ("torch.cuda", "torch.cpu") and node.names[0].name == "amp":
            node.module = "torch"
        return node

    def visit_Import(self, node: ast.Import):
        if (node.names[0].asname or "").startswith("amp_"):
            return None
        for alias in node.names:
            alias.name = alias.name.replace("torch.cuda.amp", "torch.amp").replace(
                "torch.cpu.amp", "torch.amp"
            )
        return node

    def visit_Dict(self, node: ast.Dict):
        keep = [
            (k, v)
            for k, v in zip(node.keys, node.values, strict=True)
            if not (isinstance(k, ast.Constant) and k.value == "amp_scaler")
        ]
        node.keys, node.values = [k for k, _ in keep], [v for _, v in keep]
        return self.generic_visit(node)


if __name__ == "__main__":
    texts = [Path(p).read_text(encoding="utf-8") for p in sys.argv[1:3]]
    for fault in faults(*texts):
        print(f"line {fault.line}: {fault.code} {fault.detail}")
