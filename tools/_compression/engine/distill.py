"""Students, each trained twice per seed: on labels alone (the control) and on labels and the teacher's outputs."""

import copy
import os

import numpy as np
import torch

from . import agree, judge, prepare, program, rows, train
from .refusal import Refused

WIDTH_LEFT = 0.25  # of the teacher's channels, for the student of the same family
HIDDEN = {"vector": 64, "series": 32}


def distill(request, progress):
    """Per student and seed both trainings with their search metric; the better seed of each as ONNX."""
    program.import_torch()
    torch.set_num_threads(request["threads"])
    teacher = program.load_model(request)
    lesson = Lesson(request, teacher, progress)
    students, left_out = _students(request, teacher, lesson.data)
    seconds = request["train_seconds"] / (2 * request["seeds"] * len(students))
    reply = {"candidates": {}, "control": {}, "left_out": left_out}
    for name, make in students.items():
        plain = lesson.teach(make, name + "_labels_only", seconds, taught=False, steps=None)
        reply["control"][name + "_labels_only"] = plain
        reply["candidates"][name + "_distilled"] = lesson.teach(
            make, name + "_distilled", seconds, taught=True, steps=plain["steps"][0]
        )
    return reply


class Lesson:
    """What all students are trained and scored on."""

    def __init__(self, request, teacher, progress):
        self.request, self.names, self.progress, self.count = request, request["names"], progress, 0
        self.data, self.loss = train.Rows(request, self.names), train.find_loss(request)
        self.kind = "cross_entropy" if request["loss"] == "cross_entropy" else "other"
        self.outputs = train.predict(teacher, self.data.x)
        found = prepare.load_rows(request["folder"], self.names, "search")
        self.search = [torch.from_numpy(array) for array in found.values()]
        self.y = np.load(os.path.join(request["folder"], "y.search.npy"))

    def teach(self, make, label, seconds, *, taught, steps):
        """All seeds of one student in one role; the seed with the best search metric is exported.

        The first training sets the number of steps, so that every other one of this student takes as many.
        """
        self.data.soft = self.outputs if taught else None
        share = train.SOFT_SHARE[self.kind] if taught else 0.0
        best, metrics, counts = None, [], []
        for seed in range(self.request["seeds"]):
            self.count += 1
            self.progress(self.count, None, f"{label}, seed {seed}")
            student = make(seed)
            about = train.fit(
                student, self.data, self.loss, seed=seed, seconds=seconds, start="fresh", soft_share=share,
                kind=self.kind, steps=steps,
            )  # fmt: skip
            steps = steps or about["steps"]
            counts.append(about["steps"])
            metrics.append(
                judge.asked_metric(self.request, train.predict(student, self.search).numpy(), self.y)
            )
            if metrics[-1] == (max(metrics) if self.request["higher"] else min(metrics)):
                best = student
        artifact = train.export(best, self.data, self.names, self.request["folder"], label)
        parameters = train.parameter_count(best)
        return {
            "artifact": artifact,
            "parameters": parameters,
            "search_metric_by_seed": metrics,
            "steps": counts,
        }


def _students(request, teacher, data):
    """Name -> function from a seed to a fresh network; what does not fit is left out with its reason."""
    if request.get("student_file"):
        build = rows.import_function(request["student_file"], request["student_function"], request["root"])
        return {"student": lambda seed: train.reset(build(), seed)}, {}
    x, left_out, found = data.x[0], {}, {}
    with torch.no_grad():
        out = agree.first_output(teacher(*[a[:2] for a in data.x]))
    shape = tuple(out.shape[1:])
    if len(data.x) == 1 and x.is_floating_point():
        numbers = int(np.prod(x.shape[1:]))
        if x.ndim == 2:
            found["mlp"] = lambda seed: train.reset(Dense(numbers, HIDDEN["vector"], shape), seed)
        elif (
            x.ndim == 3
            and request["loss"] != "cross_entropy"
            and len(shape)
            and shape[-1:] == tuple(x.shape[2:])
        ):
            found["dlinear"] = lambda seed: train.reset(Linear(x.shape[1], shape), seed)
            found["mlp"] = lambda seed: train.reset(Forecaster(x.shape[1], HIDDEN["series"], shape), seed)
        elif x.ndim == 3:
            found["mlp"] = lambda seed: train.reset(Dense(numbers, HIDDEN["vector"], shape), seed)
    try:
        from .prune import shrink

        small = shrink(teacher, [a[:2] for a in data.x], 1 - WIDTH_LEFT)
        found["narrow_teacher"] = lambda seed: train.reset(copy.deepcopy(small), seed)
    except Refused as refused:
        left_out["narrow_teacher"] = "{} ({})".format(refused.reply["problem"], refused.reply["saw"])
    if not found:
        raise Refused(
            "No student fits this task",
            "inputs of shape %s" % [list(a.shape[1:]) for a in data.x],
            "student='file.py:factory'",
        )
    return found, left_out


class Dense(torch.nn.Module):
    """One hidden layer on the flattened row, twice."""

    def __init__(self, numbers, hidden, shape):
        super().__init__()
        self.shape = shape
        self.net = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(numbers, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, hidden),
            torch.nn.ReLU(), torch.nn.Linear(hidden, int(np.prod(shape))),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x).reshape(x.shape[0], *self.shape)


class Forecaster(torch.nn.Module):
    """Per channel: the last level taken off, one hidden layer over time, the level put back."""

    def __init__(self, steps, hidden, shape):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(steps, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, shape[0])
        )

    def forward(self, x):
        last = x[:, -1:, :]
        return self.net((x - last).transpose(1, 2)).transpose(1, 2) + last


class Linear(torch.nn.Module):
    """DLinear: trend (moving average) and remainder, one linear map over time each; arXiv 2205.13504."""

    WINDOW = 25

    def __init__(self, steps, shape):
        super().__init__()
        window = min(self.WINDOW, steps // 2 * 2 - 1)
        self.average = torch.nn.AvgPool1d(window, 1, window // 2, count_include_pad=False)
        self.trend, self.rest = torch.nn.Linear(steps, shape[0]), torch.nn.Linear(steps, shape[0])

    def forward(self, x):
        last = x[:, -1:, :]
        series = (x - last).transpose(1, 2)
        trend = self.average(series)
        return (self.trend(trend) + self.rest(series - trend)).transpose(1, 2) + last
