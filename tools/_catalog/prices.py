"""Prices of rented machines: one Offer per provider, region and machine, each with its date and its source.

What is not held is not here: a machine without a price in a region has no Offer there. `held` reads newer tables from
a folder (PROVIDER.csv with REFRESHED_COLUMNS), each in the place of that provider's shipped rows.
"""

import csv
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

_FOLDER = Path(__file__).parent
OLD_AFTER_DAYS = 365  # references/cost.md#bands: from here on a price is shown only when it is asked for

SpotMethod = Literal["list", "derived"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a price is from. `spot_as_of` is its own date: a derived spot price can be a year older."""

    name: str
    as_of: date
    spot_as_of: date | None
    spot_method: SpotMethod | None
    text: str
    licence: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What one hour buys. `accelerator_count` may be a fraction; None where the figure is not known."""

    provider: str
    name: str
    accelerator: str | None
    accelerator_count: float
    gpu_memory_bytes: int | None
    vcpus: float | None
    ram_bytes: int | None


@dataclass(frozen=True, slots=True)
class Offer:
    machine: Machine
    region: str
    on_demand_usd_per_hour: float
    spot_usd_per_hour: float | None
    commit_1y_usd_per_hour: float | None
    commit_3y_usd_per_hour: float | None
    reclaimed_per_month: str | None
    source: Source

    @property
    def label(self) -> str:
        return " ".join(part for part in (self.machine.provider, self.region, self.machine.name) if part)


@dataclass(frozen=True)
class Prices:
    """The whole table, as text rows by (provider, machine); Offers are made only for what a query keeps, once."""

    machines: dict[tuple[str, str], Machine]
    rows: dict[tuple[str, str], list[list[str]]]
    sources: dict[str, Source]
    _made: dict[tuple[str, str], list[Offer]] = field(default_factory=dict, compare=False, repr=False)

    def offers(
        self,
        keep: Callable[[Machine], bool] = lambda machine: True,
        *,
        providers: Iterable[str] = (),
        regions: Iterable[str] = (),
    ) -> Iterator[Offer]:
        """Offers of the machines that `keep` accepts, in the named providers and regions (empty: in all)."""
        return self.offers_of(filter(keep, self.machines.values()), providers=providers, regions=regions)

    def offers_of(
        self, machines: Iterable[Machine], *, providers: Iterable[str] = (), regions: Iterable[str] = ()
    ) -> Iterator[Offer]:
        """The same for machines at hand."""
        wanted, places = set(providers), set(regions)
        for machine in machines:
            if wanted and machine.provider not in wanted:
                continue
            key = machine.provider, machine.name
            if (made := self._made.get(key)) is None:
                made = self._made[key] = [self._offer(machine, row) for row in self.rows[key]]
            yield from (offer for offer in made if not places or offer.region in places)

    def named(self, name: str) -> list[Machine]:
        """The machines of this exact name (case aside) at any provider."""
        return self._by_name.get(name.casefold(), [])

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Machine]]:
        index: dict[str, list[Machine]] = {}
        for machine in self.machines.values():
            index.setdefault(machine.name.casefold(), []).append(machine)
        return index

    @property
    def providers(self) -> list[str]:
        return sorted({provider for provider, _ in self.machines})

    @functools.cached_property
    def regions(self) -> set[str]:
        return {row[1] for rows in self.rows.values() for row in rows if row[1]}

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def _offer(self, machine: Machine, row: list[str]) -> Offer:
        return Offer(
            machine,
            row[1],
            float(row[3]),
            _number(row[4]),
            _number(row[5]),
            _number(row[6]),
            row[7] or None,
            self.sources[row[8]],
        )


@functools.cache
def shipped() -> Prices:
    """The prices that come with the package."""
    sources = {row[0]: _source(row) for row in _table(_FOLDER / "price_sources.csv")}
    machines = {(row[0], row[1]): _machine(row) for row in _table(_FOLDER / "machines.csv")}
    rows: dict[tuple[str, str], list[list[str]]] = {key: [] for key in machines}
    for row in _table(_FOLDER / "prices.csv"):
        rows[row[0], row[2]].append(row)
    return Prices(machines, rows, sources)


REFRESHED_COLUMNS = (
    "region",
    "machine",
    "accelerator",
    "accelerator_count",
    "gpu_memory_bytes",
    "vcpus",
    "ram_bytes",
    "on_demand_usd_per_hour",
    "spot_usd_per_hour",
    "commit_1y_usd_per_hour",
    "commit_3y_usd_per_hour",
    "reclaimed_per_month",
    "as_of",
    "spot_as_of",
    "spot_method",
    "licence",
    "source",
)


def held(folder: Path) -> Prices:
    """The shipped prices, or for each provider with a table in `folder` that table instead."""
    tables = sorted(folder.glob("*.csv")) if folder.is_dir() else []
    return _with(tuple((path, path.stat().st_mtime_ns) for path in tables)) if tables else shipped()


@functools.lru_cache(maxsize=4)
def _with(tables: tuple[tuple[Path, int], ...]) -> Prices:
    fresh = {path.stem for path, _ in tables}
    base = shipped()
    machines = {key: machine for key, machine in base.machines.items() if key[0] not in fresh}
    rows = {key: base.rows[key] for key in machines}
    sources = dict(base.sources)
    for path, _ in tables:
        _add(path, machines, rows, sources)
    return Prices(machines, rows, sources)


def _add(
    path: Path,
    machines: dict[tuple[str, str], Machine],
    rows: dict[tuple[str, str], list[list[str]]],
    sources: dict[str, Source],
) -> None:
    """One refreshed table: a source for each pair of dates in it."""
    provider = path.stem
    for row in _table(path):
        region, name, *specs = row[:7]
        as_of, spot_as_of, method, licence, text = row[12:]
        source = f"{provider}-{as_of}" + (f"-spot-{spot_as_of}" if spot_as_of else "")
        if source not in sources:
            sources[source] = _source([source, as_of, spot_as_of, method, licence, text])
        machines[provider, name] = _machine([provider, name, *specs])
        rows.setdefault((provider, name), []).append([provider, region, name, *row[7:12], source])


def _table(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        yield from rows


def _source(row: list[str]) -> Source:
    name, as_of, spot_as_of, method, licence, text = row
    spot_date = date.fromisoformat(spot_as_of) if spot_as_of else None
    spot_method: SpotMethod | None = {"list": "list", "derived": "derived"}.get(method)  # type: ignore[assignment]
    return Source(name, date.fromisoformat(as_of), spot_date, spot_method, text, licence)


def _machine(row: list[str]) -> Machine:
    provider, name, accelerator, count, memory, vcpus, ram = row
    return Machine(
        provider, name, accelerator or None, float(count or 0), _whole(memory), _number(vcpus), _whole(ram)
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if text else None
