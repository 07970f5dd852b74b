"""Rows of a search as the Report's nouns, and as text."""

from collections.abc import Iterator

from .._core.quantity import human_bytes
from .choose import Outcome
from .nouns import Candidate, Drift, rounded
from .search import Row, Search
from .shortlist import overall_ratio

SUM_ORDER = 1e-9  # of an output: jobs add up their parts in whatever order they end
_ORDER = (
    "chosen", "confirmed", "not_confirmed", "slower", "over_limit", "over_budget", "non_finite", "crashed", "failed",
    "not_tried", "skipped",
)  # fmt: skip


def candidates(rows: dict[str, Row], *, assumed: bool = False) -> list[Candidate]:
    """The rows, winners first, then by how far they came and how fast they were."""
    found = [_candidate(name, row, assumed) for name, row in rows.items()]
    return sorted(found, key=lambda c: (_ORDER.index(c.status), -max((c.speed_ratio or {"": 0.0}).values())))


def _candidate(name: str, row: Row, assumed: bool) -> Candidate:
    latency = row.get("latency_seconds")
    confirmed = "drop_bound" in row  # a race that the time ended has timed a row and not judged it
    artifact = row.get("artifact")
    return Candidate(
        variant=name,
        status=row["status"],
        reason=row["reason"],
        runtime=row.get("runtime"),
        metric=rounded(row.get("metric"), 6),
        metric_drop=rounded(row.get("drop")),
        metric_drop_bound=rounded(row.get("drop_bound")),
        metric_rows=None if "metric" not in row else "confirmation" if confirmed else "search",
        latency_seconds=_by_batch(latency, "p50_seconds"),
        latency_p10_seconds=_by_batch(latency, "p10_seconds"),
        latency_p95_seconds=_by_batch(latency, "p95_seconds"),
        rows_per_second=_by_batch(latency, "rows_per_second"),
        speed_ratio={b: float(f"{v:.3g}") for b, v in row["ratio"].items()} if "ratio" in row else None,
        size_bytes=row.get("size_bytes"),
        peak_rss_bytes=row.get("peak_rss_bytes"),
        replaced=row.get("replaced"),
        drift=Drift(**{k: rounded(v, 3) for k, v in row["drift"].items()}) if row.get("drift") else None,
        basis="assumed" if assumed else "measured",
        path=artifact["path"] if artifact and row["status"] in ("confirmed", "not_confirmed") else None,
    )


def _by_batch(latency: dict[str, dict[str, float]] | None, key: str) -> dict[str, float] | None:
    return {b: float(f"{v[key]:.3g}") for b, v in latency.items()} if latency else None


def markdown(baseline: Candidate, rows: list[Candidate], batch_sizes: list[int]) -> str:
    """A Markdown table of all candidates, the baseline first."""
    heads = [f"p50 / p95 ms, batch {b} (ratio)" for b in batch_sizes]
    lines = [
        f"| variant | status | metric | drop (bound) | {' | '.join(heads)} | size | peak memory | drift max | why |",
        "|" + "---|" * (8 + len(heads)),
    ]
    lines += [_line(c, batch_sizes) for c in [baseline, *rows]]
    return "\n".join(lines) + "\n"


def _line(c: Candidate, batch_sizes: list[int]) -> str:
    rows = " (search rows)" if c.metric_rows == "search" else ""
    cells = [c.variant, c.status, _number(c.metric) + rows, _drop(c)]
    cells += [_latency(c, str(b)) for b in batch_sizes]
    cells += [
        human_bytes(c.size_bytes) if c.size_bytes else "",
        human_bytes(c.peak_rss_bytes) if c.peak_rss_bytes else "",
    ]
    cells += [_number(c.drift.max_abs) if c.drift else "", c.reason.replace("|", "/")]
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _drop(c: Candidate) -> str:
    if c.metric_drop is None:
        return ""
    bound = f" ({c.metric_drop_bound:+.4f})" if c.metric_drop_bound is not None else ""
    return f"{c.metric_drop:+.4f}{bound}"


def _latency(c: Candidate, batch: str) -> str:
    if not c.latency_seconds or not c.latency_p95_seconds:
        return ""
    ratio = f" ({c.speed_ratio[batch]:.2f}x)" if c.speed_ratio else ""
    return f"{1000 * c.latency_seconds[batch]:.3g} / {1000 * c.latency_p95_seconds[batch]:.3g}{ratio}"


_LOST = {
    "over_budget": "lost more than the budget allows",
    "not_confirmed": "could not be shown to keep the budget",
    "over_limit": "broke a limit",
    "non_finite": "gave NaN or infinity",
}


def summarise(search: Search, outcome: Outcome, baseline_metric: float, keep: str = "fp32") -> str:
    """One sentence: what to use and what it gains, or why the baseline stays."""
    budget = search.metric.allowed(baseline_metric)
    name = outcome.overall
    parts = _about_baseline(outcome)
    if name:
        row = search.rows[name]
        gain = ", ".join(_gain(b, v, outcome.tie_band) for b, v in row["ratio"].items())
        parts.append(
            f"{_use(name, row, outcome)}: {gain} against the baseline; {search.metric.name} drop {row['drop']:+.4g} on "
            f"confirmation rows (95 % bound {row['drop_bound']:+.4g}, budget {budget:.4g})"
        )
    else:
        parts.append(f"{_kept(keep, outcome)}: {_why_not(search, outcome)}")
    for batch, other in outcome.by_batch.items():
        if other and other != name:
            parts.append(f"at batch {batch} {other} is faster ({search.rows[other]['ratio'][batch]:.2f}x)")
    return "; ".join([*parts, *_free(search, outcome), *_missing(search)]) + _untried(search) + "."


