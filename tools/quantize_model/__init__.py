"""The fastest file within the accuracy budget, on this CPU, at these batch sizes, confirmed on unseen rows.

The search itself is in tools/_compression; this is its contract and its order of events.
"""

from pydantic import Field

from .._compression.arguments import CompressionRequest
from .._compression.nouns import Candidate, Chosen, Conditions
from .._core.contract import Report, tool
from .events import quantize
from .text import brief, readable


class QuantizeModelRequest(CompressionRequest):
    """Arguments of quantize_model."""

    max_latency_seconds: float | None = Field(None, description="p95, smallest batch")
    max_size_bytes: int | None = Field(None, description="File")
    max_memory_bytes: int | None = Field(None, description="Peak")
    device_profile: str | None = Field(None, description="raspberry_pi_4, phone, container_512mb...")
    target_isa: str | None = Field(None, description="Not this CPU: avx2, arm_neon...")
    runtimes: list[str] = Field(["onnxruntime", "openvino", "torch"], description="Allowed")
    max_search_seconds: float = Field(120, description="In all")
    trust: bool = Field(False, description="Run a pickle's or TorchScript's code")


class QuantizeModelReport(Report):
    """The chosen artifact and every candidate with what it gave."""

    verdict: str
    outcome: str = Field(description="quantized, keep_fp32.")
    chosen: Chosen
    baseline: Candidate
    candidates: list[Candidate]
    conditions: Conditions
    rows: dict[str, int] = Field(description="Rows used for calibration, search and confirmation.")
    python: dict[str, str] = Field(description="Interpreters: export (your code) and search.")
    warnings: list[str]
    edge_files: dict[str, str] = Field(
        description="For a device profile: the model in ORT format (ort) and the float one for ExecuTorch (pte)."
    )
    edge_missing: dict[str, str] = Field(description="Formats that could not be made, with the reason.")
    folder: str = Field(description="Artifacts, report.md, picture.svg, manifest.json.")

    def brief(self) -> str:
        return brief(self)

    def readable(self) -> str:
        return readable(self)


_GAINS = (
    ("scikit-learn models as ONNX", "skl2onnx"), ("skops files", "skops"), ("LightGBM files", "lightgbm"),
    ("XGBoost files", "xgboost"), ("OpenVINO", "openvino"), ("int8 on OpenVINO", "nncf"),
)  # fmt: skip


@tool(effect="writes", needs=("onnx", "onnxruntime"), gains=_GAINS, positional=("model",))
def quantize_model(request: QuantizeModelRequest) -> QuantizeModelReport:
    """Find the fastest form of a model (int8, bf16, other runtimes) within an accuracy budget, measured on this CPU.

    Takes ONNX, torch.export, a factory with a state dict, or tree models. Calibration, search and confirmation rows
    are kept apart; every candidate runs in its own process beside the baseline. Answers keep_fp32 when nothing
    beats it beyond the noise. With max_latency_seconds the least harmful that keeps it is chosen, not the fastest.
    Figures hold for this CPU's instructions. Raises ToolError for a model that would run
    code on loading, is quantized already or does not fit the data. Source: references/compression.md.
    """
    return QuantizeModelReport(**quantize(request))
