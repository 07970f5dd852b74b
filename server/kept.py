"""The answers of long calls, kept in the workspace: who lost the connection reads them as report:// resources."""

import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from ..tools._core.contract import Report, Tool, ToolError, current_call
from ..tools._core.workspace import Workspace

SCHEME = "report://"
LONG_SECONDS = 5.0  # a shorter call is as quickly made again
_ANY = 10 * "[0-9a-f]"  # a job's id; other artifacts may be called a report too
_LISTED, _SHOWN = 20, 200  # answers in the list, and characters of each

log = logging.getLogger(__name__)


def run_and_keep(tool: Tool, request: Any) -> Report:
    """The tool's Report; kept first if it took long, and so is the sentence with which the tool declined."""
    began = time.monotonic()
    try:
        report = tool.run(request)
    except ToolError as error:
        _keep(tool, began, {"brief": str(error), "refused": True})
        raise
    _keep(tool, began, {"brief": report.brief(), "report": json.loads(report.model_dump_json())})
    return report


def _keep(tool: Tool, began: float, answer: dict[str, Any]) -> None:
    seconds = time.monotonic() - began
    if seconds < LONG_SECONDS:
        return
    job = secrets.token_hex(5)
    about = {
        "job": job,
        "tool": tool.name,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
    }
    try:
        content = json.dumps({**about, **answer}).encode()
        current_call().workspace.store(f"{tool.name}-report-{job}.json", content)
    except (ToolError, OSError) as error:  # whoever still listens gets the answer all the same
        log.warning("the answer of %s was not kept: %s", tool.name, error)


def kept_report(workspace: Workspace, job: str) -> str | None:
    """The kept answer of that job as JSON text; the newest first where `job` is empty; None where there is none."""
    if not job:
        return json.dumps([_summary(text) for text in _texts(workspace, _ANY)])
    return next(iter(_texts(workspace, job)), None) if re.fullmatch(r"[0-9a-f]+", job) else None


def _texts(workspace: Workspace, job: str) -> list[str]:
    """The newest answers by that pattern of a job."""
    if workspace.refusal:
        return []
    files = list(workspace.artifacts().joinpath("artifacts").glob(f"*-report-{job}-*.json"))
    files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    return [file.read_text(encoding="utf-8") for file in files[:_LISTED]]


def _summary(text: str) -> dict[str, Any]:
    fields = json.loads(text)
    shown = {name: fields[name] for name in ("job", "tool", "finished_at", "seconds", "brief")}
    return {"uri": SCHEME + fields["job"], **shown, "brief": fields["brief"][:_SHOWN]}
