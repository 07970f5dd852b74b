"""From finished rows to a decision, a bundle of files, and the fields of a Report."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import bundle, picture, table
from .choose import Outcome, Twins, choose
from .job import digest
from .limits import Limits
from .nouns import Candidate, Chosen, Conditions, Pick
from .plan import Target
from .processor import host_flags, host_isa
from .race import run_races
from .search import Row, Search
from .session import Session

COLD_SHARE = 0.8  # of the speed ratio: below, a call that comes alone is told apart
BUSY = 1.5  # load per core above which latency figures are distrusted; references/compression.md


def decide(session: Session, limits: Limits, twins: Twins | None = None) -> tuple[Outcome, Row]:
    """Race finalists until one is confirmed that no better twin could beat; the outcome and the baseline's row."""
    twins = twins or {}
    search = session.search
    raced = run_races(search, limits, set(twins))
    baseline = _baseline_row(search, raced)
    return choose(search, raced, limits, baseline, twins), baseline


def _baseline_row(search: Search, raced: Row) -> Row:
    facts = search.facts
    return {
        **raced["baseline"],
        "metric": facts["metric"]["confirmation"],
        "size_bytes": facts["size_bytes"],
        "peak_rss_bytes": facts["peak_rss_bytes"],
        "status": "confirmed",
        "reason": f"the baseline, with its own n_jobs of {own}"
        if (own := facts["artifact"].get("jobs"))
        else "the baseline",
        "raced": True,
        "drop": 0.0,
        "drop_bound": 0.0,
        "runtime": facts["artifact"]["runtime"],
        "ratio": raced["control"]["ratio"],
    }


def report_fields(
    session: Session,
    outcome: Outcome,
    baseline: Row,
    target: Target,
    *,
    kind: str,
    assumed: bool,
    verdict: str,
    warnings: list[str],
    extra: dict[str, Any],
    beside: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """What every compression Report holds, with its files written, those `beside` the chosen ones too."""
    search = session.search
    name = "ort_fp32" if baseline["runtime"] == "onnxruntime" else baseline["runtime"]
    fp32 = table.candidates({name: baseline})[0]
    rows = table.candidates(search.rows, assumed=assumed)
    conditions = Conditions(
        isa=host_isa(host_flags()), target_isa=target.isa, threads=search.job.threads,
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        tie_band=round(outcome.tie_band, 4), clock=outcome.clock, versions=search.python.modules,
        seconds=round(time.monotonic() - session.started, 1),
    )  # fmt: skip
    artifacts = {**_artifacts(search, outcome), **(beside or {})}
    manifest = {
        **_manifest(session, fp32, rows, artifacts), "verdict": verdict, "conditions": conditions.model_dump(), **extra
    }  # fmt: skip
    texts = _texts(search, kind, verdict, fp32, rows)
    folder = bundle.hand_over(kind, artifacts, search.facts, search.job.threads, texts, manifest)
    return {
        "verdict": verdict,
        "chosen": _chosen(search, outcome, fp32, folder),
        "baseline": fp32,
        "candidates": rows,
        "conditions": conditions,
        "rows": search.facts["rows"],
        "python": {"export": str(session.caller.path), "search": str(search.python.path)},
        "warnings": [
            *search.facts["warnings"],
            *_wide_budget(search),
            *_cold_calls(search, outcome),
            *_load_warning(),
            *warnings,
        ],
        "folder": str(folder),
    }


def _texts(search: Search, kind: str, verdict: str, fp32: Candidate, rows: list[Candidate]) -> dict[str, str]:
    """The report as Markdown, and a picture per batch size."""
    metric = search.metric
    texts = {"report.md": f"# {kind}\n\n{verdict}\n\n{table.markdown(fp32, rows, search.batch_sizes)}"}
    for batch in search.batch_sizes:
        drawn = picture.draw(fp32, rows, batch, metric.name, higher=metric.higher)
        texts[f"picture_batch{batch}.svg"] = drawn
    return texts


def _manifest(
    session: Session, fp32: Candidate, rows: list[Candidate], artifacts: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Where the artifacts come from, how they were made, and every figure."""
    search = session.search
    return {
        "source": {path.name: digest(path) for path in session.source.files},
        "export": session.found.notes,
        "graph": search.facts["graph"],
        "rows": search.facts["rows"],
        "cut": search.facts["cut"],
        "settings": {name: search.rows[name]["artifact"] for name in artifacts if name in search.rows},
        "baseline": fp32.model_dump(),
        "candidates": [candidate.model_dump() for candidate in rows],
    }


def _artifacts(search: Search, outcome: Outcome) -> dict[str, dict[str, Any]]:
    names = {outcome.overall, *outcome.by_batch.values()}
    found = {n: search.rows[n]["artifact"] for n in sorted(n for n in names if n)}
    if None in names:
        found["baseline"] = search.facts["artifact"]
    return found


def _chosen(search: Search, outcome: Outcome, baseline: Candidate, folder: Path) -> Chosen:
    def pick(name: str | None, batch: str) -> Pick:
        artifact = search.rows[name]["artifact"] if name else search.facts["artifact"]
        ratio = search.rows[name]["ratio"][batch] if name else 1.0
        return Pick(
            variant=name or baseline.variant, runtime=artifact["runtime"],
            path=str(folder / (name or "baseline") / Path(artifact["path"]).name), speed_ratio=float(f"{ratio:.3g}"),
            precision=artifact.get("precision"),
        )  # fmt: skip

    first = pick(outcome.overall, str(search.batch_sizes[0]))
    by_batch = {b: pick(n, b) for b, n in outcome.by_batch.items()}
    return Chosen(variant=first.variant, runtime=first.runtime, path=first.path, by_batch_size=by_batch)


def _wide_budget(search: Search) -> Iterator[str]:
    """The drop that is allowed beside what the model is worth: accuracy hides a rare class that is lost."""
    metric, constant = search.facts["metric"]["confirmation"], search.facts.get("constant")
    if constant is None:
        return
    gain = metric - constant if search.metric.higher else constant - metric
    if 0 < gain <= (allowed := search.metric.allowed(metric)):
        yield (
            f"The budget of {allowed:.3g} is no smaller than what the model gains over one constant answer "
            f"({metric:.4g} against {constant:.4g}), so it proves little: give a smaller max_metric_drop, or a metric "
            "of your own that sees the rare cases"
        )


def _cold_calls(search: Search, outcome: Outcome) -> Iterator[str]:
    """The gain of a single call that does not follow another, where it is clearly smaller."""
    batch = str(search.batch_sizes[0])
    row = search.rows.get(outcome.by_batch[batch] or "", {})
    if (cold := row.get("cold_ratio")) and cold < COLD_SHARE * row["ratio"][batch]:
        yield (
            f"At batch {batch} the gain of {row['ratio'][batch]:.2f}x is that of calls back to back, whose weights "
            f"stay in the cache: it was {cold:.2f}x where other work came between the calls"
        )


def _load_warning() -> Iterator[str]:
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) > BUSY * (os.cpu_count() or 1):
        yield (
            f"The machine was busy (load {load:.1f} on {os.cpu_count()} cores): latencies include waiting for a core; "
            "ratios hold better (conditions.clock says what they compare)"
        )
