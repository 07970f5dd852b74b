"""Rewrites a PyTorch training script for one or several remedies, or declines with line and reason.

source, notebook     bytes to text and back
script, roles, flow  the parsed file: names through imports, values to their constructors, what depends on what
loops                the model of the training: losses, steps, the statements between
rules/               one remedy a file, each proposes edits and sites; precision/ is what mixed_precision knows
edits, codemod       edits carried out; the remedies one after the other
write_back           the one door to the caller's file
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .._core.contract import Report, Request, ToolError, current_call, tool

Remedy = Literal[
    "mixed_precision",
    "gradient_accumulation",
    "gradient_checkpointing",
    "early_stopping",
    "lr_schedule",
    "dataloader",
    "compile",
    "inference_mode",
    "allocator_settings",
    "zero_grad_none",
    "fused_optimizer",
]
Outcome = Literal["patched", "framework_option", "declined", "already", "nothing_to_do"]


class ApplyAmpPatchRequest(Request):
    """Arguments of apply_amp_patch."""

    path: Path = Field(description="py or ipynb")
    remedies: list[Remedy] = Field(["mixed_precision"], description="What to apply.")
    precision: Literal["auto", "bf16", "fp16"] = Field("auto", description="auto asks the GPU.")
    accumulation_steps: int | None = Field(None, ge=2, description="Micro-batches per step.")
    grow_batch: bool = Field(False, description="Accumulate whole batches.")
    write: bool = Field(False, description="Replace the file (backup kept).")
    expected_sha256: str | None = Field(None, description="The dry run's source_sha256.")
    verify_command: list[str] | None = Field(None, description="Runs the script, to compare both.")
    python: str | None = Field(None, description="For verify_command.")


class PatchSite(BaseModel):
    """One place in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: int
    remedy: str
    action: Literal["edit", "decline", "keep", "warn"]
    reason_code: str = Field(description="See references/precision.md.")
    note: str


class ApplyAmpPatchReport(Report):
    """The patch, or why there is none."""

    outcome: Outcome
    remedies: dict[str, Outcome]
    sites: list[PatchSite]
    diff: str
    patched_path: str | None
    source_sha256: str
    patched_sha256: str | None
    backup_path: str | None = None
    verification: dict[str, Any] | None = None
    warnings: list[str] = Field([])

    def brief(self) -> str:
        from .text import brief

        return brief(self)

    def readable(self) -> str:
        from .text import readable

        return readable(self)


@tool(effect="replaces", positional=("path",))
def apply_amp_patch(request: ApplyAmpPatchRequest) -> ApplyAmpPatchReport:
    """Rewrite a PyTorch training script for mixed precision and more, or say why not.

    A dry run unless `write`: then the file is replaced in one step, if it is still the one the dry run saw, and a
    backup stays beside it. Whatever cannot be shown to be right is declined with line and reason code. With
    `verify_command` the caller's script runs, and may do what it does. Source: references/precision.md.
    """
    from .answer import answer  # the engine's modules: 0.1 s

    if not request.remedies:
        raise ToolError("No remedy is named", saw="[]", try_next='["mixed_precision"]')
    if request.write and not request.expected_sha256:
        raise ToolError(
            "Writing needs expected_sha256", saw="none", try_next="a dry run first, then its source_sha256"
        )
    return answer(request, current_call())
