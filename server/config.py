"""`config HOST`: what to paste into a host's configuration, and where."""

import json
import shlex
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..tools._core.contract import Report, Request, command, current_call

_NAME = "optimizing-resources"

# Where each host reads its servers, as documented by its vendor in November 2026. `~` is the user's home folder.
_PLACES = {
    "claude-code": "a shell in the project folder",
    "claude-desktop": {
        "darwin": "~/Library/Application Support/Claude/claude_desktop_config.json",
        "win32": "%APPDATA%\\Claude\\claude_desktop_config.json",
    }.get(sys.platform, "~/.config/Claude/claude_desktop_config.json"),
    "codex": "~/.codex/config.toml",
    "cursor": ".cursor/mcp.json in the project, or ~/.cursor/mcp.json",
    "gemini-cli": ".gemini/settings.json in the project, or ~/.gemini/settings.json",
    "vscode": ".vscode/mcp.json in the project",
    "windsurf": "~/.codeium/windsurf/mcp_config.json",
    "zed": "Zed's settings.json (command palette: zed: open settings file)",
}

Host = Literal["claude-code", "claude-desktop", "codex", "cursor", "gemini-cli", "vscode", "windsurf", "zed"]


class ConfigRequest(Request):
    host: Host = Field(description="The program that will start the server.")


class ConfigReport(Report):
    host: str
    place: str = Field(description="Where the text goes.")
    text: str = Field(description="The configuration, with absolute paths.")

    def readable(self) -> str:
        return self.text


@command("host")
def config(request: ConfigRequest) -> ConfigReport:
    """Print a host's configuration for this server and folder, ready to paste."""
    report = ConfigReport(host=request.host, place=_PLACES[request.host], text=_text(request.host))
    print(f"# paste into {report.place}", file=sys.stderr)
    return report


def server_command() -> list[str]:
    """The absolute command that starts this server for the current workspace."""
    script = Path(sys.executable).with_name(
        _NAME
    )  # the link is kept: following it would leave the environment
    start = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "optimizing_resources"]
    return [*start, "serve", "--workspace", str(current_call().workspace.root)]


def _text(host: Host) -> str:
    program, *arguments = server_command()
    entry: dict[str, object] = {"command": program, "args": arguments}
    if host == "claude-code":
        return shlex.join(["claude", "mcp", "add", "--transport", "stdio", _NAME, "--", program, *arguments])
    if host == "codex":  # a JSON string and a JSON list of strings are TOML as well
        return f"[mcp_servers.{_NAME}]\ncommand = {json.dumps(program)}\nargs = {json.dumps(arguments)}"
    if host in ("vscode", "cursor"):
        entry = {"type": "stdio", **entry}
    key = {"vscode": "servers", "zed": "context_servers"}.get(host, "mcpServers")
    return json.dumps({key: {_NAME: entry}}, indent=2, ensure_ascii=False)


COMMAND = config
