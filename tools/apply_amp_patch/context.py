"""What a rule is given: the script, its roles, its training, and the caller's wishes."""

import ast
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .flow import Flow
from .loading import Loaded, loaded_names
from .loops import Training, find_training
from .names import last_name
from .project import imported_scripts, importing_scripts
from .reached import Reached
from .roles import Roles
from .running import nodes_run
from .script import Script


@dataclass(frozen=True)
class Wishes:
    """The fields of the request that rules read."""

    precision: str = "auto"
    accumulation_steps: int | None = None
    grow_batch: bool = False


@dataclass
class Context:
    script: Script
    wishes: Wishes = field(default_factory=Wishes)
    path: Path | None = None
    root: Path | None = None  # files outside of it are not read
    is_giver: bool = (
        False  # a file looked at because it hands the script a model: who makes its classes is not asked
    )
    _roles_of: dict[Script, Roles] = field(default_factory=dict)
    _flow_of: dict[Script, Flow] = field(default_factory=dict)
    _made: dict[str, str | None] = field(default_factory=dict)
    _run_by: dict[tuple[str, str], list[tuple[Script, ast.AST]]] = field(default_factory=dict)

    @cached_property
    def roles(self) -> Roles:
        return Roles(self.script, self._made_elsewhere)

    @cached_property
    def project(self) -> dict[Path, Script]:
        """The project files that the script imports."""
        return imported_scripts(self.script, self.path, self.root)

    @cached_property
    def loaded(self) -> Loaded:
        """By which names the script's imports load those files."""
        return loaded_names(self.script, self.path, self.root, self.project)

    @cached_property
    def around(self) -> list[tuple[Reached, list[Script]]]:
        """What the script, and each file around it that imports it, reaches of the other files it reads."""
        found = [(self.reached, list(self.project.values()))]
        for path, script in importing_scripts(self.path, self.root).items():
            read = imported_scripts(script, path, self.root)
            others = [other for at, other in read.items() if at != self.path]
            found.append((Reached(script, read), [script, *others]))
        return found

    @cached_property
    def reached(self) -> Reached:
        """What of the project's other files the script may run."""
        return Reached(self.script, self.project)

    def roles_of(self, script: Script) -> Roles:
        """The roles in a file of the project."""
        if script is self.script:
            return self.roles
        if script not in self._roles_of:
            self._roles_of[script] = Roles(script, self._made_elsewhere)
        return self._roles_of[script]

    def flow_of(self, script: Script) -> Flow:
        """What depends on what in a file of the project."""
        if script not in self._flow_of:
            own = script is self.script
            self._flow_of[script] = self.training.flow if own else Flow(script, self.roles_of(script))
        return self._flow_of[script]

    def class_elsewhere(self, name: str) -> tuple[Script, ast.ClassDef] | None:
        """A class of another project file by its dotted name."""
        *module, last = name.split(".")
        for path, other, holder in self._classes.get(last, []):
            if not module or module[-1] in (path.stem, path.parent.name):
                return other, holder
        return None

    @cached_property
    def _classes(self) -> dict[str, list[tuple[Path, Script, ast.ClassDef]]]:
        found: dict[str, list[tuple[Path, Script, ast.ClassDef]]] = {}
        for path, script in self.project.items():
            for holder in script.classes:
                found.setdefault(holder.name, []).append((path, script, holder))
        return found

    def _made_elsewhere(self, name: str) -> str | None:
        if name not in self._made:
            self._made[name] = None  # what is asked in a circle
            self._made[name] = self._find_made(name)
        return self._made[name]

    def _find_made(self, name: str) -> str | None:
        *module, last = name.split(".")
        for path, script in self.project.items():
            if not module or path.stem == module[-1] or path.parent.name == module[-1]:
                found = self.roles_of(script).made_by(last)
                if found is not None and found != "unknown":
                    return found
        return None

    @cached_property
    def training(self) -> Training:
        return find_training(self.script, self.roles, self.run_elsewhere)

    def differentiates_elsewhere(self, call: ast.Call) -> bool:
        """Whether a call runs a function or method of another project file that calls backward."""
        return any(last_name(node) == "backward" for _, node in self.run_elsewhere(call))

    def run_elsewhere(self, call: ast.Call, script: Script | None = None) -> list[tuple[Script, ast.AST]]:
        """What a call runs in another file of the project: the nodes of the function and of those it calls there.

        The call stands in the script itself or in another file; then the lambda that it may run counts too.
        """
        home = self.script if script is None else script
        found = [pair for dotted, method in self._ways(home, call) for pair in self._runs(dotted, method)]
        if home is self.script or home.called(call):
            return found
        own = [o.node for o in self.roles_of(home).origins(call.func) if isinstance(o.node, ast.Lambda)]
        inside = [node for function in own for node in ast.walk(function)]
        ways = [way for n in inside if isinstance(n, ast.Call) for way in self._ways(home, n)]
        return [*found, *((home, n) for n in inside), *(pair for way in ways for pair in self._runs(*way))]

    def _ways(self, script: Script, call: ast.Call) -> list[tuple[str, str]]:
        """The dotted names that a call may call in other files, each with the method: none for a function itself."""
        if name := script.called(call):
            return [(name, "")]
        func, roles = call.func, self.roles_of(script)
        given = roles.origins(func)
        ways = [(o.name, "") for o in given if o.kind == "import"]  # `criterion = losses.contrastive`
        chosen = [
            o.node.args[0] for o in given if o.name == "builtins.getattr" and isinstance(o.node, ast.Call)
        ]
        ways += [(f"{script.qualified(module)}.*", "") for module in chosen]
        whole = "()" if isinstance(func, ast.Attribute) else ""
        # `loss_func = get_loss("bce")`: what that gives back is called, and does more than it
        made = [o.name for o in given if o.kind == "call" and not o.name.endswith("*")]
        ways += [(name, way) for name in made for way in (whole, "__call__")]
        if isinstance(func, ast.Attribute):
            owners = [o.name for o in roles.origins(func.value) if o.kind == "call"]
            plain = script is self.script  # the methods of layers in other files are looked at by themselves
            ways += [(name, func.attr) for name in owners if plain or not self._is_layer(name)]
        elif isinstance(func, ast.Name) and not script.bindings(func.id, call):
            ways += [(f"{star}.{func.id}", "") for star in script.star_imports]  # by one of several
        if isinstance(next(script.ancestors(call), None), ast.Expr):
            return ways
        # what is chosen by name gives something back where that is used
        return [(f"{name}given" if name.endswith(".*") else name, way) for name, way in ways]

    def _is_layer(self, name: str) -> bool:
        made = self.class_elsewhere(name)
        return made is not None and self.roles_of(made[0]).is_module_class(made[1])

    def handed_elsewhere(self, script: Script, call: ast.Call) -> list[tuple[Script, ast.AST]]:
        """What the functions of other files run that a call is given: `checkpoint(layers.block, x)`."""
        names = [script.qualified(a) for a in call.args if isinstance(a, ast.Name | ast.Attribute)]
        return [pair for name in names if name for pair in self.named_elsewhere(name)]

    def named_elsewhere(self, name: str) -> list[tuple[Script, ast.AST]]:
        """What a function of the project's other files runs, by its dotted name."""
        return self._runs(name, "")

    def used_elsewhere(self, call: ast.Call) -> list[tuple[Script, ast.AST]]:
        """What a call runs in other files of the project, or all that an object may do that it makes there."""
        made = self.class_elsewhere(self.script.called(call) or "")
        whole = [(made[0], node) for node in ast.walk(made[1])] if made else []
        return [*self.run_elsewhere(call), *whole]

    @cached_property
    def inherited(self) -> list[tuple[int, Script, ast.AST]]:
        """What classes of this file inherit from another file of the project, with the line of the class."""
        found: list[tuple[int, Script, ast.AST]] = []
        for holder in self.script.classes:
            for base in holder.bases:
                made = self.class_elsewhere(self.script.qualified(base) or "")
                found += [(holder.lineno, made[0], node) for node in ast.walk(made[1])] if made else []
        return found

    @cached_property
    def _makers(self) -> list[Reached] | None:
        """What can make the project's classes; None where any may be made."""
        return None if self.is_giver else [reached for reached, _ in self.around]

    def _runs(self, dotted: str, method: str) -> list[tuple[Script, ast.AST]]:
        """The nodes behind a function, or the method of a class, across the files of the project."""
        if (dotted, method) not in self._run_by:
            found: list[tuple[Script, ast.AST]] = []
            queue, seen = [(dotted, method)], set()
            while queue:
                name, attribute = queue.pop()
                *module, last = name.split(".")
                if (name, attribute) in seen or not module:
                    continue
                seen.add((name, attribute))
                for path, other in self.project.items():
                    if module[-1] in (path.stem, path.parent.name):
                        nodes = nodes_run(other, last, attribute, self._makers)
                        found += [(other, node) for node in nodes]
                        calls = [node for node in nodes if isinstance(node, ast.Call)]
                        queue += [way for inner in calls for way in self._ways(other, inner)]
                        aliased = (f for inner in calls for f in self.roles_of(other).callees(inner))
                        queue += [(f"{path.stem}.{f.name}", "") for f in aliased if not other.method_class(f)]
                        queue += [(f"{star}.{last}", attribute) for star in other.star_imports]
                        passed_on = (b for b in other.bindings(last, other.tree) if b.kind == "import")
                        queue += [(b.target, attribute) for b in passed_on]  # an __init__ may only name it
            self._run_by[(dotted, method)] = found
        return self._run_by[(dotted, method)]
