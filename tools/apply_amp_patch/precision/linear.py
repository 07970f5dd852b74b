"""Whether an autograd.Function's backward is linear in its gradient, so that a scaled loss gives scaled gradients.

What an expression is: "zero" (None or 0), "linear" in the gradient, "free" of it and bounded ("small") or not
("free"), or "other".
"""

import ast

from ..names import Function
from ..roles import Roles
from ..script import Script

HOOKS = {
    "register_hook",
    "register_full_backward_hook",
    "register_backward_hook",
    "register_post_accumulate_grad_hook",
}
_SAME_WORDS = (
    "clone contiguous view reshape expand neg neg_ detach float to type transpose t permute "
    "flip unsqueeze squeeze sum mean cuda cpu repeat chunk split narrow index_select"
)
_SAME = frozenset(_SAME_WORDS.split())
_FACTORS = {"mul", "mul_", "div", "div_"}
_ABOUT = {"shape", "device", "dtype", "ndim", "is_cuda", "requires_grad", "layout"}
_ASKS = {"size", "dim", "numel", "nelement", "get_device", "type"}
_ZEROS = {"zeros_like", "new_zeros", "zeros"}
_LIKE = {"expand_as", "view_as", "type_as", "ones_like", "rand_like"}
_SMALL = {"sigmoid", "tanh", "uniform_", "bernoulli_", "eq", "ne", "gt", "lt", "ge", "le", "sign", "bool"}
_MAKES = {"rand", "ones", "FloatTensor"}
_PRODUCTS = {"mm", "bmm", "matmul", "conv1d", "conv2d", "conv3d"}


def is_linear(script: Script, backward: Function) -> bool:
    """Whether every gradient that a static backward(ctx, ...) returns is linear in those it is given."""
    return _Reader(script, backward, "linear", elementwise=False).returns <= {"linear", "zero"}


