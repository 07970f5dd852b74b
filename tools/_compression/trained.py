"""Smaller networks: trained by the engine under the caller's interpreter, then measured like any other candidate."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .._core.contract import ToolError, current_call
from .arguments import LOSSES, TrainingRequest
from .intake import find_data, load_data
from .search import Row, failure, measure
from .session import Session
from .sources import split_function

SPARE_SECONDS = 180.0  # for imports and exports beside the training itself
OVERHEAD = 1.5  # a training's last step, and its evaluation, come after its time
MOST_SECONDS, MOST_SEEDS = 24 * 3600, 10
FACTORY_ONLY = "file.py:factory with weights: a finished file cannot be trained"


@dataclass
class Trained:
    """What the training handed back: rows by name, the pairs of candidate and control, and what was left out."""

    candidates: dict[str, Row] = field(default_factory=dict)
    control: dict[str, Row] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def pairs(self) -> list[tuple[str, str]]:
        """Each candidate with its control: the same network, trained without the teacher or from scratch."""
        return list(zip(self.candidates, self.control, strict=False))


def check_training(request: TrainingRequest) -> None:
    """The training fields, before anything is loaded."""
    if request.loss not in LOSSES and split_function(request.loss) is None:
        raise ToolError(
            "Unknown loss", saw=request.loss, try_next="cross_entropy, l1, mse or file.py:function"
        )
    if split_function(request.model) is None:
        raise ToolError("A network is trained from its source", saw=request.model, try_next=FACTORY_ONLY)
    if not (0 < request.max_train_seconds <= MOST_SECONDS and 1 <= request.seeds <= MOST_SEEDS):
        saw = f"{request.max_train_seconds:g} s, {request.seeds} seeds"
        raise ToolError("max_train_seconds or seeds is out of range", saw=saw, try_next="300 s and 3 seeds")
    workspace = current_call().workspace
    for named in (request.model, request.data):  # every path is confined before any file is opened
        workspace.file(Path((split_function(named) or (named, ""))[0]))
    find_data(request.train_data, workspace)


def most_seconds(request: TrainingRequest) -> float:
    """What the whole call may take: reading the model, training, and comparing what came of it."""
    return OVERHEAD * request.max_train_seconds + 2 * SPARE_SECONDS


def train(session: Session, request: TrainingRequest, task: str, **settings: Any) -> Trained:
    """Run the training task and measure every network that it exported."""
    workspace, search = current_call().workspace, session.search
    loss, metric = split_function(request.loss), search.metric
    data = load_data(search.job, request.train_data, session.caller)
    reply = search.job.do(
        task, session.caller, seconds=OVERHEAD * request.max_train_seconds + SPARE_SECONDS,
        kind=session.source.kind, file=str(session.source.file), function=session.source.function,
        weights=str(session.source.weights) if session.source.weights else None, root=str(workspace.root),
        train_data=str(data), loss=request.loss, loss_file=str(workspace.file(loss[0])) if loss else None,
        loss_function=loss[1] if loss else None, metric_file=str(metric.file) if metric.file else None,
        metric_function=metric.function, higher=metric.higher, train_seconds=request.max_train_seconds,
        **{**search.request(), **settings, "threads": cores()},
    )  # fmt: skip
    trained = Trained(reply["candidates"], reply["control"], reply.get("left_out", {}))
    networks = {**trained.candidates, **trained.control}
    for number, (name, about) in enumerate(networks.items()):
        done = len(networks) * request.seeds + number + 1  # after the trainings, which count one by one
        current_call().progress(done, None, f"measuring {name}")
        try:
            row = measure(search, name, about["artifact"])
        except ToolError as error:  # the other networks stand
            row = failure(error)
        search.rows[name] = {**row, "about": about}
    return trained


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1
