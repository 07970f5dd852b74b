"""One estimate: the step as it is, whether it fits, the largest batch, the remedies."""

import time

import torch

from . import autocast, cuda_choices, fake, optimizers, script, variants
from .allocator import replay, survives
from .fake import Declined
from .limits import TimeUp, heard, too_late
from .load import accepts, default_of, load
from .step import simulate
from .timeline import series


def answer(request, progress):
    """The reply to one request, or {"refused": ...}."""
    try:
        return _estimate(request, progress)
    except Declined as declined:
        return {"refused": declined.refusal}
    except TimeUp as error:
        heard()
        return {"refused": too_late(error, request["seconds"]).refusal}
    except fake.Unsupported as error:
        advice = "torch 2.6 or a later release in `python`"
        return {"refused": {"problem": f"torch {torch.__version__} cannot be simulated", "saw": str(error),
                            "try_next": advice}}  # fmt: skip


def _estimate(request, progress):
    kind, card = request["kind"], request["card"]
    install(kind, card)
    fake.check(kind)
    function = load(request["step"])
    began = time.monotonic()
    study = Study(function, request, progress)
    reply = study.describe()
    reply["torch_version"] = torch.__version__
    reply["simulation_seconds"] = time.monotonic() - began
    wanted = request["remedies"]
    if wanted is None:
        wanted = "search" if reply["fits"] in ("no", "tight") else []
    reply["largest_batch"] = study.largest_batch()
    reply["remedies"] = study.remedies(wanted)
    return reply


def install(kind, card):
    """Make this process fit for simulations on the target device. Global and for good."""
    fake.install(kind)
    script.install(kind, card)
    optimizers.install()
    cuda_choices.install(kind)
    if kind == "cuda":
        autocast.install()


class Study:
    """A step on a card: its trace, and the traces of its variants."""

    def __init__(self, function, request, progress):
        self.function, self.request, self.progress = function, request, progress
        self.kind, self.card = request["kind"], request["card"]
        self.arguments = dict(request["arguments"])
        self.batch_argument = self._batch_argument()
        self.ends = time.monotonic() + request.get("search_seconds", float("inf"))
        progress(0, None, "simulating the step")
        self.trace = self.run()

    @property
    def base_seconds(self):
        return variants.step_seconds(self.trace, self.card)

    def argument(self, name):
        """The value of one of make_step's arguments now."""
        return self.arguments.get(name, default_of(self.function, name))

    def run(self, change=None, arguments=None, fewest=False):
        """The trace of the step with a change, with other arguments, or with masks that select the fewest elements."""
        arguments = {**self.arguments, **(arguments or {})}
        return simulate(self.function, arguments, self.kind, self.card, change, fewest)

    @property
    def out_of_time(self):
        """Whether the answer must be given without further searching."""
        return time.monotonic() > self.ends

    def figures(self, trace, expandable=None):
        """Peaks and the decision for a trace."""
        limits = self.request["limits"]
        card = self.card if expandable is None else {**self.card, "expandable_segments": expandable}
        found = peak(trace, self.kind, card)
        return {**found, "fits": decide(trace, found, limits, card) if limits else None}

    def describe(self):
        """The step as it is."""
        trace = self.trace
        result = self.figures(trace)
        least = self._least() if trace.bound_by_masks else None
        if least is not None:
            result["least_allocated_bytes"] = least["peak_allocated_bytes"]
        if result["fits"] == "no" and trace.is_bound and (least is None or least["fits"] != "no"):
            result["fits"] = "tight"  # a no that rests on an upper bound is none
        result["timeline"] = series(trace, kind_of)
        result["parameters"], result["trainable"] = trace.parameters, trace.trainable
        result["flops"] = sum(w["half"] + w["single"] for w in trace.work.values()) / trace.optimizer_steps
        result["batch"], result["batch_argument"] = self.batch(), self.batch_argument
        result["has_batch_norm"] = trace.has_batch_norm
        result["is_bound"] = trace.is_bound
        result["caveats"] = trace.caveats
        result["notes"] = trace.notes
        return result

    def _least(self):
        """The figures with masks that select one element each, or None where the step fails with them."""
        try:
            return self.figures(self.run(fewest=True))
        except Declined:
            return None

    def _batch_argument(self):
        named = self.request["batch_argument"]
        if named and not accepts(self.function, named):
            raise Declined(
                "make_step has no argument for the batch", named, "`batch_argument` as it is named there"
            )
        name = named or "batch_size"
        if not accepts(self.function, name):
            return None
        size = self.argument(name)
        if isinstance(size, int) and size < 1:
            raise Declined("A batch holds one sample at least", f"{name} {size}", "1 or more")
        return name if isinstance(size, int) and size > 0 else None

    def batch(self):
        """Samples per step now, or None when nothing says so."""
        if self.batch_argument is None:
            return None
        return self.argument(self.batch_argument)

    def largest_batch(self):
        """The largest batch that fits, and the smallest beyond which the answer is no; None without a limit."""
        limits = self.request["limits"]
        if self.batch_argument is None or not limits:
            return None
        found = {self.batch(): self.figures(self.trace)}

        def figures(batch):
            if batch not in found:
                if self.out_of_time:
                    raise variants.OutOfTime
                self.progress(len(found), None, f"simulating batch {batch}")
                found[batch] = self.figures(self.run(arguments={self.batch_argument: batch}))
            return found[batch]

        def search(answers, capacity):
            return variants.largest(
                lambda batch: figures(batch)["fits"] in answers,
                lambda batch: capacity(figures(batch)) - figures(batch)["peak_allocated_bytes"],
                self.batch(),
            )

        try:
            return {
                "fits": search(("fits",), lambda f: limits["sure_capacity_bytes"] - margin_of(f, limits)),
                "not_no": search(("fits", "tight"), lambda f: limits["capacity_bytes"]),
                "simulated": {batch: f["peak_allocated_bytes"] for batch, f in sorted(found.items())},
            }
        except (variants.OutOfTime, TimeUp):
            heard()
            self.trace.notes.append("No time was left to find the largest batch; `max_seconds` allows more.")
            return None

    def remedies(self, wanted):
        """A row per remedy, then combinations in order of harm until one fits."""
        return variants.table(self, wanted)


def peak(trace, kind, card):
    """Peaks of a trace; on a CPU every byte counts as asked for and nothing is cached."""
    if kind == "cpu":
        highest, at = highest_point(trace.sizes, trace.events)
        return {"peak_allocated_bytes": highest, "peak_reserved_bytes": highest, **_what(trace, at)}
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
    return (
        "activations" if phase == "forward" and kind is None and not name.startswith("workspace") else "other"
    )


def decide(trace, found, limits, card):
    """fits, tight or no.

    fits: the replay survives with the stated margin taken off and one spare segment; no: it does not survive even
    with the whole capacity; tight: between.
    """
    if not card["caching"]:
        return _decide_sizes(found, limits)
    expandable = card["expandable_segments"]
    if not survives(trace.sizes, trace.events, limits["capacity_bytes"], expandable):
        return "no"
    roomy = limits["sure_capacity_bytes"] - margin_of(found, limits)
    return "fits" if survives(trace.sizes, trace.events, roomy, expandable) else "tight"


def margin_of(found, limits):
    """What must stay free before we say that it fits."""
    return int(found["peak_allocated_bytes"] * limits["margin_ratio"]) + limits["margin_bytes"]


def _decide_sizes(found, limits):
    size = found["peak_allocated_bytes"]
    if size > limits["capacity_bytes"]:
        return "no"
    return "fits" if size + margin_of(found, limits) <= limits["sure_capacity_bytes"] else "tight"
