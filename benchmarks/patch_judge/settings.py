"""Rules for the settings: how autocast and scalers are made, and which names they bind."""

import ast
import builtins
from collections import Counter

from .running import Running
from .words import DEFS, DEPRECATED, LOOPS, SCALER


class Settings(Running):
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
