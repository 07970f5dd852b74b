"""What is alive over the step, stacked by kind, thinned to what a picture can show."""

POINTS = 600
KINDS = ("weights", "gradients", "optimizer", "activations", "other")


def series(trace, kind_of):
    """{"points": [[event, bytes per kind...]], "phases": [[first event, name]]}; every peak of a stretch is kept."""
    levels = dict.fromkeys(KINDS, 0)
    stride = max(1, len(trace.events) // POINTS)
    points, phases, best, best_total = [], [], None, -1
    kinds = [kind_of(trace, block) for block in range(len(trace.sizes))]
    for index, event in enumerate(trace.events):
        block = event if event >= 0 else ~event
        levels[kinds[block]] += trace.sizes[block] if event >= 0 else -trace.sizes[block]
        if event >= 0 and (not phases or phases[-1][1] != trace.labels[block][0]):
            phases.append([index, trace.labels[block][0]])
        total = sum(levels.values())
        if total > best_total:
            best, best_total = [index, *levels.values()], total
        if index % stride == stride - 1:
            points.append(best)
            best_total = -1
    if best_total >= 0:
        points.append(best)
    return {"points": points, "phases": phases, "kinds": list(KINDS), "events": len(trace.events)}
