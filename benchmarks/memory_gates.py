"""What the GPU benchmark demands of predictions: pure functions from rows to figures and sentences of failure.

A verdict row is {fits, survived, room}: our answer, whether the step really ended, and whether it left a tenth of the
capacity unused. A batch row is {fits, not_no, truth, step}: ours, the largest that really ran, the step of the search.
"""

import statistics
from typing import Any

PEAK_MEDIAN, PEAK_P90 = 0.03, 0.08
NO_SHARE, TIGHT_SHARE = 0.10, 0.15
BATCH_FITS, BATCH_NOT_NO = 0.15, 0.05


def peak_gates(errors: list[float]) -> tuple[str, list[str]]:
    """Relative errors of the allocated peak."""
    ranked = sorted(map(abs, errors))
    median, high = statistics.median(ranked), ranked[int(0.9 * (len(ranked) - 1))]
    failed = [f"median {median:.1%} > {PEAK_MEDIAN:.0%}"] * (median > PEAK_MEDIAN)
    failed += [f"P90 {high:.1%} > {PEAK_P90:.0%}"] * (high > PEAK_P90)
    return f"{len(ranked)} peaks: median {median:.1%}, P90 {high:.1%}, worst {ranked[-1]:.1%}", failed


def verdict_gates(rows: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """No "fits" that ran out of memory; few "no" among what survived; few "tight" among what had room."""
    survived = [row["fits"] for row in rows if row["survived"]]
    roomy = [row["fits"] for row in rows if row["survived"] and row["room"]]
    wrong = sum(row["fits"] == "fits" for row in rows if not row["survived"])
    no = survived.count("no") / max(1, len(survived))
    tight = roomy.count("tight") / max(1, len(roomy))
    failed = [f"{wrong} fits that ran out of memory"] * (wrong > 0)
    failed += [f"no for {no:.0%} of what fits"] * (no > NO_SHARE)
    failed += [f"tight for {tight:.0%} of what fits with room"] * (tight > TIGHT_SHARE)
    text = (
        f"{len(rows)} verdicts: {len(rows) - len(survived)} ran out of memory, of these {wrong} said to fit; "
        f"{len(survived)} fit, of these {no:.0%} no; {len(roomy)} with room, of these {tight:.0%} tight"
    )
    return text, failed


def batch_gates(rows: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """`fits` never above the truth and within 15 %; `not_no` within 5 % or one step."""
    failed = []
    for row in rows:
        name, truth = row["model"], row["truth"]
        if row["fits"] > truth:
            failed.append(f"{name}: fits {row['fits']} above the true {truth}")
        if row["fits"] < (1 - BATCH_FITS) * truth - row["step"]:
            failed.append(f"{name}: fits {row['fits']} far below the true {truth}")
        if abs(row["not_no"] - truth) > max(BATCH_NOT_NO * truth, row["step"]):
            failed.append(f"{name}: not_no {row['not_no']} against the true {truth}")
    return f"{len(rows)} largest batches, {len(failed)} misses", failed
