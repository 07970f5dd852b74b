"""The edits of mixed precision, once the plan stands."""

import ast

from ..context import Context
from ..edits import Edit, Line, Span, Wrap, indent_unit
from ..loops import Backward, Region
from ..patch import Declined, Patch, Site
from ..prelude import free_name, header
from .arrays import cast_edits
from .checkpoint import checkpoint_edits
from .islands import islands, named_loss
from .plan import Plan
from .remarks import remarks
from .settings import Names, float32_lines, full_lines, settings_lines
from .updates import update_places
from .wrappings import full_edits, remote_lines

_ISLAND = "binary cross entropy needs fp32 inputs outside of autocast"


class Rewrite:
    """Collects edits and sites for one script."""

    def __init__(self, context: Context, plan: Plan, remedy: str) -> None:
        self.context, self.plan, self.remedy = context, plan, remedy
        self.script, self.training = context.script, context.training
        self.enabled = free_name(self.script, "amp_enabled")
        self.dtype = free_name(self.script, "amp_dtype")
        self.scaler = free_name(self.script, "amp_scaler")
        self.float32, self.full = (free_name(self.script, n) for n in ("amp_float32", "amp_full"))
        self.hook = free_name(self.script, "amp_in_replicas")
        self.torch = self.script.torch_name() or "torch"
        self.cache = ", cache_enabled=False" if plan.verdict.uncached else ""
        self.edits: list[Edit] = []
        self.sites: list[Site] = []
        self.wraps: dict[Region, list[int]] = {}

    def site(self, line: int, code: str, note: str) -> None:
        self.sites.append(Site(line, self.remedy, "edit", code, note))

    def autocast(self, node: ast.AST) -> str:
        device = self.plan.device.at(node)
        options = f"device_type={device}, dtype={self.dtype}, enabled={self.enabled}{self.cache}"
        return f"with {self.torch}.autocast({options}):"

    def own_lines(self, statement: ast.stmt) -> None:
        """Raise where a statement shares its lines with others, so it cannot be wrapped."""
        if self._shares_well(statement):
            return
        first = self.script.text[self.script.line_starts[statement.lineno - 1] : self.script.start(statement)]
        end = self.script.end(statement)
        after = self.script.rest_of_line(end).lstrip("; \t").strip()
        if first.strip() or (after and not after.startswith("#")):
            raise Declined(statement.lineno, "shared_line", "the statement shares its line with another one")

    def _shares_well(self, statement: ast.stmt) -> bool:
        """`a = f(x); b = g(x)`: the whole line can be wrapped, as nothing on it differentiates or steps."""
        line = statement.lineno
        same = [s for s in self.script.block(statement) if s.lineno <= line <= (s.end_lineno or s.lineno)]
        if any(s.lineno != line or s.end_lineno != line or self.training.is_barrier(s) for s in same):
            return False
        begin, end = self.script.start(same[0]), self.script.end(same[-1])
        rest = self.script.rest_of_line(end).strip(" ;\t")
        head = self.script.text[self.script.line_starts[line - 1] : begin]
        return len(same) > 1 and not head.strip() and (not rest or rest.startswith("#"))

    # the parts ---------------------------------------------------------------------------------------------

    def regions(self) -> None:
        for region in self.training.regions:
            self.own_lines(region.first)
            self.own_lines(region.last)
            self.wraps[region] = [region.first.lineno, region.last.end_lineno or region.last.lineno]
            self.site(region.first.lineno, "autocast", "forward and loss run in lower precision")

    def backward(self, backward: Backward) -> None:
        loss, call = backward.loss, backward.call
        name = ast.unparse(loss)
        if self._has_layers(loss):
            self.own_lines(backward.statement)
            name = self._lift(backward)
            if self.plan.scaled:
                name = f"{self.scaler}.scale({name})"
            start = self.script.start(call)
            assert isinstance(call.func, ast.Attribute)
            dot = self._dot(call)
            self.edits.append(Span(start, dot, name))
        elif self.plan.scaled:
            self._scale_in_place(backward)
        if self.plan.scaled:
            self.site(
                call.lineno, "scaled_backward", "the scaled loss keeps small fp16 gradients from vanishing"
            )

    def _has_layers(self, loss: ast.expr) -> bool:
        flow = self.training.flow
        calls = [n for n in ast.walk(loss) if isinstance(n, ast.Call)]
        fine = ("builtins.sum", "torch.mean", "torch.sum", "torch.stack", "torch.cat")
        methods = ("mean", "sum", "squeeze")
        return any(
            flow.runs_layers(c)
            and self.script.called(c) not in fine
            and not (
                isinstance(c.func, ast.Attribute)
                and c.func.attr in methods
                and not flow.runs_layers(c.func.value)
            )
            for c in calls
        ) or any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult) for n in ast.walk(loss))

    def _dot(self, call: ast.Call) -> int:
        """Where `.backward` begins, behind the loss and its parentheses."""
        assert isinstance(call.func, ast.Attribute)
        return self.script.text.rindex(".", self.script.end(call.func.value), self.script.end(call.func))

    def _lift(self, backward: Backward) -> str:
        """Give the loss a name inside of autocast."""
        name = free_name(self.script, "amp_loss")
        code = self.plan.verdict.probabilities.code(backward.loss)
        text = f"{name} = ({code})" if "\n" in code else f"{name} = {code}"
        crosses = [c for c in self.plan.verdict.islands if c in ast.walk(backward.loss)]
        if crosses:
            if crosses != [backward.loss]:
                raise Declined(
                    backward.call.lineno, "bce_in_expression", "binary cross entropy is part of a longer loss"
                )
            text = "\n".join(
                named_loss(
                    self.context, crosses[0], name, self.plan.device, self.plan.verdict.probabilities.code
                )
            )
        indent = self.script.indentation(backward.statement.lineno)
        region = self._before(backward.statement)
        if region is not None:
            self.edits.append(
                Line(
                    self.wraps[region][1] + 1,
                    indent + indent_unit(self.script, backward.statement.lineno),
                    text,
                )
            )
        else:
            unit = indent_unit(self.script, backward.statement.lineno)
            text = "\n".join([self.autocast(backward.call), *(f"{unit}{line}" for line in text.split("\n"))])
            self.edits.append(Line(backward.statement.lineno, indent, text, inside=True))
        self.site(
            backward.call.lineno,
            "loss_named",
            "the loss is computed under autocast and differentiated outside",
        )
        return name

    def _before(self, statement: ast.stmt) -> Region | None:
        """The region of the same block with no barrier between it and the statement."""
        block = self.script.block(statement)
        for earlier in reversed(block[: block.index(statement)]):
            for region in self.training.regions:
                if region.last is earlier:
                    return region
            if self.training.is_barrier(earlier):
                return None
        return None

    def _scale_in_place(self, backward: Backward) -> None:
        start, end = self.script.start(backward.loss), self.script.end(backward.loss)
        opening = self.script.start(backward.call)
        if opening < start:  # parentheses around the loss are the call's own then
            self.edits.append(Span(opening, opening, f"{self.scaler}.scale"))
        else:
            self.edits += [Span(start, start, f"{self.scaler}.scale("), Span(end, end, ")")]

    def steps(self) -> None:
        for unscale in self.plan.readings.unscales:
            self._line_before(unscale.before, f"{self.scaler}.unscale_({unscale.optimizer})")
            self.site(unscale.before.lineno, "unscale", "gradients are read here, so they are unscaled first")
        for step in self.training.steps:
            start, end = self.script.start(step.call), self.script.end(step.call)
            optimizer = self.script.code(step.optimizer)
            self.edits.append(Span(start, end, f"{self.scaler}.step({optimizer})"))
            self.site(
                step.call.lineno, "scaled_step", "the scaler skips the step where a gradient overflowed"
            )
        for place in update_places(self.training):
            self._line_after(place, f"{self.scaler}.update()")
            self.site(place.end_lineno or place.lineno, "update", "once per cycle, after the last step")

    def _line_before(self, statement: ast.stmt, text: str) -> None:
        start = self.script.start(statement)
        if self.script.text[self.script.line_starts[statement.lineno - 1] : start].strip():
            if not isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign):
                raise Declined(
                    statement.lineno, "shared_line", "the statement shares its line with another one"
                )
            self.edits.append(Span(start, start, f"{text}; "))
        else:
            self.edits.append(Line(statement.lineno, self.script.indentation(statement.lineno), text))

    def _line_after(self, statement: ast.stmt, text: str) -> None:
        end = self.script.end(statement)
        line = statement.end_lineno or statement.lineno
        stop = self.script.line_starts[line] if line < len(self.script.line_starts) else len(self.script.text)
        rest = self.script.text[end:stop].strip()
        head = self.script.text[
            self.script.line_starts[statement.lineno - 1] : self.script.start(statement)
        ].strip()
        if head or (rest and not rest.startswith("#")):
            self.edits.append(Span(end, end, f"; {text}"))
        else:
            self.edits.append(Line(line + 1, self.script.indentation(statement.lineno), text))

    def functions(self) -> None:
        """Functions with a backward of their own take fp32, as they did before."""
        for number, function in enumerate(self.plan.verdict.functions):
            options = f"device_type={self.plan.device.at_import}"
            options += "" if number % 2 else f", cast_inputs={self.torch}.float32"
            text = f"@{self.torch}.amp.custom_{'bwd' if number % 2 else 'fwd'}({options})"
            self.edits.append(Line(function.lineno, self.script.indentation(function.lineno), text))
            self.site(function.lineno, "custom_function", f"its {function.name} computes in fp32")
        for line, (_, where) in self.plan.verdict.functions_elsewhere:
            self.site(line, "custom_function", f"{where} computes in fp32")

    def replicas(self) -> None:
        if self.plan.hooked:
            self.site(self.plan.hooked, "replica_dtype", "DataParallel's threads get the dtype by a hook")

    def settings(self) -> None:
        """The module-level switch, dtype and scaler."""
        lines = [] if self.script.torch_name() else ["import torch", ""]
        lines += [
            f"# Mixed precision. With {self.enabled} = False this script computes exactly what it did before."
        ]
        verdict = self.plan.verdict
        at_import = verdict.functions or verdict.full or verdict.functions_elsewhere
        device = self.plan.device
        if not device.late and (device.unknown or (at_import and device.literal != "cpu")):
            device.declared = True
            lines.append(f"{device.name} = {device.choice}")
        names = Names(self.torch, self.enabled, self.dtype, self.scaler, self.hook)
        lines += settings_lines(self.script, self.plan, self.training.regions, names)
        unit = indent_unit(self.script)
        if self.plan.perhaps_cast:
            lines += full_lines(self.torch, self.full, unit)
        if verdict.full:
            lines += float32_lines(names, self.float32, device.in_call, unit)
        if remote := remote_lines(verdict, names, self.float32, device.at_import):
            lines += ["", *remote]
        lines += verdict.probabilities.lines(self.torch)
        self.edits.append(header(self.script, lines))

    def islands(self) -> None:
        verdict = self.plan.verdict
        lifted = {n for b in self.training.backwards for n in ast.walk(b.loss)}
        calls = [c for c in verdict.islands if c not in lifted]
        self.edits += islands(self.context, calls, self.plan.device, verdict.probabilities.code)
        for call in verdict.islands:
            half = "" if verdict.probabilities.full(call) else "; a sigmoid before still rounds to half"
            self.site(call.lineno, "fp32_island", f"{_ISLAND}{half}")

    def finish(self) -> Patch:
        self.sites += self.plan.verdict.probabilities.sites(self.remedy)
        self.edits += self.plan.verdict.probabilities.left(self.edits)
        for region, lines in self.wraps.items():
            self.edits.append(Wrap(lines[0], lines[1], self.autocast(region.first)))
        return Patch(
            "patched", sorted(self.sites, key=lambda s: s.line), self.edits, remarks(self.plan, self.context)
        )


def rewrite(context: Context, plan: Plan, remedy: str) -> Patch:
    """The patch that the plan describes."""
    work = Rewrite(context, plan, remedy)
    work.settings()
    work.regions()
    for backward in context.training.backwards:
        work.backward(backward)
    if plan.scaled:
        work.steps()
        edits, sites = checkpoint_edits(context, work.scaler, remedy)
        work.edits += edits
        work.sites += sites
    edits, sites = cast_edits(context, plan.casts, plan.perhaps_cast, work.full, remedy)
    work.edits += edits
    work.sites += sites
    work.functions()
    edits, sites = full_edits(context.script, plan.verdict, work.float32, remedy)
    work.edits += edits
    work.sites += sites
    work.replicas()
    work.islands()
    return work.finish()
