"""What a patch of mixed precision says beside its sites: what was ruled out, taken for granted, or still rounds."""

import ast

from ..context import Context
from ..lost import lost_imports
from .plan import Plan, unseen_steps
from .replicas import HOOKED
from .steppers import is_schedule

# Measured with torch 2.13 on a CPU; see references/precision.md.
_ROUNDED_SIGMOID = (
    "a sigmoid before this loss computes in half precision and is 1 from a logit of 7 on (fp16: 9): a sample that is"
    " wrong there costs 100 and gives no gradient. Return logits and use BCEWithLogitsLoss if that can occur"
)
_RATIO = (
    "it compares probabilities computed under autocast with older ones; compute those under autocast as well"
)
_SCHEDULE = "is taken for a schedule's: it comes from elsewhere, and nothing clears gradients for it"
_LOST = "was not found, so what it does was not looked at: it may not bear lower precision"


def remarks(plan: Plan, context: Context) -> list[str]:
    """The warnings of a patch, one sentence each."""
    found = []
    if plan.bf16_because:
        line, code, note = plan.bf16_because
        found.append(f"line {line}: bf16 only, no fp16 ({code}): {note}")
    if plan.fp16_because:
        line, code, note = plan.fp16_because
        found.append(f"line {line}: fp16 ({code}): {note}")
    found += [
        f"line {step.call.lineno}: {step.path} is taken for a torch optimizer; it comes from elsewhere"
        for step in context.training.steps
        if step.kind == "unknown" and plan.scaled
    ]
    found += [
        f"line {call.lineno}: {ast.unparse(call.func)} {_SCHEDULE}"
        for call in unseen_steps(context)
        if plan.scaled and is_schedule(context, call.func.value)  # type: ignore[attr-defined]
    ]
    verdict = plan.verdict
    found += [f"line {line}: {_RATIO}" for line in verdict.ratios[:1]]
    if plan.hooked:
        found.append(f"line {plan.hooked}: {HOOKED}")
    half = [c.lineno for c in verdict.islands if not verdict.probabilities.full(c)]
    half += [r.line for r in verdict.full.reasons if r.code == "bce_in_other_file"]
    if half:
        found.append(f"line {min(half)}: {_ROUNDED_SIGMOID}")
    found += [
        f"line {line}: {name} {_LOST}"
        for line, name in lost_imports(context.script, context.path, context.root)
    ]
    return found
