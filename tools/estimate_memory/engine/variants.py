"""The remedies of a step: each simulated alone, then combined in order of harm until one fits."""

from .changes import LORA_RANK, Change
from .fake import Declined
from .limits import TimeUp, heard
from .optimizers import NotApplicable

CHANGES_RESULTS = {"mixed_precision", "eight_bit_optimizer", "paged_optimizer", "pure_bf16", "lora", "freezing",
                   "model_reduction"}  # fmt: skip
# What a plain search looks at; the others only on request, since they fit few jobs.
SEARCHED = ("allocator_settings", "fused_optimizer", "gradient_accumulation", "gradient_checkpointing",
            "optimizer_in_backward", "mixed_precision", "cpu_offload", "eight_bit_optimizer", "pure_bf16",
            "lora")  # fmt: skip
# Tried in this order until one fits; `gradient_accumulation` takes the fewest parts that fit.
COMBINATIONS = (
    ("fused_optimizer", "gradient_accumulation"),
    ("fused_optimizer", "gradient_checkpointing"),
    ("fused_optimizer", "gradient_accumulation", "gradient_checkpointing"),
    ("fused_optimizer", "mixed_precision", "gradient_accumulation"),
    ("fused_optimizer", "mixed_precision", "gradient_checkpointing"),
    ("fused_optimizer", "mixed_precision", "gradient_accumulation", "gradient_checkpointing"),
    ("gradient_accumulation", "gradient_checkpointing", "cpu_offload"),
    ("eight_bit_optimizer", "gradient_accumulation", "gradient_checkpointing"),
    ("eight_bit_optimizer", "mixed_precision", "gradient_accumulation", "gradient_checkpointing"),
    ("pure_bf16", "gradient_accumulation", "gradient_checkpointing"),
    ("pure_bf16", "eight_bit_optimizer", "gradient_accumulation", "gradient_checkpointing"),
    ("lora", "mixed_precision", "gradient_accumulation", "gradient_checkpointing"),
    ("pure_bf16", "lora", "gradient_accumulation", "gradient_checkpointing"),
)
OF_A_CARD = {"allocator_settings", "cpu_offload", "paged_optimizer", "sharding"}
SHARDS = (2, 4, 8)
LARGEST = 1 << 20  # batches beyond are not looked for
PCIE_BYTES_PER_SECOND = 12e9  # assumed: PCIe 3.0 x16 as copies reach it
LAUNCH_SECONDS = 5e-6  # assumed: host time per operator in eager mode
USED_SHARE = 0.5  # assumed: part of the peak throughput that matrix products reach


class OutOfTime(Exception):
    """The search must end so that the answer comes within the caller's time."""


def table(study, wanted):
    """Rows {ids, figures, cost} and the recommended one; `wanted`: "search", a list of ids, or []."""
    if not wanted:
        return {"rows": [], "recommended": None, "skipped": {}}
    search = wanted == "search"
    singles = _searched(study.trace) if search else tuple(wanted)
    rows, skipped = [], {}
    for done, name in enumerate(singles):
        study.progress(done, len(singles), f"simulating {name}")
        rows.extend(_attempt(study, (name,), skipped))
    recommended = _first_fitting([row for row in rows if len(row["ids"]) == 1])
    if search and recommended is None and study.request["limits"]:
        recommended = _combine(study, rows, skipped)
    return {"rows": rows, "recommended": recommended, "skipped": skipped}


def _searched(trace):
    """The plain search's order: where parts of a batch change BatchNorm's statistics, mixed precision goes first."""
    if not trace.has_batch_norm:
        return SEARCHED
    others = [name for name in SEARCHED if name != "gradient_accumulation"]
    others.insert(others.index("mixed_precision") + 1, "gradient_accumulation")
    return tuple(others)


def _first_fitting(rows):
    for index, row in enumerate(rows):
        if row["fits"] == "fits":
            return index
    return None


def _combine(study, rows, skipped):
    for done, ids in enumerate(COMBINATIONS):
        ids = tuple(name for name in ids if name not in skipped)
        if study.out_of_time or len(ids) < 2 or any(set(row["ids"]) == set(ids) for row in rows):
            continue
        study.progress(done, len(COMBINATIONS), f"simulating {' + '.join(ids)}")
        for row in _attempt(study, ids, {}):
            rows.append(row)
            if row["fits"] == "fits":
                return len(rows) - 1
    return None


