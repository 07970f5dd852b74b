"""Short training of a network on the caller's rows: seeded, bounded in time, the best epoch kept."""

import copy
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from . import agree, npz, program, rows
from .refusal import Refused, first_line

BATCH = 64
PEAK_RATE = {"fresh": 3e-3, "tuned": 1e-3}
HELD_OUT_SHARE = 0.1  # of the training rows, the last ones: they choose the epoch
MOST_EPOCHS = 60
WARM_SHARE = 0.15
WORTH_SHARING = (
    0.8  # of a step's time on one thread: threads that wait for a busy core cost far more than this gains
)
TEMPERATURE, SOFT_SHARE = 2.0, {"cross_entropy": 0.7, "other": 0.5}
LOSSES = {"cross_entropy": F.cross_entropy, "l1": F.l1_loss, "mse": F.mse_loss}


class Rows:
    """Training tensors, with the last tenth held out, and the teacher's outputs where there is one."""

    def __init__(self, request, names):
        arrays = npz.read(request["train_data"])
        specs = [
            {"name": n, "dtype": str(agree.as_fed(arrays[n]).dtype), "shape": None}
            for n in names
            if n in arrays
        ]
        if len(specs) < len(names):
            raise Refused("train_data lacks an input", ", ".join(arrays), "the same arrays as data")
        feeds, y = rows.match_inputs(arrays, specs)
        cut = int(len(y) * (1 - HELD_OUT_SHARE))
        self.x = [torch.from_numpy(np.ascontiguousarray(feeds[n])) for n in names]
        self.y = torch.from_numpy(np.ascontiguousarray(y if y.dtype.kind in "iu" else y.astype(np.float32)))
        self.cut, self.soft, self.cores = cut, None, request["threads"]

    def __len__(self):
        return self.cut

    def batch(self, index):
        return [x[index] for x in self.x], self.y[index], None if self.soft is None else self.soft[index]


def find_loss(request):
    """The built-in loss or the caller's function(predictions, targets)."""
    if request["loss"] in LOSSES:
        return LOSSES[request["loss"]]
    return rows.import_function(request["loss_file"], request["loss_function"], request["root"])


def predict(model, inputs, batch=256):
    """Outputs for all rows, without gradients."""
    model.eval()
    with torch.no_grad():
        parts = [
            agree.first_output(model(*[x[i : i + batch] for x in inputs]))
            for i in range(0, len(inputs[0]), batch)
        ]
    return torch.cat(parts)


