"""Which functions run under autocast, and what is a model or a loss."""

import ast
import re

from .facts import Facts


class Running(Facts):
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

    def plausible(self, call: ast.Call, callee: ast.AST) -> bool:
        """A method is called on an object, a function by its name."""
        method = isinstance(self.parent.get(callee), ast.ClassDef)
        if not isinstance(call.func, ast.Attribute):
            return not method
        common = call.func.attr in ("backward", "step", "update", "train", "eval", "forward", "sample", "add")
        return method and (not common or ast.unparse(call.func.value) == "self")

    def called(self, call: ast.Call) -> list[ast.AST]:
        target = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
        return [f for f in self.functions.get(target or "", []) if self.plausible(call, f)]

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
