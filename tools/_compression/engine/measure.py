"""One candidate beside the baseline (measure), and the finalists against each other (race)."""

import os
import time

import numpy as np

from . import clock, judge, prepare, runners, stress
from .refusal import Refused

REFERENCES = ("baseline", "control")
MOST_WINDOWS, QUIET_GAP, CLOSE = 3, 0.03, 0.1
LONGEST_COLD_SECONDS = (
    0.05  # of a call: what takes longer reads its weights once and computes the rest of the time
)


def measure(request, progress):
    """Metric, drift, memory and latency of one artifact on the search rows."""
    empty = _loaded_bytes(request["artifact"]["runtime"])
    folder, names = request["folder"], request["names"]
    feeds = prepare.load_rows(folder, names, "search")
    batches = {b: prepare.load_rows(folder, names, f"batch{b}") for b in request["batch_sizes"]}
    before = clock.resident_bytes()
    call = runners.load(request["artifact"], request["threads"])
    for rows in batches.values():
        call(rows)
    used = clock.resident_bytes(peak=True)
    reply = {"peak_rss_bytes": used - before + empty if used else None}
    baseline = runners.load(request["baseline"], request["threads"])
    reply.update(latency_seconds={}, ratio={}, clock={}, load=clock.load_average())
    for batch, rows in batches.items():
        pair = {"baseline": _bound(baseline, rows), "candidate": _bound(call, rows)}
        times = clock.interleave(pair, request["seconds_per_batch"])
        reply["latency_seconds"][str(batch)] = clock.summary(times["candidate"], batch)
        found, reply["clock"][str(batch)] = clock.ratios(times, _most_threads(request))
        reply["ratio"][str(batch)] = found["candidate"]
    if max(reply["ratio"].values()) < request["slowest_ratio"]:
        return {**reply, "hopeless": True}
    predictions = runners.predict(call, feeds, request["evaluation_batch"])
    reply.update(_evaluate(request, predictions, "search"))
    if request["moves_on"] and reply["finite"]:
        reply["moved_drop"] = stress.drop(request, call)
    return reply


def race(request, progress):
    """The finalists, the baseline and a second copy of the baseline, all in one window; confirmation rows besides.

    Half of the time until `ends_at` may go to timing. Finalists are confirmed in their order, the most promising first;
    those that the rest of the time is too short for have no drop in the reply.
    """
    timing_ends = (time.time() + request["ends_at"]) / 2
    folder, names = request["folder"], request["names"]
    artifacts = {"baseline": request["baseline"], "control": request["baseline"], **request["finalists"]}
    calls = {name: runners.load(artifact, request["threads"]) for name, artifact in artifacts.items()}
    reply = {name: {"latency_seconds": {}, "ratio": {}} for name in artifacts}
    reply["control"]["clock"] = {}
    threads = _most_threads(request)
    for batch in request["batch_sizes"]:
        rows = prepare.load_rows(folder, names, f"batch{batch}")
        bound = {name: _bound(call, rows) for name, call in calls.items()}
        times = _settled_times(bound, request["seconds_per_batch"], threads, timing_ends)
        found, used = clock.ratios(times, threads)
        for name, taken in times.items():
            reply[name]["latency_seconds"][str(batch)] = clock.summary(taken, batch)
            reply[name]["ratio"][str(batch)] = found[name]
        reply["control"]["clock"][str(batch)] = used
        called_alone = (
            batch == request["batch_sizes"][0] and times["baseline"].p10("wall") < LONGEST_COLD_SECONDS
        )
        if called_alone and time.time() < timing_ends:
            for name, ratio in clock.cold_ratios(bound, threads).items():
                reply[name]["cold_ratio"] = ratio
    feeds = prepare.load_rows(folder, names, "confirmation")
    longest = 0.0
    for name in request["finalists"]:
        began = time.time()
        if began + longest > request["ends_at"]:
            break
        predictions = runners.predict(calls[name], feeds, request["evaluation_batch"])
        reply[name].update(_evaluate({**request, "variant": name}, predictions, "confirmation"))
        longest = max(longest, time.time() - began)
    reply["control"]["load"] = clock.load_average()
    return reply


def _most_threads(request):
    """Of the threads asked for, and the jobs that a scikit-learn model starts by itself."""
    return max(request["threads"], request["baseline"].get("jobs", 1))


def _settled_times(calls, seconds, threads, ends_at):
    """One window of all, then windows of the front runners only, until the baseline agrees with its own copy and the
    first is ahead of the second beyond that; three windows at most, none once `ends_at` is near."""
    began = time.time()
    times = clock.interleave(calls, seconds)
    took = time.time() - began
    for _ in range(MOST_WINDOWS - 1):
        if time.time() + took > ends_at:
            break
        found, _ = clock.ratios(times, threads)
        finalists = {name: ratio for name, ratio in found.items() if name not in REFERENCES}
        best = max(finalists.values(), default=0.0)
        close = [name for name, ratio in finalists.items() if ratio > best * (1 - CLOSE)]
        if abs(1 - found["control"]) < QUIET_GAP and len(close) < 2:
            break
        clock.interleave({name: calls[name] for name in (*REFERENCES, *close)}, seconds, times)
    return times


def _bound(call, rows):
    return lambda: call(rows)


def _loaded_bytes(runtime):
    """Resident memory once the runtime is imported: what a process pays before it loads a model."""
    __import__({"torch": "torch", "openvino": "openvino", "sklearn": "sklearn"}.get(runtime, runtime))
    return clock.resident_bytes() or 0


def _evaluate(request, predictions, part):
    """Metric and drift of predictions on one part; the predictions are kept for a metric of the caller's."""
    folder = request["folder"]
    reference = np.load(os.path.join(folder, f"baseline.{part}.npy"))
    path = os.path.join(folder, "{}.{}.npy".format(request["variant"].replace("/", "_"), part))
    np.save(path, predictions)
    if predictions.size != reference.size:
        raise Refused(
            "The candidate's output has another shape", f"{predictions.shape} for {reference.shape}"
        )
    predictions = predictions.reshape(reference.shape)
    if not np.isfinite(predictions).all():
        return {"finite": False, "predictions": path}
    found = {"finite": True, "predictions": path, "drift": judge.drift(reference, predictions)}
    metric = request["metric"]
    if metric in judge.HIGHER:
        y = np.load(os.path.join(folder, f"y.{part}.npy"))
        base, mine = judge.row_losses(metric, reference, y), judge.row_losses(metric, predictions, y)
        found["metric"] = float(judge.total(metric, mine))
        least, found["drop"], most = judge.drop_bounds(metric, base, mine, request["block"])
        # search rows screen by the lower bound; the upper one counts on confirmation rows only
        found.update({"drop_bound": most} if part == "confirmation" else {"drop_least": least})
    return found
