"""What can be rented or is owned, at whose price: the caller's options and the catalog's offers in one form."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pydantic import AliasChoices, Field, model_validator

from .._catalog.prices import Offer
from .strict import Amount, Discount, Positive, Strict

BILLED_GB = 1024**3

Kind = Literal["instance", "serverless", "own"]
# An option whose name says so is priced for every hour of its term.
_COMMITMENT = re.compile(
    r"commit|reserv|savings.?plan|(?<![a-z])cud(?![a-z])|(?<!\d)[13][ _-]?y(ea)?rs?(?![a-z])", re.IGNORECASE
)
_FEES = ("usd_per_second", "usd_per_gb_second", "usd_per_vcpu_second")
_PER_REQUEST = ("usd_per_request", "usd_per_million_requests")


class Constraints(Strict):
    """What a plan must keep to. `budget_usd` is for the whole job, or for `workload.days` of a service."""

    deadline_hours: Positive | None = None
    budget_usd: Positive | None = None
    spot: Literal["allow", "require", "forbid"] = "allow"
    providers: list[str] = Field([])
    regions: list[str] = Field([])
    discount: Discount | None = None
    max_machines: int = Field(64, ge=1, le=100_000)
    currency: Literal["USD"] = "USD"


class Option(Strict):
    """One thing to compare. Without a price, `name` is a machine or an accelerator of the catalog."""

    name: str = Field(min_length=1, max_length=200)
    kind: Kind = "instance"
    usd_per_hour: Positive | None = None
    spot_usd_per_hour: Positive | None = None
    commit_usd_per_hour: Positive | None = None
    commit_1y_usd_per_hour: Positive | None = None
    commit_3y_usd_per_hour: Positive | None = None
    gpus: Amount | None = None
    memory_bytes: Positive | None = None
    provider: str | None = None
    region: str | None = None
    accelerator: str | None = Field(None, validation_alias=AliasChoices("accelerator", "gpu"))
    tflops: Positive | None = Field(
        None, validation_alias=AliasChoices("tflops", "peak_tflops", "dense_tflops")
    )
    interruptions_per_hour: float | None = Field(None, ge=0, le=3600)
    discount: Discount | None = None
    currency: Literal["USD"] = "USD"
    # where the work was measured on this option
    hours: Positive | None = None
    step_seconds: Positive | None = None
    items_per_second: Positive | None = None
    seconds_per_request: Positive | None = None
    # serverless fees
    usd_per_second: Positive | None = Field(
        None, validation_alias=AliasChoices("usd_per_second", "usd_per_gpu_second", "usd_per_gpu_s")
    )
    usd_per_gb_second: Positive | None = Field(
        None, validation_alias=AliasChoices("usd_per_gb_second", "usd_per_gib_second", "usd_per_gb_s")
    )
    usd_per_vcpu_second: Positive | None = None
    vcpus: Positive | None = None
    usd_per_request: Amount | None = None
    usd_per_million_requests: Amount | None = None
    min_seconds: Amount = 0.0
    free_gb_seconds_per_month: Amount | None = None
    free_requests_per_month: Amount | None = None
    free_tier: bool = False
    # own hardware, where usd_per_hour is not known
    watts: Positive | None = None
    usd_per_kwh: Amount | None = None
    purchase_usd: Amount | None = None
    lifetime_hours: Positive | None = None

    @model_validator(mode="after")
    def _priced_in_one_way(self) -> "Option":
        fees = [name for name in (*_FEES, *_PER_REQUEST) if getattr(self, name) is not None]
        if fees and self.kind != "serverless":
            raise ValueError(f"{fees[0]} is a serverless fee: set kind to 'serverless'")
        if self.kind == "serverless" and not fees and self.usd_per_hour is None:
            raise ValueError(
                f"a serverless option needs one of {', '.join((*_FEES, *_PER_REQUEST))}, or usd_per_hour while it runs"
            )
        if self.gpus is not None and self.gpus > 1 and not float(self.gpus).is_integer():
            raise ValueError(
                f"gpus is {self.gpus:g}: a whole number, or a fraction below 1 for a slice of a card"
            )
        if self.kind == "own" and self.hourly is None:
            raise ValueError(
                "own hardware needs usd_per_hour, or watts with usd_per_kwh, or purchase_usd with lifetime_hours"
            )
        return self

    @property
    def any_price(self) -> bool:
        return any(
            getattr(self, name) is not None
            for name in ("usd_per_hour", "spot_usd_per_hour", "commit_usd_per_hour", *_FEES, *_PER_REQUEST)
        )

    @property
    def hourly(self) -> float | None:
        """Dollars an hour; for own hardware electricity plus depreciation."""
        if self.usd_per_hour is not None or self.kind != "own":
            return self.usd_per_hour
        power = (self.watts or 0) / 1000 * self.usd_per_kwh if self.usd_per_kwh is not None else 0.0
        wear = self.purchase_usd / self.lifetime_hours if self.purchase_usd and self.lifetime_hours else 0.0
        return power + wear or None


@dataclass(frozen=True, slots=True)
class Fees:
    """What a serverless platform bills; `per_second` is for one instance of the whole size."""

    per_second: float
    per_gb_second: float
    per_request: float
    min_seconds: float
    free_gb_seconds: float | None
    free_requests: float | None
    apply_free_tier: bool

    @property
    def bills_idle(self) -> bool:
        """Billed from start to idle end; a price for GB-seconds alone is for handling requests only."""
        return self.per_second > 0


@dataclass(frozen=True, slots=True)
class Choice:
    """An option in one form. `as_of` is None for prices that the caller states."""

    name: str
    kind: Kind
    on_demand: float | None
    spot: float | None
    commits: tuple[tuple[str, float], ...]
    gpus: float | None
    memory_bytes: float | None
    accelerator: str | None = None
    tflops: float | None = None
    provider: str | None = None
    region: str | None = None
    machine: str | None = None
    vcpus: float | None = None
    interruptions_per_hour: float | None = None
    reclaimed_per_month: str | None = None
    fees: Fees | None = None
    as_of: date | None = None
    spot_as_of: date | None = None
    spot_method: str | None = None
    source: str = "stated by the caller"
    measured: tuple[tuple[str, float], ...] = ()  # figures of the workload that hold for this option
    watts: float | None = None  # of own hardware, at work
    searched: bool = False  # found by its size alone: nobody says that the work runs as fast on it


def own_choice(option: Option, constraints: Constraints) -> Choice:
    """The caller's own prices, after the discount."""
    rest = 1 - (option.discount or constraints.discount or 0.0)
    commits: tuple[tuple[str, float | None], ...] = (
        ("commitment", option.commit_usd_per_hour),
        ("1-year commitment", option.commit_1y_usd_per_hour),
        ("3-year commitment", option.commit_3y_usd_per_hour),
    )
    on_demand = option.hourly
    if option.kind == "instance" and _COMMITMENT.search(option.name):  # its price is one for a commitment
        commits, on_demand = (*commits, (option.name, on_demand)), None
    return Choice(
        name=option.name,
        kind=option.kind,
        on_demand=_times(on_demand, rest),
        spot=_times(option.spot_usd_per_hour, rest),
        commits=tuple((label, price * rest) for label, price in commits if price is not None),
        gpus=option.gpus,
        memory_bytes=option.memory_bytes,
        accelerator=option.accelerator,
        tflops=option.tflops,
        provider=option.provider,
        region=option.region,
        machine=option.name,
        vcpus=option.vcpus,
        interruptions_per_hour=option.interruptions_per_hour,
        fees=_fees(option, rest) if option.kind == "serverless" else None,
        measured=measured_on(option),
        watts=option.watts if option.kind == "own" else None,
    )


