"""Rules for what has to run under autocast: the models of a training step, and its loss."""

import ast

from .running import Running
from .words import LOOPS


class Forwards(Running):
    def forwards(self) -> None:
        """The model calls of a training step, and the statement that makes its loss, are under autocast."""
        if not self.casts:
            if any(
                isinstance(n, ast.Call) and self.is_backward(n) and self.scaled(n.func.value)
                for n in ast.walk(self.tree)
            ):
                self.add(self.tree, "scaled_without_autocast")
            return
        hot = self.under_autocast()
        self.helpers_of_a_step(hot)
        for node in ast.walk(self.tree):
            if not (isinstance(node, ast.Call) and self.is_backward(node)):
                continue
            function, loop = self.function(node), None
            for above in self.within_function(node):
                if isinstance(above, LOOPS):
                    loop = above
                    break
            scope = loop or function
            first = 0 if loop else self.backward_before(node)
            for call in ast.walk(scope):
                if (
                    isinstance(call, ast.Call)
                    and self.is_model(ast.unparse(call.func))
                    and first < call.lineno <= node.lineno
                    and self.function(call) is function
                    and not self.plain_side(call)
                    and not self.no_grad(call)
                    and not self.evaluates(call, node)
                    and not self.casts_around(call)
                    and function not in hot
                    and not self.only_shown(call)
                ):
                    self.add(call, "model_outside_autocast", ast.unparse(call.func))
            self.loss_inside(node, scope, function, hot)

    def backward_before(self, node: ast.Call) -> int:
        """The line of the last backward in front of one that stands in no loop: its forward pass comes behind it."""
        function = self.function(node)
        lines = [
            n.lineno
            for n in ast.walk(function)
            if isinstance(n, ast.Call) and self.is_backward(n) and self.function(n) is function
        ]
        return max((line for line in lines if line < node.lineno), default=0)

    def gives_no_gradient(self, function: ast.AST) -> bool:
        """Whether all that a function returns is cut off from what it was computed from."""
        cuts = ("detach", "item", "numpy", "tolist")
        given = [n.value for n in ast.walk(function) if isinstance(n, ast.Return)]
        return bool(given) and all(
            isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in cuts
            for value in given
        )

    def helpers_of_a_step(self, hot: set[ast.AST]) -> None:
        """What a function runs before it calls a backward elsewhere is the forward pass of that step."""
        trains = {
            self.function(n) for n in ast.walk(self.tree) if isinstance(n, ast.Call) and self.is_backward(n)
        }
        for caller in (f for defs in self.functions.values() for f in defs):
            calls = [(c, f) for c in ast.walk(caller) if isinstance(c, ast.Call) for f in self.called(c)]
            ends = [c.lineno for c, f in calls if f in trains and f is not caller]
            for call, callee in calls:
                if (
                    callee in hot
                    or callee in trains
                    or not ends
                    or call.lineno > max(ends)
                    or self.casts_around(call)
                    or self.gives_no_gradient(callee)
                ):
                    continue
                for inner in ast.walk(callee):
                    if (
                        isinstance(inner, ast.Call)
                        and self.is_model(ast.unparse(inner.func))
                        and not self.casts_around(inner)
                        and not self.no_grad(inner)
                    ):
                        self.add(inner, "model_outside_autocast", ast.unparse(inner.func))

    def evaluates(self, call: ast.Call, backward: ast.Call) -> bool:
        """A call in another inner loop than the backward belongs to something else."""
        loops = [a for a in self.within_function(call) if isinstance(a, LOOPS)]
        mine = [a for a in self.within_function(backward) if isinstance(a, LOOPS)]
        return bool(loops) and loops[0] not in mine

    def only_shown(self, call: ast.Call) -> bool:
        """What comes of a call is read back as a number and nothing else: no gradient passes it."""
        nodes = list(ast.walk(self.function(call)))
        assigns = {
            node: {t.id for t in node.targets if isinstance(t, ast.Name)}
            for node in nodes
            if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets)
        }
        first = next((a for a in self.above(call) if isinstance(a, ast.stmt)), None)
        names: set[str] = set(assigns.get(first, ()))
        carried: set[ast.AST] = set()
        size = -1
        while len(names) > size:
            size = len(names)
            for node, targets in assigns.items():
                read = [n for n in ast.walk(node.value) if isinstance(n, ast.Name) and n.id in names]
                if read:
                    names |= targets
                    carried.update(read)
        uses = [
            n
            for n in nodes
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id in names and n not in carried
        ]
        return bool(names) and all(
            isinstance(above := next(iter(self.above(n)), None), ast.Attribute) and above.attr == "item"
            for n in uses
        )

    def loss_inside(self, node: ast.Call, scope: ast.AST, function: ast.AST, hot: set[ast.AST]) -> None:
        names = {n.id for n in ast.walk(node.func) if isinstance(n, ast.Name)} - self.scalers
        for statement in ast.walk(scope):
            if not isinstance(statement, ast.Assign) or statement.lineno > node.lineno:
                continue
            targets = {ast.unparse(t) for t in statement.targets}
            if (
                not targets & names
                or self.function(statement) is not function
                or self.no_grad(statement)
                or self.plain_side(statement)
            ):
                continue
            heavy = [c for c in ast.walk(statement.value) if isinstance(c, ast.Call) and self.is_loss(c)]
            fp32 = all(".float()" in ast.unparse(c) for c in heavy)
            if heavy and not fp32 and not self.casts_around(statement) and function not in hot:
                self.add(statement, "loss_outside_autocast")
        for call in ast.walk(node.func):
            heavy = isinstance(call, ast.Call) and (
                self.is_loss(call) or self.is_model(ast.unparse(call.func))
            )
            if heavy and ".float()" not in ast.unparse(call) and function not in hot:
                self.add(call, "loss_outside_autocast")
