"""Are the verdicts of compare_baselines honest, and have they power? `python benchmarks/series_verdicts.py PART [DATA]`

cells      every cell of a table of reference comparisons (baseline.csv) anew: ours beside the reference's
no_op      100 random panels and scaling, which both models undo (exact copies change nothing at all)
halves     verdicts on one half of the series against what is measured on the other half
held_out   20 random panels: augmentation chosen before the last horizon, judged on it

Each PART writes its own key of benchmarks/results/series_verdicts.json. DATA defaults to ../shared/data/series.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from series_accuracy import PUBLISHED, ROOT, compare, held_out

TARGET = Path(__file__).with_name("results") / "series_verdicts.json"
METHODS = {
    "jitter": "jitter", "scale": "scaling", "magwarp": "magnitude_warp", "mbb": "moving_block_bootstrap",
    "mixup": "mixup", "freqmask": "frequency_mask",
}  # fmt: skip
MODELS = {"DLinear": "dlinear", "LightGBM": "lightgbm"}
UNHURRIED = 36000.0  # seconds: a loaded machine must not decide which cells and draws there are
SIGN = {"helps": -1, "hurts": 1, "cannot tell": 0}


def panel_of(data: Path, name: str) -> tuple[pd.DataFrame, int, int]:
    """The panels of the reference table, as far as it says what they were."""
    if name.startswith("etth1"):
        wide = pd.read_parquet(data / "etth1_wide.parquet").tail(400).reset_index(drop=True)
        table = (
            wide.drop(columns="date").reset_index(names="t").melt("t", var_name="unique_id", value_name="y")
        )
        return table, 24, 24
    source = "m3_monthly" if name.startswith("m3") else "tourism_quarterly"
    table = pd.read_parquet(data / f"{source}.parquet")[["unique_id", "t", "y"]].astype({"unique_id": str})
    size = table.groupby("unique_id", sort=source == "m3_monthly").size()  # tourism in the order of the file
    if source == "m3_monthly":
        return table[table["unique_id"].isin(size.sort_values(kind="stable").index[:200])], 18, 12
    chosen = table[table["unique_id"].isin(size[size >= 40].index[:150])]
    return chosen.groupby("unique_id").tail(40), 8, 4


def cells(data: Path, folder: Path) -> dict[str, Any]:
    """Each reference cell with our difference, interval and verdict."""
    with (data / "baseline.csv").open(encoding="utf-8") as file:
        wanted = [r for r in csv.DictReader(file) if r["dMASE_pct"]]
    rows = []
    for name in dict.fromkeys(r["dataset"] for r in wanted):
        table, horizon, season = panel_of(data, name)
        table.to_parquet(folder / "in.parquet")
        for model, ours in MODELS.items():
            asked = {
                m: METHODS[m]
                for m in [r["aug"] for r in wanted if r["dataset"] == name and r["model"] == model]
            }
            reply = compare(
                folder / "in.parquet", horizon=horizon, season=season, models=[ours], augment=[*asked.values()],
                max_seconds=UNHURRIED,
            )  # fmt: skip
            found = {v["augmentation"]: v for v in reply["verdict"]}
            for row in (r for r in wanted if r["dataset"] == name and r["model"] == model):
                low, high = float(row["ci_lo"]), float(row["ci_hi"])
                own = found[asked[row["aug"]]]
                rows.append(
                    {
                        "set": name, "model": ours, "method": own["augmentation"],
                        "reference": [float(row["dMASE_pct"]), low, high],
                        "reference_sign": 1 if low > 0 else -1 if high < 0 else 0,
                        "ours": [own["difference"], *own["interval"]], "verdict": own["verdict"],
                        "elsewhere": own["elsewhere"],
                    }
                )  # fmt: skip
                print(rows[-1], flush=True)
    clear = [r for r in rows if r["reference_sign"]]
    signs = [r["reference_sign"] * SIGN[r["verdict"]] for r in clear]
    same = sum(r["reference_sign"] * r["ours"][0] > 0 for r in clear)
    return {
        "clear_cells": len(clear), "same_verdict": signs.count(1), "opposite_verdict": signs.count(-1),
        "same_sign_of_difference": same, "rows": rows,
    }  # fmt: skip


def draw_panel(data: Path, trial: int, series: int) -> tuple[pd.DataFrame, int, int]:
    """Random series of an open set, cut at a random point."""
    rng = np.random.default_rng(trial)
    name = ("m3_monthly", "tourism_monthly", "tourism_quarterly", "hospital")[trial % 4]
    horizon, season, _ = PUBLISHED[name]
    table = pd.read_parquet(data / f"{name}.parquet")[["unique_id", "t", "y"]].astype({"unique_id": str})
    table = table[table["unique_id"].isin(rng.choice(table["unique_id"].unique(), series, replace=False))]
    cut = int(rng.integers(0, season))
    table = table[table.groupby("unique_id").cumcount(ascending=False) >= cut]
    return table.groupby("unique_id").tail(72), horizon, season


def no_op(data: Path, folder: Path, trials: int = 100) -> dict[str, Any]:
    """How often nothing is called a help."""
    counts: dict[str, dict[str, int]] = {}
    for trial in range(trials):
        table, horizon, season = draw_panel(data, trial, 20)
        table.to_parquet(folder / "in.parquet")
        reply = compare(
            folder / "in.parquet", horizon=horizon, season=season, models=["dlinear", "lightgbm"],
            augment=["scaling"], seed=trial, max_seconds=UNHURRIED,
        )  # fmt: skip
        for v in reply["verdict"]:
            one = counts.setdefault(f"{v['model']}+{v['augmentation']}", dict.fromkeys(SIGN, 0))
            one[v["verdict"]] += 1
        if trial % 5 == 4:
            print(trial + 1, counts, flush=True)
    return {"trials": trials, **counts}


def halves(data: Path, folder: Path, trials: int = 12) -> dict[str, Any]:
    """Clear verdicts on half of the series, and whether the other half moves the same way."""
    rows = []
    for trial in range(trials):
        table, horizon, season = draw_panel(data, 1000 + trial, 120)
        ids = sorted(table["unique_id"].unique())
        replies = []
        for part in (ids[::2], ids[1::2]):
            table[table["unique_id"].isin(part)].to_parquet(folder / "in.parquet")
            asked = {"horizon": horizon, "season": season, "augment": list(METHODS.values()), "seed": trial}
            reply = compare(
                folder / "in.parquet", models=["dlinear", "lightgbm"], max_seconds=UNHURRIED, **asked
            )
            replies.append({(v["model"], v["augmentation"]): v for v in reply["verdict"]})
        for key, one in replies[0].items():
            if key in replies[1]:
                other = replies[1][key]
                rows.append([*key, one["verdict"], one["difference"], other["verdict"], other["difference"]])
        print(trial, len(rows), flush=True)
    pairs = [(r[2], r[5]) for r in rows] + [(r[4], r[3]) for r in rows]
    clear = [(v, d) for v, d in pairs if SIGN[v]]
    return {
        "clear": len(clear), "other_half_same_sign": sum(SIGN[v] * d > 0 for v, d in clear),
        "of": len(pairs), "opposite_clear": sum(SIGN[r[2]] * SIGN[r[4]] < 0 for r in rows), "rows": rows,
    }  # fmt: skip


PARTS = {"cells": cells, "no_op": no_op, "halves": halves, "held_out": held_out}


def main() -> None:
    """One part."""
    part = sys.argv[1]
    data = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT.parent / "shared/data/series"
    if not data.is_dir():
        sys.exit(f"no data at {data}; see the docstring")
    with tempfile.TemporaryDirectory() as folder:
        found = PARTS[part](data, Path(folder))
    known = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    TARGET.write_text(json.dumps({**known, part: found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
