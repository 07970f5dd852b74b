"""Where probabilities are formed: the sigmoids and softmaxes of this file that a value provably comes from.

Between them and the value stand only names, returns of this file's functions, reshaping and arithmetic with numbers:
what keeps fp32. A layer or a product of matrices between ends the search, as does whatever another file makes.
"""

import ast
from dataclasses import dataclass, field
from functools import cached_property

from ..context import Context
from ..index import returns
from ..names import Function
from ..origins import Origin
from .forming import (
    BOUNDING,
    FORMING,
    FORMING_LAYERS,
    FORMING_METHODS,
    JOINING,
    MADE,
    SAME_FUNCTIONS,
    SAME_LAYERS,
    SAME_METHODS,
    UNBOUNDED,
)
from .layers import layers_of, may_change
from .picks import Picks, Unproven, element, entry, is_none, is_number, of_tensor, picked
from .reaching import reaching

_MOST_STEPS = 400


@dataclass
class _Found:
    calls: dict[ast.Call, ast.expr] = field(default_factory=dict)
    layers: dict[ast.Call, None] = field(default_factory=dict)
    seen: set[tuple[ast.AST, Picks]] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)  # sigmoid, softmax, or made on the spot
    computed: bool = False  # perhaps of more than one value, or of what is no probability yet
    unbounded: bool = False


