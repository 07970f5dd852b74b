"""What a script binds, calls and puts under autocast, read from its source alone."""

import ast
from dataclasses import dataclass, field

from .words import AUTOCAST, DEFS, SCALER, Fault


@dataclass
class Facts:
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

    def scaler_calls(self, method: str) -> list[ast.Call]:
        return [
            n
            for n in ast.walk(self.tree)
            if isinstance(n, ast.Call)
            and isinstance(n.func, ast.Attribute)
            and n.func.attr == method
            and ast.unparse(n.func.value) in self.scalers
        ]

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

    def may_be_bf16(self, block: ast.With) -> bool:
        call = self.autocast(block)
        dtype = next((k.value for k in call.keywords if k.arg == "dtype"), None) if call else None
        values = [dtype, *self.assigned.get(ast.unparse(dtype), [])] if dtype else []
        return any(self.name(n) == "torch.bfloat16" for v in values for n in ast.walk(v))

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
