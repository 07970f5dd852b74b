"""Files for a small device beside the chosen one, where a device profile asks for them."""

from dataclasses import dataclass, field
from typing import Any

from .._core.contract import ToolError
from .choose import Outcome
from .interpreters import Interpreter
from .session import Session

EDGE_SECONDS = 120.0


@dataclass
class EdgeFiles:
    """Artifacts by name, and why a format is missing."""

    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def make_edge_files(session: Session, outcome: Outcome) -> EdgeFiles:
    """ORT format of the chosen file, and an ExecuTorch program of the float model where executorch is installed."""
    search, found = session.search, EdgeFiles()
    chosen = search.rows[outcome.overall]["artifact"] if outcome.overall else search.facts["artifact"]
    if chosen["runtime"] == "onnxruntime":
        _make(session, found, "ort", search.python, chosen)
    else:
        found.missing["ort"] = (
            f'the chosen file runs on {chosen["runtime"]}: ask for runtimes ["onnxruntime"]'
        )
    if search.program is None:
        found.missing["pte"] = "needs the torch model; the source is a finished file"
    elif not session.caller.has("executorch"):
        found.missing["pte"] = f"executorch is not installed in {session.caller.path}"
    else:
        _make(session, found, "pte", session.caller, chosen)
    return found


def _make(
    session: Session, found: EdgeFiles, wanted: str, python: Interpreter, chosen: dict[str, Any]
) -> None:
    job = session.search.job
    try:
        reply = job.do(
            "edge", python, seconds=EDGE_SECONDS, **session.search.request(), format=wanted, artifact=chosen
        )
        found.artifacts[f"edge_{wanted}"] = reply["artifact"]
    except ToolError as error:
        found.missing[wanted] = str(error)[:240]
