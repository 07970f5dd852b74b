"""Builds, measures and races the variants of one model; every one of them in processes of its own."""

import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._core.contract import ToolError, current_call
from .interpreters import Interpreter
from .job import Job, is_too_slow
from .limits import Limits
from .pace import Pace
from .plan import CONTROLLED_NNCF, PLAIN_NNCF, Plan, Variant
from .shortlist import is_fit, overall_ratio, worst_drop

Row = dict[str, Any]

BUILD_SECONDS, MEASURE_SECONDS = 90.0, 60.0
FIRST_LOOK_SECONDS = 0.4  # of interleaved timing per batch size, before the race
FIRST_SHARE = 0.6  # of the time that is left may go to the most promising variant, however short the time
SLOWEST_RATIO = 0.55  # at a first look: such a candidate is not evaluated further, unless a limit needs it
LONGEST_SHARE = 0.3  # of the search time may go to one build or measurement, where that is more
_TRANSIENT = ("not_tried", "crashed")  # for the time or the memory of that moment: another search tries again
WORTH_SAVING = 1.1  # the speed at which a file that lost too much is worth another try
FLOAT_RUNTIMES = ("openvino", "conv1d")  # kinds of variant
WEIGHTED_STATIC = "ort_static_int8_weighted"
SENSITIVE_SHARE = 0.25  # of the layers stay in float then
SESSION_SETTINGS: dict[str, Row] = {
    "one_thread": {"threads": 1},
    "no_spinning": {"settings": {"session.intra_op.allow_spinning": "0"}},
}


@dataclass
class Search:
    """One search: what it stands on, and the rows that it collects."""

    job: Job
    python: Interpreter
    facts: Row  # what `prepare` found
    metric: "Metric"
    batch_sizes: list[int]
    program: str | None = None
    slowest_ratio: float = SLOWEST_RATIO
    pace: Pace = field(default_factory=lambda: Pace(0.0, 0.0, {}))
    rows: dict[str, Row] = field(default_factory=dict)

    def make_room(self, limits: Limits) -> str:
        """The size or memory limit that the baseline breaks, in words; slow candidates are then evaluated as well."""
        baseline = {k: self.facts[k] for k in ("size_bytes", "peak_rss_bytes")}
        broken = Limits(None, limits.size_bytes, limits.memory_bytes).broken_by(baseline, self.batch_sizes[0])
        self.slowest_ratio = 0.0 if broken else SLOWEST_RATIO
        return broken

    def request(self) -> Row:
        return {
            "names": [spec["name"] for spec in self.facts["inputs"]],
            "model": self.facts["artifact"]["path"],
            "program": self.program,
            "baseline": self.facts["artifact"],
            "batch_sizes": self.batch_sizes,
            "fixed_batch": self.facts["fixed_batch"],
            "other_floats": self.facts["graph"].get("other_floats", False),
            "evaluation_batch": self.facts["evaluation_batch"],
            "metric": self.metric.name,
            "moves_on": self.facts["moves_on"],
            "block": max(1, self.facts["cut"]["gap"]),
            "slowest_ratio": self.slowest_ratio,
        }


@dataclass(frozen=True)
class Metric:
    """The metric's name, its direction, the allowed drop, and the caller's function where there is one."""

    name: str
    higher: bool
    budget: dict[str, float]
    file: Path | None = None
    function: str | None = None
    python: Interpreter | None = None

    def allowed(self, baseline: float) -> float:
        if "absolute" in self.budget:
            return self.budget["absolute"]
        return self.budget["share"] * (1.0 if self.name == "accuracy" else abs(baseline))


def run_search(search: Search, plan: Plan) -> None:
    """Fill `search.rows`: one per variant, with metric and first-look latency, or the reason there is none."""
    for name, reason in plan.skipped.items():
        search.rows[name] = {"status": "skipped", "reason": reason}
    for name, command in plan.missing.items():
        search.rows[name] = {
            "status": "skipped",
            "reason": f"a package is missing: {command}",
            "install": command,
        }
    queue = list(plan.variants)
    count = 0
    while queue:
        variant = queue.pop(0)
        count += 1
        if variant.name == CONTROLLED_NNCF and (why := _control_is_idle(search)):
            search.rows[variant.name] = {"status": "skipped", "reason": why}
            continue
        current_call().progress(count, None, f"{variant.name} ({len(queue)} more)")
        row = search.rows[variant.name] = try_variant(search, variant)
        extra = [v for v in _follow_up(search, plan, variant, row) if v.name not in search.rows]
        queue = with_follow_up(queue, extra, at_once=not search.slowest_ratio)
        if (
            row.get("status") == "not_tried" and search.slowest_ratio
        ):  # short of time: what needs no calibration
            queue.sort(key=lambda other: other.kind not in FLOAT_RUNTIMES)
    if search.job.threads > 1 and any(variant.runtime == "onnxruntime" for variant in plan.variants):
        _try_session_settings(search)


