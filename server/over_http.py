"""Streamable HTTP: who may connect, how much they may send, and how it ends."""

import asyncio
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import uvicorn
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..tools._core.contract import ToolError
from ..tools._core.workspace import Workspace
from .app import App
from .gate import IDLE_SECONDS, Logged, SessionLimit
from .introspection import Introspection
from .logs import log_json
from .tokens import TokenFile

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BODY_BYTES = 4 * 1024**2  # a log of that size belongs in a file of the workspace
SESSIONS_IN_ALL = 2048
_HEADER_SECONDS = 10.0  # for the head of a connection's first request
_GRACE_SECONDS = 3  # for open requests at the end; then they are cancelled, which ends their children
_LAST_SECONDS = 10.0  # until the process ends whatever still runs in it


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where the server listens, under which address it is reached, and whose tokens it takes."""

    host: str = "127.0.0.1"
    port: int = 8765
    url: str | None = None
    tokens: Path | None = None
    issuer: str | None = None
    introspection: str | None = None
    sessions: int = 64

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not (self.tokens and self.url):
            raise ToolError(
                "Beyond this machine HTTP is served only with tokens and under a known address",
                saw=f"--host {self.host}",
                try_next="--tokens FILE and --url https://NAME/mcp, or --host 127.0.0.1 behind `ssh -L` or a proxy",
            )
        if bool(self.issuer) != bool(self.introspection) or (self.issuer and not (self.tokens and self.url)):
            raise ToolError(
                "--issuer goes with --introspection, --tokens and --url", try_next="all four of them"
            )

    @property
    def address(self) -> str:
        """The URL by which clients reach it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}/mcp"


def serve_http(app: App, door: Door, workspace: Workspace) -> None:
    """Serve until SIGTERM or SIGINT; then end what runs, children included."""
    served = asgi(app, door, workspace)
    log_json()
    _raise_open_files()
    print(f"serving {door.address}", file=sys.stderr)
    config = uvicorn.Config(
        served,
        host=door.host,
        port=door.port,
        http=_Prompt,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # the log names who connects; a header could claim anything
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config).run()


def asgi(app: App, door: Door, workspace: Workspace) -> ASGIApp:
    """The server as an ASGI application: /mcp, /health, and the metadata of a protected resource."""
    inner = app.streamable_http_app(
        host=door.host,
        max_request_body_size=BODY_BYTES,
        session_idle_timeout=IDLE_SECONDS,
        max_sessions=SESSIONS_IN_ALL,
        transport_security=_names(door),
        auth=_auth(door),
        token_verifier=_verifier(door, workspace),
        custom_starlette_routes=[Route("/health", _health)],
    )
    inner.user_middleware.append(
        Middleware(SessionLimit, limit=door.sessions)
    )  # the innermost: it knows the user
    return Logged(inner)


async def _health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _names(door: Door) -> TransportSecuritySettings:
    """The Host and Origin headers that are ours: a page of another origin cannot reach us by a name of its own."""
    hosts = [name for host in ("127.0.0.1", "localhost", "[::1]") for name in (host, f"{host}:*")]
    origins = [f"http://{host}" for host in hosts]
    if door.url:
        parts = urlsplit(door.url)
        hosts.append(parts.netloc)
        origins.append(f"{parts.scheme}://{parts.netloc}")
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)


def _verifier(door: Door, workspace: Workspace) -> TokenVerifier | None:
    if not door.tokens:
        return None
    path = door.tokens.resolve()
    if any(path.is_relative_to(folder) for folder in (workspace.root, *workspace.allowed)):
        raise ToolError(
            "The token file lies where clients may write",
            saw=str(path),
            try_next="a place outside the workspace",
        )
    known = TokenFile(path, door.address)
    return Introspection(door.introspection, door.address, known) if door.introspection else known


def _auth(door: Door) -> AuthSettings | None:
    """With an authorization server its address is published (RFC 9728); tokens of a file need no such page."""
    if not door.tokens:
        return None
    address = AnyHttpUrl(door.address)
    if not door.issuer:
        return AuthSettings(issuer_url=address, resource_server_url=None)
    return AuthSettings(
        issuer_url=AnyHttpUrl(door.issuer), resource_server_url=address, validate_token_resource=True
    )


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, and make sure to: a thread that heeds nothing must not keep the process."""
        last = threading.Timer(_LAST_SECONDS, os._exit, [128 + sig])
        last.daemon = True
        last.start()
        super().handle_exit(sig, frame)


class _Prompt(H11Protocol):
    """Hangs up on who connects and sends no request: a thousand of those would take every descriptor."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(_HEADER_SECONDS, self._hang_up_if_silent)

    def _hang_up_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def _raise_open_files() -> None:
    """Take all the descriptors that the system lets us have."""
    if sys.platform != "win32":
        import resource  # not on Windows

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
