"""The training loops of a script: what is differentiated, what steps, and the statements behind each loss."""

import ast
from dataclasses import dataclass, field
from functools import cached_property

from .flow import Flow, uses
from .names import Function, last_name
from .roles import Roles
from .script import Script
from .slices import behind, gives_numbers, is_no_grad
from .weights import Elsewhere, Weights


@dataclass(frozen=True)
class Backward:
    """One `loss.backward(...)`; `loss` is the expression differentiated."""

    call: ast.Call
    loss: ast.expr
    statement: ast.stmt


@dataclass(frozen=True)
class Step:
    """One `optimizer.step(...)`. `kind` is optimizer, or unknown where its origin cannot be followed."""

    call: ast.Call
    optimizer: ast.expr
    statement: ast.stmt
    kind: str
    scaled: bool = False  # `scaler.step(optimizer)`

    @property
    def path(self) -> str:
        return ast.unparse(self.optimizer)


@dataclass(frozen=True)
class Region:
    """Consecutive statements of one block that compute a loss."""

    statements: tuple[ast.stmt, ...]

    @property
    def first(self) -> ast.stmt:
        return self.statements[0]

    @property
    def last(self) -> ast.stmt:
        return self.statements[-1]


@dataclass
class Training:
    """What the script trains. `unresolved` are losses whose computation lies outside this file, by backward."""

    script: Script
    roles: Roles
    flow: Flow
    backwards: list[Backward] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    contributors: dict[Backward, set[ast.stmt]] = field(default_factory=dict)
    unresolved: dict[Backward, set[str]] = field(default_factory=dict)
    effects: dict[ast.AST, set[str]] = field(default_factory=dict)
    elsewhere: Elsewhere = lambda call: []

    @cached_property
    def _kinds(self) -> dict[ast.Call, str]:
        """What the calls are that differentiate or step."""
        return {**{s.call: "step" for s in self.steps}, **{b.call: "backward" for b in self.backwards}}

    @cached_property
    def step_paths(self) -> frozenset[str]:
        """What the optimizers that step are called."""
        return frozenset(s.path for s in self.steps)

    def effect(self, node: ast.AST) -> set[str]:
        """What running a statement does to training: backward, step, yield; through calls of this file too."""
        if node not in self.effects:
            self.effects[node] = set()
            self.effects[node] = self._find_effect(node)
        return self.effects[node]

    def _find_effect(self, node: ast.AST) -> set[str]:
        found: set[str] = set()
        stack: list[ast.AST] = list(node.body) if isinstance(node, Function) else [node]
        while stack:
            inner = stack.pop()
            if isinstance(inner, Function | ast.ClassDef | ast.Lambda):
                continue
            if isinstance(inner, ast.Yield | ast.YieldFrom | ast.Await):
                found.add("yield")
            if isinstance(inner, ast.Call):
                kind = self._kinds.get(inner)
                if kind is not None:
                    found.add(kind)
                else:
                    functions = self.roles.callees(inner)
                    for function in functions:
                        found |= self.effect(function)
                    if not functions and any(last_name(n) == "backward" for _, n in self.elsewhere(inner)):
                        found.add("backward")
            stack.extend(ast.iter_child_nodes(inner))
        return found

    def is_barrier(self, statement: ast.stmt) -> bool:
        return bool(self.effect(statement))


def find_training(script: Script, roles: Roles, elsewhere: Elsewhere = lambda call: []) -> Training:
    """The model of the file's training; empty lists where it trains nothing."""
    flow = Flow(script, roles)
    training = Training(script, roles, flow, elsewhere=elsewhere)
    training.backwards = [
        b for call in script.method_calls("backward") if (b := _backward(script, roles, call))
    ]
    training.steps = [s for call in script.method_calls("step") if (s := _step(script, roles, call))]
    for backward in training.backwards:
        _slice(training, backward)
    training.regions = _regions(training)
    return training