def measured_on(option: Option) -> tuple[tuple[str, float], ...]:
    """The figures of the workload that an option states for itself."""
    names = ("hours", "step_seconds", "items_per_second", "seconds_per_request")
    return tuple((name, getattr(option, name)) for name in names if getattr(option, name) is not None)


def catalog_choice(offer: Offer, constraints: Constraints, *, searched: bool = False) -> Choice:
    """A catalog row, after the discount."""
    rest = 1 - (constraints.discount or 0.0)
    machine = offer.machine
    commits = (
        ("1-year commitment", offer.commit_1y_usd_per_hour),
        ("3-year commitment", offer.commit_3y_usd_per_hour),
    )
    return Choice(
        name=offer.label,
        kind="instance",
        on_demand=offer.on_demand_usd_per_hour * rest,
        spot=_times(offer.spot_usd_per_hour, rest),
        commits=tuple((label, price * rest) for label, price in commits if price is not None),
        gpus=machine.accelerator_count or None,
        memory_bytes=machine.gpu_memory_bytes if machine.accelerator else machine.ram_bytes,
        accelerator=machine.accelerator,
        provider=machine.provider,
        region=offer.region or None,
        machine=machine.name,
        vcpus=machine.vcpus,
        reclaimed_per_month=offer.reclaimed_per_month,
        as_of=offer.source.as_of,
        spot_as_of=offer.source.spot_as_of,
        spot_method=offer.source.spot_method,
        source=offer.source.name,
        searched=searched,
    )


def _fees(option: Option, rest: float) -> Fees:
    hourly = (option.usd_per_hour or 0.0) / 3600
    per_second = (option.usd_per_second or 0.0) * max(option.gpus or 1.0, 1.0) + hourly
    per_second += (option.usd_per_vcpu_second or 0.0) * (option.vcpus or 1.0)
    per_request = (option.usd_per_request or 0.0) + (option.usd_per_million_requests or 0.0) / 1e6
    return Fees(
        per_second=per_second * rest,
        per_gb_second=(option.usd_per_gb_second or 0.0) * rest,
        per_request=per_request * rest,
        min_seconds=option.min_seconds,
        free_gb_seconds=option.free_gb_seconds_per_month,
        free_requests=option.free_requests_per_month,
        apply_free_tier=option.free_tier,
    )


def _times(price: float | None, factor: float) -> float | None:
    return None if price is None else price * factor


def billed_gb(memory_bytes: float) -> float:
    """Memory in the platform's GB (1024 MB); whole decimal megabytes are read as the MB that the platform sells."""
    if memory_bytes % 10**6 == 0 and memory_bytes % 2**20 != 0:
        return memory_bytes / 1e9
    return memory_bytes / BILLED_GB
