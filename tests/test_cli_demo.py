"""The guided example, with tools that stand in for the real ones where the point is what the runner does."""

import sys
from pathlib import Path
from typing import Any

import pytest
from optimizing_resources.server.demo import main_job
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.contract import (
    CALL,
    Call,
    Report,
    Request,
    ToolError,
    current_call,
    tool,
)
from optimizing_resources.tools._core.workspace import Workspace
from pydantic import Field

ROOT = Path(__file__).resolve().parents[1]


class NothingRequest(Request):
    python: str = Field(description="An interpreter.")


class TriageRequest(Request):
    log_path: Path = Field(description="A log.")
    script_path: Path = Field(description="A script.")


class TriageReport(Report):
    constraint: str
    plan: list[dict[str, Any]]


class SizeRequest(Request):
    path: Path = Field(description="A file.")
    python: str = Field(description="An interpreter.")


class SizeReport(Report):
    size_bytes: int


@tool(effect="reads")
def detect_hardware(request: NothingRequest) -> SizeReport:
    """Stand in for the real one."""
    return SizeReport(size_bytes=1)


def step(remedy, tool_name, needs=(), **arguments):
    return {"remedy": remedy, "tool": tool_name, "arguments": arguments, "needs": list(needs)}


@tool(effect="reads")
def triage_constraint(request: TriageRequest) -> TriageReport:
    """Read the log and plan."""
    text = current_call().workspace.file(request.log_path).read_text(encoding="utf-8")
    assert "CUDA out of memory" in text
    plan = [
        step("model_reduction", "measure_size", needs=["a smaller model"], path="other.py"),
        step("pruning", "measure_size", path="nowhere.py"),
        step("mixed_precision", "measure_size", path="train.py"),
        step("gradient_accumulation", "measure_size", path="train.py"),
        step("gradient_checkpointing", "wants_torch", path="train.py"),
        step("lora", "measure_step", needs=["step: a file with make_step()"]),
        step("sharding", "no_such_tool"),
    ]
    return TriageReport(constraint="gpu_memory", plan=plan)


@tool(effect="reads")
def measure_size(request: SizeRequest) -> SizeReport:
    """Measure a file."""
    return SizeReport(size_bytes=current_call().workspace.file(request.path).stat().st_size)


class StepRequest(Request):
    step: str = Field(description="file.py:make_step")


@tool(effect="reads")
def measure_step(request: StepRequest) -> SizeReport:
    """Want what the example holds ready."""
    assert request.step == "train.py:make_step"
    return SizeReport(size_bytes=7)


@tool(effect="reads", needs=("no_such_module",))
def wants_torch(request: SizeRequest) -> SizeReport:
    """Need what is not there."""
    raise ToolError("This must not run")


STAND_INS = {
    f.tool.name: f.tool for f in (detect_hardware, triage_constraint, measure_size, measure_step, wants_torch)
}


@pytest.fixture
def report(tmp_path):
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))
    yield main_job(STAND_INS, Path(sys.executable))
    CALL.reset(token)


def test_the_plan_is_carried_out_until_each_tool_was_seen_at_work(report):
    assert [step.was_run for step in report.steps] == [True, True, False, False, True, False, True]
    wanting, failing, working, missing, supplied = (step.text for step in report.steps[2:])
    size = (ROOT / "examples/gpu_oom/train.py").stat().st_size
    assert working == f"size_bytes: {size}" and supplied == "size_bytes: 7"
    assert "no_such_module" in missing and "make demo TORCH=1" in missing and "190 MB" in missing
    assert "a smaller model" in wanting and "No such file" in failing


def test_a_person_can_repeat_each_step_by_hand(report):
    text = report.readable()
    assert "$ optimizing-resources triage_constraint --log-path train.log --script-path train.py" in text
    assert f"cd {report.folder}" in text and (Path(report.folder) / "train.py").exists()


@pytest.mark.skipif("triage_constraint" not in load_tools(), reason="the tools it runs are not here yet")
def test_the_real_tools_get_through_it(tmp_path):
    token = CALL.set(Call(Workspace.of_the_caller(tmp_path)))
    report = main_job(load_tools(), Path(sys.executable))
    CALL.reset(token)
    assert all(step.was_run for step in report.steps[:2]) and "gpu_memory" in report.steps[1].text


def test_the_example_script_offers_what_the_tools_ask_for():
    script = ROOT / "examples/gpu_oom/train.py"
    names = compile(script.read_text(encoding="utf-8"), script.name, "exec").co_names
    assert {"make_step", "main"} <= set(names)
