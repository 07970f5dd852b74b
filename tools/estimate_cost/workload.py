"""What is to be paid for: a training run, a service, a daily batch, or a bill that already runs."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, Tag, model_validator
from pydantic import Discriminator as By

from .._core.errors import ToolError
from .arrivals import ASSUMED_BURSTS, Arrival, hourly, read_arrival
from .strict import Amount, Count, Positive, Share, Strict

HOURS_MOST = 1e6  # a century of one GPU; more is a slip of the pen
PER_DAY_MOST = 1e13


class Checkpoint(Strict):
    """How the job survives an interruption. Without `interval_seconds` the best interval is taken."""

    interval_seconds: Positive | None = None
    write_seconds: Amount | None = None
    restart_seconds: Amount | None = None

    @model_validator(mode="after")
    def _is_written_in_time(self) -> "Checkpoint":
        if self.interval_seconds and (self.write_seconds or 0) > self.interval_seconds:
            raise ValueError(
                f"a checkpoint that takes {self.write_seconds:g} s cannot be written every "
                f"{self.interval_seconds:g} s: give a longer interval_seconds, or none for the best one"
            )
        return self


class _Interruptible(Strict):
    gpus: Count | None = None
    accelerator: str | None = Field(None, validation_alias=AliasChoices("accelerator", "gpu"))
    memory_bytes: Amount | None = None
    checkpoint: Checkpoint | None = None
    interruptions_per_hour: Annotated[float, Field(ge=0, le=3600)] | None = None
    restart_seconds: Amount | None = None


class Training(_Interruptible):
    """`hours` (or steps x step_seconds) are wall hours on `gpus` GPUs; FLOPs become hours by each card's peak."""

    kind: Literal["training"]
    hours: Annotated[float, Field(gt=0, le=HOURS_MOST)] | None = None
    steps: Annotated[float, Field(gt=0, le=1e12)] | None = None
    step_seconds: Positive | None = None
    measurement: str | None = None
    flops: Annotated[float, Field(gt=0, le=1e30)] | None = None
    parameters: Annotated[float, Field(gt=0, le=1e15)] | None = None
    tokens: Annotated[float, Field(gt=0, le=1e18)] | None = None
    utilization: Share | None = Field(
        None, validation_alias=AliasChoices("utilization", "utilisation", "mfu")
    )
    precision: Literal["fp32", "tf32", "fp16", "bf16", "fp8"] = "bf16"
    scaling_efficiency: Share | None = None
    trials: Count = 1

    @model_validator(mode="after")
    def _one_way_to_the_time(self) -> "Training":
        ways = [
            name
            for name, given in (
                ("hours", self.hours),
                ("step_seconds", self.step_seconds),
                ("measurement", self.measurement),
                ("flops", self.flops),
                ("tokens", self.tokens),
            )
            if given is not None
        ]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} both say how long it takes: give one of them")
        if not ways:
            return self  # what a budget buys is asked for
        if (ways[0] in ("step_seconds", "measurement")) != (self.steps is not None):
            raise ValueError(
                f"{ways[0]} needs steps (how many)"
                if self.steps is None
                else f"{ways[0]} says how long it takes, so steps are not used: leave them out, or give step_seconds"
            )
        if ways[0] == "tokens" and self.parameters is None:
            raise ValueError("tokens need parameters (FLOPs = 6 x parameters x tokens)")
        return self

    @model_validator(mode="after")
    def _checkpoints_fall_within_the_work(self) -> "Training":
        seconds = self.hours * 3600 if self.hours else (self.steps or 0) * (self.step_seconds or 0)
        interval = self.checkpoint.interval_seconds if self.checkpoint else None
        if seconds and interval and interval > seconds:
            raise ValueError(
                f"a checkpoint every {interval:g} s is never written in {seconds:g} s of work: give a shorter "
                "interval_seconds, or checkpoint: null"
            )
        return self

    @property
    def insists_on_precision(self) -> bool:
        """Whether the caller names it; otherwise a card's own 16-bit format will do."""
        return "precision" in self.model_fields_set

    @property
    def total_flops(self) -> float | None:
        """6 x parameters x tokens for dense training, where FLOPs are not stated."""
        if self.flops is not None or self.tokens is None:
            return self.flops
        return 6 * (self.parameters or 0) * self.tokens

    @property
    def has_time(self) -> bool:
        return any(
            v is not None for v in (self.hours, self.step_seconds, self.measurement, self.flops, self.tokens)
        )


def _arrival(value: Any) -> Any:
    if isinstance(value, str):
        return read_arrival(value)
    if isinstance(value, list):
        if not all(isinstance(weight, int | float) for weight in value):
            raise ValueError("an hourly shape is 24 weights, none negative, not all zero")
        return hourly([float(weight) for weight in value])
    if isinstance(value, dict) and isinstance(value.get("hourly"), list):
        return _arrival(value["hourly"])
    if isinstance(value, dict) and isinstance(
        count := value.get("bursts_per_day", value.get("bursts")), int | float
    ):
        return Arrival("bursts", float(count))
    if isinstance(value, Arrival):
        return value
    raise ValueError("even, poisson, bursts, '10 bursts', {bursts_per_day: 10}, or 24 hourly weights")


