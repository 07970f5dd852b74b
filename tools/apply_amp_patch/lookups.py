"""Ways to a definition that do not mention its name: names made at run time, registries, pickles."""

import ast
from collections.abc import Iterable
from pathlib import Path

from .script import Script

_BY_NAME = {"eval", "exec", "globals", "locals", "vars", "locate", "instantiate"}
_MODULES_BY_NAME = {"__import__", "import_module"}
_FILLS = {"load_state_dict", "_load_from_state_dict"}
_LOADS = {"load", "loads", "Unpickler"}
_CALLED = _BY_NAME | _MODULES_BY_NAME | _FILLS | _LOADS | {"getattr", "getmembers"}
_BUILTINS = {"eval", "exec", "globals", "locals", "vars", "getattr"}
_MODULES = {"getmodule", "module_from_spec", "load_source", "load_module", "iter_modules"}
_REGISTRIES = {"__subclasses__", "__init_subclass__", "entry_points"}
_PICKLES = {"pickle", "joblib", "dill", "cloudpickle"}
_MOST_PARTS = 6  # of a dotted name
# Decorators that neither run nor list what they decorate.
_KEEPS_NOTHING = {"staticmethod", "classmethod", "property", "setter", "abstractmethod", "cached_property"}
_KEEPS_NOTHING |= {"no_grad", "inference_mode", "lru_cache", "contextmanager", "override"}


def looks_up(call: ast.AST) -> bool:
    """`globals()[name]`, `getattr(module, name)`: a name that is made when the script runs."""
    if not isinstance(call, ast.Call):
        return False
    last = _last(call.func)
    if last == "getattr":
        return len(call.args) < 2 or not isinstance(call.args[1], ast.Constant)
    return last in _BY_NAME | _MODULES_BY_NAME and not (
        last == "eval" and isinstance(call.func, ast.Attribute)
    )


def may_look_up(node: ast.AST) -> bool:
    """Whether `Lookups.read` has to see a node."""
    match node:
        case ast.Call(func=function):
            return _last(function) in _CALLED
        case ast.keyword(arg="metaclass") | ast.Constant(value="__dict__"):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name):
            return name == "__dict__" or name in _REGISTRIES or name in _MODULES
    return False


