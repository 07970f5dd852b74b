"""What runs in fp32, outside of autocast: functions and calls that half precision would break or spoil.

A function of the file gets a decorator; what torch or another file offers is wrapped where it is called:

    @amp_float32                                  penalty = amp_float32(spectral_loss)(output, target)
    def sample(self, state):

Both cast the tensors they are given. That helps where the delicate computation lies inside and nothing half gets in
by another way (`closed.py`), and it pays where layers remain under autocast.
"""

import ast
from dataclasses import dataclass, field

from ..context import Context
from ..names import Function
from ..patch import Declined
from .closed import formed_inside, is_closed, is_closed_elsewhere

# An output's own rounding, in a spectrum or in places of an image: -54 dB and a fifth of a pixel in bf16.
_BF16_SHOWS = {
    "fft_or_complex": "a spectrum shows how bf16 rounded the signal",
    "coordinates": "places in an image show how bf16 rounded them",
}
_CURABLE = {"in_place_scatter", "linear_algebra", "cancellation", "sparse", "probabilities", *_BF16_SHOWS}


class Unsafe(Declined):
    """Declined for what one node does."""

    def __init__(self, reason: Declined, node: ast.AST) -> None:
        super().__init__(reason.line, reason.code, reason.note)
        self.node = node


@dataclass
class Full:
    """The functions of the file and the calls that run in fp32, and why."""

    functions: dict[Function, Declined] = field(default_factory=dict)
    calls: dict[ast.Call, Declined] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.functions or self.calls)

    @property
    def no_bf16(self) -> list[tuple[int, str, str]]:
        """What bf16 would show all the same."""
        reasons = [*self.functions.values(), *self.calls.values()]
        return [(r.line, r.code, _BF16_SHOWS[r.code]) for r in reasons if r.code in _BF16_SHOWS]


def widened(context: Context, full: Full, unsafe: Unsafe) -> Full | None:
    """With more in fp32, so that what is unsafe runs there too; None where that cannot be shown to help."""
    if unsafe.code not in _CURABLE:
        return None
    script = context.script
    above = script.parents.get(unsafe.node)
    call = above if isinstance(above, ast.Call) and above.func is unsafe.node else unsafe.node
    wider = Full({**full.functions}, {**full.calls})
    function = script.function(unsafe.node)
    hosts = {script.function(r.first) for r in context.training.regions}
    hosts |= {script.function(b.call) for b in context.training.backwards}
    if isinstance(call, ast.Call) and call not in full.calls and _is_closed_call(context, call, unsafe.code):
        wider.calls[call] = unsafe
    elif function is None or function in hosts or function in full.functions:
        return None
    elif is_closed(context, function) and (
        unsafe.code != "probabilities" or formed_inside(context, function, unsafe.node)
    ):
        wider.functions[function] = unsafe
    else:
        return None
    return wider if _leaves_layers(context, wider) else None


def _is_closed_call(context: Context, call: ast.Call, code: str) -> bool:
    """A function of torch or of another file that needs nothing but its arguments."""
    if code == "probabilities":
        return False
    if (context.script.called(call) or "").startswith("torch."):
        return True
    return is_closed_elsewhere(context, call)


def _leaves_layers(context: Context, full: Full) -> bool:
    """Whether a layer or model still runs under autocast."""
    script, roles, flow = context.script, context.roles, context.training.flow
    queue: list[ast.AST] = [s for r in context.training.regions for s in r.statements]
    queue += [b.loss for b in context.training.backwards]
    seen: set[ast.AST] = {*full.functions}
    while queue:
        node = queue.pop()
        for call in (n for n in ast.walk(node) if isinstance(n, ast.Call) and n not in full.calls):
            callees = roles.callees(call)
            queue += [f for f in callees if f not in seen]
            seen |= {*callees}
            if not callees and script.called(call) is None and flow.calls_model(call):
                return True
    return False
