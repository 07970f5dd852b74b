"""Where a workspace keeps its refreshed price tables."""

from pathlib import Path

from .._core.workspace import ARTIFACT_FOLDER, Workspace


def price_folder(workspace: Workspace) -> Path:
    """The folder of PROVIDER.csv tables; it exists once something was refreshed."""
    return workspace.root / ARTIFACT_FOLDER / "prices"
