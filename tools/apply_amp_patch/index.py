"""What a script holds, by name: its classes and what they derive from, functions, calls, attributes set."""

import ast

from .names import Function
from .script import Script

_MODULE_PACKAGES = (
    *("torch.nn.", "torchvision.models.", "timm.create_model", "segmentation_models_pytorch."),
    "torch_geometric.nn.",
)

Stored = tuple[ast.AST, ast.expr, int | None]  # target, value, position in an unpacked value
Place = tuple[int, Stored]  # with its place among those of its name
Stores = tuple[dict[ast.ClassDef, list[Place]], list[Place], dict[str, list[Stored]]]


class Index:
    """Look-ups in one script that need no tracing of values."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._families: dict[ast.ClassDef, list[ast.ClassDef]] = {}
        self._bases: dict[ast.ClassDef, list[ast.ClassDef]] = {}
        self._attributes: dict[str, list[Stored]] = {}
        self._stores: dict[str, Stores] = {}
        self._functions: dict[str, list[Function]] = {}
        self._calls_of: dict[str, list[ast.Call]] = {}
        self._own: dict[tuple[ast.AST, str], list[Function]] = {}  # by class and name
        for function in script.functions:
            self._functions.setdefault(function.name, []).append(function)
            self._own.setdefault((script.parents[function], function.name), []).append(function)
        for call in script.calls:
            last = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            self._calls_of.setdefault(last, []).append(call)
        for node in script.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._note_attributes(target, node.value, None)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._note_attributes(node.target, node.value, None)

    def _note_attributes(self, target: ast.expr, value: ast.expr, index: int | None) -> None:
        if isinstance(target, ast.Attribute):
            self._attributes.setdefault(target.attr, []).append((target, value, index))
        elif isinstance(target, ast.Tuple | ast.List):
            paired = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            for place, element in enumerate(target.elts):
                inner = value.elts[place] if paired else value  # type: ignore[attr-defined]
                self._note_attributes(element, inner, None if paired else place)

    def stores(self, name: str) -> Stores:
        """The assignments to attributes of one name: by the method's class, the others, all by text."""
        if name not in self._stores:
            self._stores[name] = self._find_stores(name)
        return self._stores[name]

    def _find_stores(self, name: str) -> Stores:
        own: dict[ast.ClassDef, list[Place]] = {}
        others: list[Place] = []
        by_text: dict[str, list[Stored]] = {}
        for place, entry in enumerate(self._attributes.get(name, [])):
            target = entry[0]
            assert isinstance(target, ast.Attribute)
            holder = self.class_around(target.value)
            if holder is not None:
                own.setdefault(holder, []).append((place, entry))
            else:
                others.append((place, entry))
            by_text.setdefault(ast.unparse(target.value), []).append(entry)
        return own, others, by_text

    def class_around(self, node: ast.expr) -> ast.ClassDef | None:
        """The class around a method whose first parameter a name is."""
        function = self.script.function(node) if isinstance(node, ast.Name) else None
        while function is not None:
            holder = self.script.method_class(function)
            arguments = function.args.posonlyargs + function.args.args
            if holder is not None and arguments and arguments[0].arg == node.id:  # type: ignore[attr-defined]
                return holder
            function = self.script.function(function)
        return None

    def family(self, holder: ast.ClassDef) -> list[ast.ClassDef]:
        """The class, its bases and its subclasses in this file."""
        if holder not in self._families:
            below = [c for c in self.script.classes if holder in self.bases(c)]
            self._families[holder] = [holder, *self.bases(holder), *below]
        return self._families[holder]

    def bases(self, holder: ast.ClassDef) -> list[ast.ClassDef]:
        """The classes of this file that one derives from, directly or through each other."""
        if holder not in self._bases:
            self._bases[holder] = []
            self._bases[holder] = self._find_bases(holder)
        return self._bases[holder]

    def _find_bases(self, holder: ast.ClassDef) -> list[ast.ClassDef]:
        found: list[ast.ClassDef] = []
        for base in holder.bases:
            if isinstance(base, ast.Name):
                for binding in self.script.bindings(base.id, holder):
                    if isinstance(binding.node, ast.ClassDef) and binding.node not in (holder, *found):
                        found += [binding.node, *self.bases(binding.node)]
        return found

    def base_names(self, holder: ast.ClassDef) -> set[str]:
        """The imported classes that a class of this file derives from, through its bases in the file."""
        paths = {self.script.qualified(b) for c in [holder, *self.bases(holder)] for b in c.bases}
        return {path for path in paths if path}

    def is_module_class(self, holder: ast.ClassDef) -> bool:
        names = self.base_names(holder)
        return any(name == "torch.nn.Module" or name.startswith(_MODULE_PACKAGES) for name in names)

    def methods(self, holder: ast.ClassDef, name: str) -> list[Function]:
        """The methods of that name that an instance of the class has, from its nearest base in this file."""
        own = self._own.get((holder, name))
        if own:
            return own
        return [f for base in self.bases(holder) for f in self._own.get((base, name), [])]

    def _looked_up(self, function: ast.expr) -> str | None:
        """`getattr(torch.optim, name)` and `torch.optim.__dict__[name]` name something of that module."""
        if isinstance(function, ast.Call) and self.script.called(function) == "builtins.getattr":
            module = self.script.qualified(function.args[0]) if function.args else None
            return f"{module}.*" if module else None
        if isinstance(function, ast.Subscript) and isinstance(function.value, ast.Attribute):
            module = self.script.qualified(function.value.value)
            return f"{module}.*" if module and function.value.attr == "__dict__" else None
        return None

    def _from_a_star(self, node: ast.expr) -> str | None:
        """A name that nothing here binds, so that one of several star imports has to."""
        stars = isinstance(node, ast.Name) and not self.script.bindings(node.id, node)
        return node.id if stars and self.script.star_imports else None  # type: ignore[attr-defined]

    def argument(self, call: ast.Call, function: Function, name: str) -> ast.expr | None:
        """The expression a call passes for a parameter (its default when it passes none)."""
        arguments = [a.arg for a in function.args.posonlyargs + function.args.args]
        if self.script.method_class(function) is not None and not any(
            self.script.qualified(d) == "builtins.staticmethod" for d in function.decorator_list
        ):
            arguments = arguments[1:]
        for keyword in call.keywords:
            if keyword.arg == name:
                return keyword.value
        if name in arguments and arguments.index(name) < len(call.args):
            given = call.args[: arguments.index(name) + 1]
            return None if any(isinstance(a, ast.Starred) for a in given) else given[-1]
        defaults = dict(zip(reversed(arguments), reversed(function.args.defaults), strict=False))
        for key, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=False):
            if value is not None:
                defaults[key.arg] = value
        return defaults.get(name)


def returns(script: Script, function: Function) -> list[ast.expr]:
    """The expressions a function may return."""
    returns = (n for n in ast.walk(function) if isinstance(n, ast.Return) and script.function(n) is function)
    return [n.value for n in returns if n.value is not None]
