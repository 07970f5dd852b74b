"""Whether an exported file gives what eager torch gives, at a batch size and a length that the export did not see."""

import numpy as np

from .refusal import Refused, first_line

EAGER_TOLERANCE = 1e-3


def compare(model, path, names, arrays):
    """The largest gap between eager torch and the file, at a batch size and a length that the export did not see."""
    try:
        import onnxruntime
    except ImportError:
        return None  # the search runs in another interpreter; it checks finiteness and shapes there
    few = {name: as_fed(arrays[name][:3]) for name in names}
    if len(next(iter(few.values()))) < 3:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    gap = _gap(model, session, few)
    free = [i.name for i in session.get_inputs() if len(i.shape) > 1 and not isinstance(i.shape[1], int)]
    if free:
        shorter = {n: a[:, : max(2, 2 * a.shape[1] // 3)] if n in free else a for n, a in few.items()}
        gap = max(gap, _gap(model, session, shorter))
    return gap


def refuse_random(call):
    """A model that draws random numbers has no accuracy that a candidate's could be compared with."""
    once, again = call(), call()
    same = once.shape == again.shape
    if not same or not np.allclose(once, again, rtol=EAGER_TOLERANCE, atol=EAGER_TOLERANCE, equal_nan=True):
        raise Refused(
            "The model gives other outputs when it is called again on the same rows",
            f"largest gap {np.abs(once - again).max():g}"
            if same
            else f"shapes {once.shape} and {again.shape}",
            "a forward without random numbers, such as the mean instead of a sample",
        )
    return once


def _eager(model, few):
    import torch

    with torch.no_grad():
        found = model(*[torch.from_numpy(np.ascontiguousarray(a)) for a in few.values()])
    return first_output(found).detach().float().numpy()


def _gap(model, session, few):
    try:
        ours = session.run(None, {i.name: few[i.name] for i in session.get_inputs()})[0]
        theirs = refuse_random(lambda: _eager(model, few))
    except Refused:
        raise
    except Exception as error:  # onnxruntime's and the model's own
        raise Refused(
            "The exported file does not run at another batch size or length",
            first_line(error),
            "a forward with x.shape[0] for len(x) and no Python branches on shapes, or an ONNX file exported by you",
        ) from error
    if ours.shape != theirs.shape or not np.allclose(
        ours, theirs, rtol=EAGER_TOLERANCE, atol=EAGER_TOLERANCE, equal_nan=True
    ):
        raise Refused(
            "The exported file differs from the model at another batch size or length",
            "largest gap %g" % (np.abs(ours - theirs).max() if ours.shape == theirs.shape else float("nan")),
            "a forward with x.shape[0] for len(x) and no Python branches on shapes, or an ONNX file exported by you",
        )
    return float(np.abs(ours - theirs).max())


def first_output(found):
    while isinstance(found, (tuple, list, dict)):
        found = next(iter(found.values())) if isinstance(found, dict) else found[0]
    return found


def as_fed(array):
    return array.astype(np.float32) if array.dtype == np.float64 else array
