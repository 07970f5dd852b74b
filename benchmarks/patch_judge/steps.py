"""Rules for backward passes and steps by themselves: each once through the scaler, none under autocast."""

import ast

from .running import Running


class Steps(Running):
    def backwards_and_steps(self) -> None:
        optimizers = self.optimizers()
        hot = self.under_autocast()
        for node in ast.walk(self.tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or self.plain_side(
                node
            ):
                continue
            inside = any(not self.is_off(c) for c in self.casts_around(node)) or self.function(node) in hot
            if self.is_backward(node):
                count = self.scaled(node.func.value)
                if self.scalers and count == 0:
                    self.add(node, "unscaled_backward")
                if count > 1:
                    self.add(node, "scaled_twice")
                if inside:
                    self.add(node, "backward_in_autocast")
            if node.func.attr == "step" and ast.unparse(node.func.value) in optimizers:
                if self.scalers:
                    self.add(node, "raw_step")
                if inside:
                    self.add(node, "step_in_autocast")
        for call in self.scaler_calls("step"):
            self.scaler_step(call, inside=any(not self.is_off(c) for c in self.casts_around(call)))

    def scaler_step(self, call: ast.Call, inside: bool) -> None:
        if inside:
            self.add(call, "step_in_autocast")
        if len(call.args) != 1 or call.keywords:
            self.add(call, "closure_with_scaler")
        if not call.args:
            return
        values = self.assigned.get(ast.unparse(call.args[0]), [])
        names = [self.name(v.func) for v in values if isinstance(v, ast.Call)]
        if any("lr_scheduler" in n and n.split(".")[-1][0].isupper() for n in names):  # a class, no function
            self.add(call, "scheduler_in_scaler")
        if any(n.endswith("optim.LBFGS") for n in names):
            self.add(call, "closure_with_scaler")
