"""A smaller student, always beside the same student trained without the teacher.

Training and measuring are in tools/_compression; this is the contract and the order of events.
"""

from pydantic import BaseModel, ConfigDict, Field

from .._compression.arguments import TrainingRequest
from .._compression.nouns import Candidate, Chosen, Conditions, NextStep
from .._compression.trained_text import brief, readable
from .._core.contract import Report, tool
from .events import distill


class DistillModelRequest(TrainingRequest):
    """Arguments of distill_model."""

    student: str = Field("auto", description="auto, file.py:factory, lightgbm")
    seeds: int = Field(3, description="Per student")


class Student(BaseModel):
    """One student: its search metric by seed, with and without the teacher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    student: str
    parameters: int
    labels_only: list[float]
    distilled: list[float]
    finding: str = Field(description="helped, hurt, no_difference, uneven_steps, too_few_seeds.")


class DistillModelReport(Report):
    """The chosen student, and what the teacher was worth."""

    verdict: str
    outcome: str = Field(description="distilled, labels_only, keep_teacher.")
    chosen: Chosen
    baseline: Candidate = Field(description="The teacher.")
    candidates: list[Candidate]
    control: list[Candidate] = Field(description="The same students trained on labels alone.")
    students: list[Student]
    left_out: dict[str, str] = Field(description="Students that do not fit, with the reason.")
    conditions: Conditions
    rows: dict[str, int]
    python: dict[str, str]
    warnings: list[str]
    next_step: NextStep | None
    folder: str

    def brief(self) -> str:
        return brief(self)

    def readable(self) -> str:
        return readable(self)


@tool(effect="trains", needs=("torch", "onnx", "onnxruntime"), positional=("model",))
def distill_model(request: DistillModelRequest) -> DistillModelReport:
    """Train a smaller student of a torch network with and without its teacher; say whether it helped.

    Every student is trained on labels alone and on labels plus the teacher, same steps and seeds. "helped" means that
    each distilled seed beats each control seed; otherwise the plain student is the advice. Students: the teacher
    narrowed, MLP, DLinear, LightGBM, or your own. Raises ToolError where none fits. Source: references/compression.md.
    """
    return DistillModelReport(**distill(request))
