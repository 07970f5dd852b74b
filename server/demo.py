"""`demo`: a training run that dies for want of memory, and how it gets well, with figures of this machine."""

import json
import shlex
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import as_file
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from .. import skill_root
from ..tools import load_tools
from ..tools._core.contract import CALL, Report, Request, Tool, ToolError, command, current_call, read
from ..tools._core.interpreter import resolve_python
from ..tools._core.quantity import human_bytes
from ..tools._core.workspace import Workspace
from . import demo_text as text

_REPEATS = 3
_WIDTH = 100
Found = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A bundled script that dies under a limit, and how it is measured."""

    folder: str
    about: str
    limit_bytes: int  # of host memory, for the whole process
    remedied: str | None = None  # its own remedied version; None: the patcher writes one
    max_steps: tuple[int | None, int | None] = (None, None)  # under the limit; before and after in turns
    metrics: Mapping[str, str] = field(default_factory=dict)


PLAIN = Example(
    "host_oom_plain",
    "train.py learns from machine readings, in plain Python; here it may use 48 MiB of memory.",
    48 * 1024**2,
    remedied="streaming.py",
    metrics={"accuracy": r"accuracy ([\d.]+)"},
)
_ROOM_BYTES = (
    660 * 1024**2
)  # beside torch itself: a whole batch needs 930 MiB and more, a quarter of one up to 500
_RESIDENT = """
import torch
try:
    print(int(open("/proc/self/statm").read().split()[1]) * __import__("os").sysconf("SC_PAGE_SIZE"))
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS
"""
_IMPORT_SECONDS = 120


def with_torch(python: Path) -> Example | None:
    """The example that trains with the torch of that interpreter, or None where it cannot be imported.

    A CUDA build of torch takes twice the memory of a CPU build before anything is trained, so the limit rests on what
    importing it takes here.
    """
    try:
        done = subprocess.run(
            [str(python), "-c", _RESIDENT], capture_output=True, timeout=_IMPORT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    own = int(done.stdout.split()[-1])  # what a start file of that interpreter prints stands before
    limit = own + _ROOM_BYTES
    about = (
        "train.py trains a small language model with PyTorch; here it may use "
        f"{human_bytes(limit)} of memory, of which importing torch takes {human_bytes(own)}."
    )
    return Example("host_oom", about, limit, max_steps=(6, 5))


class DemoRequest(Request):
    python: str | None = Field(None, description="Interpreter with torch, for the steps that need it.")


class Step(BaseModel):
    title: str
    command: str | None = Field(None, description="The same step by hand.")
    seconds: float | None = None
    lines: list[str] = Field(description="What the tool reported, in short.")


class DemoReport(Report):
    about: str
    folder: str = Field(description="A copy of the example, to go on with.")
    steps: list[Step]
    summary: list[str] = Field(description="What an agent would answer; each figure with its ledger id.")
    next: list[str]

    def readable(self) -> str:
        lines = [self.about, f"By hand: cd {self.folder}, then any line that begins with $."]
        for number, step in enumerate(self.steps, start=1):
            took = f"  ({step.seconds:.1f} s)" if step.seconds is not None else ""
            lines += ["", f"{number}. {step.title}{took}"]
            lines += [f"   $ {step.command}"] if step.command else []
            lines += [f"   {line}".rstrip() for line in step.lines]
        wrapped = [
            part for line in self.summary for part in textwrap.wrap(line, _WIDTH, subsequent_indent="  ")
        ]
        lines += ["", "What an agent would answer", *(f"  {line}" for line in wrapped)]
        return "\n".join([*lines, "", "Go on", *(f"  {line}" for line in self.next)])


@command()
def demo(request: DemoRequest) -> DemoReport:
    """A run that dies for want of memory: found, predicted, patched, measured and reviewed, on this machine."""
    python = resolve_python(request.python, current_call().workspace)
    return journey(with_torch(python) or PLAIN, load_tools(), python)


def journey(
    example: Example, tools: Mapping[str, Tool], python: Path, *, repeats: int = _REPEATS
) -> DemoReport:
    """Detect, measure, triage, predict, change, measure, review: each step from the reports of those before."""
    folder = _copy_of(example, current_call().workspace)
    trip = Trip(example, tools, python, repeats)
    outer = current_call()
    CALL.set(replace(outer, workspace=Workspace.of_the_caller(folder), progress=trip.tell(outer.progress)))
    trip.look()
    died, found = trip.die_and_find_out()
    predicted = trip.predict(found)
    remedied = trip.change(found)
    proof = trip.prove(died, remedied)
    return DemoReport(
        about=example.about,
        folder=str(folder),
        steps=trip.steps,
        summary=text.summary(died, found, predicted, remedied, proof),
        next=text.next_steps(example.remedied is None),
    )


def _copy_of(example: Example, workspace: Workspace) -> Path:
    folder = workspace.artifacts() / "demo" / example.folder
    with as_file(skill_root().joinpath("examples", example.folder)) as bundled:
        shutil.copytree(
            bundled, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )
    return folder


class Trip:
    """One run through the example: calls the tools and keeps what each step showed."""

    def __init__(self, example: Example, tools: Mapping[str, Tool], python: Path, repeats: int):
        self.example, self.tools, self.python, self.repeats = example, tools, python, repeats
        self.steps: list[Step] = []
        self._title = ""

    def tell(self, progress: Callable[[float, float | None, str], None]) -> Any:
        """Progress of a tool under the title of its step."""
        return lambda done, total, note: progress(done, total, f"{len(self.steps) + 1}. {self._title}")

    def look(self) -> None:
        """What the machine offers."""
        self._run("detect_hardware", "What this machine offers", text.machine, python=str(self.python))

    def die_and_find_out(self) -> tuple[Found, Found]:
        """The run as it is, and what binds."""
        died = self._measure("The run dies: measured as it is, under its limit", "train.py", label="as it is")
        if died["outcome"] != "out_of_memory":
            raise ToolError(
                "The example did not run out of memory on this machine", saw=died["reason"], try_next="Linux"
            )
        found = self._run(
            "triage_constraint",
            "What binds, by that measurement, and what to try first",
            text.triage,
            measurement=died["id"],
            script_path="train.py",
        )
        return died, found

    def predict(self, found: Found) -> Found | None:
        """What the peak is made of, by the call that triage prepared; then the same for a micro-batch of the plan."""
        calls = [
            call for call in found["baseline"] if call["tool"] == "estimate_memory" and not call["needs"]
        ]
        if not calls:
            return None
        usual = {**calls[0]["arguments"], "python": str(self.python)}
        today = self._run("estimate_memory", "What the peak is made of, by simulation", text.peak, **usual)
        parts = found["plan"][0]["arguments"]["accumulation_steps"]
        arguments = {**usual, "remedies": [], "arguments": {"batch_size": today["batch"] // parts}}
        title = "And the first remedy, simulated before anything changes"
        part = self._run("estimate_memory", title, lambda report: text.part(report, today), **arguments)
        return {"today": today, "part": part, "parts": parts}

    def change(self, found: Found) -> Found:
        """The first remedy of the plan, as a new file beside the old one: which one, its script, and who wrote it."""
        step = found["plan"][0]
        chosen = {"remedy": step["remedy"], "why": step["why"]}
        if self.example.remedied:
            old, new = (
                (current_call().workspace.root / name).read_text("utf-8")
                for name in ("train.py", self.example.remedied)
            )
            lines = text.own_change(old, new, self.example.remedied)
            self.steps.append(Step(title=f"The change: {step['remedy']}", lines=lines))
            return {**chosen, "script": self.example.remedied, "by": "edited by hand"}
        patched = self._run(
            "apply_amp_patch", f"The patch: {step['remedy']}", text.patch, **step["arguments"]
        )
        script = str(Path(patched["patched_path"]).relative_to(current_call().workspace.root))
        return {**chosen, "script": script, "by": "written by apply_amp_patch"}

    def prove(self, died: Found, remedied: Found) -> Found:
        """Under the same limit; then before and after in turns without it, for the price; and both reviewed."""
        script, remedy = remedied["script"], remedied["remedy"]
        fits = self._measure("The same run with the remedy, under the same limit", script, label=remedy)
        turns = self._in_turns(script)
        asked = {"constraint": "host_memory", "remedies": [remedy]}
        review = self._run(
            "review_evidence",
            "Is it better? The review of the two runs under the limit",
            text.review,
            before=[died["id"]],
            after=[fits["id"]],
            **asked,
        )
        price = self._run(
            "review_evidence",
            "And what does it cost? The review of the runs in turns",
            text.price,
            before=[turns["id"]],
            after=[turns["against"]["id"]],
            **asked,
        )
        return {"fits": fits, "turns": turns, "review": review, "price": price}

    def _in_turns(self, script: str) -> Found:
        times = "once" if self.repeats == 1 else f"{self.repeats} times each"
        return self._run(
            "measure_run",
            f"Before and after in turns, {times}, with memory to spare",
            text.turns,
            command=["python", "train.py"],
            against=["python", script],
            repeats=self.repeats,
            **self._usual(self.example.max_steps[1]),
        )

    def _measure(self, title: str, script: str, *, label: str) -> Found:
        return self._run(
            "measure_run",
            title,
            text.measurement,
            command=["python", script],
            memory_limit_bytes=self.example.limit_bytes,
            label=label,
            **self._usual(self.example.max_steps[0]),
        )

    def _usual(self, max_steps: int | None) -> dict[str, Any]:
        wanted = {"max_steps": max_steps, "metrics": dict(self.example.metrics), "python": str(self.python)}
        return {name: value for name, value in wanted.items() if value}

    def _run(self, name: str, title: str, said: Callable[[Found], list[str]], **arguments: Any) -> Found:
        tool = self.tools[name]
        self._title = title
        current_call().progress(0, None, "")
        began = time.perf_counter()
        report = tool.run(read(tool.request, arguments)).model_dump(mode="json")
        seconds = round(time.perf_counter() - began, 2)
        by_hand = _by_hand(tool, arguments)
        self.steps.append(Step(title=title, command=by_hand, seconds=seconds, lines=said(report)))
        return report


def _by_hand(tool: Tool, arguments: dict[str, Any]) -> str:
    words, bare = ["optimizing-resources", tool.name], []
    for name, value in arguments.items():
        if name == "python" and value == str(resolve_python(None, current_call().workspace)):
            continue  # it is the one that is taken
        if name in tool.positional:
            bare = ["--", *([value] if isinstance(value, str) else value)]
            continue
        written = value if isinstance(value, str) else json.dumps(value)
        words += [f"--{name.replace('_', '-')}", written]
    return shlex.join([*words, *bare])


COMMAND = demo
