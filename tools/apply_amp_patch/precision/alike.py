"""What takes no half precision, or operands of one dtype alone: it is given fp32 where a tensor is half."""

import ast

from ..context import Context
from ..lookups import looks_up
from ..models import is_model
from .dtypes import Dtypes
from .operations import takes_numpy

# What CUDA solves in fp32 alone, a CPU draws in it alone, or is drawn by the log of a uniform number near 0 or 1.
_STRICT_WORDS = """
    MultivariateNormal LowRankMultivariateNormal Dirichlet Beta Gamma Chi2 StudentT RelaxedBernoulli
    RelaxedOneHotCategorical LogitRelaxedBernoulli Gumbel Laplace Weibull Pareto Kumaraswamy
"""
_STRICT = frozenset(_STRICT_WORDS.split())
# Raise for operands of two dtypes: these under autocast too (torch 2.13; it lowers or widens the others).
_ALIKE = frozenset(["lerp", "dot", "vdot", "inner", "cross"])
_PUTS = frozenset(
    ["index_copy_", "index_add_", "index_put_", "scatter_", "scatter_add_", "masked_scatter_", "lerp_"]
)
_PRODUCTS = frozenset(
    ["mm", "matmul", "bmm", "mv", "einsum", "tensordot", "cdist", "addmm", "baddbmm", "linear", "bilinear"]
)


def given_to(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(k.value for k in call.keywords)]


def perhaps_half(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """The expressions to make fp32 where they are half when the script runs."""
    finders = (_handed_to_unknown, _of_distributions, _of_operations, _put_by)
    return list(dict.fromkeys(value for find in finders for value in find(context, dtypes)))


def _handed_to_unknown(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """`metric(output)` behind the step, where another file picks the metric and some of its functions take numpy."""
    roles = context.roles
    arrays = any(takes_numpy(n) for other in context.project.values() for n in other.calls)
    found: list[ast.expr] = []
    for call in context.script.calls if arrays else ():
        origins = [o for o in roles.origins(call.func) if (o.kind, o.name) != ("constant", "None")]
        if not origins or call in dtypes.inside or is_model(context, call.func):
            continue
        picked = [[n for _, n in context.named_elsewhere(o.name)] for o in origins if o.kind == "call"]
        if len(picked) < len(origins) or not all(any(map(looks_up, nodes)) for nodes in picked):
            continue
        found += [a for a in given_to(call) if not isinstance(a, ast.Starred) and dtypes.of(a) == "low"]
    return found


def _of_distributions(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """`MultivariateNormal(mean, cov)`, `Gamma(a, b)`: distributions that need fp32."""
    found: list[ast.expr] = []
    for call in (c for c in context.script.calls if c in dtypes.inside):
        name = context.script.called(call) or ""
        if name.startswith("torch.distributions.") and name.split(".")[-1] in _STRICT:
            values = [a for a in given_to(call) if not isinstance(a, ast.Starred | ast.Constant)]
            found += values if {"low", "unknown"} & {dtypes.of(a) for a in values} else []
    return found


def _of_operations(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """`torch.lerp(real, fake, t)`: operands of one dtype, which autocast leaves alone; behind it, those of products."""
    found: list[ast.expr] = []
    for call in context.script.calls:
        name, inside = context.script.called(call) or "", call in dtypes.inside
        method = call.func.attr if isinstance(call.func, ast.Attribute) and not name else ""
        last = name.split(".")[-1] if name.startswith("torch.") else method
        if last not in (_ALIKE if inside else _ALIKE | _PRODUCTS):
            continue
        owner = [call.func.value] if method else []  # type: ignore[attr-defined]
        operands = [a for a in [*owner, *given_to(call)] if not isinstance(a, ast.Starred)]
        kinds = {dtypes.of(a) for a in operands}
        if "low" in kinds and (inside or kinds != {"low"}):  # all of them: what seems fp32 may be half too
            found += [a for a in operands if not isinstance(a, ast.Constant)]
    return found


def _put_by(context: Context, dtypes: Dtypes) -> list[ast.expr]:
    """`bank[index] = features`, `bank.index_copy_(0, index, features)`, `features @ table`, all behind a region.

    Puts by index tensors and products need one dtype; by slices and numbers they cast, and fp32 does no harm there.
    """
    found: list[ast.expr] = []
    for node in (n for n in context.script.nodes if n not in dtypes.inside):
        match node:
            case ast.Assign(targets=[ast.Subscript(value=bank, slice=place)], value=value):
                if not isinstance(place, ast.Slice | ast.Constant) and dtypes.of(bank) != "low":
                    found += [value] if _is_low(dtypes, value) else []
            case ast.Call(func=ast.Attribute(value=bank, attr=method)) if method in _PUTS:
                if dtypes.of(bank) != "low":
                    found += [a for a in given_to(node) if _is_low(dtypes, a)]
            case ast.BinOp(left=left, op=ast.MatMult(), right=right):
                if {dtypes.of(left), dtypes.of(right)} - {"low"}:
                    found += [side for side in (left, right) if _is_low(dtypes, side)]
    return found


def _is_low(dtypes: Dtypes, value: ast.expr) -> bool:
    return not isinstance(value, ast.Starred | ast.Constant) and dtypes.of(value) == "low"