class Inference(Strict):
    """A service. `seconds_per_request` is the time one request holds one of `concurrency` places."""

    kind: Literal["inference"]
    requests_per_day: Annotated[float, Field(gt=0, le=PER_DAY_MOST)]
    seconds_per_request: Positive
    memory_bytes: Amount | None = None
    arrival: Annotated[Arrival, BeforeValidator(_arrival)] = Arrival("even")
    bursts_per_day: Positive | None = Field(
        None, validation_alias=AliasChoices("bursts_per_day", "bursts", "burst_count")
    )
    requests_per_burst: Positive | None = Field(
        None, validation_alias=AliasChoices("requests_per_burst", "burst_size")
    )
    latency_seconds: Positive | None = None
    latency_percentile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    peak_requests_per_second: Positive | None = None
    cold_start_seconds: Amount | None = None
    idle_seconds: Amount | None = None
    concurrency: Count = 1
    target_utilization: Share | None = None
    vcpus: Positive | None = None
    gpus: Count | None = None
    accelerator: str | None = Field(None, validation_alias=AliasChoices("accelerator", "gpu"))
    interruptions_per_hour: Annotated[float, Field(ge=0, le=3600)] | None = None
    days: Positive = 30

    @model_validator(mode="after")
    def _peak_is_a_peak(self) -> "Inference":
        mean = self.requests_per_day / 86_400
        if self.peak_requests_per_second is not None and self.peak_requests_per_second < mean * 0.999:
            raise ValueError(
                f"peak_requests_per_second {self.peak_requests_per_second:g} is below the mean rate {mean:.4g}"
            )
        return self

    @model_validator(mode="after")
    def _bursts_add_up(self) -> "Inference":
        many, size = self._bursts, self.requests_per_burst or self.arrival.size
        if (many or size) and "arrival" in self.model_fields_set and self.arrival.kind != "bursts":
            raise ValueError(
                f"arrival {self.arrival.kind} has no bursts: give arrival: bursts, or leave them out"
            )
        if many and size and abs(many * size / self.requests_per_day - 1) > 0.01:
            raise ValueError(
                f"{many:g} bursts of {size:g} are {many * size:g} requests, not requests_per_day "
                f"{self.requests_per_day:g}: give two of the three"
            )
        return self

    @property
    def _bursts(self) -> float:
        """As stated; 0 where the caller does not say how many."""
        return self.bursts_per_day or self.arrival.bursts

    @property
    def number_of_bursts_is_assumed(self) -> bool:
        return self.shape.kind == "bursts" and not (
            self._bursts or self.requests_per_burst or self.arrival.size
        )

    @property
    def shape(self) -> Arrival:
        """The arrival, with the number of bursts from wherever it stands."""
        size = self.requests_per_burst or self.arrival.size
        if self.arrival.kind != "bursts" and not self._bursts and not size:
            return self.arrival
        by_size = max(1.0, self.requests_per_day / size) if size else 0.0
        return Arrival("bursts", self._bursts or by_size or ASSUMED_BURSTS)


class Batch(_Interruptible):
    """Work that comes once a day and may wait for a machine."""

    kind: Literal["batch"]
    items_per_day: Annotated[float, Field(gt=0, le=PER_DAY_MOST)] = Field(
        validation_alias=AliasChoices("items_per_day", "items")
    )
    items_per_second: Positive
    vcpus: Positive | None = None
    seconds_of_start: Amount = Field(
        0.0, validation_alias=AliasChoices("cold_start_seconds", "seconds_of_start")
    )
    days: Positive = 1


class Running(Strict):
    """A bill that already runs all day, for work that fills part of it.

    `accelerator` and `gpus` are what runs today; `memory_bytes` (or a `measurement`) and `gpu_utilization`, the share
    of its time that the GPU computes, are what the work needs of it.
    """

    kind: Literal["running"]
    usd_per_hour: Positive
    busy_hours_per_day: Annotated[float, Field(ge=0, le=24)]
    busy_days_per_week: Annotated[float, Field(gt=0, le=7)] = 7
    measurement: str | None = None
    memory_bytes: Amount | None = None
    gpu_utilization: Share | None = None
    gpus: Count | None = None
    accelerator: str | None = Field(None, validation_alias=AliasChoices("accelerator", "gpu"))
    interruptions_per_hour: Annotated[float, Field(ge=0, le=3600)] | None = None
    days: Positive = 30

    @property
    def on_gpu(self) -> bool:
        return self.accelerator is not None or self.gpus is not None

    @property
    def busy_hours(self) -> float:
        """Of all the days."""
        return self.busy_hours_per_day * self.days * self.busy_days_per_week / 7


def _kind(value: Any) -> str | None:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if kind in ("training", "inference", "batch", "running") else None


def measured_on(workload: "AnyWorkload", figures: tuple[tuple[str, float], ...]) -> "AnyWorkload":
    """The workload with the figures that hold for one option, where it has such a field."""
    known: dict[str, Any] = {name: value for name, value in figures if name in type(workload).model_fields}
    if "step_seconds" in known and isinstance(workload, Training) and workload.steps is None:
        raise ToolError(
            "step_seconds of an option needs the workload's steps", try_next="steps, or the option's hours"
        )
    if "hours" in known or "step_seconds" in known:  # it replaces every other way to the time
        known = dict.fromkeys(("hours", "step_seconds", "measurement", "flops", "tokens")) | known
    return workload.model_copy(update=known) if known else workload


AnyWorkload = Training | Inference | Batch | Running
Workload = Annotated[
    Annotated[Training, Tag("training")]
    | Annotated[Inference, Tag("inference")]
    | Annotated[Batch, Tag("batch")]
    | Annotated[Running, Tag("running")],
    By(
        _kind,
        custom_error_type="workload_kind",
        custom_error_message="an object is wanted whose kind is one of training, inference, batch, running",
    ),
]
