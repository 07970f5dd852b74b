"""One estimate: the step as it is, whether it fits, the largest batch, the remedies."""

import time

import torch

from . import autocast, cuda_choices, fake, variants
from .allocator import OutOfMemory, replay, survives
from .load import accepts, default_of, load
from .record import Declined
from .step import simulate
from .timeline import series


def answer(request, progress):
    """The reply to one request, or {"refused": ...}."""
    try:
        return _estimate(request, progress)
    except Declined as declined:
        return {"refused": declined.refusal}
    except fake.Unsupported as error:
        advice = "torch 2.6 or a later release in `python`"
        return {"refused": {"problem": f"torch {torch.__version__} cannot be simulated", "saw": str(error),
                            "try_next": advice}}  # fmt: skip


def _estimate(request, progress):
    kind, card = request["kind"], request["card"]
    began = time.monotonic()
    fake.install(kind, card)
    cuda_choices.install(kind)
    if kind == "cuda":
        autocast.install()
    fake.check(kind)
    function = load(request["step"])
    study = Study(function, request, progress)
    reply = study.describe()
    reply["torch_version"] = torch.__version__
    reply["simulation_seconds"] = time.monotonic() - began
    if request["largest_batch"]:
        reply["largest_batch"] = study.largest_batch()
    reply["remedies"] = study.remedies(request["remedies"])
    return reply


class Study:
    """A step on a card: its trace, and the traces of its variants."""

    def __init__(self, function, request, progress):
        self.function, self.request, self.progress = function, request, progress
        self.kind, self.card = request["kind"], request["card"]
        self.arguments = dict(request["arguments"])
        self.batch_argument = self._batch_argument()
        progress(0, None, "simulating the step")
        self.trace = self.run()

    def run(self, change=None, arguments=None):
        """The trace of the step with a change, or with other arguments."""
        return simulate(self.function, {**self.arguments, **(arguments or {})}, self.kind, self.card, change)

    def figures(self, trace):
        """Peaks and the decision for a trace."""
        limits = self.request["limits"]
        free = peak(trace, self.kind, self.card)
        return {**free, "fits": decide(trace, free, limits, self.card) if limits else None}

    def describe(self):
        """The step as it is."""
        trace = self.trace
        result = self.figures(trace)
        result["timeline"] = series(trace)
        result["parameters"], result["trainable"] = trace.parameters, trace.trainable
        result["values_asked"] = sorted(trace.read_values)
        result["notes"] = trace.notes
        return result

    def _batch_argument(self):
        named = self.request["batch_argument"]
        if named and not accepts(self.function, named):
            raise Declined("make_step has no argument for the batch", named, "`batch_argument` as it is named there")
        name = named or "batch_size"
        if not accepts(self.function, name):
            return None
        size = self.arguments.get(name, default_of(self.function, name))
        return name if isinstance(size, int) and size > 0 else None

    def batch(self):
        """Samples per step now, or None when nothing says so."""
        if self.batch_argument is None:
            return None
        return self.arguments.get(self.batch_argument, default_of(self.function, self.batch_argument))

    def largest_batch(self):
        """The largest batch that fits, and the smallest beyond which the answer is no; None without a limit."""
        if self.batch_argument is None or not self.request["limits"]:
            return None
        return {
            "fits": self._search(lambda verdict: verdict == "fits"),
            "not_no": self._search(lambda verdict: verdict != "no"),
        }

    def _search(self, good):
        return variants.largest(self._verdict, good, self.batch())

    def _verdict(self, batch):
        if not hasattr(self, "_verdicts"):
            self._verdicts = {}
        if batch not in self._verdicts:
            trace = self.run(arguments={self.batch_argument: batch})
            self._verdicts[batch] = self.figures(trace)
        return self._verdicts[batch]

    def remedies(self, wanted):
        """A row per remedy, then combinations in order of harm until one fits."""
        return variants.table(self, wanted)


def peak(trace, kind, card):
    """Peaks of a trace; on a CPU every byte counts as asked for and nothing is cached."""
    if kind == "cpu":
        highest, at = highest_point(trace.sizes, trace.events)
        return {"peak_allocated_bytes": highest, "peak_reserved_bytes": highest, "at": at, **_what(trace, at)}
    allocator = replay(trace.sizes, trace.events, expandable=card["expandable_segments"])
    _, at = highest_point(trace.sizes, trace.events)
    return {
        "peak_allocated_bytes": allocator.peak_allocated,
        "peak_reserved_bytes": allocator.peak_reserved,
        **_what(trace, at),
    }


def highest_point(sizes, events):
    """The most bytes alive at once, and the event after which they are."""
    now = highest = at = 0
    for index, event in enumerate(events):
        now += sizes[event] if event >= 0 else -sizes[~event]
        if now > highest:
            highest, at = now, index
    return highest, at


def _what(trace, at):
    phase, operator, module = trace.labels[trace.events[at]]
    return {
        "breakdown": breakdown(trace, at),
        "peak_phase": phase,
        "peak_operator": operator,
        "peak_module": module,
    }


def breakdown(trace, at):
    """Bytes alive after event `at`, by kind."""
    alive = set()
    for event in trace.events[: at + 1]:
        alive.add(event) if event >= 0 else alive.discard(~event)
    total = dict.fromkeys(("weights", "gradients", "optimizer", "activations", "other"), 0)
    for block in alive:
        total[kind_of(trace, block)] += trace.sizes[block]
    return {f"{name}_bytes": size for name, size in total.items()}


def kind_of(trace, block):
    """weights, gradients, optimizer, activations (born in forward) or other (inputs, temporaries, workspaces)."""
    kind = trace.kinds.get(block)
    if kind in ("weights", "gradients", "optimizer"):
        return kind
    phase, name, _ = trace.labels[block]
    return "activations" if phase == "forward" and kind is None and not name.startswith("workspace") else "other"


def decide(trace, found, limits, card):
    """fits, tight or no.

    fits: the replay survives with the stated margin taken off and one spare segment; no: it does not survive even
    with the whole capacity; tight: between.
    """
    if card["kind"] == "cpu":
        return _decide_sizes(found["peak_allocated_bytes"], limits)
    expandable = card["expandable_segments"]
    if not survives(trace.sizes, trace.events, limits["capacity_bytes"], expandable):
        return "no"
    margin = int(found["peak_allocated_bytes"] * limits["margin_ratio"]) + limits["margin_bytes"]
    roomy = survives(trace.sizes, trace.events, limits["sure_capacity_bytes"] - margin, expandable)
    return "fits" if roomy else "tight"


def _decide_sizes(size, limits):
    margin = int(size * limits["margin_ratio"]) + limits["margin_bytes"]
    if size > limits["capacity_bytes"]:
        return "no"
    return "fits" if size + margin <= limits["sure_capacity_bytes"] else "tight"


__all__ = ["OutOfMemory", "answer"]