def _attempt(study, ids, skipped):
    """The row of one combination, or a note in `skipped` on why there is none."""
    if study.out_of_time:
        skipped["+".join(ids)] = "no time was left; `max_seconds` allows more"
        return []
    try:
        return rows(study, ids)
    except TimeUp:
        heard()
        skipped["+".join(ids)] = "no time was left; `max_seconds` allows more"
    except NotApplicable as reason:
        skipped["+".join(ids)] = str(reason)
    except Declined as declined:
        if isinstance(declined.__cause__, NotApplicable):
            skipped["+".join(ids)] = str(declined.__cause__)
        else:
            refusal = declined.refusal
            skipped["+".join(ids)] = f"the step fails with it: {refusal['problem']} ({refusal['saw']})"
    return []


def rows(study, ids):
    """The table's rows of these remedies together; raises NotApplicable, Declined."""
    if study.kind == "cpu" and not OF_A_CARD.isdisjoint(ids):
        raise NotApplicable("the step runs on a CPU")
    if ids == ("allocator_settings",):
        return [_row(study, ids, study.trace, {"setting": "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"},
                     expandable=True)]  # fmt: skip
    if ids == ("sharding",):
        return [_row(study, ids, _sharded(study.trace, n), {"gpus": n}) for n in SHARDS]
    if ids == ("model_reduction",):
        return _reduced(study, ids)
    if "gradient_accumulation" in ids:
        return [_accumulated(study, ids)]
    if ids == ("gradient_checkpointing",):
        return _checkpointed(study, ids)
    if ids == ("cpu_offload",):
        moved = study.run(Change(("activations_offloaded",), study))
        kept = study.figures(study.trace)["breakdown"]["activations_bytes"]
        return [
            _row(study, ids, _run(study, ids), {"what": "optimizer state"}),
            _row(study, ids, moved, {"what": "activations"}, crossing=2 * kept),
        ]
    return [_row(study, ids, _run(study, ids), _details(ids))]


def _checkpointed(study, ids):
    """Whole blocks; and, where torch can and it costs less time, only what is cheap to compute again."""
    whole = _row(study, ids, _run(study, ids), {})
    try:
        trace = study.run(Change(("selective_checkpointing",), study))
    except (NotApplicable, Declined):
        return [whole]
    part = _row(study, ids, trace, {"kept": "products, attention"})
    pays = part["step_cost_ratio"] < whole["step_cost_ratio"] and _saves(study, part)
    return [whole, part] if pays else [whole]


def _saves(study, row):
    return row["peak_allocated_bytes"] < study.figures(study.trace)["peak_allocated_bytes"]


def _details(ids):
    return {"rank": LORA_RANK} if "lora" in ids else {}


def _run(study, ids, factor=1, arguments=None):
    return study.run(Change(ids, study, factor), arguments)


def _accumulated(study, ids):
    """The fewest parts of the batch that fit; without a limit, two parts; at most one sample a part."""
    batch = study.batch() or _rows_of_batch(study)
    if not batch or batch < 2:
        raise NotApplicable("the batch is one sample already, or nothing says how to divide it")
    factors = [n for n in range(2, min(batch, LARGEST) + 1) if batch % n == 0] or [batch]
    if not study.request["limits"]:
        return _part(study, ids, factors[0], batch)
    return _fewest(lambda at: _part(study, ids, factors[at], batch), len(factors))


def _fewest(row_at, count):
    """The first row that fits, by steps that double and then halving; the last row when none does."""
    below, at = -1, 0
    row = row_at(at)
    while row["fits"] != "fits" and at < count - 1:
        below, at = at, min(2 * at + 1, count - 1)
        row = row_at(at)
    while row["fits"] == "fits" and at - below > 1:
        middle = (below + at) // 2
        tried = row_at(middle)
        if tried["fits"] == "fits":
            row, at = tried, middle
        else:
            below = middle
    return row


