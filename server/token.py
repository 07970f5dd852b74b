"""`token`: make a bearer token for a client of the HTTP server."""

import time
from pathlib import Path

from pydantic import Field

from ..tools._core.contract import Report, Request, ToolError, command

_DAY_SECONDS = 86_400


class TokenRequest(Request):
    name: str = Field(description="Whose token it is; it appears in the log.", pattern=r"^[\w.@-]{1,64}$")
    file: Path = Field(description="The file of hashes that `serve --tokens` reads; outside the workspace.")
    folder: Path | None = Field(
        None, description="The only folder of the workspace that this client may read and write."
    )
    days: int | None = Field(
        None, gt=0, description="How long the token is good for; without it, until removed."
    )


class TokenReport(Report):
    token: str = Field(description="Shown this once: only its hash is kept.")
    name: str
    file: str
    folder: str | None
    expires_at: int | None = Field(description="Seconds since 1970; null for never.")

    def readable(self) -> str:
        return f"{self.token}\n\nShown this once; {self.file} keeps its hash. Take {self.name}'s line out to end it."


@command("name")
def token(request: TokenRequest) -> TokenReport:
    """Make a bearer token for a client of `serve --http` and add its hash to the token file."""
    from .tokens import add, make  # the MCP SDK: 0.5 s

    folder = request.folder.resolve() if request.folder else None
    if folder and not folder.is_dir():
        raise ToolError("The client's folder is none", saw=str(request.folder), try_next="an existing folder")
    expires_at = int(time.time()) + request.days * _DAY_SECONDS if request.days else None
    made, entry = make(request.name, folder, expires_at)
    try:
        add(request.file, entry)
    except OSError as error:
        saw = f"{request.file}: {error.strerror}"
        raise ToolError("The token file cannot be written", saw=saw, try_next="another --file") from error
    return TokenReport(
        token=made,
        name=request.name,
        file=str(request.file),
        folder=str(folder) if folder else None,
        expires_at=expires_at,
    )


COMMAND = token
