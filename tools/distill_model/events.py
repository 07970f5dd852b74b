"""The order of events of one call."""

from typing import Any

from .._compression.finish import decide, report_fields
from .._compression.limits import Limits
from .._compression.processor import find_target
from .._compression.search import Row, Search
from .._compression.session import open_session
from .._compression.sources import split_function
from .._compression.table import summarise
from .._compression.trained import Trained, check_training, most_seconds, train
from .._compression.trained_text import split_control, then_quantize
from .._core.contract import ToolError, current_call

EVEN_SHARE = (
    0.9  # of the winner's steps, which the loser must have taken too: a busy machine cuts trainings short
)
FEWEST_SEEDS = 3  # below, the spread between seeds cannot be told from the teacher's effect


def distill(request: Any) -> dict[str, Any]:
    """The fields of the Report."""
    check_training(request)
    settings = {"seeds": request.seeds, "student": request.student, **_student(request.student)}
    target, _ = find_target(None, None)
    with open_session(
        request, max_seconds=most_seconds(request), limit="max_train_seconds", salt="distill", calibrate=False
    ) as session:
        search = session.search
        trained = train(session, request, "boost" if request.student == "lightgbm" else "distill", **settings)
        students = [compare(c, k, trained, higher=search.metric.higher) for c, k in trained.pairs()]
        twins = {}
        for pair, student in zip(trained.pairs(), students, strict=True):
            better, lesser = pair if student["finding"] == "helped" else pair[::-1]
            twins[lesser] = (better, _why(student))
        outcome, baseline = decide(session, Limits(), twins)
        verdict = " ".join(
            [summarise(search, outcome, baseline["metric"], keep="the teacher"), *map(_sentence, students)]
        )
        verdict += _weak_teacher(search, trained)
        fields = report_fields(
            session, outcome, baseline, target, kind="distill", assumed=False, verdict=verdict, warnings=[],
            extra={"trained": {n: r["about"] for n, r in search.rows.items()}, "students": students},
        )  # fmt: skip
        # trees hold no weights to quantize
        next_step = None if request.student == "lightgbm" else then_quantize(request, search, outcome, fields)
    kind = "keep_teacher"
    if outcome.overall:
        kind = "distilled" if outcome.overall in trained.candidates else "labels_only"
    extra = {"outcome": kind, "students": students, "left_out": trained.left_out, "next_step": next_step}
    return {**split_control(fields, trained), **extra}


def _student(named: str) -> dict[str, Any]:
    if named in ("auto", "lightgbm"):
        return {}
    function = split_function(named)
    if function is None:
        raise ToolError("Unknown student", saw=named, try_next="auto, lightgbm or file.py:factory")
    return {"student_file": str(current_call().workspace.file(function[0])), "student_function": function[1]}


def compare(distilled: str, control: str, trained: Trained, *, higher: bool) -> Row:
    """Whether every distilled seed beats every control seed, the other way round, or neither."""
    sign = 1 if higher else -1
    with_teacher = trained.candidates[distilled]["search_metric_by_seed"]
    without = trained.control[control]["search_metric_by_seed"]
    a, b = [sign * v for v in with_teacher], [sign * v for v in without]
    finding = "helped" if min(a) > max(b) else "hurt" if max(a) < min(b) else "no_difference"
    steps = trained.candidates[distilled].get("steps", [1]), trained.control[control].get("steps", [1])
    winner, loser = steps if finding == "helped" else steps[::-1]
    if finding != "no_difference" and min(loser) < EVEN_SHARE * max(winner):
        finding = "uneven_steps"
    return {
        "student": distilled.removesuffix("_distilled"),
        "parameters": trained.candidates[distilled]["parameters"],
        "labels_only": [round(v, 6) for v in without],
        "distilled": [round(v, 6) for v in with_teacher],
        "finding": finding if len(a) >= FEWEST_SEEDS else "too_few_seeds",
    }


def _why(student: Row) -> str:
    if student["finding"] == "helped":
        return "the same student with its teacher was better in every seed"
    finding = str(student["finding"]).replace("_", " ")
    return f"the plain student is as good or better: {finding}"


def _sentence(student: Row) -> str:
    name = str(student["student"])
    plain = "student" if name == "student" else f"student ({name})"
    told: dict[str, str] = {
        "helped": f"The teacher helped {name}: every distilled seed beat every plain one.",
        "hurt": f"The teacher hurt {name}: every plain seed beat every distilled one; train it on labels.",
        "no_difference": f"No gain over the plain {plain}: the difference lies within the spread of seeds.",
        "uneven_steps": f"Whether the teacher helped {name} is open: the better trainings took more steps, because the "
        "machine was busy; try more max_train_seconds.",
        "too_few_seeds": f"Too few seeds to say whether the teacher helped {name}.",
    }
    return told[str(student["finding"])]


def _weak_teacher(search: Search, trained: Trained) -> str:
    """A warning where a plain student is better than its teacher in every seed."""
    teacher, higher = search.facts["metric"]["search"], search.metric.higher
    for name, row in trained.control.items():
        if all((value > teacher) == higher and value != teacher for value in row["search_metric_by_seed"]):
            return f" The teacher loses to {name} in every seed (search rows): it is not worth distilling."
    return ""
