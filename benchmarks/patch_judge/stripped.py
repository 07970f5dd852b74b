"""A patched script against its original: the patch is undone in a way of its own, and nothing else may differ."""

import ast
import copy
import io
import re
import tokenize
from collections import Counter

from .words import FULL_LAYER, Fault


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
    return "\n".join(line for line in bare.split("\n") if line != "import torch").lstrip("\n")


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
