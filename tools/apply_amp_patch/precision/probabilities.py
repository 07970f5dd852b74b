"""Probabilities that are formed in half precision and only then used in fp32: they are formed in fp32 instead.

pred = torch.sigmoid(self.fc(x))        pred = torch.sigmoid(self.fc(x).float())
self.main = nn.Sequential(              self.main = nn.Sequential(
    ..., nn.Sigmoid())                      ..., Float32Sigmoid())
dist = Categorical(F.softmax(x, -1))    dist = Categorical(F.softmax(x.float(), -1))
"""

import ast
from functools import cached_property

from ..context import Context
from ..edits import Edit, Span
from ..patch import Site
from ..prelude import free_name
from .complements import logarithm_of, taken_from_one
from .constants import bounded_below_one
from .layers import class_lines
from .operations import probabilities_of
from .producers import Producers

_NOTE = (
    "this probability is formed in fp32: half precision rounds one near 1 to 1, and the sum of several off it"
)


class Probabilities:
    """Which probabilities of a script can be formed in fp32, and the edits that do it."""

    def __init__(self, context: Context) -> None:
        self.script = context.script
        self._producers = Producers(context)
        self._full: set[ast.Call] = set()

    def mends(self, node: ast.AST) -> bool:
        """Whether what a node breaks on in half precision is formed in this file, and so in fp32 from now on."""
        checked = probabilities_of(self.script, node)
        values = checked or taken_from_one(self.script, node) or bounded_below_one(self.script, node)
        return bool(values) and self._producers.prove(values, checked=bool(checked))

    def logged(self, node: ast.AST) -> None:
        """The log of a sigmoid: fp16 makes what is below 6e-8 zero, and the log of that is infinite."""
        if values := logarithm_of(self.script, node):
            self._producers.prove(values, kinds={"sigmoid"})  # CUDA's autocast forms a softmax in fp32

    def full(self, loss: ast.Call) -> bool:
        """Whether all that a binary cross entropy gets is formed in fp32."""
        given = loss.args[:1] or [k.value for k in loss.keywords if k.arg == "input"]
        if loss not in self._full and given and self._producers.prove(given, checked=True):
            self._full.add(loss)
        return loss in self._full

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of the new classes by the layer they take the place of."""
        kinds = sorted({self._kind(layer) for layer in self._producers.layers})
        return {kind: free_name(self.script, f"Float32{kind}") for kind in kinds}

    def _kind(self, layer: ast.Call) -> str:
        return (self.script.called(layer) or "").split(".")[-1]

    def lines(self, torch: str) -> list[str]:
        """The new classes, as lines at module level."""
        return [
            line
            for kind, name in self.names.items()
            for line in ["", "", *class_lines(self.script, kind, name, torch)]
        ]

    def sites(self, remedy: str) -> list[Site]:
        nodes = [*self._producers.layers, *(c for c in self._producers.calls if self._cast(c) is not None)]
        return [Site(n.lineno, remedy, "edit", "fp32_probability", _NOTE) for n in nodes]

    @cached_property
    def edits(self) -> list[Span]:
        script, layers = self.script, self._producers.layers
        casts = [s for call in self._producers.calls for s in self._cast(call) or ()]
        swaps = [(layer.func, self.names[self._kind(layer)]) for layer in layers]
        return casts + [Span(script.start(func), script.end(func), name) for func, name in swaps]

    def _cast(self, call: ast.Call) -> list[Span] | None:
        """`x.float()` in place of what the call takes; None where it is fp32 already."""
        script, value = self.script, self._producers.calls[call]
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr == "float"
        ):
            return None
        if isinstance(call.func, ast.Attribute) and call.func.value is value:  # `(a + b).sigmoid()`
            dot = script.text.rindex(".", script.end(value), script.end(call.func))
            return [Span(dot, dot, ".float()")]
        start, end = script.start(value), script.end(value)
        if isinstance(value, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            return [Span(end, end, ".float()")]
        return [Span(start, start, "("), Span(end, end, ").float()")]

    def code(self, node: ast.AST) -> str:
        """The node's text with what is formed inside of it formed in fp32."""
        start, end = self.script.start(node), self.script.end(node)
        text = self.script.code(node)
        for span in sorted(self._inside(start, end), key=lambda s: s.start, reverse=True):
            text = text[: span.start - start] + span.text + text[span.end - start :]
        return text

    def _inside(self, start: int, end: int) -> list[Span]:
        return [s for s in self.edits if start <= s.start and s.end <= end]

    def left(self, edits: list[Edit]) -> list[Span]:
        """The edits that no other text takes the place of."""
        taken = [
            s for e in edits if isinstance(e, Span) and e.start < e.end for s in self._inside(e.start, e.end)
        ]
        return [s for s in self.edits if s not in taken]