def fit(model, data, loss, *, seed, seconds, start, soft_share=0.0, kind="other", steps=None):
    """Train in place; returns the steps taken, the held-out loss of the epoch that was kept, and if time ran out.

    Without `steps`, for `seconds` or MOST_EPOCHS; with them, as many as an earlier training took (twice the time at
    most), so that two trainings compare. The learning rate follows the share that is done.
    """
    torch.set_num_threads(_fastest_threads(model, data, loss))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE[start], weight_decay=1e-4)
    per_epoch = max(1, len(data) // BATCH)
    most = steps or MOST_EPOCHS * per_epoch
    began, best, kept, count = time.perf_counter(), float("inf"), None, 0
    while count < most and (done := _share(count, most, began, seconds, steps)) < 1:
        order = rng.permutation(len(data))
        model.train()
        for i in range(per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = PEAK_RATE[start] * _rate(done)
            value = _objective(model, data, order[i * BATCH : (i + 1) * BATCH], loss, soft_share, kind)
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            count += 1
            if count >= most or (done := _share(count, most, began, seconds, steps)) >= 1:
                break
        now = _held_out(model, data, loss, soft_share, kind)
        if np.isfinite(now) and now < best:
            best, kept = now, copy.deepcopy(model.state_dict())
    if kept is None:
        raise Refused(
            "The training diverged", "held-out loss is not finite", "another loss, or scaled targets"
        )
    model.load_state_dict(kept)
    model.eval()
    about = {"steps": count, "epochs": round(count / per_epoch, 2), "held_out_loss": round(best, 6)}
    return {**about, "cut_short": count < most}


def _fastest_threads(model, data, loss):
    """One thread or all: a small network on a busy machine loses far more than it gains by sharing its steps."""
    trial, taken = copy.deepcopy(model).train(), {}
    index = np.arange(BATCH) % len(data)
    for threads in sorted({1, data.cores}):
        torch.set_num_threads(threads)
        _objective(trial, data, index, loss, 0.0, "other").backward()
        times = []
        for _ in range(3):
            began = time.perf_counter()
            _objective(trial, data, index, loss, 0.0, "other").backward()
            times.append(time.perf_counter() - began)
        taken[threads] = float(np.median(times))
    return data.cores if taken[data.cores] < WORTH_SHARING * taken[1] else 1


def _share(count, most, began, seconds, steps):
    """How much of the training is done: of its steps, or of its time where that runs out first."""
    elapsed = (time.perf_counter() - began) / (seconds if steps is None else 2 * seconds)
    return max(count / most, elapsed) if steps is None else count / most if elapsed < 1 else 1.0


def _rate(done):
    """One cycle: up over the first 15 %, then down along a cosine to a thousandth."""
    if done < WARM_SHARE:
        return 0.04 + 0.96 * done / WARM_SHARE
    return 0.001 + 0.999 * 0.5 * (1 + np.cos(np.pi * (done - WARM_SHARE) / (1 - WARM_SHARE)))


def _objective(model, data, index, loss, soft_share, kind):
    inputs, y, soft = data.batch(index)
    return _value(agree.first_output(model(*inputs)), y, soft, loss, soft_share, kind)


def _held_out(model, data, loss, soft_share, kind):
    """The same objective on the rows that choose the epoch: labels alone would punish what a teacher corrects."""
    inputs, y, soft = data.batch(slice(data.cut, None))
    with torch.no_grad():
        return float(_value(predict(model, inputs), y, soft, loss, soft_share, kind))


def _value(out, y, soft, loss, soft_share, kind):
    if kind == "cross_entropy" or loss is F.cross_entropy:
        out, y, soft = _class_rows(out, y, soft)
    try:
        hard = loss(
            out, y if y.dtype == torch.int64 else y.reshape(out.shape) if y.numel() == out.numel() else y
        )
    except Exception as error:  # torch raises RuntimeError, IndexError, ValueError; a caller's loss anything
        raise Refused(
            "The loss does not fit outputs and targets",
            first_line(error),
            "cross_entropy with class numbers and a column per class, l1 or mse with floats, or file.py:f(out, y)",
        ) from error
    if soft is None or not soft_share:
        return hard
    taught = _divergence(out, soft) if kind == "cross_entropy" else F.l1_loss(out, soft.reshape(out.shape))
    return (1 - soft_share) * hard + soft_share * taught


def _class_rows(out, y, soft):
    """Scores as (labels, classes) where every pixel or step has a label, whichever axis held the classes."""
    if out.ndim < 3 or y.ndim != out.ndim - 1:
        return out, y, soft
    is_last = out.shape[:-1] == y.shape
    rows = [s if s is None or is_last else s.movedim(1, -1) for s in (out, soft)]
    if rows[0].shape[:-1] != y.shape:
        return out, y, soft
    return rows[0].flatten(0, -2), y.flatten(), None if soft is None else rows[1].flatten(0, -2)


def _divergence(out, soft):
    """Of the softened student from the softened teacher; arXiv 1503.02531."""
    mine, theirs = F.log_softmax(out / TEMPERATURE, -1), F.log_softmax(soft / TEMPERATURE, -1)
    return F.kl_div(mine, theirs, log_target=True, reduction="batchmean") * TEMPERATURE**2


def reset(model, seed):
    """Fresh weights everywhere, from one seed; what no method of its module resets has its values shuffled."""
    torch.manual_seed(seed)
    for module in model.modules():
        fresh = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        if fresh:
            fresh()
            continue
        for parameter in module.parameters(recurse=False):
            with torch.no_grad():
                parameter.copy_(parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter))
    return model


def export(model, data, names, folder, name):
    """The trained network as an ONNX artifact."""
    target = os.path.join(folder, name)
    os.makedirs(target, exist_ok=True)
    path = os.path.join(target, "model.onnx")
    examples = [x[: program.EXPORT_BATCH] for x in data.x]
    exported, _ = program.to_program(model.eval(), examples)
    program.to_onnx(exported or model, examples, names, path)
    torch.save(model.state_dict(), os.path.join(target, "weights.pt"))
    return {"runtime": "onnxruntime", "path": path}


def parameter_count(model):
    return sum(p.numel() for p in model.parameters())
