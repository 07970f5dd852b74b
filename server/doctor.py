"""`doctor`: what works here, and the command that adds what is missing."""

import importlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, Field

from ..tools import load_tools
from ..tools._core.contract import Report, Request, Tool, command, current_call
from ..tools._core.interpreter import resolve_python

_PROBE_SECONDS = 20.0
_PROBE = (  # without the current folder, whose files and folders may have the names of libraries
    "import sys; sys.path[:] = [place for place in sys.path if place]; "
    "import importlib.util, json, platform; "
    "print(json.dumps([platform.python_version(), [n for n in sys.argv[1:] if importlib.util.find_spec(n)]]))"
)


class DoctorRequest(Request):
    python: str | None = Field(
        None, description="Interpreter for your code; default VIRTUAL_ENV, .venv, ours."
    )


class Check(BaseModel):
    name: str
    ok: bool
    found: str
    fix: str | None = Field(None, description="The command or step that mends it.")


class DoctorReport(Report):
    python: str = Field(description="The interpreter that would run your code.")
    core: list[Check]
    tools: list[Check]
    extras: list[Check]

    def readable(self) -> str:
        parts = {"Core": self.core, "Tools": self.tools, "Extras of this installation": self.extras}
        lines = [f"Your code would run under {self.python}"]
        for title, checks in parts.items():
            lines += ["", f"{title}:", *(_line(check) for check in checks)]
        return "\n".join(lines)


@command()
def doctor(request: DoctorRequest) -> DoctorReport:
    """Show what works here, and what to install for the rest."""
    tools = load_tools()
    python = resolve_python(request.python, current_call().workspace)
    wanted = sorted({name for tool in tools.values() for name in (*tool.needs, *(m for _, m in tool.gains))})
    version, found = _look(python, wanted)
    return DoctorReport(
        python=f"{python} ({version})" if version else f"{python} (does not start)",
        core=[*_core(), _interpreter(python, version)],
        tools=[_tool(tool, found, python) for tool in tools.values()],
        extras=_extras(),
    )


def modules_of(python: Path, wanted: Iterable[str]) -> set[str]:
    """Which of the modules an interpreter could import."""
    return _look(python, list(wanted))[1]


def _look(python: Path, modules: list[str]) -> tuple[str, set[str]]:
    """The version of an interpreter and which of the modules it could import, without importing any."""
    try:
        done = subprocess.run(
            [str(python), "-c", _PROBE, *modules], capture_output=True, timeout=_PROBE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "", set()
    version, found = json.loads(done.stdout)
    return version, set(found)


def _core() -> list[Check]:
    named = importlib.metadata.requires("optimizing-resources") or []
    checks = [Check(name="python", ok=sys.version_info >= (3, 11), found=platform.python_version(), fix=None)]
    checks += [_package(requirement) for requirement in named if "extra ==" not in requirement]
    return [*checks, _nvml(), _workspace()]


def _package(requirement: str) -> Check:
    name = re.split(r"[^\w.-]", requirement)[0]
    try:
        return Check(name=name, ok=True, found=importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name=name, ok=False, found="missing", fix=_install(sys.executable, [requirement]))


def _nvml() -> Check:
    pynvml = importlib.import_module("pynvml")  # looks for NVIDIA's library, so only when asked
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        return Check(
            name="NVML", ok=False, found=str(error), fix="none needed without an NVIDIA GPU; else its driver"
        )
    return Check(name="NVML", ok=True, found=f"{count} NVIDIA GPU(s)")


def _workspace() -> Check:
    root = current_call().workspace.root
    writable = os.access(root, os.W_OK)
    return Check(name="workspace", ok=writable, found=str(root), fix=None if writable else "--workspace DIR")


def _interpreter(python: Path, version: str) -> Check:
    ok = bool(version) and tuple(int(part) for part in version.split(".")[:2]) >= (3, 9)
    return Check(
        name="your python",
        ok=ok,
        found=version or "does not start",
        fix=None if ok else "--python PATH (3.9+)",
    )


def _tool(tool: Tool, found: set[str], python: Path) -> Check:
    missing = [name for name in tool.needs if name not in found]
    found = found | {module for _, module in tool.gains if find_spec(module)}  # ours will do for those
    lacking = [(what, module) for what, module in tool.gains if module not in found]
    if not missing and lacking:
        without = ", ".join(f"{what} ({module})" for what, module in lacking)
        fix = _install(python, [module for _, module in lacking])
        return Check(name=tool.name, ok=True, found=f"ready; not for {without}", fix=fix)
    if not missing:
        return Check(name=tool.name, ok=True, found="ready")
    return Check(
        name=tool.name,
        ok=False,
        found=f"needs {', '.join(missing)} in your interpreter",
        fix=_install(python, missing),
    )


def _extras() -> list[Check]:
    """Each optional part of this installation, and whether its packages are there; `test` is for developers."""
    named = importlib.metadata.metadata("optimizing-resources").get_all("Provides-Extra") or []
    lines = importlib.metadata.requires("optimizing-resources") or []
    parts = {name: [line for line in lines if re.search(rf"extra == .{name}\b", line)] for name in named}
    parts = {name: [one for line in own for one in _spelled_out(line, parts)] for name, own in parts.items()}
    return [_extra(name, requirements) for name, requirements in parts.items() if name != "test"]


def _spelled_out(line: str, parts: dict[str, list[str]]) -> list[str]:
    """A requirement; where it is other extras of this installation, theirs."""
    own = re.match(r"optimizing-resources\[([^]]*)\]", line)
    return [line for name in own[1].split(",") for line in parts[name.strip()]] if own else [line]


def _extra(name: str, requirements: list[str]) -> Check:
    wanted = [line.split(";")[0].strip() for line in requirements]
    missing = [requirement for requirement in wanted if not _package(requirement).ok]
    if not missing:
        return Check(name=name, ok=True, found="installed")
    found = f"missing {', '.join(missing)}"
    return Check(name=name, ok=False, found=found, fix=_install(sys.executable, missing))


def _install(python: Path | str, packages: list[str]) -> str:
    """The command, with quotes where a path or a version needs them."""
    return shlex.join([str(python), "-m", "pip", "install", *packages])


def _line(check: Check) -> str:
    fix = f"  ->  {check.fix}" if check.fix else ""
    return f"  {'ok' if check.ok else '--':3} {check.name:22} {check.found}{fix}"


COMMAND = doctor
