"""compare_baselines on open data: `python benchmarks/series_accuracy.py [DATA]`, DATA being a folder of open sets.

published   seasonal naive against published MASE (five marked sets, official horizon, last points as test)
menu        200 short monthly series, 3 origins: time, the estimate told before, MASE of each model
held_out    20 random subsets: models and augmentation chosen before the last horizon, judged on it

Writes benchmarks/results/series_accuracy.json. Without DATA, ../shared/data/series beside the project is looked for.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optimizing_resources.tools.compare_baselines.compare_file import compare_file

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = {
    "m4_hourly": (48, 24, 1.193),
    "m3_monthly": (18, 12, 1.146),
    "tourism_monthly": (24, 12, 1.631),
    "tourism_quarterly": (8, 4, 1.699),
    "hospital": (12, 12, 0.9205),
}
ASKED: dict[str, Any] = {
    "season": None, "models": [], "augment": [], "folds": 3, "seed": 0, "max_seconds": 600.0, "id_column": None,
    "time_column": None, "target_column": "y", "label_column": None,
}  # fmt: skip


def compare(path: Path, **asked: Any) -> dict[str, Any]:
    """The engine's reply, run in this process."""
    with tempfile.TemporaryDirectory() as folder:
        request = {**ASKED, **asked, "path": str(path), "partial": f"{folder}/partial.json"}
        return compare_file(request, lambda *_: None)


def published(data: Path) -> list[dict[str, Any]]:
    """Seasonal naive on the five sets."""
    rows = []
    for name, (horizon, season, wanted) in PUBLISHED.items():
        reply = compare(
            data / f"{name}.parquet", horizon=horizon, season=season, folds=1, models=["seasonal_naive"]
        )
        rows.append({"set": name, "mase": reply["table"][0]["mase"], "published": wanted})
    return rows


def short_monthly(data: Path) -> pd.DataFrame:
    """The 200 shortest monthly series."""
    table = pd.read_parquet(data / "m3_monthly.parquet")[["unique_id", "t", "y"]].astype({"unique_id": str})
    shortest = table.groupby("unique_id").size().sort_values(kind="stable").index[:200]
    return table[table["unique_id"].isin(shortest)]


def menu(data: Path, models: list[str], folder: Path) -> dict[str, Any]:
    """Time of the models against what was expected of it."""
    path = folder / "short.parquet"
    short_monthly(data).to_parquet(path)
    started, cpu = time.perf_counter(), time.process_time()
    reply = compare(path, horizon=18, season=12, models=models)
    return {
        "models": models,
        "wall_seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "estimated_seconds": reply["estimated_seconds"],
        "run_seconds": reply["run_seconds"],
        "load": round(os.getloadavg()[0], 1),
        "mase": {r["model"]: r["mase"] for r in reply["table"]},
        "peak_rss_bytes": max(r["peak_rss_bytes"] for r in reply["table"]),
    }


def held_out(data: Path, folder: Path, trials: int = 20) -> dict[str, Any]:
    """How much worse or better the recommended augmentation is than none, on a horizon nobody saw."""
    rng = np.random.default_rng(0)
    changes = []
    for trial in range(trials):
        name = ("m3_monthly", "tourism_monthly", "tourism_quarterly", "hospital")[trial % 4]
        horizon, season, _ = PUBLISHED[name]
        table = pd.read_parquet(data / f"{name}.parquet")[["unique_id", "t", "y"]].astype({"unique_id": str})
        ids = rng.choice(table["unique_id"].unique(), 60, replace=False)
        table = table[table["unique_id"].isin(ids)]
        cut = int(rng.integers(0, season))
        table = table[table.groupby("unique_id").cumcount(ascending=False) >= cut]
        before = table[table.groupby("unique_id").cumcount(ascending=False) >= horizon]
        before.to_parquet(folder / "before.parquet")
        table.to_parquet(folder / "all.parquet")
        for model in ("dlinear", "lightgbm"):
            asked = {"horizon": horizon, "season": season, "models": [model], "seed": trial}
            changes.append({"set": name, "model": model, **_plan(folder, asked)})
            print(changes[-1], flush=True)
    worse = {
        m: sum(c["change_percent"] > 1 for c in changes if c["model"] == m) for m in ("dlinear", "lightgbm")
    }
    return {"trials": trials, "worse_by_more_than_1_percent": worse, "changes": changes}


def _plan(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The augmentation chosen before the last horizon, and what it changes there."""
    methods = ["jitter", "magnitude_warp", "moving_block_bootstrap", "mixup"]
    chosen = compare(folder / "before.parquet", augment=methods, **asked)["recommended"]["augmentation"]
    if chosen == "none":
        return {"chosen": chosen, "change_percent": 0.0}
    rows = compare(folder / "all.parquet", augment=[chosen], folds=1, **asked)["table"]
    mase = {r["augmentation"]: r["mase"] for r in rows}
    return {"chosen": chosen, "change_percent": round(100 * (mase[chosen] / mase["none"] - 1), 2)}


def main() -> None:
    """All three parts, one after the other."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data/series"
    if not data.is_dir():
        sys.exit(f"no data at {data}; see the docstring")
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"published": published(data)}
        print(found["published"], flush=True)
        cheap = ["seasonal_naive", "drift", "auto_ets", "auto_theta", "lightgbm", "dlinear"]
        found["menu"] = menu(data, cheap, Path(folder))
        print(found["menu"], flush=True)
        found["menu_with_nhits"] = menu(data, [*cheap, "nhits"], Path(folder))
        print(found["menu_with_nhits"], flush=True)
        found["held_out"] = held_out(data, Path(folder))
    target = Path(__file__).with_name("results") / "series_accuracy.json"
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
