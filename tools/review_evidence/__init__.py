"""Reviews what was measured before and after a remedy.

comparable   may the runs be compared     impact     figures with intervals   quality   time to the same quality
verdict      from figures to one word     checklist  the four boxes           remedies  which belong to a constraint
expected     beside what the plan promised
"""

from contextlib import closing

from pydantic import Field

from .._core.contract import Report, Request, ToolError, current_call, tool
from .._core.ledger import ledger_path, open_ledger, read_run
from .checklist import Box, constraint_box, fallback_box, impact_box, strategy_box
from .comparable import differences, refusals
from .expected import Expectation, expectations
from .impact import Comparison, Verdict
from .remedies import CONSTRAINTS, KNOWN
from .verdict import judge


class ReviewEvidenceRequest(Request):
    before: list[str] = Field(min_length=1, description="Ledger ids from measure_run.")
    after: list[str] = Field(min_length=1, description="Ledger ids with the remedy applied.")
    constraint: str | None = Field(None, description="The one that triage found, such as gpu_memory.")
    remedies: list[str] = Field([], description="Remedy ids that were applied.")


class ReviewEvidenceReport(Report):
    verdict: Verdict
    reason: str
    comparable: bool
    refusals: list[str] = Field([], description="Why the runs do not compare.")
    boxes: list[Box]
    impact: list[Comparison] = Field([])
    quality: list[Comparison] = Field([])
    expected: list[Expectation] = Field(
        [], description="The plan's range for the remedies beside the figures."
    )
    differences: list[str] = Field([], description="Conditions that differ but are not part of the workload.")
    before: list[str]
    after: list[str]

    def brief(self) -> str:
        """The verdict, then each box."""
        lines = [f"Verdict: {self.verdict}. {self.reason}."]
        for box in self.boxes:
            text = box.evidence if box.ticked else f"missing: {box.missing}"
            lines.append(f"[{'x' if box.ticked else ' '}] {box.box}: {text[:260]}")
        lines += [f"Effect: {one.sentence()[:220]}." for one in self.expected[:2]]
        lines += [f"Differs as well: {one[:120]}." for one in self.differences[:2]]
        return "\n".join(lines)[:1500]

    def readable(self) -> str:
        """The same without the limits of a brief."""
        lines = [f"{self.verdict}: {self.reason}", ""]
        for box in self.boxes:
            lines.append(f"  [{'x' if box.ticked else ' '}] {box.box.replace('_', ' ')}")
            lines += [f"      {box.evidence}"] if box.evidence else []
            lines += [f"      missing: {box.missing}"] if box.missing else []
        lines += ["", *(f"  effect: {one.sentence()}" for one in self.expected)] if self.expected else []
        lines += ["", *(f"  differs as well: {one}" for one in self.differences)] if self.differences else []
        return "\n".join(lines)


@tool(effect="reads")
def review_evidence(request: ReviewEvidenceRequest) -> ReviewEvidenceReport:
    """Judge a remedy by runs measured before and after: the quality checklist and a verdict with its spread.

    Declines (cannot tell) for other machines or workloads, for too few repeats, and without quality figures when the
    remedy changes results. Raises ToolError for an unknown id, constraint or remedy.
    """
    _check(request)
    with closing(open_ledger(ledger_path(current_call().workspace))) as ledger:
        before = [read_run(ledger, run) for run in request.before]
        after = [read_run(ledger, run) for run in request.after]
    refused = refusals(before, after, request.remedies)
    judged = judge(request.constraint, request.remedies, before, after, refused)
    return ReviewEvidenceReport(
        verdict=judged.verdict,
        reason=judged.reason,
        comparable=not refused,
        refusals=refused,
        boxes=[
            constraint_box(request.constraint, before),
            strategy_box(request.constraint, request.remedies),
            impact_box(judged.verdict, judged.reason, judged.impact, judged.quality, request.remedies),
            fallback_box(request.constraint, request.remedies, before, after),
        ],
        impact=judged.impact,
        quality=judged.quality,
        expected=expectations(request.constraint, request.remedies, judged.impact, before, after),
        differences=differences(before, after),
        before=request.before,
        after=request.after,
    )


def _check(request: ReviewEvidenceRequest) -> None:
    if request.constraint is not None and request.constraint not in CONSTRAINTS:
        raise ToolError(
            "No such constraint", saw=request.constraint, try_next=f"one of {', '.join(CONSTRAINTS)}"
        )
    unknown = [remedy for remedy in request.remedies if remedy not in KNOWN]
    if unknown:
        raise ToolError("No such remedy", saw=unknown[0], try_next=f"one of {', '.join(sorted(KNOWN))}")
