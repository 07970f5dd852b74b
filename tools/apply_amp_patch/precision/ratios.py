"""Exponentials that multiply what half precision rounded: ratios of probabilities, weights by an advantage."""

import ast

from ..script import Script

_LIKELIHOODS = ("prob", "log_pi", "logp")


def is_ratio(node: ast.AST) -> bool:
    """`torch.exp(log_prob - old_log_prob)`: how much likelier a policy has made what an older one chose."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):  # `prob.exp() / old_prob.exp()`
        sides = map(ast.unparse, (node.left, node.right))
        return all("prob" in side and side.rstrip(")").endswith(".exp(") for side in sides)
    minus = [n for n in _exponents(node) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub)]
    pairs = [(ast.unparse(n.left), ast.unparse(n.right)) for n in minus]
    return any(
        ("prob" in old and "log(" in old and "log(" in new)
        or any(word in new and word in old for word in _LIKELIHOODS)
        for new, old in pairs
    )


def weighs_advantage(script: Script, node: ast.AST) -> bool:
    """`torch.exp(beta * adv)`, `adv = target_q - v`: bf16 rounds a value of 100 by a quarter, and exp(3 / 4) is 2."""
    names = [n for e in _exponents(node) for n in ast.walk(e) if isinstance(n, ast.Name) and "adv" in n.id]
    values = [b.value for n in names for b in script.bindings(n.id, n) if b.kind == "assign"]
    return any(isinstance(v, ast.BinOp) and isinstance(v.op, ast.Sub) for v in values)


def _exponents(node: ast.AST) -> list[ast.expr]:
    """What `torch.exp(x)` and `x.exp()` take."""
    if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") != "exp":
        return []
    return [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
