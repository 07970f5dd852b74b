"""The report as a model and as a person read it."""

from typing import TYPE_CHECKING, Any

from .numbers import Numbers
from .plan import Call, Step

if TYPE_CHECKING:
    from . import TriageConstraintReport

_BRIEF_CHARACTERS = 1500


def brief(report: "TriageConstraintReport") -> str:
    """Verdict, evidence, numbers, the plan's calls: at most 1,500 characters that stand alone."""
    lines = [_verdict(report)]
    lines += [_evidence_line(e) for e in report.evidence[:2]]
    if report.numbers:
        lines.append("Numbers: " + _numbers(report.numbers))
    if report.decisive_check:
        lines.append(f"Not decided; look at: {report.decisive_check}.")
    if report.handoff:
        lines.append(f"Belongs to: {report.handoff}.")
    for number, step in enumerate(report.plan[:4], start=1):
        lines.append(f"{number}. {step.remedy}: {step.why}. {_call(step)}")
    if report.plan:
        lines.append(
            "Take a baseline first, apply one remedy, measure again; effects are assumed until measured."
        )
    if report.fallback:
        lines.append("Then: " + ", ".join(name.split(" ")[0] for name in report.fallback[:6]))
    lines += report.notes
    text = "\n".join(lines)
    return (
        text if len(text) <= _BRIEF_CHARACTERS else text[: _BRIEF_CHARACTERS - 4].rsplit("\n", 1)[0] + "\n..."
    )


def readable(report: "TriageConstraintReport") -> str:
    """The whole report for a terminal."""
    lines = [_verdict(report), ""]
    if report.evidence:
        lines += ["Evidence", *(f"  {_evidence_line(e)}" for e in report.evidence), ""]
    if report.numbers:
        lines += ["Numbers in the text", f"  {_numbers(report.numbers)}", ""]
    if report.decisive_check:
        lines += ["What would decide the cause", f"  {report.decisive_check}", ""]
    if report.handoff:
        lines += ["Where this belongs", f"  {report.handoff}", ""]
    if report.baseline:
        lines += ["Baseline first", *(f"  {_sent(call)}" for call in report.baseline), ""]
    if report.plan:
        lines.append("Plan (one remedy at a time, then the same measurement again)")
    for number, step in enumerate(report.plan, start=1):
        lines += [f"  {number}. {step.remedy}: {step.why}", f"     {_effect(step)}", f"     {_call(step)}"]
    if report.fallback:
        lines += ["", "If none of these is enough", f"  {', '.join(report.fallback)}"]
    if report.rejected:
        lines += ["", "Considered and rejected", f"  {', '.join(report.rejected)}"]
    return "\n".join([*lines, *(f"Note: {note}" for note in report.notes)])


def _verdict(report: "TriageConstraintReport") -> str:
    cause = f", cause {report.sub_cause}" if report.sub_cause else ", cause not decided by the evidence"
    second = f"; also {', '.join(report.secondary)}" if report.secondary else ""
    return f"Binding constraint: {report.constraint}{cause} (confidence {report.confidence:.2f}){second}"


def _evidence_line(evidence: Any) -> str:
    where = evidence.source if evidence.line is None else f"{evidence.source}:{evidence.line}"
    quote = evidence.quote if len(evidence.quote) <= 160 else evidence.quote[:157] + "..."
    return f"{where}: {evidence.shows}" + (f' ("{quote}")' if quote else "")


def _numbers(numbers: Numbers) -> str:
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {value}"
        for key, value in numbers.items()
    )


def _effect(step: Step) -> str:
    effect = step.expected_effect
    change = f"{effect.quantity}: {effect.low_ratio:g} to {effect.high_ratio:g} of today's ({effect.basis})"
    note = f", {effect.note}" if effect.note else ""
    quality = "; measure quality too" if step.changes_results else ""
    return f"{change}{note}; costs {step.cost}{quality}"


def _baseline(report: "TriageConstraintReport") -> str:
    return f" ({' and '.join(call.tool for call in report.baseline)})" if report.baseline else ""


def _call(step: Step) -> str:
    if step.tool is None:
        return f"By hand; verify: {step.verify}."
    return _sent(Call(tool=step.tool, arguments=step.arguments, needs=step.needs))


def _sent(call: Call) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in call.arguments.items())
    needs = f" after supplying {'; '.join(call.needs)}" if call.needs else ""
    return f"Call {call.tool}({arguments}){needs}."
