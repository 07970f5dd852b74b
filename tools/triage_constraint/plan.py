"""The plan: the ordered remedies of a constraint, fitted to the machine, the script and the numbers at hand."""

import importlib.util
import re
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .._catalog.gpus import candidates
from .._core.machine import Machine
from .._core.quantity import Basis
from .._remedies import (
    AUGMENT,
    BACKTEST,
    BY_ID,
    COMMAND,
    COST,
    DISTILL,
    MEASURE,
    MODEL,
    PATCH,
    PREDICT,
    PREPARE,
    PREPARE_STEP_ON_CPU,
    PRUNE,
    QUANTIZE,
    SCRIPT,
    SLOW_ENGINE,
    STEP,
    STEP_ON_CPU,
    TREES,
    WORKLOAD,
    WORKLOADS,
    Remedy,
    ordered,
)
from . import frameworks
from .by_hand import by_hand, room_for_tokens
from .goals import goals
from .kind import (
    for_inference,
    grows_trees,
    is_about_other_data,
    is_about_series,
    is_served_by_an_engine,
    meaningless,
)
from .numbers import Numbers
from .situation import Situation

_CARD = re.compile(
    r"\b(?:[tk]\d{1,2}|p100|v100s?|a10g?|a30|a40|a100|l4|l40s?|h100|h200|b200|(?:rtx|gtx) ?\d{4}(?: ?(?:ti|super))?"
    r"|\d{4} ?ti|titan (?:xp|v|rtx)|quadro rtx \d{4})\b"
)
_GROWING = ("gpu_memory", "host_memory")
_FOR_A_CARD = ("mixed_precision", "sharding")  # on a CPU the one is slower as a rule, the other means nothing
_STEPS = 6  # a plan is worked from the top; what comes later is the fallback


class ExpectedEffect(BaseModel):
    """A range of after / before; `basis` says how it is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    low_ratio: float
    high_ratio: float
    basis: Basis = "assumed"
    note: str = ""


class Call(BaseModel):
    """A call of a tool, ready to send once what it needs is supplied."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tool: str
    arguments: dict[str, Any]
    needs: list[str] = Field(description="What must be supplied before the call.")


