"""What a region computes of data alone: its products would be rounded as a layer's are, and nothing is gained by it.

output = model(state)                         output = model(state)
target = simulate(state)                ->    target = amp_float32(simulate)(state)
loss = mse(output, target)                    loss = mse(output, target)
"""

import ast
from collections.abc import Iterable

from ..context import Context
from ..flow import LAYER_FUNCTIONS
from ..patch import Declined
from ..weights import Weights
from .alike import given_to
from .coordinates import is_product
from .dtypes import Dtypes

_NOTE = "it computes of data alone, whose products autocast would round"


def data_calls(context: Context) -> dict[ast.Call, Declined]:
    """The calls that multiply matrices of data, in a region but behind its first layer."""
    training = context.training
    weights = Weights(context.script, context.roles, training.flow, training.elsewhere)
    if weights.bare:
        return {}
    statements = [s for region in training.regions for s in region.statements]
    calls = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Call)]
    found = [c for c in calls if _multiplies(context, c) and not weights.run_in(c)]
    if not found:
        return {}
    dtypes = Dtypes(context)
    return {
        call: Declined(call.lineno, "cancellation", _NOTE)
        for call in found
        if all(_is_full(dtypes, given) for given in given_to(call))
    }


def _is_full(dtypes: Dtypes, given: ast.expr) -> bool:
    return not isinstance(given, ast.Starred) and dtypes.of(given) in ("full", "integer")


def _multiplies(context: Context, call: ast.Call) -> bool:
    """Whether a function multiplies matrices: torch's, or one of the project's, which is no method."""
    name = context.script.called(call) or ""
    if name in LAYER_FUNCTIONS:
        return True
    if not isinstance(call.func, ast.Name) and not name:
        return False
    inside: Iterable[ast.AST] = (n for f in context.roles.callees(call) for n in ast.walk(f))
    return any(map(is_product, [*inside, *(n for _, n in context.run_elsewhere(call))]))
