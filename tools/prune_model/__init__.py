"""A network with whole channels removed, fine-tuned, and measured: its real speed, size and metric.

Training and measuring are in tools/_compression; this is the contract and the order of events.
"""

from pydantic import Field

from .._compression.arguments import TrainingRequest
from .._compression.nouns import Candidate, Chosen, Conditions, NextStep
from .._compression.trained_text import brief, readable
from .._core.contract import Report, tool
from .events import prune


class PruneModelRequest(TrainingRequest):
    """Arguments of prune_model."""

    sparsity: list[float] = Field([0.5, 0.75], description="Shares of channels")
    seeds: int = Field(1, description="Per sparsity")


class PruneModelReport(Report):
    """The chosen network, every pruned one, and the same small networks trained from scratch."""

    verdict: str
    outcome: str = Field(description="pruned, from_scratch, keep_dense.")
    chosen: Chosen
    baseline: Candidate
    candidates: list[Candidate]
    control: list[Candidate] = Field(description="The same small networks, trained from scratch.")
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


@tool(effect="trains", needs=("torch", "torch_pruning", "onnx", "onnxruntime"), positional=("model",))
def prune_model(request: PruneModelRequest) -> PruneModelReport:
    """Remove whole channels of a torch network, fine-tune it, and measure the gain on this CPU.

    Needs file.py:factory and training rows. Beside each pruned network the same small one is trained from scratch for
    as long. Speed is latency against the dense network in one window, never MACs; zeros inside dense weights are not
    counted as a gain. Raises ToolError where the architecture cannot be pruned. Source: references/compression.md.
    """
    return PruneModelReport(**prune(request))