def _about_baseline(outcome: Outcome) -> list[str]:
    """What the limits say about the model as it is, which decides more than any candidate."""
    if outcome.broken:
        return [f"The baseline breaks a limit ({outcome.broken})"]
    if outcome.kept:
        return [
            f"The model as it is already meets max_latency_seconds ({outcome.kept}): what takes the rest lies outside "
            "the model"
        ]
    return []


def _use(name: str, row: Row, outcome: Outcome) -> str:
    jobs = _jobs(row)
    told = f"Set n_jobs={jobs} ({name}, otherwise the same model{_same(row)})" if jobs else f"Use {name}"
    return f"to be faster still, {told[0].lower()}{told[1:]}" if outcome.kept else told


def _jobs(row: Row) -> int | None:
    """The number of jobs where that is all the row changes."""
    found: int | None = row.get("artifact", {}).get("jobs")
    return found


def _same(row: Row) -> str:
    return ", same outputs" if row["drift"]["max_abs"] <= SUM_ORDER else ""


def _free(search: Search, outcome: Outcome) -> Iterator[str]:
    """What the model's own number of jobs costs, where another file than the same model was chosen."""
    chosen = {outcome.overall, *outcome.by_batch.values()}
    rows = {n: r for n, r in search.rows.items() if _jobs(r) and "ratio" in r and "drift" in r}
    best = max(rows, key=lambda n: overall_ratio(rows[n]), default=None)
    if best and best not in chosen and overall_ratio(rows[best]) > 1 + outcome.tie_band:
        gain = ", ".join(_gain(b, v, outcome.tie_band) for b, v in rows[best]["ratio"].items())
        yield f"n_jobs={_jobs(rows[best])} alone gives {gain}{_same(rows[best])}"


def _missing(search: Search) -> Iterator[str]:
    """The commands that would add a candidate."""
    for name, row in search.rows.items():
        if command := row.get("install"):
            yield f"{name} could not be tried for a missing package: {command}"


def _untried(search: Search) -> str:
    count = sum(row["status"] == "not_tried" for row in search.rows.values())
    return f"; {count} were not tried for time: raise {search.job.limit}" if count else ""


def _gain(batch: str, ratio: float, tie_band: float) -> str:
    told = " (a tie)" if abs(ratio - 1) <= tie_band else " (slower)" if ratio < 1 else ""
    return f"{ratio:.2f}x at batch {batch}{told}"


def _kept(keep: str, outcome: Outcome) -> str:
    return f"nothing was confirmed that keeps it, so {keep} stays" if outcome.broken else f"Keep {keep}"


def _why_not(search: Search, outcome: Outcome) -> str:
    tried = [row for row in search.rows.values() if "ratio" in row]
    fast = [r for r in tried if outcome.broken or max(r["ratio"].values()) > 1 + outcome.tie_band]
    if not tried:
        return f"no candidate could be measured{_first_failure(search)}"
    if not fast:
        return f"none of the {len(tried)} measured was faster beyond the tie band of {outcome.tie_band:.0%}"
    lost = {text: sum(row["status"] == status for row in fast) for status, text in _LOST.items()}
    open_rows = [row for row in fast if row["status"] not in _LOST]
    if not outcome.broken:
        lost["lost speed at another batch size"] = sum(
            min(row["ratio"].values()) <= 1 - outcome.tie_band for row in open_rows
        )
    lost["were not raced"] = len(fast) - sum(lost.values())
    told = ", ".join(f"{count} {text}" for text, count in lost.items() if count)
    if outcome.broken:
        return f"of {len(tried)} measured candidates {told}{_nearest(search)}"
    return f"{len(fast)} of {len(tried)} measured candidates gained speed, but {told}{_nearest(search)}"


def _first_failure(search: Search) -> str:
    """The most promising variant that could not be made or measured, and why."""
    failed = ((n, r["reason"]) for n, r in search.rows.items() if r["status"] in ("failed", "crashed"))
    return next((f" ({name}: {reason})" for name, reason in failed), "")


def _nearest(search: Search) -> str:
    """The unproven row with the best bound: what it gave, and what would decide."""
    unproven = {n: r for n, r in search.rows.items() if r["status"] == "not_confirmed"}
    if not unproven:
        return ""
    name = min(unproven, key=lambda n: float(unproven[n]["drop_bound"]))
    row, rows = unproven[name], search.facts["rows"]["confirmation"]
    return (
        f"; nearest is {name}: drop {row['drop']:+.4g}, but up to {row['drop_bound']:.4g} cannot be ruled out with "
        f"{rows} confirmation rows: more rows, or a larger max_metric_drop, would decide"
    )
