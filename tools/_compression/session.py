"""From a Request to a Search that is ready to run: source, interpreters, rows, baseline."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .._core.contract import ToolError, current_call
from .arguments import CompressionRequest, check_batches, check_metric, read_budget
from .intake import Intake, find_data, load_data, take_in
from .interpreters import ENGINE, Interpreter, callers, searcher
from .job import Job, cached, digest, require_room, scratch
from .search import Metric, Search, measure_baseline
from .sources import Source, find_source, split_function

PREPARE_SECONDS = 180.0
EXACT = 1e-4  # of the error of one constant answer: less is rounding, not an error
ROOM_FACTOR = 12  # candidates kept at once, in sizes of the model


@dataclass
class Session:
    """An open search with the interpreters it runs under."""

    search: Search
    source: Source
    found: Intake
    caller: Interpreter

    @property
    def started(self) -> float:
        return self.search.job.started


@contextmanager
def open_session(
    request: CompressionRequest,
    *,
    max_seconds: float,
    limit: str = "max_search_seconds",
    trust: bool = False,
    salt: object = None,
    calibrate: bool = True,
) -> Iterator[Session]:
    """Everything checked, exported and split; the folder is the cache of this model, data and these settings."""
    started = time.monotonic()
    workspace = current_call().workspace
    batches, higher, budget = (
        check_batches(request),
        check_metric(request),
        read_budget(request.max_metric_drop),
    )
    source = find_source(request.model, request.weights, trust, workspace)
    find_data(request.data, workspace)
    metric = _metric(request, higher, budget)
    with scratch() as folder:
        job = Job(folder, request.threads, max_seconds, started, limit)
        caller = callers(request.python, folder)
        python = searcher(caller, folder)
        data = load_data(job, request.data, caller)
        current_call().progress(0, None, "reading the model")
        python.require(source.needs, "Reading this model")
        found = take_in(job, source, data, caller)
        metric = replace(metric, python=caller)
        with cached(_key(found, source, request, batches, python, salt)) as kept:
            job.folder = kept
            require_room(kept, ROOM_FACTOR * sum(path.stat().st_size for path in source.files))
            facts = job.do(
                "prepare", python, seconds=PREPARE_SECONDS, artifact=found.artifact, data=str(found.data),
                metric=metric.name, calibrate=calibrate, batch_sizes=batches, max_seconds=max_seconds,
            )  # fmt: skip
            search = Search(job, python, facts, metric, batches, found.program)
            measure_baseline(search)
            _refuse_empty_budget(search)
            yield Session(search, source, found, caller)


def _metric(request: CompressionRequest, higher: bool, budget: dict[str, float]) -> Metric:
    function = split_function(request.metric)
    if function is None:
        return Metric(request.metric, higher, budget)
    file = current_call().workspace.file(function[0])
    return Metric(request.metric, higher, budget, file, function[1])


def _refuse_empty_budget(search: Search) -> None:
    """A share of an error of nothing, as where the targets are the model's own outputs, allows no candidate."""
    metric, value = search.metric, search.facts["metric"]["confirmation"]
    share = metric.budget.get("share", 0.0)
    if share and metric.name != "accuracy" and abs(value) <= EXACT * search.facts.get("constant", 0.0):
        raise ToolError(
            f"The model's {metric.name} is {value:.3g} on these rows, so {share:.0%} of it allows nothing",
            saw="targets that are the model's own outputs"
            if value == 0
            else f"a model that errs by {value:.3g}",
            try_next="max_metric_drop as a number in the metric's unit",
        )


def _key(
    found: Intake,
    source: Source,
    request: CompressionRequest,
    batches: list[int],
    python: Interpreter,
    salt: object,
) -> str:
    """Changes with whatever could change a row: the model's bytes, the rows, the settings, the libraries."""
    model = Path(found.artifact["path"])
    engine = sorted(ENGINE.glob("*.py"))  # rows of another version of the engine are not comparable
    files = [*engine, *(source.files if source.kind == "onnx" else [model]), found.data]
    metric = split_function(request.metric)
    if metric:
        files.append(current_call().workspace.file(metric[0]))
    settings = repr(
        (source.kind, request.metric, request.threads, batches, sorted(python.modules.items()), salt)
    )
    return hashlib.sha256((digest(*files) + settings).encode()).hexdigest()
