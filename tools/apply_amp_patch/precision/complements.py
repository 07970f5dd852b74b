"""What is left of 1: of a probability, a tanh or a share that may be in half precision, and so 1 long before it is.

bf16 rounds 0.998 to 1 and fp16 0.9998: a sigmoid of 6.3 and of 8. What is left is 0 then, its log infinite and the
gradient no number; with an epsilon the log is off by whole units. So a log, or a division, is followed back over names
and arithmetic to each `1 - p`, however that is written.
"""

import ast

from ..names import default_of, last_name
from ..once import once
from ..script import Script
from .follow import Step, left_of_one, negated
from .literals import number
from .squares import bindings_in, held

_INVERSES = ("atanh", "arctanh", "logit", "erfinv")
_LOGS = ("log", "log2", "log10", "log_")
_SECONDS = ("torch.xlogy", "torch.special.xlogy")  # x * log(y)
_CHANCES = ("sigmoid", "sigmoid_", "tanh", "tanh_", "Sigmoid", "Tanh", "hardsigmoid", "norm")
_MADE = (
    "eye",
    "ones",
    "zeros",
    "arange",
    "linspace",
    "rand",
    "bernoulli",
    "one_hot",
    "eq",
    "ne",
    "gt",
    "ge",
    "lt",
    "le",
)
_SAME = (
    "to",
    "cuda",
    "cpu",
    "view",
    "reshape",
    "unsqueeze",
    "squeeze",
    "expand",
    "expand_as",
    "repeat",
    "type_as",
)


def logarithm_of(script: Script, node: ast.AST) -> list[ast.expr]:
    """What `torch.log(x)` and `x.log()` take, and x of `torch.xlogy(y, x)` and `torch.special.entr(x)`."""
    name = script.called(node)
    if name in _SECONDS and isinstance(node, ast.Call):
        return node.args[1:2]
    if name == "torch.special.entr" and isinstance(node, ast.Call):
        return node.args[:1]
    return taken_by(script, node, _LOGS)


def taken_by(script: Script, node: ast.AST, functions: tuple[str, ...]) -> list[ast.expr]:
    """What one of some functions of torch takes, as a method too."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
        return []
    name = script.called(node)
    if name is not None:
        return node.args[:1] if name in {f"torch.{function}" for function in functions} else []
    func = node.func
    own = isinstance(func, ast.Attribute) and func.attr in functions and ast.unparse(func.value) != "self"
    return [func.value] if own and isinstance(func, ast.Attribute) else []


def taken_from_one(script: Script, node: ast.AST) -> list[ast.expr]:
    """Each p of `log(1 - p)`, `x / (1 - p)` or `atanh(p)` that may be in half precision, and so 1 long before it is."""
    if isinstance(node, ast.Call):
        return _of_call(script, node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        inside = _written_in([node.right])
        return [p for p in inside if _is_chance(script, p) and varies(script, p)]
    return []


@once
def _of_call(script: Script, node: ast.Call) -> list[ast.expr]:
    inverse = [value for value in taken_by(script, node, _INVERSES) if varies(script, value)]
    logged = logarithm_of(script, node)
    less = _added_to_one(script, node)
    if not logged and not less:
        return inverse
    steps, plain = left_of_one(script, logged)
    written = _written_in(logged)
    steps += [Step(p) for p in less] + [Step(p) for p in written if all(p is not s.node for s in steps)]
    steps = [s for s in steps if number(s.node) is None and varies(script, s.node)]
    known = [s for s in steps if _may_near_one(script, s.node)]
    if known:  # t of `p * t + (1 - p) * (1 - t)` is a label: it is given, and weighs p as well
        return [*inverse, *(s.node for s in steps if s in known or not _is_given(script, s.node, plain))]
    shown = [s for s in steps if s.node in written or not s.divides]
    kept = [s.node for s in shown if not s.weighs or s.node in written or ast.unparse(s.node) in plain]
    return [*inverse, *kept]


def _written_in(values: list[ast.expr]) -> list[ast.expr]:
    """Each p of a `1 - p` that is written in some expressions; not below an exp, which keeps what is left as it is."""
    found, queue = [], list[ast.AST](values)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and number(node.left) == 1:
            found.append(node.right)
        if last_name(node) != "exp":
            queue += ast.iter_child_nodes(node)
    return found


def _added_to_one(script: Script, node: ast.Call) -> list[ast.expr]:
    """Each p of `torch.log1p(-p)`, `torch.special.xlog1py(y, -p)`."""
    second = script.called(node) == "torch.special.xlog1py"
    values = node.args[1:2] if second else taken_by(script, node, ("log1p", "log1p_"))
    meant = (negated(script, v) for value in values for v in [value, *held(script, value)])
    return [p for p in meant if p is not None]


def _is_given(script: Script, node: ast.expr, plain: set[str]) -> bool:
    """A parameter, or what a loop over data gives, that occurs by itself beside its complement."""
    if not isinstance(node, ast.Name) or node.id not in plain:
        return False
    return all(b.kind in ("parameter", "loop") for b in script.bindings(node.id, node))


def _is_chance(script: Script, node: ast.expr) -> bool:
    """What a sigmoid, a tanh or a sum of squares gives, by its name too: it may come near 1."""
    values: list[ast.AST | None] = [node]
    if isinstance(node, ast.Name):
        values = [b.value for b in script.bindings(node.id, node)]
    calls = [v for v in values if isinstance(v, ast.Call)]
    return any(
        last_name(c) in ("sigmoid", "tanh", "norm")
        or (
            last_name(c) == "sum"
            and any(isinstance(n, ast.Attribute) and n.attr == "pow" for n in ast.walk(c))
        )
        for c in calls
    )


def _may_near_one(script: Script, node: ast.expr) -> bool:
    """Whether a sigmoid or the like stands in a value, or in what its names hold."""
    names = [v for n in ast.walk(node) for v in held(script, n)]
    return any(last_name(n) in _CHANCES for v in [node, *names] for n in ast.walk(v))


def varies(script: Script, node: ast.expr, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a value may come out of a layer in half precision: no buffer, no softmax, no `.float()`, no mask."""
    match node:
        case ast.Attribute() | ast.Compare() | ast.Constant():
            return False
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _SAME and not script.called(
            node
        ):
            return varies(script, value, seen)
        case ast.Call():
            return not is_full(node) and last_name(node).removesuffix("_like") not in _MADE
        case ast.Name(id=name) if name in seen:
            return False  # what else it is set to decides
        case ast.Name(id=name):
            return _name_varies(script, name, script.scope(node).node, seen)
    return True


@once
def _name_varies(script: Script, name: str, scope: ast.AST, seen: frozenset[str]) -> bool:
    bindings = bindings_in(script, name, scope)
    values = [b.value for b in bindings if b.kind == "assign" and b.value is not None]
    if any(varies(script, v, seen | {name}) for v in values):
        return True
    if values and not any(_names(v, name) for v in values):
        return False
    return not bindings or any(b.kind != "assign" and not _is_set(script, b.node) for b in bindings)


def _is_set(script: Script, parameter: ast.AST) -> bool:
    """A parameter that is a number by default."""
    default = default_of(script.parents.get(parameter), parameter)
    return default is not None and number(default) is not None


def _names(value: ast.expr, name: str) -> bool:
    """`x = x.view(-1)`: what else x is set to, or was given as, decides."""
    return any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value))


def is_full(node: ast.expr) -> bool:
    """Fp32 under autocast too: `x.float()`, a softmax."""
    return last_name(node) in ("float", "softmax", "exp")
