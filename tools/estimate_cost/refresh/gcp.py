"""Google Cloud: the price file of the google-cloud-pricing-cost-calculator (Apache-2.0), which needs no key.

Google's own catalogue needs an API key. The file is YAML of one fixed shape, read line by line by its indentation:
compute > instance > MACHINE > cost > REGION > hour, hour_spot, month_1y, month_3y. It prices machines in regions that
do not offer them, so for a machine that is held only the regions held come through.
"""

from collections.abc import Iterator, Sequence

from ..._catalog.prices import Prices
from .fresh import Fresh
from .source import bad, read_lines

ENDPOINT = (
    "https://raw.githubusercontent.com/Cyclenerd/google-cloud-pricing-cost-calculator/master/pricing.yml"
)
_MONTH_HOURS = 730  # the file's month


def fetch(endpoint: str, regions: Sequence[str], prices: Prices) -> Iterator[Fresh]:
    """Prices of the machines that are held, on demand, spot and committed."""
    wanted = set(regions)
    seen = False
    for name, costs in _machines(read_lines(endpoint)):
        seen = True
        machine = prices.machines.get(("gcp", name))
        if machine is None:
            continue
        held = {row[1] for row in prices.rows["gcp", name]}
        for region, cost in costs.items():
            if region not in held or (wanted and region not in wanted) or "hour" not in cost:
                continue
            yield Fresh(
                region=region,
                machine=name,
                on_demand=cost["hour"],
                spot=cost.get("hour_spot") or None,
                commit_1y=cost["month_1y"] / _MONTH_HOURS if cost.get("month_1y") else None,
                commit_3y=cost["month_3y"] / _MONTH_HOURS if cost.get("month_3y") else None,
                accelerator=machine.accelerator,
                accelerator_count=machine.accelerator_count,
                gpu_memory_bytes=machine.gpu_memory_bytes,
                vcpus=machine.vcpus,
                ram_bytes=machine.ram_bytes,
            )
    if not seen:
        raise bad(endpoint, "has no compute > instance any more")


def _machines(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """Each machine with its costs by region."""
    path: list[str] = []
    name, costs = "", dict[str, dict[str, float]]()
    for line in lines:
        key, colon, value = line.strip().partition(":")
        depth = (len(line) - len(line.lstrip())) // 2
        if not colon or key.startswith("#"):
            continue
        path[depth:] = [key]
        if path[:2] != ["compute", "instance"]:
            continue
        if depth == 2:
            if costs:
                yield name, costs
            name, costs = key, {}
        elif depth == 5 and path[3] == "cost" and value.strip():
            costs.setdefault(path[4], {})[key] = float(value)
    if costs:
        yield name, costs