def _try_session_settings(search: Search) -> None:
    """The ONNX Runtime file that is fastest at the smallest batch, with other settings of its session.

    Sharing a short call between threads can cost more than it gains, and waiting in a loop takes the core from others.
    """
    smallest, allowed = str(search.batch_sizes[0]), search.metric.allowed(search.facts["metric"]["search"])
    fit = {n: r for n, r in search.rows.items() if r.get("runtime") == "onnxruntime" and is_fit(r, allowed)}
    best = max(fit, key=lambda n: fit[n]["ratio"][smallest], default=None)
    if best is None or fit[best]["ratio"][smallest] < 1:
        name, artifact = "ort_fp32", search.facts["artifact"]
    else:
        name, artifact = best, fit[best]["artifact"]
    for suffix, settings in SESSION_SETTINGS.items():
        current_call().progress(len(search.rows) + 1, None, f"{name}_{suffix}")
        twin = Variant(f"{name}_{suffix}", "session", settings={"artifact": {**artifact, **settings}})
        search.rows[twin.name] = try_variant(search, twin)


def try_variant(search: Search, variant: Variant) -> Row:
    """The row of one variant, from the cache where an earlier search finished it."""
    row = search.job.recall(variant.name)
    if row and not (row.get("hopeless") and not search.slowest_ratio):
        return {**row, "cached": True}
    left = search.job.left() - search.pace.reserve_seconds(search.job.max_seconds)
    nothing_yet = not any("ratio" in row for row in search.rows.values())
    if nothing_yet:
        left = max(left, FIRST_SHARE * search.job.left())
    if left < search.pace.variant_seconds(variant.kind, nothing_yet):
        return {"status": "not_tried", "reason": f"{max(left, 0):.0f} s of the search time were left"}
    try:
        row = _build_and_measure(search, variant, left)
    except ToolError as error:
        row = failure(error)
    if row.get("status") or row.get("hopeless"):
        row.pop("artifact", None)
        shutil.rmtree(search.job.folder / variant.name, ignore_errors=True)
    if (
        row.get("status") not in _TRANSIENT and variant.kind != "nncf_control"
    ):  # whose result is for one budget
        search.job.remember(variant.name, row)
    return row


def _build_and_measure(search: Search, variant: Variant, left: float) -> Row:
    ends = time.monotonic() + left
    if variant.kind == "session":
        return measure(search, variant.name, variant.settings["artifact"], left)
    built = search.job.do(
        "build",
        search.python,
        seconds=min(_longest(search, BUILD_SECONDS), left),
        variant=variant.request(),
        allowed=search.metric.allowed(search.facts["metric"]["search"]),
        **search.request(),
    )
    return {**measure(search, variant.name, built["artifact"], ends - time.monotonic()), **built}


def _longest(search: Search, seconds: float) -> float:
    return max(seconds, LONGEST_SHARE * search.job.max_seconds)


def measure(search: Search, name: str, artifact: Row, left: float = MEASURE_SECONDS) -> Row:
    """Metric, drift, memory and first-look latency of one artifact on the search rows."""
    row = search.job.do(
        "measure", search.python, seconds=min(_longest(search, MEASURE_SECONDS), max(0.0, left)), artifact=artifact,
        variant=name,
        seconds_per_batch=FIRST_LOOK_SECONDS, **search.request(),
    )  # fmt: skip
    row.update(artifact=artifact, size_bytes=size_bytes(Path(artifact["path"])), runtime=artifact["runtime"])
    if row.get("finite") is False:
        row.update(status="non_finite", reason="its outputs hold NaN or infinity")
    if "metric" not in row and row.get("finite"):
        row.update(score(search, row, "search"))
    return row


def score(search: Search, row: Row, part: str) -> Row:
    """The caller's own metric of kept predictions, under the caller's interpreter."""
    metric, folder = search.metric, search.job.folder
    assert metric.python and metric.file
    return search.job.do(
        "score", metric.python, seconds=MEASURE_SECONDS, file=str(metric.file), function=metric.function,
        root=str(current_call().workspace.root), higher=metric.higher, bound=part == "confirmation",
        block=max(1, search.facts["cut"]["gap"]), targets=str(folder / f"y.{part}.npy"),
        baseline=str(folder / f"baseline.{part}.npy"), predictions=row["predictions"],
    )  # fmt: skip