def handed_on(script: Script, node: ast.AST) -> str | None:
    """The dotted name of what is imported and used as a value, rather than called or something taken out of it."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return None
    above = script.parents.get(node)
    taken = isinstance(above, ast.Attribute | ast.ClassDef) or (
        isinstance(above, ast.Call) and above.func is node
    )
    return None if taken else script.qualified(node)


class Lookups:
    """What code looks up, read node by node.

    A name taken from a module is any of that module's; one taken from an object is a method, or what some code has
    set, and mentions, as its attribute. An object is no module where none is ever handed round.
    """

    def __init__(self, project: dict[Path, Script]) -> None:
        self._tops = {part for path in project for part in (*path.parts, path.stem)}
        self._modules: dict[tuple[str, ...], list[Script]] = {}  # by the last parts of their dotted names
        for path, script in project.items():
            parts = path.parent.parts if path.stem == "__init__" else path.with_suffix("").parts
            for start in range(max(0, len(parts) - _MOST_PARTS), len(parts)):
                self._modules.setdefault(parts[start:], []).append(script)
        self._all = False
        self._modules_handed = False
        self._loads = 0  # of pickled objects, less those that only fill a model that is there
        self.in_objects = False
        self.names: set[str] = set()  # of what modules hold that names are taken from

    @property
    def reach_all(self) -> bool:
        """Whether any definition may be meant."""
        return self._all or (self.in_objects and self._modules_handed)

    @property
    def unpickle(self) -> bool:
        """Whether whole objects come out of a file."""
        return self._loads > 0

    def read(self, script: Script, nodes: Iterable[ast.AST], handed: Iterable[str]) -> None:
        """What some nodes look up, and the dotted names of what is handed on beside them."""
        for node in nodes:
            match node:
                case ast.Call():
                    self._read_call(script, node)
                case ast.keyword(value=value):
                    self._all |= _last(value) != "ABCMeta"
                case ast.Attribute(attr="__dict__", value=owner):
                    self._look_into(script, owner)
                case ast.Constant():
                    self.in_objects = True
                case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name):
                    self._all |= name in _REGISTRIES
                    self._modules_handed |= name in _MODULES
        self._modules_handed |= any(name == "sys.modules" or _parts(name) in self._modules for name in handed)

    def _read_call(self, script: Script, call: ast.Call) -> None:
        last = _last(call.func)
        package, _, rest = (script.called(call) or "").partition(".")
        loads = package in _PICKLES and rest.split(".")[-1] in _LOADS
        loads |= (package, rest) == ("torch", "load")
        if loads or last in _FILLS:
            more = loads - (isinstance(call.func, ast.Attribute) and last in _FILLS)
            self._loads += 0 if _gives_samples(script, call) else more
        if last in _MODULES_BY_NAME and not _gives_attributes_alone(script, call):
            self._modules_handed = True
        if last in _BUILTINS and isinstance(call.func, ast.Name) and script.bindings(last, call):
            return  # a function of the project that is called so
        if last in ("vars", "getmembers") and call.args:
            self._look_into(script, call.args[0])
        elif last in ("vars", "locals"):
            self._all |= script.function(call) is None  # those of a function are spelt in it
        elif last == "getattr" and looks_up(call):
            self._look_into(script, call.args[0] if call.args else call)
        elif last in ("globals", "eval") and looks_up(call):
            self._take_all_of([script], deep=last == "eval")
        elif last in _BY_NAME:
            self._all |= looks_up(call)

    def _look_into(self, script: Script, owner: ast.expr) -> None:
        """Something is taken by name from what an expression stands for."""
        dotted = script.qualified(owner)
        if dotted is None:
            self.in_objects = True
        elif dotted.startswith(".") or dotted.split(".")[0] in self._tops:
            self._take_all_of(self._modules.get(_parts(dotted), []))

    def _take_all_of(self, modules: list[Script], *, deep: bool = False) -> None:
        """Whatever some modules hold may be meant; `deep`, what the modules that they import hold, too."""
        self._all |= not modules
        queue = [*modules]
        for module in queue:
            self._all |= bool(module.star_imports)
            imported = {b.target for found in module.held.values() for b in found if b.kind == "import"}
            self.names |= {*module.held, *(path.rpartition(".")[2] for path in imported)}
            inner = (self._modules.get(_parts(path), []) for path in imported if deep)
            queue += [found for each in inner for found in each if found not in queue]


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.strip(".").split("."))


def _gives_samples(script: Script, call: ast.Call) -> bool:
    """Whether a Dataset loads something: samples, which are no modules, or what no forward pass runs."""
    holders = (a for a in script.ancestors(call) if isinstance(a, ast.ClassDef))
    bases = (script.qualified(base) or "" for holder in holders for base in holder.bases)
    return any(base.startswith("torch.utils.data.") for base in bases)


def _gives_attributes_alone(script: Script, call: ast.Call) -> bool:
    """Whether only attributes are taken of the module that a call imports: `x = import_module(name)`, `x.Model()`."""
    match script.parents.get(call):
        case ast.Attribute() | ast.Expr():
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) as above:
            bindings = script.bindings(name, above)
            uses = [
                n
                for n in script.nodes
                if isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load)
                if script.bindings(name, n) is bindings
            ]
            return all(isinstance(script.parents[n], ast.Attribute) for n in uses)
    return False


def is_kept(definition: ast.AST) -> bool:
    """Whether a decorator may put a definition where it is found without its name, or run it."""
    decorators = getattr(definition, "decorator_list", [])
    return any(_last(d.func if isinstance(d, ast.Call) else d) not in _KEEPS_NOTHING for d in decorators)


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else str(getattr(node, "id", ""))
