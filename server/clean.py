"""`clean`: throw the artifacts of a workspace away."""

from pydantic import Field

from ..tools._core.contract import Report, Request, ToolError, command, current_call
from ..tools._core.quantity import human_bytes
from ..tools._core.workspace import ARTIFACT_FOLDER


class CleanRequest(Request):
    pass


class CleanReport(Report):
    removed_files: int
    freed_bytes: int
    kept: list[str] = Field(description="What stays beside the artifacts: the ledger, backups.")

    def readable(self) -> str:
        kept = f"; kept {', '.join(self.kept)}" if self.kept else ""
        return f"Removed {self.removed_files} artifacts ({human_bytes(self.freed_bytes)}){kept}."


@command()
def clean(request: CleanRequest) -> CleanReport:
    """Remove the artifacts of this workspace; the ledger and backups stay."""
    folder = current_call().workspace.root / ARTIFACT_FOLDER
    artifacts = folder / "artifacts"
    if link := next((place for place in (folder, artifacts) if place.is_symlink()), None):
        raise ToolError(
            "The artifacts lie behind a link, which may lead anywhere", saw=link, try_next="removing the link"
        )
    files = [file for file in artifacts.rglob("*") if file.is_file() or file.is_symlink()]
    freed = sum(file.lstat().st_size for file in files)
    for file in files:
        file.unlink()
    kept = sorted(item.name for item in folder.glob("*") if item != artifacts and item.name != ".gitignore")
    return CleanReport(removed_files=len(files), freed_bytes=freed, kept=kept)


COMMAND = clean
