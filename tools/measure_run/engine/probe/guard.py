"""What keeps the probe harmless, and what it looks for in a batch."""

import functools


def harmless(method):
    """A method of the probe whose own failure is noted and never becomes the program's; StepLimit passes."""

    @functools.wraps(method)
    def guarded(self, *args):
        try:
            return method(self, *args)
        except Exception as error:
            self.record.note("probe_failed", where=method.__name__, text=repr(error)[:300])

    return guarded


def first_tensor(torch, batch, depth=3):
    """The first tensor in a batch of any nesting, else None."""
    if isinstance(batch, torch.Tensor):
        return batch
    if (depth and isinstance(batch, dict)) or (hasattr(batch, "data") and isinstance(batch.data, dict)):
        batch = list((batch if isinstance(batch, dict) else batch.data).values())
    if depth and isinstance(batch, (list, tuple)):
        for item in batch[:8]:
            found = first_tensor(torch, item, depth - 1)
            if found is not None:
                return found
    return None
