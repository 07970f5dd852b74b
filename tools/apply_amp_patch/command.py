"""`optimizing-resources undo PATH`: the file as it was before the last patch."""

from pathlib import Path

from pydantic import Field

from .._core.contract import Report, Request, command, current_call
from .write_back import digest
from .write_back import undo as bring_back


class UndoRequest(Request):
    """Arguments of undo."""

    path: Path = Field(description="The file that apply_amp_patch wrote.")


class UndoReport(Report):
    """What was brought back."""

    path: str
    sha256: str = Field(description="Of the file as it is again.")
    restored_from: str

    def readable(self) -> str:
        return f"{self.path} is what it was before the last patch (sha256 {self.sha256[:12]})."


@command("path")
def undo(request: UndoRequest) -> UndoReport:
    """Bring back the file that the last patch replaced.

    Raises ToolError where the file has changed since, or has no backup beside it.
    """
    path = current_call().workspace.file(request.path)
    backup = bring_back(path)
    return UndoReport(path=str(path), sha256=digest(path.read_bytes()), restored_from=str(backup))
