"""`prices`: what is held and how old it is, and newer prices from the providers."""

from collections import Counter
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .._catalog.prices import Offer, Prices, held
from .._core.contract import Report, Request, ToolError, command, current_call
from .bands import is_old, price_band
from .names import machines_named, unknown_machine
from .tables import price_folder


class PricesRequest(Request):
    words: list[str] = Field([], description="show [MACHINE or GPU ...], or refresh [PROVIDER ...].")
    regions: list[str] = Field([], description="Only these regions; refresh needs them for aws and azure.")
    limit: int = Field(20, gt=0, le=10_000, description="Most offers to show.")
    endpoint: str | None = Field(None, description="Another address of the same shape, for one provider.")


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShownOffer(_Row):
    name: str
    accelerator: str | None
    count: float
    usd_per_hour: float
    spot_usd_per_hour: float | None
    spot_low_usd: float | None
    spot_high_usd: float | None
    age_days: int
    spot_age_days: int | None
    source: str


class ShownProvider(_Row):
    provider: str
    offers: int
    regions: int
    oldest: date
    newest: date


class Refreshed(_Row):
    provider: str
    outcome: Literal["replaced", "kept"]
    rows: int = 0
    rows_from_before: int = 0
    without_price: int = 0
    held_back: list[str] = []
    why: str = ""


class PricesReport(Report):
    offers: list[ShownOffer] = Field([], description="Cheapest first.")
    matching: int = 0
    providers: list[ShownProvider] = Field([])
    refreshed: list[Refreshed] = Field([])
    sources: dict[str, str] = Field({})

    def readable(self) -> str:
        lines = [_offer_line(one) for one in self.offers]
        if self.matching > len(self.offers):
            lines.append(f"... {self.matching - len(self.offers)} more (--limit)")
        lines += [
            f"{one.provider:14} {one.offers:6} offers in {one.regions or 'unnamed'} regions, prices of {one.oldest}"
            + (f" to {one.newest}" if one.newest != one.oldest else "")
            for one in self.providers
        ]
        lines += [_refreshed_line(one) for one in self.refreshed]
        return "\n".join([*lines, *(f"source {name}: {text}" for name, text in self.sources.items())])


def _offer_line(one: ShownOffer) -> str:
    spot = ""
    if one.spot_usd_per_hour is not None:
        band = f"{one.spot_low_usd:.4f}-{one.spot_high_usd:.4f}"
        spot = f"  spot {one.spot_usd_per_hour:.4f} ({band}, {one.spot_age_days} days old)"
    card = f"{one.count:g} x {one.accelerator}" if one.accelerator else "CPU"
    return f"{one.name:48} {card:18} {one.usd_per_hour:10.4f} USD/h ({one.age_days} days old){spot}"


def _refreshed_line(one: Refreshed) -> str:
    if one.outcome == "kept":
        return f"{one.provider}: kept the prices held. {one.why}"
    back = f"; held back: {', '.join(one.held_back)}" if one.held_back else ""
    return (
        f"{one.provider}: {one.rows} prices of today, {one.rows_from_before} from before, "
        f"{one.without_price} without a price left out{back}"
    )


@command("words")
def prices(request: PricesRequest) -> PricesReport:
    """Show the prices held and their age, or fetch newer ones: `prices show A100`, `prices refresh aws`.

    Refreshed tables are kept in this workspace. A source that does not look right changes nothing, and says why.
    """
    table = held(price_folder(current_call().workspace))
    action, *names = request.words or ["show"]
    if action == "refresh":
        return _refresh(names, request, table)
    if action != "show":  # `prices A100` is meant as `prices show A100`
        names = request.words
    return _show(names, request, table) if names or request.regions else _summary(table)


