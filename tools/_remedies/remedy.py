"""What a remedy is, and what several rows of the table say alike."""

from dataclasses import dataclass, field
from typing import Any

PATCH, PREDICT, MEASURE = "apply_amp_patch", "estimate_memory", "measure_run"
QUANTIZE, PRUNE, DISTILL = "quantize_model", "prune_model", "distill_model"
AUGMENT, BACKTEST, COST = "augment_series", "compare_baselines", "estimate_cost"

SCRIPT = "path: the training script"
STEP = "step: a file with make_step() or a Hugging Face config.json, see references/memory.md"
MODEL = "model: the model file (.onnx, .pt2 or file.py:factory)"
TREES = "model: the model file (LightGBM, XGBoost or scikit-learn)"
DATA = "data: rows to calibrate and to judge on (.npz with x and y)"
TRAIN_DATA = "train_data: rows to fine-tune or to teach on"
LOSS = "loss: cross_entropy, l1, mse or file.py:function"
SERIES = "path: the series as CSV or Parquet"
WORKLOAD = "workload: hours or a measured step time, see references/cost.md"
# What a workload holds, where the cause of the bill says which kind it is.
WORKLOADS = {
    "idle_resources": (
        "workload: kind running with usd_per_hour, busy_hours_per_day and accelerator, see references/cost.md"
    ),
    "inference_cost": (
        "workload: kind inference with requests_per_day and seconds_per_request, see references/cost.md"
    ),
}


@dataclass(frozen=True)
class Effect:
    """What a remedy is expected to change: a range of ratios after / before, never a single rule of thumb."""

    quantity: str
    low_ratio: float
    high_ratio: float
    note: str = ""


@dataclass(frozen=True)
class Remedy:
    """One remedy. `changes_results` means a quality measurement has to go with it."""

    id: str
    what: str
    effect: Effect
    cost: str
    verify: str
    changes_results: bool = False
    tool: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    elsewhere: dict[str, Effect] = field(default_factory=dict)  # by constraint, where the effect is another

    def effect_on(self, constraint: str) -> Effect:
        """What the remedy is expected to change where `constraint` binds."""
        return self.elsewhere.get(constraint, self.effect)


PEAK, STEP_TIME, LATENCY, BILL, ERROR = "peak GPU memory", "step time", "latency", "cost", "error"
HOST, DISK_USE, EPOCH = "peak host memory", "disk use", "time to the same quality"
AROUND = "activations shrink; the interpreter, its libraries and the data stay"
PEAK_CHECK = "peak memory before and after, loss curves together"
TIME_CHECK = "median step time before and after, at least 3 interleaved runs"
BUDGET_CHECK = "the metric on held-out rows, and latency, interleaved with the original"


def patch(remedy: str, **arguments: Any) -> dict[str, Any]:
    """Fields of a remedy that apply_amp_patch writes."""
    return {"tool": PATCH, "arguments": {"remedies": [remedy], **arguments}, "needs": (SCRIPT,)}


def predict(remedy: str) -> dict[str, Any]:
    """Fields of a remedy that estimate_memory simulates."""
    return {"tool": PREDICT, "arguments": {"remedies": [remedy]}, "needs": (STEP,)}


def compress(tool: str) -> dict[str, Any]:
    """Fields of a remedy that `tool` searches for under an accuracy budget."""
    needs = (MODEL, DATA) if tool == QUANTIZE else (MODEL, DATA, TRAIN_DATA, LOSS)
    return {"tool": tool, "arguments": {}, "needs": needs}
