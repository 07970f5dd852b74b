"""Which settings forecast short open panels best: `python benchmarks/series_settings.py MODEL [DATA]`

MODEL is dlinear or lightgbm. Thirteen panels: 80 random series of five sets, cut to 60 and to 110 points; ETTh1, 400
steps from either end; 200 short monthly series. Three origins each, no augmentation. One row a setting, with MASE over
that of the seasonal naive as geometric mean over the panels. Writes benchmarks/results/series_settings.csv.
"""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optimizing_resources.tools.compare_baselines.folds import Fold, roll
from optimizing_resources.tools.compare_baselines.metrics import score
from optimizing_resources.tools.compare_baselines.models import boosted, dlinear
from optimizing_resources.tools.compare_baselines.models.forecast import Task
from optimizing_resources.tools.compare_baselines.models.local import seasonal_naive
from optimizing_resources.tools.compare_baselines.panel import Line
from series_accuracy import PUBLISHED, ROOT, short_monthly

TARGET = Path(__file__).with_name("results") / "series_settings.csv"
WINDOWS = {"season": (1, 0), "season or horizon": (1, 1), "two seasons or horizon": (2, 1)}
BOOSTING: dict[str, dict[str, Any]] = {
    "library's": {"learning_rate": 0.1, "num_leaves": 31},
    "rate 0.03": {"learning_rate": 0.03, "num_leaves": 31},
    "8 leaves": {"learning_rate": 0.1, "num_leaves": 8},
    "8 leaves, rate 0.05": {"learning_rate": 0.05, "num_leaves": 8},
    "8 leaves, rate 0.03": {"learning_rate": 0.03, "num_leaves": 8},
    "8 leaves, rate 0.02": {"learning_rate": 0.02, "num_leaves": 8},
}


def panels(data: Path) -> dict[str, tuple[list[Fold], int, int]]:
    """Folds, horizon and season of each."""
    found = {"short monthly": _panel(short_monthly(data), 18, 12)}
    wide = pd.read_parquet(data / "etth1_wide.parquet").drop(columns="date").reset_index(names="t")
    long = wide.melt("t", var_name="unique_id", value_name="y")
    found["etth1 first"], found["etth1 last"] = (
        _panel(part, 24, 24) for part in (long[long["t"] < 400], long[long["t"] >= len(wide) - 400])
    )
    for name in ("m3_monthly", "tourism_monthly", "tourism_quarterly", "hospital", "au_tourism_hier"):
        horizon, season, _ = PUBLISHED.get(name, (8, 4, None))
        table = pd.read_parquet(data / f"{name}.parquet")
        if "unique_id" not in table:
            table["unique_id"] = table[["Region", "State", "Purpose"]].astype(str).agg("/".join, axis=1)
            table["y"] = table["Trips"]
        table["unique_id"] = table["unique_id"].astype(str)
        ids = np.random.default_rng(0).choice(table["unique_id"].unique(), 80, replace=False)
        table = table[table["unique_id"].isin(ids)]
        for points in (60, 110):
            found[f"{name} {points}"] = _panel(table.groupby("unique_id").tail(points), horizon, season)
    return found


def _panel(table: pd.DataFrame, horizon: int, season: int) -> tuple[list[Fold], int, int]:
    lines = [Line(str(i), g["y"].to_numpy(float), None) for i, g in table.groupby("unique_id")]
    return roll(lines, horizon, season, 3), horizon, season


def settings(model: str) -> dict[str, Any]:
    """Each setting as a function that puts it into place."""
    if model == "lightgbm":
        before = dict(boosted.BOOSTING)
        return {name: lambda own=own: boosted.BOOSTING.update(before | own) for name, own in BOOSTING.items()}

    def put(rate: float, seasons: int, horizons: int) -> None:
        dlinear.RATE = rate
        dlinear.wanted = lambda task: max(seasons * task.season, horizons * task.horizon)

    return {
        f"window of a {name}, rate {rate}": lambda rate=rate, w=w: put(rate, *w)
        for name, w in WINDOWS.items()
        for rate in (0.001, 0.002, 0.005)
    }


def mase(run: Any, folds: list[Fold], horizon: int, season: int) -> float:
    """Mean over series of all folds."""
    scores = [score(f, run(Task(f.train, horizon, season)), season)["mase"] for f in folds]
    return float(np.nanmean(np.concatenate(scores)))


def main() -> None:
    """One model."""
    model = sys.argv[1]
    data = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT.parent / "shared/data/series"
    if not data.is_dir():
        sys.exit(f"no data at {data}; see the docstring")
    found = panels(data)
    naive = {name: mase(seasonal_naive, *one) for name, one in found.items()}
    run = {"dlinear": dlinear.dlinear, "lightgbm": boosted.lightgbm}[model]
    rows = []
    for setting, put in settings(model).items():
        put()
        ratios = {name: mase(run, *one) / naive[name] for name, one in found.items()}
        mean = float(np.exp(np.mean(np.log([*ratios.values()]))))
        rows.append(
            {"model": model, "setting": setting, "all": f"{mean:.4f}"}
            | {k: f"{v:.3f}" for k, v in ratios.items()}
        )
        print(rows[-1], flush=True)
    old = list(csv.DictReader(TARGET.open(encoding="utf-8"))) if TARGET.exists() else []
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, rows[0], lineterminator="\n")
        out.writeheader()
        out.writerows([r for r in old if r["model"] != model] + rows)


if __name__ == "__main__":
    main()