def _show(names: list[str], request: PricesRequest, table: Prices) -> PricesReport:
    unknown = [region for region in request.regions if region not in table.regions]
    if unknown:
        raise ToolError("No prices are held for this region", saw=unknown[0],
                        try_next=f"one of {', '.join(sorted(table.regions))}")  # fmt: skip
    offers: list[Offer] = []
    for name in names or [""]:
        machines, place = machines_named(name, table) if name else (list(table.machines.values()), [])
        if not machines:
            raise unknown_machine(name, table)
        found = list(table.offers_of(machines, regions=place or request.regions))
        if not found:
            raise ToolError(f"No price for {name} there", saw=", ".join(place or request.regions),
                            try_next=f"prices show {name}, to see where one is held")  # fmt: skip
        offers += found
    today = date.today()
    offers.sort(key=lambda o: (is_old(o.source.as_of, today), o.on_demand_usd_per_hour, o.label))
    shown = [_shown(offer, today) for offer in offers[: request.limit]]
    sources = {o.source.name: f"{o.source.text}; {o.source.licence}" for o in offers[: request.limit]}
    return PricesReport(offers=shown, matching=len(offers), sources=sources)


def _shown(offer: Offer, today: date) -> ShownOffer:
    source, spot = offer.source, offer.spot_usd_per_hour
    low, high = price_band(source.spot_as_of, today, derived=source.spot_method == "derived")
    return ShownOffer(
        name=offer.label,
        accelerator=offer.machine.accelerator,
        count=offer.machine.accelerator_count,
        usd_per_hour=offer.on_demand_usd_per_hour,
        spot_usd_per_hour=spot,
        spot_low_usd=None if spot is None else spot * low,
        spot_high_usd=None if spot is None else spot * high,
        age_days=(today - source.as_of).days,
        spot_age_days=(today - source.spot_as_of).days if spot is not None and source.spot_as_of else None,
        source=source.name,
    )


def _summary(table: Prices) -> PricesReport:
    offers = list(table.offers())
    counts = Counter(offer.machine.provider for offer in offers)
    providers = []
    for provider, count in counts.most_common():
        mine = [offer for offer in offers if offer.machine.provider == provider]
        dates = [offer.source.as_of for offer in mine]
        regions = len({offer.region for offer in mine if offer.region})
        providers.append(
            ShownProvider(
                provider=provider, offers=count, regions=regions, oldest=min(dates), newest=max(dates)
            )
        )
    return PricesReport(providers=providers)


def _refresh(names: list[str], request: PricesRequest, table: Prices) -> PricesReport:
    from .refresh import PROVIDERS  # urllib with ssl: 0.1 s

    names = names or [name for name, one in PROVIDERS.items() if not one.by_region and name != "lambda"]
    if unknown := [name for name in names if name not in PROVIDERS]:
        raise ToolError(
            "No source for this provider", saw=unknown[0], try_next=f"one of {', '.join(PROVIDERS)}"
        )
    if request.endpoint and len(names) != 1:
        raise ToolError("An endpoint is for one provider", saw=", ".join(names), try_next="one name")
    if needy := [name for name in names if PROVIDERS[name].by_region and not request.regions]:
        held_regions = sorted({offer.region for offer in table.offers(providers=needy[:1])})
        raise ToolError(
            f"{needy[0]} is refreshed by region",
            try_next=f"--regions with regions of {needy[0]}; held are {', '.join(held_regions)}",
        )
    return PricesReport(refreshed=[_refreshed(name, request, table) for name in names])


def _refreshed(name: str, request: PricesRequest, table: Prices) -> Refreshed:
    """One provider: replaced whole, or kept with the reason."""
    from .refresh import PROVIDERS, judge, store  # as above

    provider = PROVIDERS[name]
    endpoint = request.endpoint or provider.endpoint
    folder = current_call().workspace.artifacts() / "prices"
    try:
        judged = judge.judge(provider.read(endpoint, request.regions, table), name, table)
    except ToolError as refusal:
        return Refreshed(provider=name, outcome="kept", why=str(refusal))
    before = store.save(folder, name, judged, table, source=endpoint, method=provider.spot_method)
    back = [
        f"{machine} {region} ({ratio:.3g}-fold)".strip()
        for (region, machine), ratio in judged.held_back.items()
    ]
    return Refreshed(
        provider=name,
        outcome="replaced",
        rows=len(judged.rows),
        rows_from_before=before,
        without_price=judged.without_price,
        held_back=back,
    )