def measure_baseline(search: Search) -> None:
    """Complete the facts: the baseline's peak memory, its pace, and its value of a metric of the caller's."""
    facts, folder = search.facts, search.job.folder
    started = time.monotonic()
    row = search.job.do(
        "measure", search.python, seconds=MEASURE_SECONDS, artifact=facts["artifact"], variant="baseline",
        seconds_per_batch=0.05, **search.request(),
    )  # fmt: skip
    facts["peak_rss_bytes"], facts["first_look"] = row["peak_rss_bytes"], row
    calls = {batch: latency["p50_seconds"] for batch, latency in row["latency_seconds"].items()}
    search.pace = Pace(time.monotonic() - started, facts["confirmation_seconds"], calls)
    if search.metric.function:
        for part in ("search", "confirmation"):
            kept = {"predictions": str(folder / f"baseline.{part}.npy")}
            started = time.monotonic()
            reply = score(search, kept, part)
            facts["metric"][part] = reply["metric"]
        score_seconds = time.monotonic() - started + reply["bound_seconds"]
        search.pace = replace(search.pace, score_seconds=score_seconds)


def failure(error: ToolError) -> Row:
    """What became of a candidate that could not be built or measured."""
    reason = str(error).partition("; try ")[0][:240]
    if is_too_slow(error):
        return {"status": "not_tried", "reason": reason}
    crashed = "was ended by SIG" in reason or "memory limit" in reason
    return {"status": "crashed" if crashed else "failed", "reason": reason}


def with_follow_up(queue: list[Variant], extra: list[Variant], *, at_once: bool) -> list[Variant]:
    """What was planned anyway comes next; a new one comes `at_once`, or else after the float runtimes.

    Those keep the metric and need no calibration, which takes most of the time where the model is large.
    """
    rest = [variant for variant in queue if variant not in extra]
    planned = [variant for variant in extra if variant in queue]
    new = [variant for variant in extra if variant not in queue]
    floats = [] if at_once else [i for i, variant in enumerate(rest) if variant.kind in FLOAT_RUNTIMES]
    last = floats[-1] + 1 if floats else 0
    return [*planned, *rest[:last], *new, *rest[last:]]


def _follow_up(search: Search, plan: Plan, variant: Variant, row: Row) -> list[Variant]:
    """What a static file that is fast but lost too much suggests, before anything else is tried.

    First the same with only the weighted layers quantized; where that loses too much as well, sensitive layers in
    float, and another calibration.
    """
    if variant.kind != "static" or not _is_fast_but_lost(search, row):
        return []
    if variant.name != WEIGHTED_STATIC:
        return [v for v in plan.variants if v.name == WEIGHTED_STATIC]
    kept = {k: v for k, v in variant.settings.items() if k in ("reduce_range", "signed")}
    percentile = {**variant.settings, "calibration": "Percentile"}
    return [
        Variant("ort_static_int8_sensitive_float", "sensitive", settings={**kept, "share": SENSITIVE_SHARE}),
        Variant("ort_static_int8_percentile", "static", settings=percentile),
    ]


def _is_fast_but_lost(search: Search, row: Row) -> bool:
    if "drop" not in row or overall_ratio(row) < WORTH_SAVING:
        return False
    return worst_drop(row) > search.metric.allowed(search.facts["metric"]["search"])


def _control_is_idle(search: Search) -> str:
    """Why NNCF's accuracy control, which costs a measurement per layer, has nothing to do; empty if it has."""
    if search.metric.function:
        return "accuracy control takes the built-in metrics only"
    row = search.rows.get(PLAIN_NNCF, {})
    if "drop" not in row:
        return f"it starts from {PLAIN_NNCF}, which gave no figures"
    if not _is_fast_but_lost(search, row):
        return "plain int8 keeps the budget, or is too slow to be worth saving"
    if row["drop"] <= search.metric.allowed(search.facts["metric"]["search"]):
        return "plain int8 fails only once the rows move on, and accuracy control looks at today's rows"
    return ""


def size_bytes(path: Path) -> int:
    """Size of an artifact: the file and its weights beside it."""
    kin = [path, path.with_name(path.name + ".data"), path.with_suffix(".bin")]
    return sum(p.stat().st_size for p in dict.fromkeys(kin) if p.exists())
