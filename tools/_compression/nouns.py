"""The nouns of the Reports."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from .._core.quantity import Basis

Status = Literal[
    "chosen", "confirmed", "slower", "over_budget", "not_confirmed", "non_finite", "over_limit", "crashed", "failed",
    "skipped", "not_tried",
]  # fmt: skip
ByBatch = dict[str, float]


class Noun(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @model_serializer(mode="wrap")
    def _without_nulls(self, inner: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        """A table of candidates is mostly absent figures; they are left out, not written as null."""
        return {name: value for name, value in inner(self).items() if value is not None}


class Drift(Noun):
    """How far the outputs moved from the baseline's, whatever the metric says."""

    max_abs: float
    mean_abs: float
    mean_relative: float | None = None
    argmax_flips: float | None = None


class Candidate(Noun):
    """One variant: what it gave, and why it lost. Latencies are medians, by batch size."""

    variant: str
    status: Status
    reason: str = ""
    runtime: str | None = None
    metric: float | None = Field(None, description="On the confirmation rows, else on the search rows.")
    metric_drop: float | None = Field(None, description="Positive is worse; in the metric's unit.")
    metric_drop_bound: float | None = Field(None, description="95 % upper bound of it, confirmation rows.")
    metric_rows: Literal["search", "confirmation"] | None = None
    latency_seconds: ByBatch | None = None
    latency_p10_seconds: ByBatch | None = None
    latency_p95_seconds: ByBatch | None = None
    rows_per_second: ByBatch | None = None
    speed_ratio: ByBatch | None = Field(None, description="p10 of the baseline over this one's, same window.")
    size_bytes: int | None = None
    peak_rss_bytes: int | None = None
    replaced: int | None = Field(None, description="Operations of the graph that are quantized now.")
    drift: Drift | None = None
    basis: Basis = "measured"
    path: str | None = None


class Chosen(Noun):
    """What to use: one artifact for all batch sizes, and the best per batch size where it differs."""

    variant: str
    runtime: str
    path: str
    by_batch_size: dict[str, "Pick"] = {}


class Pick(Noun):
    variant: str
    runtime: str
    path: str
    speed_ratio: float
    precision: str | None = Field(None, description="OpenVINO's INFERENCE_PRECISION_HINT.")


class Conditions(Noun):
    """What the figures hold for."""

    isa: str
    target_isa: str
    threads: int
    load_average: float | None
    tie_band: float = Field(
        description="Speed ratios within 1 +- this are a tie: the baseline against itself."
    )
    clock: dict[str, str] = Field(
        description='By batch size, what speed ratios compare: "wall", or "processor" time on a busy machine.'
    )
    versions: dict[str, str]
    seconds: float


class NextStep(Noun):
    """A call that would follow, ready to send."""

    tool: str
    arguments: dict[str, object]
    why: str


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A figure at the precision that it deserves."""
    return None if value is None else float(f"{value:.{digits}g}")
