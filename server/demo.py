"""`demo`: the main job on a bundled example, from an out-of-memory log to a plan, as far as it runs here."""

import json
import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import as_file
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from .. import skill_root
from ..tools import load_tools
from ..tools._core.contract import CALL, Report, Request, Tool, ToolError, advice, command, current_call, read
from ..tools._core.interpreter import resolve_python
from ..tools._core.workspace import Workspace
from .doctor import modules_of

_EXAMPLE = "gpu_oom"
_SUPPLIED = {
    "step": "train.py:make_step"
}  # what the example holds ready for the steps of a plan that ask for it
_SHOWN_LINES = 60  # of each step; its command shows the rest
_ADD_TORCH = """\
  make demo PYTHON=/path/to/your/python    if you have an environment with torch
  make demo TORCH=1                        adds torch to this one (its CPU build is a 190 MB download)"""


class DemoRequest(Request):
    python: str | None = Field(None, description="Interpreter with torch, for the steps that need it.")


class Step(BaseModel):
    title: str
    command: str = Field(description="The same step by hand.")
    seconds: float | None = None
    text: str = Field(description="What the tool reported, or why the step was not run.")
    was_run: bool


class DemoReport(Report):
    folder: str = Field(description="A copy of the example, to go on with.")
    steps: list[Step]

    def readable(self) -> str:
        lines = [
            "The example: train.py ran out of memory and left train.log.",
            f"To repeat a step by hand: cd {self.folder}",
        ]
        for number, step in enumerate(self.steps, start=1):
            took = f"   ({step.seconds:.2f} s)" if step.seconds is not None else "   (not run)"
            lines += ["", f"== {number}. {step.title}{took}", f"$ {step.command}", "", _shortened(step.text)]
        return "\n".join(lines)


def _shortened(text: str) -> str:
    lines = text.splitlines()
    more = [f"... {len(lines) - _SHOWN_LINES} more lines"] if len(lines) > _SHOWN_LINES else []
    return "\n".join([*lines[:_SHOWN_LINES], *more])


@command()
def demo(request: DemoRequest) -> DemoReport:
    """Run the main job on a bundled out-of-memory log: hardware, constraint, plan, and the plan's steps."""
    return main_job(load_tools(), resolve_python(request.python, current_call().workspace))


def main_job(tools: Mapping[str, Tool], python: Path) -> DemoReport:
    """Hardware, triage of the example, then the plan. The example's card is not this machine's, so its log decides."""
    folder = _copy_of_the_example(current_call().workspace)
    CALL.set(replace(current_call(), workspace=Workspace.of_the_caller(folder)))
    _, first = _run(tools["detect_hardware"], {"python": str(python)}, "What this process may use")
    triage, second = _run(
        tools["triage_constraint"],
        {"log_path": "train.log", "script_path": "train.py"},
        "What binds, by the evidence of the log, and the plan",
    )
    found = triage.model_dump(mode="json") if triage else {"plan": []}
    calls = [*found.get("baseline", []), *found["plan"]]
    return DemoReport(folder=str(folder), steps=[first, second, *_carry_out(calls, tools, python)])


def _copy_of_the_example(workspace: Workspace) -> Path:
    folder = workspace.artifacts() / "demo" / _EXAMPLE
    with as_file(skill_root().joinpath("examples", _EXAMPLE)) as example:
        shutil.copytree(
            example, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    return folder


def _carry_out(calls: list[dict[str, Any]], tools: Mapping[str, Tool], python: Path) -> list[Step]:
    """The calls in their order, until each tool was seen at work once: baseline, prediction, first remedy."""
    steps: list[Step] = []
    done: set[str] = set()
    for item in calls:
        tool = tools.get(item.get("tool") or "")
        if tool is None or tool.name in done:
            continue
        step = _step(tool, item, f"{item.get('remedy', 'Before anything changes')}: {tool.name}", python)
        if step.text not in {one.text for one in steps}:  # what torch would be needed for is said once
            steps.append(step)
        if step.was_run:
            done.add(tool.name)
    return steps


def _step(tool: Tool, item: dict[str, Any], title: str, python: Path) -> Step:
    arguments = dict(item.get("arguments") or {})
    offered = {**_SUPPLIED, "python": str(python)}
    arguments |= {name: value for name, value in offered.items() if name in tool.request.model_fields}
    wanted = [need for need in item.get("needs") or [] if str(need).split(":")[0] not in arguments]
    if missing := sorted(set(tool.needs) - modules_of(python, tool.needs)):
        text = f"Needs {', '.join(missing)}, which {python} lacks. Either of\n{_ADD_TORCH}"
    elif wanted:
        text = f"Wants first: {'; '.join(str(need) for need in wanted)}"
    else:
        return _run(tool, arguments, title)[1]
    return Step(title=title, command=_by_hand(tool, arguments), text=text, was_run=False)


def _run(tool: Tool, arguments: dict[str, Any], title: str) -> tuple[Report | None, Step]:
    began = time.perf_counter()
    try:
        report = tool.run(read(tool.request, arguments))
    except (ToolError, ValidationError) as error:
        return None, Step(title=title, command=_by_hand(tool, arguments), text=advice(error), was_run=False)
    seconds = round(time.perf_counter() - began, 3)
    by_hand = _by_hand(tool, arguments)
    return report, Step(title=title, command=by_hand, seconds=seconds, text=report.readable(), was_run=True)


def _by_hand(tool: Tool, arguments: dict[str, Any]) -> str:
    options = []
    for name, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value)
        options += [f"--{name.replace('_', '-')}", text]
    return shlex.join(["optimizing-resources", tool.name, *options])


COMMAND = demo
