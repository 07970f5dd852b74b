"""Which statements of a training step run weights; others prepare data, whose products autocast would round."""

import ast
from collections.abc import Callable

from .flow import DATA_METHODS, TENSOR_METHODS, Flow, uses
from .names import Function
from .roles import Roles
from .script import Script

Elsewhere = Callable[
    [ast.Call], list[tuple[Script, ast.AST]]
]  # what a call runs in other files of the project
_MODEL_PACKAGES = {
    "torchvision",
    "timm",
    "transformers",
    "diffusers",
    "torch_geometric",
    "fairseq",
    "detectron2",
}
_MORE = {
    "mm",
    "matmul",
    "bmm",
    "addmm",
    "baddbmm",
    "mv",
    "inner",
    "outer",
    "unfold",
    "cumsum",
    "roll",
    "flip",
}
_MORE |= {
    "sin",
    "cos",
    "neg",
    "floor",
    "ceil",
    "round",
    "square",
    "sign",
    "diff",
    "scatter_",
    "index_fill",
    "fmod",
}
_METHODS = DATA_METHODS | TENSOR_METHODS | _MORE  # of tensors
_READS = {"weight", "bias", "parameters", "named_parameters", "state_dict", "_parameters"}


class Weights:
    """What may run the weights of a model, by where its calls lead; what cannot be told counts as running them."""

    def __init__(self, script: Script, roles: Roles, flow: Flow, elsewhere: Elsewhere) -> None:
        self.script, self.roles, self.flow, self.elsewhere = script, roles, flow, elsewhere
        self._run_by: dict[Function, bool] = {}
        # whether a script makes weights itself, which then cannot be told from data
        self.bare = any(self._is_bare(node) for node in script.nodes)

    def _is_bare(self, node: ast.AST) -> bool:
        """Whether a script makes weights itself, outside of modules: what multiplies them is no different from data."""
        match node:
            case ast.keyword(arg="requires_grad") | ast.Attribute(attr="requires_grad_"):
                pass
            case ast.Attribute(attr="requires_grad", ctx=ast.Store()):
                pass
            case ast.Call() if (self.script.called(node) or "").endswith("nn.Parameter"):
                pass
            case _:
                return False
        function = self.script.function(node)
        holder = self.script.method_class(function) if function is not None else None
        return holder is None or not self.roles.is_module_class(holder)

    def run_in(self, node: ast.AST) -> bool:
        """Whether evaluating a statement may run weights."""
        if self.bare:
            return self.flow.runs_layers(node)
        return any(
            (isinstance(n, ast.Attribute) and n.attr in _READS)
            or (isinstance(n, ast.Call) and self._run_by_call(n))
            for n in ast.walk(node)
        )

    def _run_by_call(self, call: ast.Call) -> bool:
        if not self.flow.call_runs_layers(call) or self._acts(call):
            return False
        if functions := self.roles.callees(call):
            return any(self._run_by_function(f) for f in functions)
        name = self.script.called(call)
        if name and name.startswith("torch."):  # the weights that such a function is given are read by name
            return name.startswith("torch.nn.modules") or name.endswith("Loss")
        if name:
            nodes = self.elsewhere(call)
            return not nodes or any(_may_run(script, node) for script, node in nodes)
        return not (isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS)

    def _run_by_function(self, function: Function) -> bool:
        if function not in self._run_by:
            self._run_by[function] = False
            holder = self.script.method_class(function)
            whole = holder is not None and function.name in ("forward", "__call__")
            self._run_by[function] = whole or any(self.run_in(s) for s in function.body)
        return self._run_by[function]

    def _acts(self, call: ast.Call) -> bool:
        """`state, reward, done, _ = env.step(action)`: a simulator's answer."""
        above = self.script.parents.get(call)
        return (
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "step"
            and isinstance(above, ast.Assign)
            and isinstance(above.targets[0], ast.Tuple)
            and len(above.targets[0].elts) > 2
        )

    def prepared(self, wanted: set[ast.stmt], numbers: set[ast.stmt]) -> set[ast.stmt]:
        """Of the statements behind a loss those that run no weights, nor take what comes of them, numbers but."""
        running = {s for s in wanted - numbers if self.run_in(s)}
        hot = {p for s in running for p in self.flow.defs(s)}
        rest, size = wanted - running, -1
        while size != len(hot):
            size = len(hot)
            rest = {s for s in rest if not self._takes(s, hot)}
            hot |= {p for s in wanted - running - rest for p in self.flow.defs(s)}
        return rest

    def _takes(self, statement: ast.stmt, hot: set[str]) -> bool:
        """Whether a statement reads what comes of weights, maybe as the argument of the function around it."""
        read = uses(statement)
        if read & hot:
            return True
        function = self.script.function(statement)
        if function is None:
            return False
        parameters = {
            a.arg for a in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        }
        given = [
            self.roles.argument(call, function, name)
            for call in self.roles.call_sites(function)
            for name in read & parameters
        ]
        return any(value is not None and uses(value) & hot for value in given)


def _may_run(script: Script, node: ast.AST) -> bool:
    """Whether a node of another file may run weights; what it calls of its project is among the nodes."""
    if isinstance(node, ast.Attribute):
        return node.attr in _READS
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.FunctionDef) and node.name in ("forward", "__call__")
    name = script.called(node)
    if name:
        package = name.split(".")[0]
        return (
            name.startswith("torch.nn.") and name.split(".")[2][:1].isupper()
        ) or package in _MODEL_PACKAGES
    if isinstance(node.func, ast.Attribute):
        return node.func.attr not in _METHODS
    return not (isinstance(node.func, ast.Name) and any(f.name == node.func.id for f in script.functions))
