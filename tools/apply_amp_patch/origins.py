"""Where values come from: the constructors behind a name, through assignments, attributes, returns and arguments."""

import ast
from dataclasses import dataclass
from functools import cached_property

from .index import Index, Stored, returns
from .names import Binding, Function
from .script import Script

_DEEPEST = 100  # values behind one: what Python's stack holds
# Methods and wrappers that give back the same object for our purpose: a model stays that model.
_SAME_OBJECT = {"to", "cuda", "cpu", "train", "eval", "float", "requires_grad_", "share_memory", "apply"}
_WRAPPERS = {
    "torch.nn.DataParallel",
    "torch.nn.parallel.DataParallel",
    "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
    "torch.compile",
    "torch.jit.script",
    "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
    "functools.partial",
}


@dataclass(frozen=True)
class Origin:
    """One source of a value: a call of something imported, an instance of a class of this file, a constant..."""

    kind: str  # call, instance, class, function, import, constant, parameter, unknown
    name: str = ""
    node: ast.AST | None = None


UNKNOWN = Origin("unknown")


class Origins(Index):
    """Follows values through one script. Never guesses from how a name is spelt."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self._memo: dict[ast.AST, tuple[Origin, ...]] = {}
        self._callees: dict[ast.Call, list[Function]] = {}
        self._by_name: dict[ast.Name, list[Function]] = {}
        self._sites: dict[Function, list[ast.Call]] = {}
        self._busy: set[ast.AST] = set()
        self._cuts = 0  # how often a circle was cut short: what was found meanwhile may be partial

    def origins(self, node: ast.expr) -> tuple[Origin, ...]:
        """Every source the value may come from; UNKNOWN among them where one cannot be followed."""
        if node in self._memo:
            return self._memo[node]
        if node in self._busy or len(self._busy) >= _DEEPEST:
            self._cuts += 1
            return ()
        self._busy.add(node)
        found = tuple(dict.fromkeys(self._origins(node)))
        self._busy.discard(node)
        self._memo[node] = found
        return found

    def _origins(self, node: ast.expr) -> list[Origin]:
        match node:
            case ast.Constant():
                return [Origin("constant", repr(node.value), node)]
            case ast.Name():
                return self._of_name(node)
            case ast.Attribute():
                return self._of_attribute(node)
            case ast.Call():
                return self._of_call(node)
            case ast.IfExp():
                return [*self.origins(node.body), *self.origins(node.orelse)]
            case ast.BoolOp():
                return [o for value in node.values for o in self.origins(value)]
            case ast.NamedExpr() | ast.Await() | ast.Starred():
                return list(self.origins(node.value))
            case ast.Subscript():
                return self._elements(node.value)
        return [Origin("unknown", type(node).__name__, node)]

    def _of_name(self, node: ast.Name) -> list[Origin]:
        found = self.script.bindings(node.id, node)
        if not found:
            path = self.script.qualified(node)
            return [Origin("import", path, node)] if path else [UNKNOWN]
        return [o for binding in found for o in self._of_binding(binding)]

    def _of_binding(self, binding: Binding) -> list[Origin]:
        match binding.kind:
            case "import":
                return [Origin("import", binding.target, binding.node)]
            case "function":
                return [Origin("function", "", binding.node)]
            case "class":
                return [Origin("class", "", binding.node)]
            case "parameter":
                return self._of_parameter(binding.node)
            case "assign" | "with" if binding.value is not None:
                return self._picked(binding.value, binding.index)
            case "loop" if binding.value is not None:
                return self._elements(binding.value) if binding.index is None else [UNKNOWN]
        return [UNKNOWN]

    def _picked(self, value: ast.expr, index: int | None, seen: tuple[ast.expr, ...] = ()) -> list[Origin]:
        if index is None:
            return list(self.origins(value))
        if isinstance(value, ast.Tuple | ast.List) and index < len(value.elts):
            return list(self.origins(value.elts[index]))
        if isinstance(value, ast.Call):
            found: list[Origin] = []
            for function in self.callees(value):
                for returned in (r for r in returns(self.script, function) if r not in seen):
                    found += self._picked(returned, index, (*seen, returned))
            if found:
                return found
            path = self.script.called(value)
            return [Origin("call", f"{path}[{index}]", value) if path else Origin("unknown", "", value)]
        return [UNKNOWN]

    def _elements(self, container: ast.expr) -> list[Origin]:
        """What a list, tuple or dict of this file holds; another file's by its name."""
        if path := self.script.qualified(container) or self._from_a_star(container):
            return [Origin("import", path, container)]
        found: list[Origin] = []
        values = [container]
        if isinstance(container, ast.Name):
            values = [b.value for b in self.script.bindings(container.id, container) if b.value is not None]
        elif isinstance(container, ast.Attribute):
            values = [value for _, value, index in self.assigned(container) if index is None]
        for value in values:
            if isinstance(value, ast.List | ast.Tuple | ast.Set):
                found += [o for element in value.elts for o in self.origins(element)]
            elif isinstance(value, ast.Dict):
                found += [o for element in value.values for o in self.origins(element)]
            elif isinstance(value, ast.ListComp):
                found += self.origins(value.elt)
            elif isinstance(value, ast.Call) and self.script.called(value) == "builtins.dict":
                found += [o for keyword in value.keywords for o in self.origins(keyword.value)]
            else:
                found.append(UNKNOWN)
        return found or [UNKNOWN]

    def _of_attribute(self, node: ast.Attribute) -> list[Origin]:
        path = self.script.qualified(node)
        if path:
            return [Origin("import", path, node)]
        assigned = self.assigned(node)
        if assigned:
            return [o for _, value, index in assigned for o in self._picked(value, index)]
        return [UNKNOWN]

    def assigned(self, node: ast.Attribute) -> list[Stored]:
        """The assignments to the same attribute of the same object, as far as this file shows."""
        holder = self.owner_class(node.value)
        own, others, by_text = self.stores(node.attr)
        if holder is None:
            text = ast.unparse(node.value)
            return by_text.get(text, []) if text != "self" else []
        family = self.family(holder)
        found = [pair for kin in dict.fromkeys(family) for pair in own.get(kin, ())]
        for place, entry in others:
            target = entry[0]
            assert isinstance(target, ast.Attribute)
            if (owner := self.owner_class(target.value)) is not None and owner in family:
                found.append((place, entry))
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]

    def owner_class(self, node: ast.expr) -> ast.ClassDef | None:
        """The class of this file that an expression is an instance of."""
        if (holder := self.class_around(node)) is not None:
            return holder
        for origin in self.origins(node):
            if origin.kind == "instance" and isinstance(origin.node, ast.ClassDef):
                return origin.node
        return None

    def _of_call(self, node: ast.Call) -> list[Origin]:
        path = self.script.called(node)
        if path in _WRAPPERS and node.args:
            return list(self.origins(node.args[0]))
        if path:
            return [Origin("call", path, node)]
        if isinstance(node.func, ast.Attribute) and node.func.attr in _SAME_OBJECT:
            return list(self.origins(node.func.value))
        if looked_up := self._looked_up(node.func):
            return [Origin("call", looked_up, node)]
        found: list[Origin] = []
        for origin in self.origins(node.func):
            if origin.kind == "class":
                found.append(Origin("instance", "", origin.node))
            elif origin.kind == "import":
                found.append(Origin("call", origin.name, node))
            elif origin.kind == "function" and isinstance(origin.node, Function):
                for value in returns(self.script, origin.node):
                    found += self.origins(value)
            else:
                found.append(UNKNOWN)
        if not found or UNKNOWN in found:
            for function in self.callees(node):
                found = [o for value in returns(self.script, function) for o in self.origins(value)]
        return [Origin("unknown", "", node) if o == UNKNOWN else o for o in found or [UNKNOWN]]

    def _of_parameter(self, argument: ast.AST) -> list[Origin]:
        function = self.script.parents[self.script.parents[argument]]
        if not isinstance(function, Function):
            return [Origin("parameter", "", argument)]
        found: list[Origin] = []
        for call in self.call_sites(function):
            value = self.argument(call, function, argument.arg)  # type: ignore[attr-defined]
            found += self.origins(value) if value is not None else [Origin("parameter", "", argument)]
        return found or [Origin("parameter", "", argument)]

    def callees(self, call: ast.Call) -> list[Function]:
        """The functions of this file that a call runs."""
        if call not in self._callees:
            cuts = self._cuts
            found = self._find_callees(call)
            if self._busy and self._cuts != cuts:
                return found
            self._callees[call] = found
        return self._callees[call]

    def _find_callees(self, call: ast.Call) -> list[Function]:
        """By name, or by value: `criterion = my_loss`, `train(net, my_loss)`."""
        given = self._callees_by_name(call)
        return given or [o.node for o in self.origins(call.func) if isinstance(o.node, Function)]

    def _callees_by_name(self, call: ast.Call) -> list[Function]:
        func = call.func
        last = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
        if isinstance(func, ast.Name):
            found = self._named(func)
            if found or not self.script.bindings(last, func):
                return found
        elif isinstance(func, ast.Attribute) and last in self._functions:
            if isinstance(func.value, ast.Call) and self.script.called(func.value) == "builtins.super":
                above = self.script.function(call)
                holder = self.script.method_class(above) if above else None
                bases = self.bases(holder) if holder else []
                return [f for base in bases for f in self.methods(base, last)]
            holder = self.owner_class(func.value)
            if holder is not None:
                return [f for c in self.family(holder) for f in self.methods(c, last)]
            named = [o.node for o in self.origins(func.value) if isinstance(o.node, ast.ClassDef)]
            if named:  # `Loss.of(x)`, a static method by its class
                return [f for c in named for kin in (c, *self.bases(c)) for f in self.methods(kin, last)]
        holder = self.owner_class(func) if isinstance(func, ast.Name | ast.Attribute) else None
        return self.methods(holder, "forward") + self.methods(holder, "__call__") if holder else []

    def _named(self, func: ast.Name) -> list[Function]:
        """The functions and constructors of this file that a name is bound to."""
        if func not in self._by_name:
            nodes = [b.node for b in self.script.bindings(func.id, func)]
            found = [n for n in nodes if isinstance(n, Function)]
            found += [f for n in nodes if isinstance(n, ast.ClassDef) for f in self.methods(n, "__init__")]
            self._by_name[func] = found
        return self._by_name[func]

    def call_sites(self, function: Function) -> list[ast.Call]:
        """The calls in this file that run a function of this file."""
        if function not in self._sites:
            cuts = self._cuts
            found = self._find_call_sites(function)
            if self._busy and self._cuts != cuts:
                return found
            self._sites[function] = found
        return self._sites[function]

    def _find_call_sites(self, function: Function) -> list[ast.Call]:
        holder = self.script.method_class(function)
        candidates = self._calls_of.get(function.name, [])
        if holder is not None and function.name == "__init__":
            kin = [holder, *(c for c in self.family(holder) if holder in self.bases(c))]
            candidates = [c for k in kin for c in self._calls_of.get(k.name, [])]
            candidates += [
                c for c in self._calls_of.get("__init__", []) if self._class_around(c) in (None, *kin)
            ]
        found = [c for c in dict.fromkeys(candidates) if function in self.callees(c)]
        if holder is not None and function.name in ("forward", "__call__"):
            seen = set(found)
            found += [c for c in self._value_calls if c not in seen and function in self.callees(c)]
        return found

    def _class_around(self, call: ast.Call) -> ast.AST | None:
        above = self.script.function(call)
        return self.script.method_class(above) if above is not None else None

    @cached_property
    def _value_calls(self) -> list[ast.Call]:
        """Calls of something that is neither imported nor a function or class by its name: of an object, perhaps."""
        return [
            c for c in self.script.calls if self.script.called(c) is None and not self._is_definition(c.func)
        ]

    def _is_definition(self, func: ast.expr) -> bool:
        kinds = {b.kind for b in self.script.bindings(func.id, func)} if isinstance(func, ast.Name) else set()
        return bool(kinds) and kinds <= {"function", "class"}
