"""Rules for what has to run in fp32: binary cross entropy, decorated functions, what numpy reads."""

import ast
import re

from .running import Running
from .words import BCE_FUNCTION, RESHAPING, SIGMOID


class FullPrecision(Running):
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

    def is_full_loss(self, path: str) -> bool:
        """One of torch's own losses, which autocast computes in fp32."""
        made = (n for v in self.assigned.get(path, []) for n in ast.walk(v) if isinstance(n, ast.Call))
        return any(
            self.name(n.func).startswith("torch.nn.") and self.name(n.func).endswith("Loss") for n in made
        )

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

    def islands(self) -> None:
        """The decorator casts what it is given, and switches autocast off."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef) and re.match(r"amp_float32_*$", node.name):
                text = ast.unparse(node)
                if "enabled=False)" not in text:
                    self.add(node, "island_under_autocast")
                if ".float()" not in text or "cast(args)" not in text or "cast(kwargs)" not in text:
                    self.add(node, "island_without_float")

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
                    and not self.is_full_loss(ast.unparse(node.value.func))
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

    def redefined(self, root: str, made: ast.AST, node: ast.AST) -> bool:
        return any(
            isinstance(n, ast.Assign)
            and made.lineno < n.lineno < node.lineno
            and root in {ast.unparse(t) for t in n.targets}
            for n in ast.walk(self.function(node))
        )