def _part(study, ids, factor, batch):
    arguments = {study.batch_argument: batch // factor} if study.batch_argument else None
    details = {**_details(ids), "accumulation_steps": factor, "micro_batch": batch // factor}
    return _row(study, ids, _run(study, ids, factor, arguments), details)


def _rows_of_batch(study):
    return study.trace.batch_rows


def _reduced(study, ids):
    rows = []
    for name in study.request["model_arguments"]:
        value = study.argument(name)
        if not isinstance(value, int) or value < 2:
            raise NotApplicable(f"{name} is no whole number that could be halved")
        trace = study.run(arguments={name: value // 2})
        rows.append(_row(study, ids, trace, {name: value // 2}))
    if not rows:
        raise NotApplicable("`model_arguments` names no argument that changes the model's size")
    return rows


def _sharded(trace, gpus):
    """Weights, gradients and optimizer state over n cards (ZeRO-3); the two largest weights gathered beside them."""
    shared = {b for b, kind in trace.kinds.items() if kind in ("weights", "gradients", "optimizer")}
    sizes = [size // gpus if block in shared else size for block, size in enumerate(trace.sizes)]
    weights = sorted((trace.sizes[b] for b, kind in trace.kinds.items() if kind == "weights"), reverse=True)
    copy = trace.copy()
    copy.sizes = [*sizes, 2 * sum(weights[:1])]
    copy.labels = [*trace.labels, ("weights", "gathered weights", "")]
    copy.events = [len(sizes), *trace.events]
    return copy


def _row(study, ids, trace, details, expandable=None, crossing=None):
    figures = study.figures(trace, expandable)
    return {
        "ids": list(ids),
        "details": details,
        "peak_allocated_bytes": figures["peak_allocated_bytes"],
        "peak_reserved_bytes": figures["peak_reserved_bytes"],
        "step_cost_ratio": round(step_seconds(trace, study.card, ids, crossing) / study.base_seconds, 3),
        "fits": figures["fits"],
        "changes_results": any(name in CHANGES_RESULTS for name in ids)
        or (
            "gradient_accumulation" in ids and trace.has_batch_norm
        ),  # its statistics are those of a micro-batch
        "peak_phase": figures["peak_phase"],
    }


def step_seconds(trace, card, ids=(), crossing=None):
    """A step's time on the card from counted FLOPs and bytes; good for ratios between variants, not for a stopwatch.

    `crossing`: bytes between host and card; with optimizer state on the host, gradients go and weights come back.
    """
    total = 0.0
    for phase, work in trace.work.items():
        asked = trace.micro_asked * trace.optimizer_steps
        repeats = asked / trace.micro_run if trace.micro_run and phase in ("forward", "backward") else 1.0
        products = work["half"] / card["half_flops"] + work["single"] / card["single_flops"]
        device = products / USED_SHARE + work["bytes"] / card["bandwidth"]
        total += repeats * max(device, work["calls"] * LAUNCH_SECONDS)
    total /= trace.optimizer_steps
    if crossing is None:
        crossing = 8 * trace.trainable if "cpu_offload" in ids or "paged_optimizer" in ids else 0
    return total + crossing / PCIE_BYTES_PER_SECOND


def largest(good, slack, start):
    """The largest batch for which `good` holds, within `tolerance`; 0 when not even one sample does.

    Memory grows almost in a straight line with the batch, so the bytes to spare at two batches (`slack`) predict the
    edge; a prediction that does not narrow the bracket gives way to halving it.
    """
    low, high = (start, None) if good(start) else (0, start)
    tried = [start]
    while (high is None or high - low > tolerance(low)) and low < LARGEST:
        guess = _next(tried, slack, low, high)
        tried.append(guess)
        low, high = (guess, high) if good(guess) else (low, guess)
    return low


def _next(tried, slack, low, high):
    first = low * 2 if high is None else (low + high) // 2
    if len(tried) < 2:
        return first
    one, two = sorted(tried, key=lambda batch: abs(slack(batch)))[:2]
    rise = (slack(one) - slack(two)) / (two - one)
    edge = int(one + slack(one) / rise) if rise > 0 else first
    step = tolerance(edge)
    if edge <= low < edge + step:  # the prediction itself holds: does a step more?
        return low + step
    if high is not None and high - step < edge <= high + step:
        return max(low + 1, high - step)
    inside = low < edge and (high is None or edge < high)
    return min(edge, LARGEST) if inside else first


def tolerance(batch):
    """How close to the edge is close enough: one sample, or two percent."""
    return max(1, batch // 50)
