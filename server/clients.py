"""Who calls, and which files are theirs: from the token over HTTP, from the roots of the handshake era."""

from pathlib import Path
from typing import Any

from ..tools._core.workspace import Workspace
from .roots import client_roots

FOLDER = "optimizing_resources_folder"  # the claim of a token that names its client's folder


def client_name(context: Any) -> str:
    """The name of the token's owner; empty over stdio and where HTTP asks for no token."""
    token = _token(context)
    return (
        f"{token.client_id}/{token.subject}" if token and token.subject else token.client_id if token else ""
    )


async def client_workspace(context: Any, workspace: Workspace) -> Workspace:
    """The server's workspace, narrowed to the folder of the token and then to the roots of the client."""
    token = _token(context)
    if token and FOLDER in (token.claims or {}):
        workspace = workspace.narrowed((Path(token.claims[FOLDER]),))
    roots = await client_roots(context.session, context.request_id)
    return workspace.narrowed(roots) if roots else workspace


def _token(context: Any) -> Any:
    user = context.request.scope.get("user") if context.request else None
    return getattr(user, "access_token", None)