class Producers:
    """Follows probabilities back through one script; remembers the calls, and the layers made, that form them."""

    def __init__(self, context: Context) -> None:
        self.context, self.script, self.roles = context, context.script, context.roles
        self.calls: dict[ast.Call, ast.expr] = {}  # `torch.sigmoid(x)`, `x.softmax(1)`, and x of each
        self.layers: dict[ast.Call, None] = {}  # `nn.Sigmoid()` as the end of a Sequential
        self._found = _Found()

    def prove(self, values: list[ast.expr], *, checked: bool = False, kinds: set[str] | None = None) -> bool:
        """Whether each value comes from sigmoids and softmaxes of this file alone; they are noted if so.

        `checked`: what takes them raises where they are no probabilities. `kinds`: what may form them.
        """
        self._found = found = _Found()
        try:
            for value in values:
                self._trace(value, ())
        except Unproven:
            return False
        if found.unbounded and (found.computed or not checked):
            return False
        if not found.kinds or (kinds is not None and not found.kinds <= kinds):
            return False
        if found.layers and not self._may_change:
            return False
        self.calls |= found.calls
        self.layers |= found.layers
        return True

    @cached_property
    def _may_change(self) -> bool:
        return may_change(self.context, set(FORMING_LAYERS))

    def _trace(self, node: ast.expr, picks: Picks) -> None:
        if (node, picks) in self._found.seen:
            return
        self._found.seen.add((node, picks))
        if len(self._found.seen) > _MOST_STEPS:
            raise Unproven
        match node:
            case ast.Name():
                self._name(node, picks)
            case ast.Attribute(attr="data" | "T", value=value):
                self._trace(value, picks)
            case ast.Attribute():
                self._attribute(node, picks)
            case ast.Subscript(value=value, slice=index):
                if picks and not picked(index):
                    raise Unproven
                self._trace(value, (*picked(index), *picks))
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                self._trace(element(elements, picks), picks[1:])
            case ast.Dict():
                self._trace(entry(node, picks), picks[1:])
            case ast.IfExp(body=first, orelse=second):
                self._trace(first, picks)
                self._trace(second, picks)
            case ast.UnaryOp(op=ast.USub(), operand=value):
                self._trace(value, picks)
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow()):
                self._arithmetic(node, picks)
            case ast.Call():
                self._call(node, picks)
            case _:
                raise Unproven

    def _name(self, node: ast.Name, picks: Picks) -> None:
        definitions = reaching(self.script, node)
        if not definitions:
            raise Unproven
        for definition in definitions:
            if isinstance(definition.node, ast.arg):
                self._parameter(definition.node, picks)
            else:
                index = () if definition.index is None else (definition.index,)
                self._trace(definition.node, (*index, *picks))

    def _attribute(self, node: ast.Attribute, picks: Picks) -> None:
        values = [(v, i) for _, v, i in self.roles.assigned(node) if not is_none(v)]
        if not values or self.script.qualified(node):
            raise Unproven
        for value, index in values:
            self._trace(value, picks if index is None else (index, *picks))

    def _arithmetic(self, node: ast.BinOp, picks: Picks) -> None:
        self._found.computed = True
        for side in (node.left, node.right):
            if not is_number(side):
                self._trace(side, of_tensor(picks))

    def _parameter(self, argument: ast.arg, picks: Picks) -> None:
        """What the callers hand in, where each of them is known."""
        function = self.script.parents[self.script.parents[argument]]
        if not isinstance(function, Function) or not self._called_openly(function):
            raise Unproven
        for call in self.roles.call_sites(function):
            value = self.roles.argument(call, function, argument.arg)
            if value is None:
                raise Unproven
            self._trace(value, picks)

    def _called_openly(self, function: Function) -> bool:
        """Whether whatever has the function's name in this file is a call that is known to run it, or another."""
        if function.name in ("forward", "__call__", "__init__") or function.decorator_list:
            return False
        sites = self.roles.call_sites(function)
        for node in self._mentions.get(function.name, []):
            call = self.script.parents[node]
            if not (isinstance(call, ast.Call) and call.func is node):
                return False
            if call not in sites and not self.roles.callees(call) and not self.script.qualified(node):
                return False
        return bool(sites)

    @cached_property
    def _mentions(self) -> dict[str, list[ast.expr]]:
        """Each name and attribute of the file by how it is spelt."""
        found: dict[str, list[ast.expr]] = {}
        for node in self.script.nodes:
            if isinstance(node, ast.Name | ast.Attribute):
                found.setdefault(node.id if isinstance(node, ast.Name) else node.attr, []).append(node)
        return found

    def _call(self, call: ast.Call, picks: Picks) -> None:
        name = self.script.called(call)
        if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
            raise Unproven
        if name in FORMING:
            self._form(call, _argument(call), FORMING[name], picks)
        elif name in MADE and self._is_full(call):
            self._found.kinds.add("made")
        elif name in JOINING and call.args and isinstance(call.args[0], ast.List | ast.Tuple):
            self._found.computed = True
            for part in call.args[0].elts:
                self._trace(part, of_tensor(picks))
        elif name in SAME_FUNCTIONS and call.args:
            self._reshaped(call, call.args[0], call.args[1:], picks)
        elif name == "torch.nn.parallel.data_parallel" and call.args:
            self._object(call.args[0], None, picks)
        elif name is None or self.roles.callees(call):
            self._method(call, picks)
        else:
            raise Unproven

    def _form(self, call: ast.Call, tensor: ast.expr | None, kind: str, picks: Picks) -> None:
        of_tensor(picks)
        if tensor is None or not self._is_full(call):
            raise Unproven
        self._found.kinds.add(kind)
        self._found.calls[call] = tensor

    def _is_full(self, call: ast.Call) -> bool:
        """Whether no other dtype than fp32 is asked for."""
        dtypes = (k.value for k in call.keywords if k.arg == "dtype")
        return all(self.script.qualified(d) in ("torch.float", "torch.float32") for d in dtypes)

    def _reshaped(self, call: ast.Call, tensor: ast.expr, rest: list[ast.expr], picks: Picks) -> None:
        """`x.view(-1)`; `x.max(1)` gives a pair, of which the first are the values."""
        last = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if last in ("min", "max") and (rest or call.keywords) and picks[:1] != (0,):
            raise Unproven
        self._found.computed |= last in BOUNDING
        self._trace(tensor, of_tensor(picks))

    def _method(self, call: ast.Call, picks: Picks) -> None:
        func = call.func
        if isinstance(func, ast.Attribute) and not self.roles.assigned(func):
            if functions := self.roles.callees(call):
                if not self._is_of_one_class(func.value):
                    raise Unproven
                return self._returned(functions, picks)
            if self.roles.owner_class(func.value) is None and not self.script.qualified(func.value):
                if func.attr in FORMING_METHODS and all(is_number(a) for a in call.args):
                    return self._form(call, func.value, func.attr, picks)
                if func.attr in SAME_METHODS or (func.attr == "to" and self._moves(call)):
                    return self._reshaped(call, func.value, call.args, picks)
        self._object(func, call, picks)

    def _is_of_one_class(self, owner: ast.expr) -> bool:
        """`self`, or an object that can be an instance of one class of this file alone."""
        holder = self.roles.owner_class(owner)
        if holder is None:
            return False
        origins = [o for o in self.roles.origins(owner) if not (o.kind == "constant" and o.name == "None")]
        made = [o for o in origins if o.kind == "instance"]
        return not made or all(o.kind == "instance" and o.node is holder for o in origins)

    def _moves(self, call: ast.Call) -> bool:
        """`.to(device)`, `.to("cuda", non_blocking=True)`: no dtype, no tensor to be like."""
        where = call.args[0] if len(call.args) == 1 else None
        return isinstance(where, ast.Constant) or ast.unparse(where or call).endswith("device")

    def _object(self, func: ast.expr, call: ast.Call | None, picks: Picks) -> None:
        """What calling a module or a function of this file gives."""
        origins = [o for o in self.roles.origins(func) if not (o.kind == "constant" and o.name == "None")]
        if not origins:
            raise Unproven
        for origin in origins:
            if origin.kind == "call" and origin.name in FORMING_LAYERS and call is not None:
                self._form(call, _argument(call), FORMING_LAYERS[origin.name], picks)
            elif origin.kind == "call" and origin.name in SAME_LAYERS and call is not None and call.args:
                self._trace(call.args[0], of_tensor(picks))
            else:
                self._given(origin, picks)

    def _given(self, origin: Origin, picks: Picks) -> None:
        node = origin.node
        if origin.kind == "function" and isinstance(node, Function):
            self._returned([node], picks)
        elif (
            origin.kind == "instance" and isinstance(node, ast.ClassDef) and self.roles.is_module_class(node)
        ):
            self._returned(self.roles.methods(node, "forward"), picks)
        elif origin.kind == "call" and origin.name == "torch.nn.Sequential" and isinstance(node, ast.Call):
            layers = layers_of(self.roles, node)
            self._layer_at(layers, len(layers) - 1, picks)
        elif origin.kind == "call" and origin.name in UNBOUNDED:
            self._found.unbounded = True
        else:
            raise Unproven

    def _returned(self, functions: list[Function], picks: Picks) -> None:
        for function in functions:
            values = returns(self.script, function)
            own = [n for n in ast.walk(function) if isinstance(n, ast.Yield | ast.YieldFrom)]
            if not values or own or isinstance(function, ast.AsyncFunctionDef) or self._decorated(function):
                raise Unproven
            for value in values:
                self._trace(value, picks)
        if not functions:
            raise Unproven

    def _decorated(self, function: Function) -> bool:
        calm = ("builtins.staticmethod", "builtins.classmethod", "torch.no_grad")
        names = (self.script.qualified(getattr(d, "func", d)) for d in function.decorator_list)
        return any(name not in calm for name in names)

    def _layer_at(self, layers: list[ast.expr], place: int, picks: Picks) -> None:
        if place < 0 or isinstance(layers[place], ast.Starred):
            raise Unproven
        for origin in self.roles.origins(layers[place]):
            if origin.kind == "call" and origin.name in FORMING_LAYERS and isinstance(origin.node, ast.Call):
                of_tensor(picks)
                self._found.kinds.add(FORMING_LAYERS[origin.name])
                self._found.layers[origin.node] = None
            elif origin.kind == "call" and origin.name in SAME_LAYERS:
                self._layer_at(layers, place - 1, picks)
            else:
                self._given(origin, picks)


def _argument(call: ast.Call) -> ast.expr | None:
    """The tensor that a sigmoid or softmax takes."""
    return call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "input"), None)
