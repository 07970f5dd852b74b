"""Functions that the patch adds to a script; written out in it, so that the script needs nothing of ours."""

SPLIT = '''
def micro_batches(steps, *batch):
    """The batch in up to `steps` parts along the first dimension; arrays, and lists, tuples or dicts of them."""

    def part(value, start, stop):
        if isinstance(value, dict):
            return {key: part(inner, start, stop) for key, inner in value.items()}
        array = torch.is_tensor(value) or hasattr(value, "__array__")
        if array or (isinstance(value, (list, tuple)) and not torch.is_tensor(value[0])):
            return value[start:stop]
        if isinstance(value, (list, tuple)):
            same = len({len(inner) for inner in value}) == 1 and len(value[0]) == size
            return type(value)(part(inner, start, stop) for inner in value) if same else value[start:stop]
        raise TypeError(f"a batch of {type(value).__name__} cannot be split into micro-batches")

    def length(value):
        if isinstance(value, dict):
            return length(next(iter(value.values())))
        return len(value)

    sizes = [len(value) for value in batch if torch.is_tensor(value)] or [length(batch[0])]
    size = sizes[0]
    if any(other != size for other in sizes):
        raise ValueError("the tensors of this batch differ in their first dimension, so it cannot be split")
    width = -(-size // steps)
    for start in range(0, size, width):
        yield tuple(part(value, start, start + width) for value in batch)
'''.strip("\n").split("\n")

GROUPS = '''
def micro_groups(steps, batches, whole=False):
    """Lists of `steps` batches each; the last one may be shorter, and is left out with `whole`."""
    group = []
    for batch in batches:
        group.append(batch)
        if len(group) == steps:
            yield group
            group = []
    if group and not whole:
        yield group
'''.strip("\n").split("\n")

TERMS = '''
def loss_terms(target, ignore_index=-100):
    """How many terms a mean loss averages: classes that are not ignored, or all elements."""
    if target.is_floating_point():
        return target.numel()
    return int((target != ignore_index).sum())
'''.strip("\n").split("\n")

SIZE = '''
def micro_size(batch_size, steps):
    """The part of a batch that is worked off at once."""
    if batch_size % steps:
        raise ValueError(f"a batch of {batch_size} cannot be divided into {steps} equal parts")
    return batch_size // steps
'''.strip("\n").split("\n")

SYNC = '''
def synced_last(model, parts):
    """The parts of a step, all but the last under no_sync(): gradients are exchanged once per step."""
    parts = list(parts)
    with getattr(model, "no_sync", contextlib.nullcontext)():
        yield from parts[:-1]
    yield from parts[-1:]
'''.strip("\n").split("\n")
