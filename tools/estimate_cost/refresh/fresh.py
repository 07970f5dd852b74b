"""One price as a provider states it today."""

from dataclasses import dataclass

from ..._catalog.prices import Machine, Prices

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Fresh:
    """Like a row of the catalog; figures the source does not give are None."""

    region: str
    machine: str
    on_demand: float
    spot: float | None = None
    commit_1y: float | None = None
    commit_3y: float | None = None
    reclaimed_per_month: str | None = None
    accelerator: str | None = None
    accelerator_count: float = 0
    gpu_memory_bytes: int | None = None
    vcpus: float | None = None
    ram_bytes: int | None = None


def known(provider: str, name: str, prices: Prices) -> Machine | None:
    """What is held about a machine: itself, else the accelerator of its family (`g6.` of g6.4xlarge)."""
    exact = prices.machines.get((provider, name))
    if exact is not None:
        return exact
    family = name.split(".")[0] + "."
    kin = (m for (p, n), m in prices.machines.items() if p == provider and n.startswith(family))
    return next((m for m in kin if m.accelerator), None)


def gib_to_bytes(gib: float | str | None) -> int | None:
    """From '1,952 GiB', '16' or 16.0."""
    text = str(gib or "").replace(",", "").split()
    return round(float(text[0]) * GIB) if text else None
