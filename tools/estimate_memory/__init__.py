"""Predicts a training step's peak GPU memory without a GPU, and finds the first remedy that fits.

card        the card of the question, and what only hardware knows of it
oom_text    the figures of an out-of-memory message
overheads   what a card takes beside the allocator, measured once and remembered in the ledger
judge       limits from card and message; what the prediction leaves out
dimensions  closed formulas for a transformer, without torch
picture     the timeline as a self-contained page and as a PNG, of the shapes in shapes.py; png writes the latter
text        what models and people read
engine      the simulation, run under the caller's interpreter
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .._core.contract import Report, Request, current_call, tool
from .._core.errors import ToolError
from .._core.interpreter import resolve_python
from .._core.quantity import Basis
from .._core.worker import Limits, run
from .._core.workspace import Workspace
from .card import ENGINE, Card, resolve_card
from .dimensions import reply
from .judge import Bounds, judged, left_out, limits
from .oom_text import OutOfMemoryMessage, read_oom
from .overheads import known, learn_from_message, measure
from .picture import pictures
from .text import brief, readable

MEMORY_LIMIT_BYTES = 8 * 1024**3  # of the child; a simulation of 7 billion weights takes under 1.5 GiB
SEARCH_SHARE = 0.6  # of the time limit, after which the search for batches and remedies ends with what it has
HUGGINGFACE = ENGINE / "huggingface.py"
REMEDIES = (
    "allocator_settings", "fused_optimizer", "gradient_accumulation", "gradient_checkpointing", "optimizer_in_backward",
    "mixed_precision", "cpu_offload", "eight_bit_optimizer", "paged_optimizer", "channels_last", "pure_bf16", "lora",
    "freezing", "model_reduction", "sharding", "zero_grad_none",
)  # fmt: skip

Fits = Literal["fits", "tight", "no"]


class EstimateMemoryRequest(Request):
    """Arguments of estimate_memory."""

    step: str = Field(
        description="file.py:make_step, returning {model, batch, loss(model, batch), optimizer}; "
        "a Hugging Face config.json; or transformer."
    )
    arguments: dict[str, Any] = Field({}, description="Arguments of make_step.")
    batch_argument: str | None = Field(None, description="Its argument for the batch; default batch_size.")
    model_arguments: list[str] = Field([], description="Its arguments that set the model's size.")
    gpu: str | None = Field(
        None, description="T4, A100-80GB, 24GiB, cpu, ...; default the machine's own GPU."
    )
    remedies: Literal["search"] | list[str] | None = Field(
        None, description="search, ids or []; default: search when it does not fit."
    )
    oom_text: str | None = Field(None, description="The out-of-memory message.")
    python: str | None = Field(None, description="Interpreter or environment with torch.")
    max_seconds: float = Field(180, gt=0, description="Time limit.")


class _Noun(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Breakdown(_Noun):
    """What is alive at the peak."""

    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    other_bytes: int = Field(description="Batch, temporaries, library workspaces.")


class Remedy(_Noun):
    """One simulated remedy or combination."""

    ids: list[str]
    details: dict[str, Any]
    peak_allocated_bytes: int
    saved_bytes: int
    step_cost_ratio: float = Field(description="Step time against today's, from counted FLOPs and bytes.")
    fits: Fits | None
    changes_results: bool


class Caveat(_Noun):
    """An operation of the step whose memory is known to be bounded or off."""

    operation: str
    direction: Literal["too_low", "too_high", "either"] = Field(description="How the prediction may err.")
    note: str


class LargestBatch(_Noun):
    """Batch sizes at the edges."""

    fits: int = Field(description="Largest that fits with the margin; 0 when one sample does not.")
    not_no: int = Field(description="Largest that is not a clear no.")
    argument: str


class EstimateMemoryReport(Report):
    """The predicted peak of one training step, what fits, and what would help."""

    peak_allocated_bytes: int = Field(description="What torch.cuda.max_memory_allocated() would say.")
    peak_reserved_bytes: int = Field(description="What torch.cuda.max_memory_reserved() would say.")
    device_bytes: int = Field(description="What nvidia-smi would say: reserved, context, libraries.")
    outside_bytes: int = Field(
        description="Of these: context, libraries and other processes, outside the allocator."
    )
    breakdown: Breakdown
    fits: Fits | None
    margin_bytes: int | None = Field(description="Kept free before we say that it fits.")
    capacity_bytes: int | None = Field(description="What the allocator can reserve on this card.")
    gpu: str
    remedies: list[Remedy]
    recommended: Remedy | None
    skipped: dict[str, str] = Field(description="Remedies that do not apply, and why.")
    largest_batch: LargestBatch | None
    peak_at: dict[str, str] = Field(description="Phase, operator and module at the peak.")
    parameters: int
    trainable_parameters: int
    batch: int | None
    timeline_path: str | None = Field(description="A page: what is alive over the steps, stacked by kind.")
    picture_path: str | None = Field(description="The same as PNG.")
    caveats: list[Caveat] = Field(description="Operations here that are known to be bounded or off.")
    left_out: list[str]
    assumptions: list[str]
    bases: dict[str, Basis]
    simulation_seconds: float = Field(description="What the simulation of the step took, without imports.")
    torch_version: str
    python: str

    def brief(self) -> str:
        return brief(self)

    def readable(self) -> str:
        return readable(self)


@tool(effect="writes", needs=("torch",))
def estimate_memory(request: EstimateMemoryRequest) -> EstimateMemoryReport:
    """Predict a training or inference step's peak GPU memory without a GPU, whether it fits, and which remedies would.

    Runs make_step on tensors without data in a child process, two optimizer steps, and replays torch's caching
    allocator. Without `gpu`, a card that this machine has is measured first, once, by a small step in a process of its
    own. Raises ToolError for a step that cannot be run so. How far it is to be trusted: references/memory.md.
    """
    call = current_call()
    _check_remedies(request.remedies)
    message = read_oom(request.oom_text) if request.oom_text else None
    card = resolve_card(request.gpu, message.total if message else None)
    if message:
        learn_from_message(card, message, call.workspace)
    if request.step == "transformer":
        bounds = limits(card, message, known(card, call.workspace))
        return _from_dimensions(request, card, bounds, message)
    step, arguments = _source(request, call.workspace)
    python = resolve_python(request.python, call.workspace)
    unmeasured = measure(card, python, call.workspace) if card.driver and not message else None
    seen = known(card, call.workspace)
    bounds = limits(card, message, seen)
    card_now = card.for_engine(expandable=False, cublas_bytes=seen.cublas_bytes if seen else None)
    answer = run(
        ENGINE,
        {**_question(request, step, arguments, bounds), "kind": card.kind, "card": card_now},
        python=python,
        limits=Limits(request.max_seconds, MEMORY_LIMIT_BYTES),
        warm=True,
    )
    if unmeasured:
        answer["notes"].append(f"The card was not measured: {unmeasured}.")
    page, picture = pictures(answer, card, bounds)
    return EstimateMemoryReport(
        **judged(answer, card, bounds, message),
        left_out=left_out(answer, card, request.remedies),
        timeline_path=str(call.workspace.store("memory-timeline.html", page)),
        picture_path=str(call.workspace.store("memory-timeline.png", picture)),
        python=str(python),
    )


def _question(
    request: EstimateMemoryRequest, step: str, arguments: dict[str, Any], bounds: Bounds | None
) -> dict[str, Any]:
    """What the engine is asked, but for the card."""
    return {
        "step": step,
        "arguments": arguments,
        "batch_argument": request.batch_argument,
        "model_arguments": request.model_arguments,
        "limits": bounds.for_engine() if bounds else None,
        "remedies": request.remedies,
        "search_seconds": SEARCH_SHARE * request.max_seconds,
        "seconds": request.max_seconds,
        "memory_limit_bytes": MEMORY_LIMIT_BYTES,
    }


def _source(request: EstimateMemoryRequest, workspace: Workspace) -> tuple[str, dict[str, Any]]:
    """The step to run, and its arguments: the caller's make_step, or ours for a Hugging Face folder or config."""
    path, separator, function = request.step.rpartition(":")
    if separator and function.isidentifier():
        return f"{workspace.file(Path(path))}:{function}", request.arguments
    if request.step and (
        Path(request.step).name == "config.json" or (workspace.root / request.step).is_dir()
    ):
        named = Path(request.step)
        config = workspace.file(named if named.name == "config.json" else named / "config.json")
        return f"{HUGGINGFACE}:make_step", {"config": str(config), **request.arguments}
    raise ToolError(
        "`step` must name a file and a function",
        saw=request.step,
        try_next='train.py:make_step, a Hugging Face config.json, or "transformer" with its dimensions as arguments',
    )


def _from_dimensions(request: EstimateMemoryRequest, card: Card, bounds: Bounds | None,
                     message: OutOfMemoryMessage | None) -> EstimateMemoryReport:  # fmt: skip
    """The answer without torch."""
    found = judged(reply(request.arguments, card, bounds), card, bounds, message)
    bases = found["bases"]
    return EstimateMemoryReport(
        **{**found, "bases": {**dict.fromkeys(bases, "assumed"), "outside_bytes": bases["outside_bytes"]}},
        left_out=["Everything that makes the real model differ from a GPT of these dimensions"],
        timeline_path=None,
        picture_path=None,
        python="",
    )


def _check_remedies(named: list[str] | str | None) -> None:
    for name in named if isinstance(named, list) else []:
        if name not in REMEDIES:
            raise ToolError(
                "No such remedy can be simulated", saw=name, try_next=f"one of {', '.join(REMEDIES)}"
            )
