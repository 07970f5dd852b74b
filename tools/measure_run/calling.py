"""`target`: the calls of one function, by batch size and number of threads."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._core.errors import ToolError
from .._core.workspace import Workspace
from .launch import Launch, prepare
from .series import summary_of_calls
from .taking import Taken, take

_SCRIPT = Path(__file__).with_name("engine") / "call_target.py"
_CALLS = 200
# per batch size where no number is asked for, so that a slow function is not called 200 times
_SECONDS = 10.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPTIMIZING_RESOURCES_THREADS")


def split_target(target: str, workspace: Workspace) -> tuple[Path, str]:
    """The file and the function of "file.py:function"."""
    path, colon, function = target.rpartition(":")
    if not colon or not function.isidentifier():
        raise ToolError("A target is written file.py:function", saw=target, try_next="infer.py:predict")
    return workspace.file(Path(path)), function


def take_calls(
    target: tuple[Path, str],
    *,
    python: Path,
    cwd: Path,
    batch_sizes: list[int],
    threads: list[int],
    max_calls: int | None,
    max_seconds: float,
    memory_limit_bytes: int | None,
) -> tuple[Launch, Taken]:
    """One process per number of threads; the first one stands for the run, all calls are listed."""
    path, function = target
    with tempfile.TemporaryDirectory(prefix="optimizing-resources-calls-") as scratch:
        settings, reply = Path(scratch) / "settings", Path(scratch) / "reply"
        seconds = max_seconds / 2  # the other half is for loading, so that what was taken is not lost
        if not max_calls:
            seconds = min(seconds, _SECONDS * len(batch_sizes))
        content: dict[str, Any] = {
            "path": str(path),
            "function": function,
            "reply": str(reply),
            "batch_sizes": batch_sizes,
        }
        content |= {"max_calls": max_calls or _CALLS, "max_seconds": seconds}
        settings.write_text(json.dumps(content), encoding="utf-8")
        bare = prepare(["python", str(_SCRIPT), str(settings)], python=python, cwd=cwd, max_steps=None)
        named = replace(
            bare, script=path, words=["python", str(path), function, f"batch_sizes={batch_sizes}"], inputs={}
        )
        taken: list[Taken] = []
        counts: list[int | None] = [*threads] or [None]
        for count in counts:
            extra = dict.fromkeys(_THREADS, str(count)) if count else {}
            launch = replace(named, environment={**named.environment, **extra})
            run = take(
                launch,
                max_steps=None,
                max_seconds=max_seconds,
                memory_limit_bytes=memory_limit_bytes,
                metrics={},
            )
            calls = _calls(reply, count)
            reason = _made(calls, content["max_calls"], seconds) if run.outcome == "finished" else run.reason
            taken.append(replace(run, calls=calls, reason=reason))
    return named, replace(taken[0], calls=[call for run in taken for call in run.calls])


def _made(calls: list[dict[str, Any]], wanted: int, seconds: float) -> str:
    made = sum(call["calls"] for call in calls)
    if any(call["calls"] < wanted for call in calls):
        return f"Made {made} calls of {wanted * len(calls)}: the {seconds:g} s for calling were over"
    return f"Made {made} calls and ended by itself"


def _calls(reply: Path, threads: int | None) -> list[dict[str, Any]]:
    if not reply.exists():
        return []
    answer = json.loads(reply.read_text(encoding="utf-8"))
    reply.unlink()
    if "refused" in answer:
        raise ToolError(answer["refused"], try_next="a function without arguments, or with batch_size only")
    return [
        summary_of_calls(call["seconds"], call["first_seconds"], call["batch_size"], threads)
        for call in answer["calls"]
    ]