def _backward(script: Script, roles: Roles, call: ast.Call) -> Backward | None:
    assert isinstance(call.func, ast.Attribute)
    loss = call.func.value
    if isinstance(loss, ast.Call) and script.called(loss) == "builtins.super":
        return None
    if script.qualified(loss) or any(o.kind == "instance" for o in roles.origins(loss)):
        return None
    return Backward(call, loss, script.statement(call))


def _step(script: Script, roles: Roles, call: ast.Call) -> Step | None:
    assert isinstance(call.func, ast.Attribute)
    owner = call.func.value
    kind = roles.stepper(owner)
    if kind == "unknown":
        marks = (
            n
            for n in script.nodes
            if isinstance(n, ast.Attribute) and n.attr in ("zero_grad", "param_groups")
        )
        text = ast.unparse(owner)
        if not any(ast.unparse(n.value) == text for n in marks):
            return None
    if kind == "scaler" and call.args:
        return Step(call, call.args[0], script.statement(call), "optimizer", scaled=True)
    if kind in ("scheduler", "scaler", "other"):
        return None
    return Step(call, owner, script.statement(call), kind)


def fed_here(training: Training, step: Step) -> bool:
    """Whether what runs a step also differentiates: its function, its class, or what calls it in this file."""
    script, roles = training.script, training.roles
    hosts = [script.function(b.call) for b in training.backwards]
    classes = {script.method_class(h) for h in hosts if h is not None} - {None}
    queue, seen = [script.function(step.call)], set()
    while queue:
        function = queue.pop()
        if (
            function is None
            or script.method_class(function) in classes
            or "backward" in training.effect(function)
        ):
            return True
        if function not in seen:
            seen.add(function)
            queue += [script.function(call) for call in roles.call_sites(function)]
    return False


def _slice(training: Training, backward: Backward) -> None:
    """Note what is behind one loss."""
    found, missing = behind(training, backward)
    training.contributors[backward] = found
    loss_paths = uses(backward.loss)
    if (
        not found
        and not training.flow.runs_layers(backward.loss)
        and (missing & loss_paths or not loss_paths)
    ):
        training.unresolved[backward] = missing or loss_paths


def _regions(training: Training) -> list[Region]:
    """Runs of statements to compute in lower precision: per block, between barriers."""
    script = training.script
    wanted = {s for found in training.contributors.values() for s in found}
    numbers = {s for s in wanted if gives_numbers(training, s)}
    weights = Weights(script, training.roles, training.flow, training.elsewhere)
    prepared = weights.prepared(wanted, numbers)
    blocks = {id(block): block for s in wanted for block in [script.block(s)]}
    regions: list[Region] = []
    for block in blocks.values():
        run: list[ast.stmt] = []
        for statement in [*block, None]:
            ends = statement is None or training.is_barrier(statement) or is_no_grad(training, statement)
            if run and statement is not None and script.cells(run[-1], statement):
                regions += _trim(training, run, wanted, prepared)
                run = []
            if not ends:
                assert statement is not None
                run.append(statement)
                continue
            regions += _trim(training, run, wanted, prepared)
            run = []
    return sorted(regions, key=lambda r: r.first.lineno)


def _trim(
    training: Training, run: list[ast.stmt], wanted: set[ast.stmt], prepared: set[ast.stmt]
) -> list[Region]:
    """From the first statement that runs layers on; what only prepares data before it keeps its precision."""
    layered = [i for i, s in enumerate(run) if s in wanted and training.flow.runs_layers(s)]
    working = [i for i in layered if run[i] not in prepared]
    hosts = {training.script.function(b.call) for b in training.backwards}
    if layered and not working and training.script.function(run[0]) in hosts:
        working = layered  # a loss of this file's own, of what other code has computed
    if not working:
        return []
    last = max(i for i in range(working[0], len(run)) if run[i] in wanted)
    return [Region(tuple(run[working[0] : last + 1]))]
