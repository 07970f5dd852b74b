"""A LightGBM student: on labels alone (the control), and on the teacher's outputs."""

import os
import time

import numpy as np

from . import clock, judge, npz, prepare, program, rows, trees
from .refusal import Refused

ROUNDS, LEAVES, RATE = 300, 31, 0.05
PATIENCE = 30  # rounds without gain on the held-out rows


def boost(request, progress):
    """Control and distilled student per seed, as ONNX tree ensembles."""
    import lightgbm

    names = request["names"]
    arrays = npz.read(request["train_data"])
    specs = [{"name": n, "dtype": "float32", "shape": None} for n in names]
    feeds, y = rows.match_inputs(arrays, specs)
    x = next(iter(feeds.values()))
    search = next(iter(prepare.load_rows(request["folder"], names, "search").values()))
    if len(names) > 1 or x.ndim != 2 or y.ndim != 1:
        raise Refused("LightGBM takes one table of features and one target", list(x.shape), "student 'auto'")
    task = Task(request, lightgbm, x, y, search)
    reply = {"candidates": {}, "control": {}, "left_out": {}}
    for role, label, targets in (
        ("control", "lightgbm_labels_only", y),
        ("candidates", "lightgbm_distilled", task.taught(_teacher_outputs(request, x))),
    ):
        progress(1 + len(reply["control"]), None, label)
        if targets is None:
            reply["left_out"][label] = (
                "a LightGBM student learns from a teacher of two classes or one number only"
            )
        else:
            reply[role][label] = task.train(label, targets)
    return reply


def _teacher_outputs(request, x):
    program.import_torch()
    import torch

    from .train import predict

    return predict(program.load_model(request), [torch.from_numpy(x)]).numpy()


class Task:
    """What both roles share: the rows, the objective and the score."""

    def __init__(self, request, lightgbm, x, y, search):
        self.request, self.lightgbm, self.x, self.y, self.search = request, lightgbm, x, y, search
        self.labels = np.load(os.path.join(request["folder"], "y.search.npy"))
        of_classes = request["loss"] == "cross_entropy" and y.dtype.kind in "iub"
        is_own = (
            request["metric"] not in judge.HIGHER
        )  # such a metric sees scores where the loss is one of classes
        self.classes = int(y.max()) + 1 if request["metric"] == "accuracy" or (is_own and of_classes) else 0
        self.seconds = request["train_seconds"] / (2 * request["seeds"])
        busy = (clock.load_average() or 0) > request[
            "threads"
        ]  # threads that wait for each other's core are slower
        self.threads = 1 if busy else request["threads"]

    def taught(self, outputs):
        """The teacher's probability of the second class, or its forecast, mixed with the labels half and half."""
        if self.classes > 2:
            return None
        if self.classes == 2:
            outputs = outputs.astype(np.float64)
            outputs = (
                1 / (1 + np.exp(outputs[:, 0] - outputs[:, 1])) if outputs.shape[-1] == 2 else outputs.ravel()
            )
        return 0.5 * self.y + 0.5 * outputs.ravel()

    def train(self, label, targets):
        objective = "cross_entropy" if self.classes == 2 else "regression"
        if self.classes > 2:
            objective = "multiclass"
        cut, metrics, best = int(len(self.x) * 0.9), [], None
        for seed in range(self.request["seeds"]):
            booster = self._fit(objective, targets, cut, seed)
            metrics.append(judge.asked_metric(self.request, self._scores(booster), self.labels))
            if metrics[-1] == (max(metrics) if self.request["higher"] else min(metrics)):
                best = booster
        return {
            **self._export(best, label),
            "search_metric_by_seed": metrics,
            "trees": [best.num_trees()] * len(metrics),
        }

    def _scores(self, booster):
        """Predictions in the shape that the exported student gives."""
        found = booster.predict(self.search)
        return np.stack([1 - found, found], 1) if self.classes == 2 else found.reshape(len(found), -1)

    def _fit(self, objective, targets, cut, seed):
        lightgbm = self.lightgbm
        settings = {
            "objective": objective, "num_leaves": LEAVES, "learning_rate": RATE, "seed": seed, "bagging_fraction": 0.8,
            "bagging_freq": 1, "feature_fraction": 0.9, "verbose": -1, "num_threads": self.threads,
        }  # fmt: skip
        if objective == "multiclass":
            settings["num_class"] = self.classes
        held = lightgbm.Dataset(self.x[cut:], targets[cut:])
        ends = [
            lightgbm.early_stopping(PATIENCE, verbose=False),
            self._until(time.perf_counter() + self.seconds),
        ]
        return lightgbm.train(
            settings, lightgbm.Dataset(self.x[:cut], targets[:cut]), ROUNDS, valid_sets=[held],
            callbacks=ends,
        )  # fmt: skip

    def _until(self, deadline):
        """A callback that ends the training at the deadline, with the rounds that it has by then."""

        def stop(state):
            if time.perf_counter() > deadline:
                raise self.lightgbm.callback.EarlyStopException(state.iteration, state.evaluation_result_list)

        return stop

    def _export(self, booster, label):
        import onnx

        target = os.path.join(self.request["folder"], label)
        os.makedirs(target, exist_ok=True)
        text, path = os.path.join(target, "model.txt"), os.path.join(target, "model.onnx")
        booster.save_model(text, num_iteration=booster.best_iteration)
        model = trees.convert({"runtime": "lightgbm", "path": text})
        onnx.save(trees.with_two_columns(model) if self.classes == 2 else model, path)
        leaves = sum(info["num_leaves"] for info in booster.dump_model()["tree_info"])
        return {"artifact": {"runtime": "onnxruntime", "path": path}, "parameters": leaves}
