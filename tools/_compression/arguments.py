"""Fields that the three Requests share, and the accuracy budget."""

import math
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from .._core.contract import Request, ToolError

BUILT_IN_METRICS = ("accuracy", "mae", "rmse")
Budget = dict[str, float]
# The menu that hosts read has little room; these say the same in fewer words than pydantic's own schema.
Drop = Annotated[str | float, WithJsonSchema({"type": ["string", "number"]})]
Direction = Annotated[Literal["higher", "lower"] | None, WithJsonSchema({"enum": ["higher", "lower"]})]
MOST_BATCHES, LARGEST_BATCH, MOST_THREADS = 4, 65536, 256


class CompressionRequest(Request):
    """What is compressed, on which data, within which budget."""

    model: str = Field(description=".onnx, .pt2, tree model or file.py:factory")
    weights: str | None = Field(None, description="Factory's: .safetensors, .pt")
    data: str = Field(description=".npz (x, y) or file.py:loader")
    metric: str = Field("accuracy", description="Or mae, rmse, file.py:f(pred, y)")
    metric_direction: Direction = Field(None, description="Of f")
    max_metric_drop: Drop = Field("1%", description="Or in its unit")
    batch_sizes: list[int] = Field([1, 64], description="To time")
    threads: int = Field(1, description="To run on")
    python: str | None = Field(None, description="Imports your code")


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
    """The batch sizes, ascending and once each; the thread count is checked as well."""
    sizes = request.batch_sizes
    if not 1 <= len(sizes) <= MOST_BATCHES or min(sizes) < 1 or max(sizes) > LARGEST_BATCH:
        raise ToolError(
            "A batch size is out of range",
            saw=sizes,
            try_next=f"1 to {MOST_BATCHES} sizes of 1 to {LARGEST_BATCH}",
        )
    if not 1 <= request.threads <= MOST_THREADS:
        raise ToolError("threads is out of range", saw=request.threads, try_next=f"1 to {MOST_THREADS}")
    return sorted(set(request.batch_sizes))


LOSSES = ("cross_entropy", "l1", "mse")


class TrainingRequest(CompressionRequest):
    """What a smaller network is trained on, and for how long."""

    model: str = Field(description="file.py:factory")
    weights: str | None = Field(None, description=".safetensors, .pt")
    train_data: str = Field(description="Like data")
    loss: str = Field("cross_entropy", description="Or l1, mse, file.py:f")
    max_train_seconds: float = Field(300, description="In all")
    seeds: int
