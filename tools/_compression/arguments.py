"""Fields that the three Requests share, and the accuracy budget."""

import math
from typing import Literal

from pydantic import Field

from .._core.contract import Request, ToolError

BUILT_IN_METRICS = ("accuracy", "mae", "rmse")
Budget = dict[str, float]


class CompressionRequest(Request):
    """What is compressed, on which data, within which budget."""

    model: str = Field(description="file.onnx, .pt2, file.py:factory, or a tree model's file.")
    weights: str | None = Field(None, description="State dict for a factory: .safetensors or .pt.")
    data: str = Field(description="file.npz with x and y, or file.py:loader; rows are samples.")
    metric: str = Field("accuracy", description="accuracy, mae, rmse or file.py:function(predictions, y).")
    metric_direction: Literal["higher", "lower"] | None = Field(None, description="For a function metric.")
    max_metric_drop: str | float = Field(
        "1%", description="'1%' (points for shares) or in the metric's unit."
    )
    batch_sizes: list[int] = Field([1, 64], min_length=1, max_length=4)
    threads: int = Field(1, ge=1, le=256)
    python: str | None = Field(None, description="Interpreter that imports your code.")


def read_budget(value: str | float) -> Budget:
    """{"share": 0.01} for "1%", {"absolute": 0.01} for a number."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ToolError("max_metric_drop is no budget", saw=value, try_next='"1%" or a number such as 0.01')
    return {"share": number / 100} if text.endswith("%") else {"absolute": number}


def check_metric(request: CompressionRequest) -> bool:
    """Whether higher is better; a function metric must say so."""
    if request.metric in BUILT_IN_METRICS:
        return request.metric == "accuracy"
    if ":" not in request.metric:
        raise ToolError(
            "Unknown metric", saw=request.metric, try_next="accuracy, mae, rmse or file.py:function"
        )
    if request.metric_direction is None:
        raise ToolError(
            "A metric of your own needs metric_direction", saw=request.metric, try_next='"higher" or "lower"'
        )
    return request.metric_direction == "higher"


def check_batches(request: CompressionRequest) -> list[int]:
    """The batch sizes, ascending and once each."""
    if min(request.batch_sizes) < 1 or max(request.batch_sizes) > 65536:
        raise ToolError("A batch size is out of range", saw=request.batch_sizes, try_next="1 to 65536")
    return sorted(set(request.batch_sizes))


LOSSES = ("cross_entropy", "l1", "mse")


class TrainingRequest(CompressionRequest):
    """What a smaller network is trained on, and for how long."""

    train_data: str = Field(description="Like data, for training.")
    loss: str = Field(
        "cross_entropy", description="cross_entropy, l1, mse or file.py:function(predictions, y)."
    )
    max_train_seconds: float = Field(300, gt=0, le=86400, description="For all trainings together.")
