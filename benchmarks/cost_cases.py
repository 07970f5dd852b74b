"""How near estimate_cost comes to worked cases and to price facts of other sources.

    .venv/bin/python benchmarks/cost_cases.py

Reads ../shared/data/cost where it is present; the prices of the cases are frozen in them, those of the facts come from
the catalog. Prints one line a figure and writes benchmarks/results/cost_cases.json.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.estimate_cost import EstimateCostReport, EstimateCostRequest, estimate_cost

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "cost"
RESULTS = ROOT / "benchmarks" / "results" / "cost_cases.json"
GIB = 1024**3


def ask(
    workload: dict[str, Any], options: list[dict[str, Any]] | None = None, **constraints: Any
) -> EstimateCostReport:
    asked = {"workload": workload, "options": options, "constraints": constraints or None}
    return estimate_cost(EstimateCostRequest.model_validate(asked))


def checkpoint(case: dict[str, Any]) -> dict[str, float]:
    return {
        "interval_seconds": case["ckpt_interval_min"] * 60,
        "write_seconds": case.get("ckpt_cost_min", 0) * 60,
        "restart_seconds": case["restart_min"] * 60,
    }


def c01(case: dict[str, Any]) -> dict[str, Any]:
    work = {"kind": "training", "hours": case["work_h"], "gpus": 1, "checkpoint": checkpoint(case),
            "interruptions_per_hour": case["interruptions_per_h"]}  # fmt: skip
    report = ask(
        work, [{"name": case["instance"], "usd_per_hour": case["od"], "spot_usd_per_hour": case["spot"]}]
    )
    plans = {plan.purchase: plan for plan in report.plans}
    spot = plans["spot"]
    return {
        "on_demand_usd": plans["on_demand"].expected_usd,
        "spot_usd": spot.expected_usd,
        "wall_h": (spot.wall_seconds or 0) / 3600,
        "interruptions": spot.expected_interruptions,
        "saving_pct": 100 * (spot.saving_ratio or 0),
        "decision": report.decision,
    }


def c04(case: dict[str, Any]) -> dict[str, Any]:
    work = {"kind": "inference", "requests_per_day": case["req_day"], "seconds_per_request": case["ms"] / 1000,
            "memory_bytes": case["mem_gb"] * GIB, "days": case["days"]}  # fmt: skip
    paid = {"name": "serverless", "kind": "serverless", "usd_per_gb_second": case["lambda_gb_s"],
            "usd_per_million_requests": case["lambda_per_m"]}  # fmt: skip
    report = ask(work, [paid, {"name": case["always_on"], "usd_per_hour": case["od"]}])
    plans = {plan.name: plan for plan in report.plans}
    return {
        "serverless_usd": plans["serverless"].expected_usd,
        "always_on_usd": plans[case["always_on"]].expected_usd,
        "serverless_with_free_tier_usd": plans["serverless"].with_free_tier_usd,
        "decision": report.decision,
    }


def c06(case: dict[str, Any]) -> dict[str, Any]:
    work = {"kind": "batch", "items_per_day": case["items"], "items_per_second": case["items_per_s"],
            "checkpoint": checkpoint(case), "interruptions_per_hour": case["interruptions_per_h"]}  # fmt: skip
    machine = {"name": "T4 machine", "usd_per_hour": case["od"], "spot_usd_per_hour": case["spot"]}
    paid = {"name": "serverless", "kind": "serverless", "usd_per_second": case["serverless_t4_gpu_s"]}
    report = ask(work, [machine, paid])
    found = {plan.name.removeprefix("T4 machine "): plan.expected_usd for plan in report.plans}
    return {
        "spot_batch": found["spot batch"],
        "od_batch": found["on-demand batch"],
        "serverless": found["serverless"],
        "always_on": found["always on"],
        "decision": report.decision,
    }


def c10(case: dict[str, Any]) -> dict[str, Any]:
    options = [
        {"name": "scale_to_zero", "kind": "serverless", "usd_per_second": case["gpu_s"]},
        {"name": "always_on", "usd_per_hour": case["always_on_usd_h"]},
    ]
    found: dict[str, Any] = {}
    for shape in case["shapes"]:
        work = {"kind": "inference", "requests_per_day": case["req_day"], "seconds_per_request": case["service_s"],
                "cold_start_seconds": case["cold_start_s"], "idle_seconds": case["idle_window_s"],
                "arrival": shape}  # fmt: skip
        report = ask(work, options)
        plans = {plan.name: plan for plan in report.plans}
        word = "even" if shape == "even" else "bursty"
        found[f"{word}_day"] = plans["scale_to_zero"].usd_per_day
        found["always_on_day"] = plans["always_on"].usd_per_day
        found[f"{word} decision"] = report.decision
        found[f"{word} ties"] = [name for name, plan in plans.items() if plan.tie]
    return found


def cases() -> dict[str, Any]:
    asked = {"C01": c01, "C04": c04, "C06": c06, "C10": c10}
    results: dict[str, Any] = {}
    for case in json.loads((DATA / "cases_open.json").read_text(encoding="utf-8"))["cases"]:
        found = asked[case["id"]](case["inputs"])
        off = {
            name: abs(found[name] - expected) / (abs(expected) or 1)
            for name, expected in case["expected"].items()
        }
        decided = {name: value for name, value in found.items() if "decision" in name or "ties" in name}
        results[case["id"]] = {"largest_error": max(off.values()), "decided": decided}
        print(f"{case['id']}: {len(off)} figures, largest error {max(off.values()):.2e}; {decided}")
    return results


def facts() -> list[dict[str, Any]]:
    results = []
    with (DATA / "truth_open.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        report = ask(
            {"kind": "training", "hours": 1}, [{"name": row["instance_type"]}], regions=[row["region"]]
        )
        lines = {plan.purchase: plan.prices[0] for plan in report.plans}
        listed = lines["on_demand"].usd
        spot = lines.get("spot")
        seen = [float(row[name]) for name in ("spot_low", "spot_high") if row[name]]
        inside = bool(spot and seen and spot.low_usd <= min(seen) and max(seen) <= spot.high_usd)  # type: ignore[operator]
        result = {
            "machine": row["instance_type"],
            "kind": row["kind"][:40],
            "on_demand_off": listed / float(row["on_demand_usd_h"]) - 1,
            "spot_seen_inside_the_band": inside if seen else None,
        }
        results.append(result)
        print(result)
    return results


def main() -> int:
    if not DATA.is_dir():
        print(f"{DATA} is not there: nothing to compare with", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        CALL.set(Call(Workspace.of_the_caller(Path(scratch))))
        found = {"cases": cases(), "facts": facts()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