class Step(BaseModel):
    """One remedy, with the call that applies or predicts it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    remedy: str
    why: str
    expected_effect: ExpectedEffect
    changes_results: bool = Field(description="True: measure quality as well.")
    cost: str
    verify: str
    tool: str | None = Field(description="The tool that does it; null where no tool does.")
    arguments: dict[str, Any]
    needs: list[str] = Field(description="What must be supplied before the call.")


def make_plan(here: Situation) -> tuple[list[Step], list[str]]:
    """The steps to take, and the remedies to fall back to."""
    present = here.script.present if here.script else set()
    ids = _order(here)
    chosen = [name for name in ids if name not in present]
    settled = [name for name in ids if name in present]
    steps = [_step(BY_ID[name], here) for name in chosen[:_STEPS]]
    doubtful = (f"{name} (already in the script: check that it takes effect)" for name in settled)
    return _building_up(steps), [*chosen[_STEPS:], *doubtful]


def _order(here: Situation) -> list[str]:
    """The remedies of the constraint, in the order that fits this text, script and measurement."""
    ids = [*(STEP_ON_CPU if here.step_on_cpu else ()), *ordered(here.constraint, here.sub_cause)]
    if here.constraint == "compute_time" and (here.on_cpu or grows_trees(here.lowered)):
        ids = ["cpu_threads", *(name for name in ids if name not in _FOR_A_CARD)]
    if here.slow_engine:
        ids = list(SLOW_ENGINE)
    if here.hand_cause == "apple_silicon" and "runtime" not in ids and not grows_trees(here.lowered):
        ids.insert(0, "runtime")
    if here.constraint == "gpu_memory" and here.infers:
        ids = for_inference(ids)
    if here.constraint == "no_gpu" and is_about_series(here.lowered):
        ids.sort(key=lambda name: BY_ID[name].tool != BACKTEST)  # models that need no GPU come first
    findings = here.script.findings if here.script else []
    if here.constraint in _GROWING and any(cause == "leak" for *_, cause in findings):
        ids.insert(1, "release_graph")  # a defect in plain sight, whatever else binds
    useless = meaningless(here.lowered, here.constraint) | frameworks.useless(here.framework)
    if here.script and not here.script.adapts:
        useless |= {"lora", "freezing"}  # nothing learnt elsewhere to keep
    if here.script and not here.script.convolves:
        useless |= {"channels_last"}
    return [name for name in dict.fromkeys(ids) if name not in useless]


def preparation(here: Situation) -> list[Call]:
    """The calls that give the baseline, and the prediction where one can be had."""
    calls: list[Call] = []
    wanted = [*PREPARE.get(here.constraint, ()), *(PREPARE_STEP_ON_CPU if here.step_on_cpu else ())]
    if here.constraint == "training_data" and is_about_other_data(here.lowered):
        wanted = [(MEASURE, {}, (COMMAND,))]
    if here.sub_cause in ("kv_cache", "download_bandwidth") or is_served_by_an_engine(here.lowered):
        wanted = []  # the engine's own figures are the baseline, or the transfer's
    if here.framework:  # no steps are seen there: time ends the run
        wanted = [
            (tool, {"max_seconds": 120} if tool == MEASURE and COMMAND in needs else arguments, needs)
            for tool, arguments, needs in wanted
            if tool != PREDICT
        ]
    for tool, arguments, needs in wanted:
        if _is_here(tool) and not (tool == MEASURE and here.measured):  # the measurement is the baseline
            fitted, missing = _fitted(tool, dict(arguments), list(needs), here)
            calls.append(Call(tool=tool, arguments=fitted, needs=missing))
    return calls


def _building_up(steps: list[Step]) -> list[Step]:
    """Each patch of a plan holds those before it: the patcher is idempotent, and a remedy rests on the earlier ones.

    One call prices every way to a smaller bill, and the later steps say so.
    """
    built: dict[str, Any] = {}
    fitted: list[Step] = []
    for step in steps:
        if step.tool == PATCH:
            remedies = [*built.get("remedies", []), *step.arguments["remedies"]]
            built = {**built, **step.arguments, "remedies": remedies}
            step = step.model_copy(update={"arguments": dict(built)})
        elif step.tool == COST and any(earlier.tool == COST for earlier in fitted):
            step = step.model_copy(update={"why": f"{step.why}; the call of an earlier step prices it too"})
        fitted.append(step)
    return fitted


def _step(remedy: Remedy, here: Situation) -> Step:
    instead = by_hand(remedy.id, here.hand_cause)
    if here.framework and not instead:
        instead = frameworks.hand_of(remedy.id, here.framework)
    tool, arguments, needs = (None, {}, []) if instead else _call(remedy, here)
    why = instead.what if instead else remedy.what
    if room := room_for_tokens(remedy.id, here.numbers):
        why = f"{why}; {room}"
    if remedy.id == "mixed_precision" and tool:
        arguments["precision"], reason = _precision(here.machine, here.lowered)
        why = f"{why}; {reason}"
    effect = (instead and instead.effect) or remedy.effect_on(here.constraint)
    return Step(
        remedy=remedy.id,
        why=why,
        expected_effect=ExpectedEffect(
            quantity=effect.quantity,
            low_ratio=effect.low_ratio,
            high_ratio=effect.high_ratio,
            note=effect.note,
        ),
        changes_results=remedy.changes_results,
        cost=(instead and instead.cost) or remedy.cost,
        verify=(instead and instead.verify) or remedy.verify,
        tool=tool,
        arguments=arguments,
        needs=needs,
    )


def _call(remedy: Remedy, here: Situation) -> tuple[str | None, dict[str, Any], list[str]]:
    """The tool that does it where this installation has it, its arguments, and what is still missing from them."""
    if remedy.tool is None or not _is_here(remedy.tool) or _misses(remedy.tool, here.lowered):
        return None, {}, []
    return remedy.tool, *_fitted(remedy.tool, dict(remedy.arguments), list(remedy.needs), here)


def _misses(tool: str, lowered: str) -> bool:
    """Whether the tool is for other data or another framework than the text is about."""
    if tool in (BACKTEST, AUGMENT):
        return is_about_other_data(lowered)
    if tool in (QUANTIZE, PRUNE, DISTILL, PREDICT):
        return is_served_by_an_engine(lowered)
    return tool == PATCH and grows_trees(lowered)


@cache
def _is_here(tool: str) -> bool:
    return importlib.util.find_spec(f"..{tool}", __package__) is not None


def _fitted(
    tool: str, arguments: dict[str, Any], needs: list[str], here: Situation
) -> tuple[dict[str, Any], list[str]]:
    """The arguments with what is known filled in, and what is still to be supplied."""
    arguments |= goals(tool, here.lowered, here.numbers)
    needs = [need for need in needs if need.split(":")[0] not in arguments]
    if SCRIPT in needs and here.script:
        arguments["path"] = here.script.path
        needs.remove(SCRIPT)
    if COMMAND in needs and here.measured and here.measured.command:
        arguments["command"] = here.measured.command
        needs.remove(COMMAND)
    if tool == COST:
        needs = [WORKLOADS.get(here.sub_cause or "", need) if need == WORKLOAD else need for need in needs]
    if grows_trees(here.lowered):
        needs = [TREES if need == MODEL else need for need in needs]
    elif here.framework:
        needs = [frameworks.EXPORTED[here.framework] if need == MODEL else need for need in needs]
    if STEP in needs and here.script and here.script.has_make_step:
        arguments["step"] = f"{here.script.path}:make_step"
        needs.remove(STEP)
    if tool == PREDICT and "gpu" not in arguments and (card := _card(here.numbers, here.machine)):
        arguments["gpu"] = card
    return arguments, needs


def _card(numbers: Numbers, machine: Machine | None) -> str | None:
    """The size of the card for a prediction: the machine's own when it is known, else what the log printed."""
    if machine and any(a.memory_bytes for a in machine.accelerators):
        return None  # estimate_memory reads the machine at hand by itself
    limit = numbers.get("allowed_gib", numbers.get("total_gib"))
    return f"{limit:g}GiB" if isinstance(limit, float | int) else None


def _precision(machine: Machine | None, lowered: str) -> tuple[Literal["auto", "bf16", "fp16"], str]:
    """bf16 only where the card computes it natively: emulation is slow, and torch calls it supported."""
    known = [a for a in machine.accelerators if a.supports_bf16 is not None] if machine else []
    if known:
        name = known[0].name
        return (
            ("bf16", f"{name} has bf16") if known[0].supports_bf16 else ("fp16", f"{name} has no native bf16")
        )
    named = {gpu for spelling in _CARD.findall(lowered) for gpu in candidates(spelling)}
    if len({gpu.supports_bf16 for gpu in named}) != 1:
        return "auto", "the number format is chosen at run time by what the card supports"
    name = min(gpu.name for gpu in named)
    if named.pop().supports_bf16:
        return "bf16", f"the text names a card with native bf16 ({name})"
    return "fp16", f"the text names a card without native bf16 ({name})"