def hooks_scaled(roles: Roles, node: ast.AST) -> bool:
    """Whether a node sets a hook that sees gradients and may do more than scale them: `h.register_hook(clip)`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr != "register_hook":
        return node.func.attr in HOOKS
    hook = node.args[0] if node.args else None
    found: list[ast.AST | None] = [hook] if isinstance(hook, ast.Lambda) else []
    if isinstance(hook, ast.Call):  # `reverse(weight)`, which makes the hook
        found = [
            n for f in roles.callees(hook) for n in ast.walk(f) if isinstance(n, Function) and n is not f
        ]
    elif isinstance(hook, ast.Name):
        found = [o.node for o in roles.origins(hook)]
    return not (found and all(_scales(roles.script, f) for f in found))


def _scales(script: Script, hook: ast.AST | None) -> bool:
    if not isinstance(hook, ast.Lambda | Function):
        return False
    body: list[ast.stmt] = [ast.Return(hook.body)] if isinstance(hook, ast.Lambda) else hook.body
    given = [*hook.args.posonlyargs, *hook.args.args]
    arguments = ast.arguments([], [ast.arg(""), *given], None, [], [], None, [])
    method = ast.FunctionDef("backward", arguments, body, [])
    return _Reader(script, method, "linear", elementwise=False).returns <= {"linear", "zero"}


def runs_undecorated(script: Script, forward: Function, backward: Function) -> bool:
    """Whether a Function may run under autocast and a scaler as it is.

    Its forward, which autocast reaches, calls torch alone. Its backward, which it does not reach, is linear and made
    of sums, scalings and bounded functions: they take each dtype as it comes, and overflow only where a gradient does.
    """
    calls = [c for c in ast.walk(forward) if isinstance(c, ast.Call)]
    names = [script.called(c) or ("torch." if isinstance(c.func, ast.Attribute) else "") for c in calls]
    if not all(name.startswith(("torch.", "builtins.")) for name in names):
        return False
    return _Reader(script, backward, "linear", elementwise=True).returns <= {"linear", "zero"}


class _Reader:
    """Reads one function from top to bottom, with what each name holds."""

    def __init__(self, script: Script, function: Function, given: str, elementwise: bool) -> None:
        self.script, self.elementwise = script, elementwise
        self.returns: set[str] = set()
        arguments = function.args
        names = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
        extra = [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
        self.names: dict[str, str] = dict.fromkeys([*names[1:], *extra], given)
        self.context = names[0] if names else ""
        self._block(function.body)
        self.returns = self.returns or {"other"}

    def _block(self, block: list[ast.stmt]) -> None:
        for statement in block:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Return(value=ast.Tuple(elts=elements)):
                self.returns |= {self.kind(e) for e in elements}
            case ast.Return(value=value):
                self.returns.add("zero" if value is None else self.kind(value))
            case ast.Assign(targets=[target], value=value):
                self._bind(target, value, self.kind(value))
            case ast.AugAssign(target=ast.Name() as target, op=op, value=value):
                old = self.names.get(target.id, "other")
                self.names[target.id] = self._combined(op, old, self.kind(value))
            case ast.If(test=test, body=body, orelse=orelse) if self.kind(test) in ("free", "small"):
                before = dict(self.names)
                self._block(body)
                after, self.names = self.names, before
                self._block(orelse)
                for name in {*after, *self.names}:
                    self.names[name] = _joined(after.get(name, "zero"), self.names.get(name, "zero"))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=value) if self._keeps(value):
                pass
            case _:
                self.returns.add("other")

    def _keeps(self, value: ast.expr) -> bool:
        """`ctx.save_for_backward(x)`."""
        return isinstance(value, ast.Call) and ast.unparse(value.func).startswith(f"{self.context}.")

    def _bind(self, target: ast.expr, value: ast.expr, kind: str) -> None:
        match target:
            case ast.Name():
                self.names[target.id] = kind
            case ast.Tuple(elts=elements):
                paired = isinstance(value, ast.Tuple) and len(value.elts) == len(elements)
                for place, element in enumerate(elements):
                    self._bind(element, value, self.kind(value.elts[place]) if paired else kind)  # type: ignore[attr-defined]
            case ast.Subscript(value=ast.Name() as owner, slice=index):
                old = self.names.get(owner.id, "other")
                mixed = _joined(old, kind) if self.kind(index) in ("free", "small", "zero") else "other"
                self.names[owner.id] = mixed
            case ast.Attribute(value=ast.Name(id=owner)) if owner == self.context and kind != "other":
                pass
            case _:
                self.returns.add("other")

    def kind(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=value):
                return _size(value)
            case ast.Name():
                return self.names.get(node.id, "free")
            case ast.Attribute(value=value, attr=attribute):
                inner = self.kind(value)
                return (
                    "small" if attribute in _ABOUT else inner if attribute in ("data", "T") else _free(inner)
                )
            case ast.Subscript(value=value, slice=index):
                return self.kind(value) if self.kind(index) in ("free", "small", "zero") else "other"
            case ast.IfExp(test=test, body=body, orelse=orelse):
                calm = self.kind(test) in ("free", "small")
                return _joined(self.kind(body), self.kind(orelse)) if calm else "other"
            case ast.Slice() | ast.Compare() | ast.BoolOp() | ast.Tuple():
                kinds = {self.kind(c) for c in ast.iter_child_nodes(node) if isinstance(c, ast.expr)}
                return "small" if kinds <= {"free", "small", "zero"} else "other"
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.kind(operand)
            case ast.UnaryOp(operand=operand):
                return _free(self.kind(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self._combined(op, self.kind(left), self.kind(right))
            case ast.Call():
                return self._call(node)
        return "other"

    def _combined(self, op: ast.operator, left: str, right: str) -> str:
        kinds = {left, right}
        if "other" in kinds:
            return "other"
        if isinstance(op, ast.Add | ast.Sub):
            return _joined(left, right)
        if isinstance(op, ast.Mult) or (isinstance(op, ast.MatMult) and not self.elementwise):
            return self._product(left, right)
        if isinstance(op, ast.Div) and right in ("small", "free"):
            return "other" if self.elementwise and left != "linear" else left
        return "other" if self.elementwise or "linear" in kinds else "free"

    def _product(self, left: str, right: str) -> str:
        kinds = {left, right}
        if "zero" in kinds or "other" in kinds:
            return "other" if "other" in kinds else "zero"
        if "linear" in kinds:
            return "other" if kinds == {"linear"} else "linear"
        if kinds == {"free"} and self.elementwise:
            return "other"
        return "free" if "free" in kinds else "small"

    def _call(self, call: ast.Call) -> str:
        name = self.script.called(call)
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        given = [self.kind(a) for a in [*call.args, *(k.value for k in call.keywords)]]
        if name is None and isinstance(call.func, ast.Attribute):
            given.insert(0, self.kind(call.func.value))
        elif name is None or not name.startswith("torch."):
            return "other"
        last = name.split(".")[-1] if name else method
        if "other" in given or not given:
            return "other"
        return self._result(last, given)

    def _result(self, last: str, given: list[str]) -> str:
        first, rest = given[0], given[1:]
        numbers = all(k in ("free", "small", "zero") for k in rest)
        if last in _ASKS and numbers:
            return "small"
        if last in _ZEROS:
            return "zero"
        if last in _LIKE and len(rest) < 2:
            return "small" if last.endswith("_like") else first
        if last in (*_SAME, "Variable") and numbers:
            return first
        if last in _FACTORS and len(rest) == 1:
            return self._combined(ast.Mult() if last.startswith("mul") else ast.Div(), first, rest[0])
        if last in _PRODUCTS and len(rest) == 1 and not self.elementwise:
            return self._product(first, rest[0])
        if last == "where" and len(rest) == 2 and first != "linear":
            return _joined(*rest)
        if "linear" in given:
            return "other"
        if last in _SMALL or last in _MAKES:
            return "small"
        return "other" if self.elementwise else "free"


def _size(value: object) -> str:
    """What a constant is; one out of the range of fp16 is "other"."""
    if value is None or (isinstance(value, int | float) and value == 0 and value is not False):
        return "zero"
    fits = not isinstance(value, int | float) or 1e-4 <= abs(value) <= 1e4
    return "small" if fits or isinstance(value, bool) else "other"


def _free(kind: str) -> str:
    return "other" if kind in ("linear", "other") else "free"


def _joined(first: str, second: str) -> str:
    """What a value is that is one or the other, or their sum."""
    kinds = {first, second} - {"zero"}
    if len(kinds) < 2:
        return kinds.pop() if kinds else "zero"
    return "free" if kinds == {"free", "small"} else "other"
