"""From what went wrong to the constraint that binds, with quoted evidence and a plan whose steps can be called.

reading      the text: pasted, or a log of any size
clues        what a text says for a constraint; messages/ are the formats that programs print,
             prose what people write (rules over concepts), words what a phrase sounds like; numbers the figures in it
verdict      from clues to one constraint; causes: to its sub-cause, or to none where the evidence does not decide
plan         the table of remedies (tools/_remedies) fitted to the machine, the script and the numbers at hand
kind         what kind of job it is, and which remedies mean nothing for it
script       what a training script shows without being run
measured     what a measurement of the ledger shows
advice       the look that would decide what is open, and where other questions belong
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from .._core.contract import Report, Request, current_call, tool
from .._core.errors import ToolError
from .._core.interpreter import resolve_python
from .._core.machine import Machine
from .._hardware.survey import survey_here
from .advice import UNCLEAR, decisive_check, handoff
from .causes import sub_cause
from .clues import found_messages
from .evidence import Evidence, by_machine, by_script, quotes
from .frameworks import check, note
from .kind import infers
from .measured import Measured, read_measurement
from .messages import MESSAGES
from .numbers import Numbers, read_numbers
from .plan import Call, Step, make_plan, preparation
from .prose import Prose, read_prose
from .reading import Material, read_log, read_pasted
from .script import ScriptFacts, read_script
from .situation import Situation
from .verdict import Verdict, implied, judge
from .words import read_words

Constraint = Literal[
    "gpu_memory",
    "host_memory",
    "disk",
    "compute_time",
    "inference_latency",
    "training_data",
    "budget",
    "no_gpu",
    "edge",
    "network",
    "not_a_resource_problem",
    "out_of_scope",
]


def _is_a_report(machine: Machine) -> Machine:
    """Other fields are ignored, so that a whole report will do; with nothing but those nothing was said."""
    if not machine.model_fields_set:
        fields = ", ".join(Machine.model_fields)
        raise ValueError(
            f"should hold what detect_hardware reports: {fields}; a card's name belongs in `text`"
        )
    return machine


_Hardware = Annotated[
    Literal["unknown", "detect"] | Annotated[Machine, AfterValidator(_is_a_report)],
    WithJsonSchema({"type": ["string", "object"]}),
]


class TriageConstraintRequest(Request):
    """Arguments of triage_constraint; at least one of text, log_path and measurement."""

    text: str | None = Field(None, description="The error, log excerpt or question, in any language.")
    log_path: Path | None = Field(None, description="A log of any size; its last error counts.")
    script_path: Path | None = Field(None, description="The training script, read but not run.")
    measurement: str | None = Field(None, description="Ledger id of measure_run.")
    hardware: _Hardware = Field(
        "unknown", description="unknown, detect (this machine), or detect_hardware's report."
    )


class TriageConstraintReport(Report):
    """The binding constraint, its evidence and a plan."""

    constraint: Constraint
    sub_cause: str | None = Field(description="null when the evidence does not decide.")
    confidence: float = Field(ge=0, le=1, description="Share of the evidence that speaks for the constraint.")
    secondary: list[str]
    numbers: Numbers = Field(description="Figures as the text prints them.")
    evidence: list[Evidence]
    rejected: list[str] = Field(description="What else was considered.")
    decisive_check: str | None
    baseline: list[Call] = Field(description="Calls to make before anything is changed.")
    plan: list[Step]
    fallback: list[str]
    handoff: str | None
    notes: list[str] = Field(description="What was not read, or could not be used.")

    def brief(self) -> str:
        from .text import brief

        return brief(self)

    def readable(self) -> str:
        from .text import readable

        return readable(self)


@tool(effect="reads")
def triage_constraint(request: TriageConstraintRequest) -> TriageConstraintReport:
    """Start here: name the ONE resource that binds (memory, time, data, money, ...) from an error, log or question,
    with evidence, numbers and an ordered plan whose calls are ready to send.

    Text in, rules over message formats and sentences, one table of remedies out; nothing is run. `sub_cause` is null
    where the evidence does not decide. Raises ToolError for a binary or missing file, or when nothing says what went
    wrong. Source: references/triage.md.
    """
    measured = read_measurement(request.measurement) if request.measurement else None
    material = _material(request, measured)
    machine = _machine(request.hardware)
    script = _script(request.script_path or (measured.script if measured else None))
    messages = found_messages(material.text.lower(), MESSAGES)
    prose = Prose(material.text)
    if prose.is_about_another_program() and not measured:
        messages = [clue.of_another_program() for clue in messages]
    clues = [*(measured.clues if measured else []), *messages, *read_prose(prose, messages)]
    verdict = judge([*clues, *read_words(prose, clues)])
    return _report(verdict, material, machine, script, measured, prose)


def _report(
    verdict: Verdict,
    material: Material,
    machine: Machine | None,
    script: ScriptFacts | None,
    measured: Measured | None,
    prose: Prose,
) -> TriageConstraintReport:
    constraint, lowered = verdict.constraint, material.text.lower()
    says_no_gpu, answers = "nogpu" in prose.named, infers(lowered, prose.named)
    numbers = read_numbers(material.text, constraint, verdict.secondary)
    from_machine, cause_of_machine = by_machine(machine, constraint, numbers)
    from_script, cause_of_script = by_script(script, constraint)
    cause = cause_of_machine or sub_cause(constraint, verdict.clues, numbers, lowered) or cause_of_script
    unclear = not verdict.clues and cause == "how_to"  # what is said when no word tells anything
    here = Situation(constraint, cause, numbers, machine, script, lowered, measured, says_no_gpu, answers)
    plan, fallback = make_plan(here)
    return TriageConstraintReport(
        constraint=constraint,
        sub_cause=None if unclear else cause,
        confidence=verdict.confidence,
        secondary=implied(verdict, cause, says_no_gpu),
        numbers=numbers,
        evidence=[*quotes(verdict.clues, material), *from_machine, *from_script],
        rejected=[
            f"{name} ({score:.0f} points against {verdict.points:.0f})" for name, score in verdict.rejected
        ],
        decisive_check=UNCLEAR if unclear else _check(here),
        baseline=preparation(here),
        plan=plan,
        fallback=fallback,
        handoff=None if unclear else handoff(constraint, cause, lowered),
        notes=[*material.notes, *_notes(here)],
    )


def _check(here: Situation) -> str | None:
    of_framework = check(here.constraint, here.framework) if here.framework and not here.sub_cause else None
    return of_framework or decisive_check(here.constraint, here.sub_cause, here.lowered)


def _notes(here: Situation) -> list[str]:
    of_script = here.script.note if here.script else None
    of_framework = note(here.framework, here.constraint) if here.framework else None
    return [told for told in (of_script, of_framework) if told]


def _material(request: TriageConstraintRequest, measured: Measured | None) -> Material:
    """The text and the log as one: the text first, since it says what the caller wants."""
    if not (request.text or "").strip() and not request.log_path and not (measured and measured.clues):
        saw = f"{request.measurement}, which neither failed nor took a step" if measured else None
        wanted = "`text` with the error or question, or `log_path`"
        raise ToolError("Nothing says what went wrong", saw=saw, try_next=wanted)
    material = read_pasted(request.text or "")
    if path := request.log_path or (measured.output if measured else None):
        log = read_log(current_call().workspace.file(path))
        material = material + log if request.text else log
    return material


def _machine(hardware: Literal["unknown", "detect"] | Machine) -> Machine | None:
    if hardware == "detect":
        return survey_here(resolve_python(None, current_call().workspace))
    return None if hardware == "unknown" else hardware


def _script(path: Path | None) -> ScriptFacts | None:
    return read_script(current_call().workspace.file(path), str(path)) if path else None
